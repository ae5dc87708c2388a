"""Which samples to show: a seeded choice, made in one pass over the tags of a run.

A sample's place in the choice is a hash of the seed and its id. So the choice does not depend on
how the data were cut into shards, and needs no memory but for what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from conceptaudit.progress import Progress
from conceptaudit.reading import read_parquet
from conceptaudit.records import ROW_BITS, Int64Array
from conceptaudit.report.inputs import RunRecord

PER_CONCEPT = 6
PER_KIND = 6
"""Agreeing and misaligned pairs shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One sample to show, with what was found on each side."""

    sample_id: int
    key: str
    # concept ids with their scores (mentions; cosine similarity), best first
    text: tuple[tuple[int, float], ...] = ()
    image: tuple[tuple[int, float], ...] = ()


@dataclass(slots=True, kw_only=True)
class Choice:
    """The samples that were chosen."""

    by_concept: dict[int, list[Shown]] = field(default_factory=dict)
    # pairs with concepts on both sides: with one in common, and with none
    agreeing: list[Shown] = field(default_factory=list)
    misaligned: list[Shown] = field(default_factory=list)

    def all(self) -> list[Shown]:
        """Every chosen sample, some more than once."""
        sheets = [one for samples in self.by_concept.values() for one in samples]
        return [*sheets, *self.agreeing, *self.misaligned]


def mixed(sample_ids: Int64Array, seed: int) -> Int64Array:
    """Hash sample ids (splitmix64), so that sorting by the result is a seeded shuffle."""
    offset = np.uint64(((seed + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    with np.errstate(over="ignore"):
        z = sample_ids.astype(np.uint64) + offset
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return ((z ^ (z >> np.uint64(31))) >> np.uint64(1)).astype(np.int64)


def choose_samples(
    run: RunRecord, concept_ids: Sequence[int], *, seed: int, progress: Progress
) -> Choice:
    """Choose the samples of the contact sheets and of the pairs.

    A concept's samples come from those counted as `RunRecord.strictest` says.
    """
    wanted = frozenset(concept_ids)
    kept: dict[tuple[str, int], list[tuple[int, Shown]]] = {}
    shards = run.manifest["shards"]
    progress.start("choose samples", len(shards))
    for shard in shards:
        text, image = (_tags(run, side, shard) for side in ("text", "image"))
        for group, rows, limit in _groups(run, text, image, wanted):
            _keep(kept, group, rows, limit, seed, text, image)
        progress.advance()
    progress.finish()
    choice = Choice()
    for (kind, concept), samples in sorted(kept.items()):
        chosen = [one for _, one in samples]
        if kind == "concept":
            choice.by_concept[concept] = chosen
        else:
            setattr(choice, kind, chosen)
    return choice


def _tags(run: RunRecord, side: str, shard: str) -> pd.DataFrame | None:
    path = run.folder / side / f"{shard}.parquet"
    if not path.is_file():
        return None
    return read_parquet(path, columns=["sample_id", "key", "concept_id", "score"])


def _groups(
    run: RunRecord, text: pd.DataFrame | None, image: pd.DataFrame | None, wanted: frozenset[int]
) -> Iterable[tuple[tuple[str, int], Int64Array, int]]:
    """Yield the sample ids of one shard that each part of the report may choose from."""
    sides = [side for side in (text, image) if side is not None]
    if not sides:
        return
    source = {"n_text": text, "n_image": image}.get(run.strictest)
    if text is not None and image is not None:
        both = text.merge(image[["sample_id", "concept_id"]], on=["sample_id", "concept_id"])
        tagged = np.intersect1d(text["sample_id"], image["sample_id"])
        agreeing = np.unique(both["sample_id"].to_numpy(dtype=np.int64))
        yield ("agreeing", 0), agreeing, PER_KIND
        yield ("misaligned", 0), np.setdiff1d(tagged, agreeing), PER_KIND
        source = both if run.strictest == "n_joint" else source
    if source is not None:
        rows = source[source["concept_id"].isin(list(wanted))]
        for concept, members in rows.groupby("concept_id", sort=True):
            yield ("concept", int(str(concept))), np.unique(members["sample_id"]), PER_CONCEPT


def _keep(
    kept: dict[tuple[str, int], list[tuple[int, Shown]]],
    group: tuple[str, int],
    sample_ids: Int64Array,
    limit: int,
    seed: int,
    text: pd.DataFrame | None,
    image: pd.DataFrame | None,
) -> None:
    """Add a shard's best few to a group and cut the group to its limit.

    Several captions of one image are several samples: only the first of them is shown.
    """
    places = mixed(sample_ids, seed)
    mine = kept.setdefault(group, [])
    images = {_image_of(sample) for _, sample in mine}
    bound = mine[-1][0] if len(mine) == limit else np.iinfo(np.int64).max
    n_new = 0
    for position in np.argsort(places, kind="stable"):
        if n_new == limit or places[position] >= bound:
            break
        sample = _shown(int(sample_ids[position]), text, image)
        if _image_of(sample) not in images:
            images.add(_image_of(sample))
            mine.append((int(places[position]), sample))
            n_new += 1
    mine.sort(key=lambda pair: (pair[0], pair[1].sample_id))
    del mine[limit:]


def _image_of(sample: Shown) -> tuple[int, str]:
    """File and key, because archives may number their members alike."""
    return sample.sample_id >> ROW_BITS, sample.key


def _shown(sample: int, text: pd.DataFrame | None, image: pd.DataFrame | None) -> Shown:
    found: list[tuple[tuple[int, float], ...]] = []
    key = ""
    for side in (text, image):
        rows = None if side is None else side[side["sample_id"] == sample]
        if rows is None or rows.empty:
            found.append(())
            continue
        key = str(rows["key"].iloc[0])
        pairs = zip(rows["concept_id"].tolist(), rows["score"].tolist(), strict=True)
        found.append(tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0]))))
    return Shown(sample_id=sample, key=key, text=found[0], image=found[1])
