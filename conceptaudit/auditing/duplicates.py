"""The images in which an audit looks for duplicates: ids, keys, vectors, digests, thumbnails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import ShardStore, write_parquet
from conceptaudit.auditing.stages import CountedShards
from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.frequency.counting import read_tags
from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.image.altered import SAME_GREYS
from conceptaudit.image.duplicates import (
    DuplicateGroups,
    find_duplicates,
    first_occurrence,
    null_threshold,
)
from conceptaudit.image.thumbnails import SAME_COLOURS, Thumbnails
from conceptaudit.options.audit import AUTO_DUPLICATES, EXACT_DUPLICATES
from conceptaudit.reading import parquet_schema, read_parquet
from conceptaudit.records import ConceptFrequencies, Int64Array, sample_id
from conceptaudit.text.tagger import OPEN_CAPTIONS

_EXTRAS = ("image_digest", "image_look")
"""Columns that our own encoder writes beside its vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The usable images of an audit, as columns of equal length, in order of sample id."""

    sample_ids: Int64Array
    keys: list[str]
    vectors: npt.NDArray[np.float16]  # shape (n, dimension)
    digests: list[str] | None  # of the files; None where no file was opened
    thumbnails: Thumbnails | None  # none where not every image has one


def read_pictures(dataset: Dataset, shards: Sequence[Shard]) -> Pictures:
    """Read all usable embeddings: about 1.3 kB per image at 512 dimensions."""
    ids: list[Int64Array] = []
    keys: list[str] = []
    vectors: list[npt.NDArray[np.float16]] = []
    extras: list[pd.DataFrame] = []
    for shard in shards:
        table = _extras(shard)
        for batch in dataset.read(shard, frozenset({EMBEDDING})):
            if batch.embeddings is None:
                continue
            usable = np.flatnonzero(batch.embeddings.any(axis=1))
            ids.append(batch.sample_ids[usable])
            keys += [batch.keys[row] for row in usable.tolist()]
            vectors.append(_half(batch.embeddings[usable]))
            if table is not None:
                extras.append(table.loc[batch.sample_ids[usable]])
    if not ids:
        raise DataError(f"{dataset.location} holds no embeddings in which to find duplicates.")
    known = pd.concat(extras) if extras else None
    complete = known is not None and len(known) == len(keys)
    return Pictures(
        sample_ids=np.concatenate(ids),
        keys=keys,
        vectors=np.concatenate(vectors),
        digests=known["image_digest"].tolist() if known is not None and complete else None,
        thumbnails=_thumbnails(known["image_look"]) if known is not None and complete else None,
    )


def _half(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Keep directions in half precision, which cannot hold very long or short vectors."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.where(largest > 0, vectors / largest, 0.0), dtype=np.float16)


def _thumbnails(column: pd.Series[bytes]) -> Thumbnails | None:
    thumbnails = Thumbnails.of(column.tolist())
    return thumbnails if thumbnails.known.all() else None


def _extras(shard: Shard) -> pd.DataFrame | None:
    """Read what our own encoder wrote beside a shard's vectors, by sample id."""
    paths = [Path(shard.files[0]).with_suffix(".parquet"), *map(Path, shard.files[1:])]
    for path in paths:
        if not path.is_file() or not {*_EXTRAS} <= {*parquet_schema(path).names}:
            continue
        table = read_parquet(path)
        if path == paths[0]:
            return table.set_index("sample_id")[list(_EXTRAS)]
        stop = len(table) if shard.stop < 0 else shard.stop
        first = sample_id(shard.file_index, 0)
        part = table.iloc[shard.start : stop][list(_EXTRAS)]
        return part.set_axis(np.arange(first + shard.start, first + stop), axis=0)
    return None


DUPLICATES = "duplicates.parquet"
KEPT, CAPTION_OF, SAME, NEAR = "kept", "same_key", "exact", "near"
"""Kinds of member: the group's representative; another caption of an image of the group; the
same image under another key; one so similar that it counts as the same."""

WITH_THUMBNAILS = 0.9
"""Cosine similarity that ``"auto"`` asks for where thumbnails decide too."""

ANY_EMBEDDING = -1.0
"""With ``"auto"``, thumbnails alone decide on altered copies: a crop may show another thing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundDuplicates:
    """Which samples share an image."""

    # ``sample_id, key, group, kind, similarity`` of every sample whose image occurs more than once;
    # `group` is the sample id of the representative
    table: pd.DataFrame
    # samples with an image, and distinct images among them
    n_pictures: int
    n_unique: int
    notes: tuple[str, ...]

    def write(self, folder: Path) -> None:
        """Write the table into a run folder."""
        write_parquet(folder / DUPLICATES, self.table)


def with_unique_counts(
    counted: CountedShards, frequencies: ConceptFrequencies, near: float | str
) -> tuple[ConceptFrequencies, tuple[str, ...]]:
    """Look for duplicates, write them down, count unique images.

    With ``n_image_unique`` and ``n_joint_unique`` where they can be had.
    """
    plan, stores, shards = counted.plan, counted.stores, counted.shards
    if "embeddings" not in stores and EMBEDDING not in plan.dataset.provides:
        why = "There are no embeddings in which to look for duplicates: unique images"
        return frequencies, (f"{why} were not counted. That needs images and --clip.",)
    names = {shard.name for shard in shards}
    source, embedded = counted.stages.embedded(plan.shards)
    pictures = read_pictures(source, [shard for shard in embedded if shard.name in names])
    duplicates = look_for_duplicates(pictures, near)
    duplicates.write(counted.folder)
    notes = duplicates.notes
    text = stores.get("text")
    if text is not None and counted.paths("text", OPEN_CAPTIONS):
        text = None
        why = "Captions were counted fast, which leaves pairs of caption and concept undecided"
        notes = (*notes, f"{why}: joint counts of unique images need --text-mode exact.")
    if "image" in stores:
        frequencies = count_unique(
            frequencies, duplicates, shards, stores["image"], text, level=plan.options.level
        )
    return frequencies, notes


def look_for_duplicates(pictures: Pictures, near: float | str) -> FoundDuplicates:
    """Group an audit's images."""
    threshold: float | None = None
    # thumbnails decide where images were opened; else only the model's own null can tell
    if near == AUTO_DUPLICATES:
        threshold = WITH_THUMBNAILS if pictures.thumbnails is not None else _from_null(pictures)
    elif near != EXACT_DUPLICATES:
        threshold = float(near)
    groups = find_duplicates(
        pictures.vectors,
        threshold,
        identities=pictures.digests,
        thumbnails=pictures.thumbnails,
        altered_threshold=ANY_EMBEDDING if near == AUTO_DUPLICATES else threshold,
    )
    table = _table(pictures, groups)
    return FoundDuplicates(
        table=table,
        n_pictures=len(pictures.keys),
        n_unique=groups.n_unique,
        notes=tuple(_notes(pictures, groups, table, threshold)),
    )


