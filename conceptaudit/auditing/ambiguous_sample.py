"""Pairs of caption and concept that the fast mode left undecided: drawn by rank, tagged, shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.datasets.base import Shard
from conceptaudit.engine import Engine
from conceptaudit.frequency.adaptive_sampling import RankBounds, places
from conceptaudit.frequency.ambiguous_pairs import Columns, is_joint, read_numbers
from conceptaudit.progress import Progress
from conceptaudit.records import Int64Array
from conceptaudit.text.evidence import EvidenceReservoir, merge_evidence
from conceptaudit.text.normalize import caption_texts
from conceptaudit.text.sampling import CERTAIN, ranks
from conceptaudit.text.tagger import OPEN_CAPTIONS, FastTextTagger, annotator_of

COLUMNS = ("sample_id", "concept_id", "form", "context")
"""What a pair is, in the tables of pairs here; with ``rank`` and ``shard`` beside."""

PAIRS_AT_ONCE = 8_192
"""Pairs that are tagged together: equal words around them are computed once."""

SHARDS_AT_ONCE = 4
"""Shards whose pairs are read before a worker tells of them."""


class Place(NamedTuple):
    """A shard, and its place among those of the audit."""

    number: int
    shard: str


def places_of(shards: Sequence[Shard]) -> list[tuple[Place, ...]]:
    """Divide shards among items of work, in order."""
    places = [Place(number, shard.name) for number, shard in enumerate(shards)]
    return [
        tuple(places[start : start + SHARDS_AT_ONCE])
        for start in range(0, len(places), SHARDS_AT_ONCE)
    ]


def open_pairs(store: ShardStore, places: Iterable[Place], *, seed: int) -> Iterator[pd.DataFrame]:
    """Read the open pairs of each shard with their ranks.

    Yields `COLUMNS`, ``rank`` and ``shard`` (the shard's number).
    """
    for number, shard in places:
        path = store.path(shard, ".parquet")
        if not path.exists():
            continue
        pairs = read_numbers(path, COLUMNS)
        is_open = pairs["form"] != CERTAIN
        pairs = {name: values[is_open] for name, values in pairs.items()}
        rank = ranks(pairs["sample_id"], pairs["form"], seed=seed)
        yield pd.DataFrame({**pairs, "rank": rank, "shard": np.int32(number)})


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPairs:
    """Reads the open pairs of some shards whose rank is low enough; sent to a worker once."""

    store: ShardStore
    seed: int
    bounds: RankBounds

    def __call__(self, places: tuple[Place, ...]) -> list[pd.DataFrame]:
        """Return the pairs of each shard, as `open_pairs` gives them."""
        found = open_pairs(self.store, places, seed=self.seed)
        return [pairs[self.bounds.hold(pairs)] for pairs in found]


def read_pairs(task: ReadPairs, shards: Sequence[Shard], *, engine: Engine) -> pd.DataFrame:
    """Read open pairs of low rank, in the order of the shards."""
    found = dict(engine.run(task, places_of(shards)))
    return pd.concat([table for item in sorted(found) for table in found[item]], ignore_index=True)


class Part(NamedTuple):
    """Pairs of one shard."""

    shard: str
    sample_ids: Int64Array
    concept_ids: npt.NDArray[np.int32]


def parts_of(rows: pd.DataFrame, shards: Sequence[Shard]) -> Iterator[tuple[slice, list[Part]]]:
    """Divide pairs, sorted by shard, among items of work; those of a shard stay together."""
    samples, concepts = rows["sample_id"].to_numpy(), rows["concept_id"].to_numpy()
    number = rows["shard"].to_numpy()
    first = np.flatnonzero(np.diff(number, prepend=-1))
    start, parts = 0, list[Part]()
    for a, b in itertools.pairwise([*first.tolist(), len(rows)]):
        parts.append(Part(shards[number[a]].name, samples[a:b], concepts[a:b]))
        if b - start >= PAIRS_AT_ONCE or b == len(rows):
            yield slice(start, b), parts
            start, parts = b, []


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
            columns: Columns = {"sample_id": part.sample_ids, "concept_id": part.concept_ids}
            joint.append(is_joint(columns, self.image, part.shard))
        pairs = np.concatenate(wanted)
        found = annotator_of(self.tagger.exact).find(captions, pairs)
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

    Returns the rows, sorted by shard, with ``named`` and ``joint``.
    """
    rows = rows.sort_values("shard", kind="stable", ignore_index=True)
    items = list(parts_of(rows, shards))
    named, joint = np.zeros(len(rows), dtype=bool), np.zeros(len(rows), dtype=bool)
    progress.start("tagging a sample", len(items))
    places = {id(parts): where for where, parts in items}
    for parts, (is_named, also) in engine.run(task, [parts for _, parts in items]):
        here = places[id(parts)]
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


_SPARE = 3
"""Open captions taken per caption of evidence: some are counted, some rejected."""

_PRUNE_ROWS = 400_000
"""Pairs collected before those of high rank are let go."""


def open_evidence(
    tagger: FastTextTagger,
    store: ShardStore,
    shards: Sequence[Shard],
    *,
    size: int,
    engine: Engine,
) -> pd.DataFrame:
    """Tag a few of the pairs that the fast mode left open, and keep what they show.

    A concept whose words can only be nouns has none: nothing about it was open.
    """
    most = _SPARE * size
    task = _LowestPairs(tagger=tagger, store=store, most=most)
    found = dict(engine.run(task, places_of(shards)))
    chosen = _lowest((found[item] for item in sorted(found)), len(tagger.vocabulary), most)
    chosen = chosen.sort_values("shard", kind="stable", ignore_index=True)
    items = [parts for _, parts in parts_of(chosen, shards)]
    show = _ShowPairs(tagger=tagger, store=store, size=size)
    return merge_evidence((table for _, table in engine.run(show, items)), size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LowestPairs:
    """Chooses the open pairs of lowest rank of each concept in some shards."""

    tagger: FastTextTagger
    store: ShardStore
    most: int

    def __call__(self, places: tuple[Place, ...]) -> pd.DataFrame:
        pairs = open_pairs(self.store, places, seed=self.tagger.seed)
        return _lowest(pairs, len(self.tagger.vocabulary), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShowPairs:
    """Tags chosen open pairs of some shards, and keeps what they show."""

    tagger: FastTextTagger
    store: ShardStore
    size: int

    def __call__(self, parts: Sequence[Part]) -> pd.DataFrame:
        n = len(self.tagger.vocabulary)
        reservoir = EvidenceReservoir(self.tagger.vocabulary, size=self.size)
        captions: list[str] = []
        samples: list[int] = []
        keys: list[str] = []
        wanted = []
        for part in parts:
            distinct, at = np.unique(part.sample_ids, return_inverse=True)
            wanted.append((len(samples) + at) * n + part.concept_ids)
            captions += captions_of(self.store, part.shard, distinct)
            keys += _keys(self.store, part.shard, distinct)
            samples += distinct.tolist()
        annotator = annotator_of(self.tagger.exact)
        texts = caption_texts(captions)
        found = annotator.find(texts, np.concatenate(wanted))
        for caption, annotated in found.by_caption():
            reservoir.add(samples[caption], keys[caption], captions[caption], annotated)
        return reservoir.table()


def _lowest(tables: Iterable[pd.DataFrame], n_concepts: int, most: int) -> pd.DataFrame:
    """Choose the pairs of lowest rank of each concept."""
    bound = np.full(n_concepts, np.iinfo(np.int64).max)
    kept: list[pd.DataFrame] = []
    n_rows = 0
    for pairs in tables:
        if not len(pairs):
            continue
        # a pair of higher rank than a concept's last cannot be chosen any more
        kept.append(pairs[pairs["rank"].to_numpy() <= bound[pairs["concept_id"].to_numpy()]])
        n_rows += len(kept[-1])
        if n_rows > _PRUNE_ROWS:
            kept = [_placed(kept, most)]
            last = kept[0][kept[0]["place"] == most - 1]
            bound[last["concept_id"]] = last["rank"]
            n_rows = 0
    if not kept:
        return pd.DataFrame({name: np.zeros(0, dtype=np.int64) for name in _NO_PAIRS})
    return _placed(kept, most)


_NO_PAIRS = ("sample_id", "concept_id", "rank", "shard", "place")


def _placed(tables: Sequence[pd.DataFrame], most: int) -> pd.DataFrame:
    pairs = pd.concat(tables, ignore_index=True)
    pairs = pairs.assign(place=places(pairs, "concept_id"))
    return pd.DataFrame(pairs[pairs["place"] < most])


def _keys(store: ShardStore, shard: str, samples: np.ndarray) -> list[str]:
    keys = pd.read_parquet(store.path(shard, ".parquet"), columns=["sample_id", "key"])
    rows = np.searchsorted(keys["sample_id"].to_numpy(), samples)
    return [str(key) for key in keys["key"].iloc[rows]]
