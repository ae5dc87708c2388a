"""Open pairs by rank, read from the tags of shards, and tagged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.datasets.base import Shard
from conceptaudit.engine import Engine
from conceptaudit.frequency.open_pairs import is_joint
from conceptaudit.progress import Progress
from conceptaudit.records import Int64Array
from conceptaudit.text.fast import OPEN_CAPTIONS, FastTextTagger
from conceptaudit.text.sampling import CERTAIN, ranks
from conceptaudit.text.tagger import annotator_of

COLUMNS = ("sample_id", "concept_id", "form", "context")
"""What a pair is, in the tables of pairs here; with ``rank`` and ``shard`` beside."""

PAIRS_AT_ONCE = 32_768
"""Pairs that are tagged together: equal words around them are computed once."""


def open_pairs(store: ShardStore, shards: Sequence[Shard], *, seed: int) -> Iterator[pd.DataFrame]:
    """Read the open pairs of each shard with their ranks.

    Yields
    ------
    pandas.DataFrame
        `COLUMNS`, ``rank`` and ``shard`` (its place in `shards`).
    """
    for number, shard in enumerate(shards):
        path = store.path(shard.name, ".parquet")
        if not path.exists():
            continue
        pairs = pd.read_parquet(path, columns=list(COLUMNS))
        pairs = pairs[pairs["form"] != CERTAIN]
        rank = ranks(pairs["sample_id"].to_numpy(), pairs["form"].to_numpy(), seed=seed)
        yield pairs.assign(rank=rank, shard=np.int32(number))


class Part(NamedTuple):
    """Pairs of one shard."""

    shard: str
    sample_ids: Int64Array
    concept_ids: npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class TagPairs:
    """Tags chosen open pairs of some shards; sent to a worker once."""

    tagger: FastTextTagger
    text: ShardStore
    image: ShardStore | None

    def __call__(
        self, parts: Sequence[Part]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Tell of each pair whether the caption names the concept, and whether the image has it."""
        captions: list[str] = []
        wanted, joint = [], []
        n = len(self.tagger.vocabulary)
        for part in parts:
            samples, at = np.unique(part.sample_ids, return_inverse=True)
            wanted.append((len(captions) + at) * n + part.concept_ids)
            captions += captions_of(self.text, part.shard, samples)
            columns = {"sample_id": part.sample_ids, "concept_id": part.concept_ids}
            joint.append(is_joint(pd.DataFrame(columns), self.image, part.shard))
        pairs = np.concatenate(wanted)
        found = annotator_of(self.tagger.exact).find_pairs(captions, pairs)
        accepted = found.captions[found.accepted] * np.int64(n) + found.concepts[found.accepted]
        return np.isin(pairs, accepted), np.concatenate(joint)


def tag_pairs(
    task: TagPairs,
    rows: pd.DataFrame,
    shards: Sequence[Shard],
    *,
    engine: Engine,
    progress: Progress,
) -> pd.DataFrame:
    """Tag pairs, those of several shards together.

    Parameters
    ----------
    task : TagPairs
    rows : pandas.DataFrame
        As `open_pairs` gives them.
    shards : sequence of Shard
    engine : Engine
    progress : Progress

    Returns
    -------
    pandas.DataFrame
        The rows, sorted by shard, with ``named`` and ``joint``.
    """
    rows = rows.sort_values("shard", kind="stable", ignore_index=True)
    samples, concepts = rows["sample_id"].to_numpy(), rows["concept_id"].to_numpy()
    number = rows["shard"].to_numpy()
    first = np.flatnonzero(np.diff(number, prepend=-1))
    items: dict[int, list[Part]] = {}
    size = PAIRS_AT_ONCE
    start = 0
    for a, b in zip(first.tolist(), [*first[1:].tolist(), len(rows)], strict=True):
        if size >= PAIRS_AT_ONCE:
            start, size = a, 0
        part = Part(shards[number[a]].name, samples[a:b], concepts[a:b])
        items.setdefault(start, []).append(part)
        size += b - a
    named, joint = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    progress.start("tagging a sample", len(items))
    places = {id(parts): start for start, parts in items.items()}
    for parts, (is_named, also) in engine.run(task, list(items.values())):
        here = slice(places[id(parts)], places[id(parts)] + len(is_named))
        named[here], joint[here] = is_named, also
        progress.advance()
    progress.finish()
    return rows.assign(named=named, joint=joint)


def captions_of(store: ShardStore, shard: str, samples: Int64Array) -> list[str]:
    """Return the captions, as they were tagged, of samples of a shard with open pairs."""
    import pyarrow.parquet as pq

    table = pq.read_table(store.path(shard, OPEN_CAPTIONS))
    rows = np.searchsorted(table.column("sample_id").to_numpy(), samples)
    return [str(caption) for caption in table.column("caption").take(rows).to_pylist()]