def _from_null(pictures: Pictures) -> float:
    first = first_occurrence([row.tobytes() for row in pictures.vectors])
    return null_threshold(pictures.vectors[np.unique(first)])


def _table(pictures: Pictures, groups: DuplicateGroups) -> pd.DataFrame:
    members = np.bincount(groups.representative, minlength=len(pictures.keys))
    rows = np.flatnonzero(members[groups.representative] > 1)
    centre = groups.representative[rows]
    table = pd.DataFrame(
        {
            "sample_id": pictures.sample_ids[rows],
            "key": pd.Series([pictures.keys[row] for row in rows.tolist()], dtype="str"),
            "group": pictures.sample_ids[centre],
            "kind": np.where(groups.exact[rows], SAME, NEAR),
            "similarity": groups.similarity[rows],
        }
    )
    # of samples with one key the first in a group is the image, the others are its captions
    kept = rows == centre
    order = np.lexsort((table["sample_id"], ~kept))
    seen = table.iloc[order].duplicated(["group", "key"]).sort_index().to_numpy()
    kind = np.where(kept, KEPT, np.where(seen, CAPTION_OF, table["kind"]))
    return table.assign(kind=pd.Series(kind, dtype="str"))


def _notes(
    pictures: Pictures, groups: DuplicateGroups, table: pd.DataFrame, threshold: float | None
) -> Iterator[str]:
    kinds = table["kind"].value_counts()
    n_same, n_near = int(kinds.get(SAME, 0)), int(kinds.get(NEAR, 0))
    how = "equal files" if pictures.digests is not None else "equal embeddings"
    yield (
        f"{quantity(len(pictures.keys), 'sample shows', 'samples show')} "
        f"{quantity(groups.n_unique, 'distinct image')}: {int(kinds.get(CAPTION_OF, 0)):,} are "
        f"further captions of an image, {n_same:,} repeat one ({how}), {n_near:,} nearly repeat "
        "one."
    )
    if threshold is None:
        return
    beside = (
        f" and thumbnails that correlate by {SAME_COLOURS:g}; or one is a mirrored, turned, "
        f"cropped or framed copy of the other (thumbnails that then correlate by {SAME_GREYS:g})."
    )
    if pictures.thumbnails is None:
        beside = "; no image was opened, so images of the same thing may pass for copies."
    yield f"Near duplicates have a cosine similarity of at least {threshold:g}{beside}"
    if groups.approximate:
        yield "Images were compared within neighbouring cells: a few near duplicates are missed."


def count_unique(
    frequencies: ConceptFrequencies,
    found: FoundDuplicates,
    shards: Sequence[Shard],
    image: ShardStore,
    text: ShardStore | None,
    *,
    level: float,
) -> ConceptFrequencies:
    """Add ``n_image_unique`` (and ``n_joint_unique``) with intervals: each image counted once.

    A concept counts for an image if any sample that shows the image has it.
    """
    members = found.table["sample_id"].to_numpy(dtype=np.int64)
    groups = found.table["group"].to_numpy(dtype=np.int64)
    table = frequencies.table.copy()
    sides = ["image"] if text is None else ["image", "joint"]
    counts = {side: np.zeros(len(table), dtype=np.int64) for side in sides}
    shared: dict[str, list[pd.DataFrame]] = {side: [] for side in sides}
    for shard in shards:
        pairs = {"image": read_tags(image, shard.name)}
        if text is not None:
            on = ["sample_id", "concept_id"]
            pairs["joint"] = read_tags(text, shard.name).merge(pairs["image"], on=on)
        for side, tags in pairs.items():
            samples = tags["sample_id"].to_numpy(np.int64)
            concepts = tags["concept_id"].to_numpy(np.int64)
            place = np.searchsorted(members, samples)
            # beyond the last member: any place will do, since the ids differ there
            place[place == len(members)] = 0
            several = members[place] == samples if len(members) else place < 0
            counts[side] += np.bincount(concepts[~several], minlength=len(table))
            rows = {"g": groups[place[several]], "c": concepts[several]}
            shared[side].append(pd.DataFrame(rows).drop_duplicates())
    for side in sides:
        once = pd.concat(shared[side]).drop_duplicates()["c"].to_numpy(dtype=np.int64)
        counts[side] += np.bincount(once, minlength=len(table))
        column = f"n_{side}_unique"
        table[column] = pd.array(counts[side], dtype="Int64")
        table[f"{column}_low"], table[f"{column}_high"] = poisson_interval(counts[side], level)
    return replace(frequencies, table=table)
