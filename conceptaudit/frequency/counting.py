"""Counts of the tags of a shard, stored beside its record, and shards added up.

Counts are sparse pairs (concept ids, counts): most concepts of a long list are in few shards. They
lie in an array beside the record, not in it: ten thousand shards of a vocabulary of twenty thousand
concepts would be gigabytes of JSON to parse. Tags are tables with ``sample_id`` and ``concept_id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, file_digest, write_npy
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.ambiguous_pairs import (
    expected_agreement,
    read_pairs,
    read_shares,
    sparse_counts,
    with_shares,
)
from conceptaudit.frequency.intervals import LEVEL, poisson_interval, wilson_interval
from conceptaudit.records import (
    FREQUENCY_COLUMNS,
    MODALITIES,
    ConceptFrequencies,
    ConceptVocabulary,
    Int64Array,
    merge_counts,
)


def read_tags(
    store: ShardStore, shard: str, columns: Sequence[str] = ("sample_id", "concept_id")
) -> pd.DataFrame:
    """Read columns of a shard's tags; a shard without a tag has no table."""
    path = store.path(shard, ".parquet")
    if path.exists():
        return pd.read_parquet(path, columns=list(columns))
    return pd.DataFrame({name: np.empty(0, dtype=np.int64) for name in columns})


def count_pairs(text: pd.DataFrame | None, image: pd.DataFrame | None) -> Json:
    """Count one shard by its tags; None is a side that was not audited.

    ``counts``: sparse counts by modality; ``agreement``: numbers of samples tagged on each side, on
    both, and on both without a concept in common.
    """
    sides = {"text": text, "image": image}
    tags = {name: table for name, table in sides.items() if table is not None}
    counts = {name: sparse_counts(table["concept_id"]) for name, table in tags.items()}
    samples = {name: table["sample_id"].unique() for name, table in tags.items()}
    agreement = {f"n_{name}_tagged": len(ids) for name, ids in samples.items()}
    if text is not None and image is not None:
        joint = text.merge(image, on=["sample_id", "concept_id"])
        counts["joint"] = sparse_counts(joint["concept_id"])
        agreement["n_both_tagged"] = len(np.intersect1d(samples["text"], samples["image"]))
        agreement["n_agreeing"] = joint["sample_id"].nunique()
    return {"counts": counts, "agreement": agreement}


def add_shards(shards: Iterable[Json], n_concepts: int) -> tuple[dict[str, Int64Array], Json]:
    """Add shards' counts; the order and the cutting of shards do not matter.

    Returns `counts` (n_concepts,): by modality; `agreement`.
    """
    totals: dict[str, Int64Array] = {}
    agreement: dict[str, int] = {}
    for shard in shards:
        agreement = merge_counts([agreement, shard["agreement"]])
        for modality, (ids, counts) in shard["counts"].items():
            total = totals.setdefault(modality, np.zeros(n_concepts, dtype=np.int64))
            total[ids] += np.asarray(counts, dtype=np.int64)
    return totals, agreement


def frequency_table(
    vocabulary: ConceptVocabulary,
    counts: dict[str, Int64Array],
    *,
    source: str = "",
    level: float = LEVEL,
) -> ConceptFrequencies:
    """Lay counts out with their intervals, one row per concept, in the vocabulary's order.

    A side that was not audited is NA, never zero.
    """
    table = pd.DataFrame({"concept": pd.Series(vocabulary.names, dtype="str")})
    for modality in MODALITIES:
        column = f"n_{modality}"
        if modality in counts:
            low, high = poisson_interval(counts[modality], level)
            table[column] = pd.array(counts[modality], dtype="Int64")
            table[f"{column}_low"] = low
            table[f"{column}_high"] = high
        else:
            table[column] = pd.array([pd.NA] * len(vocabulary), dtype="Int64")
            table[f"{column}_low"] = np.nan
            table[f"{column}_high"] = np.nan
    for column in ("synset", "dataset", "class_index"):
        values = [getattr(concept, column) for concept in vocabulary]
        if any(value is not None for value in values):
            table[column] = pd.Series(values, dtype="Int64" if column == "class_index" else "str")
    return ConceptFrequencies(table, source=source, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """How well captions and images name the same concepts."""

    n_samples: int  # all samples read
    # samples with at least one concept on that side; None where it was not audited
    n_text_tagged: int | None = None
    n_image_tagged: int | None = None
    n_both_tagged: int | None = None  # samples with concepts on both sides
    n_agreeing: int | None = None  # of these, samples with at least one concept in common

    @property
    def n_misaligned(self) -> int | None:
        """Samples with concepts on both sides and none in common."""
        if self.n_both_tagged is None or self.n_agreeing is None:
            return None
        return self.n_both_tagged - self.n_agreeing

    def as_json(self, level: float = LEVEL) -> Json:
        """Numbers, misalignment shares and their Wilson intervals.

        ``misalignment_degree`` is misaligned samples over all samples, as published
        (arXiv 2404.04125, section 5); ``misaligned_among_tagged`` is over the samples that have
        concepts on both sides, which does not shrink as the concept list does.
        """
        numbers: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        numbers["n_misaligned"] = self.n_misaligned
        numbers["level"] = level
        if self.n_misaligned is not None and self.n_both_tagged is not None:
            for name, trials in (
                ("misalignment_degree", self.n_samples),
                ("misaligned_among_tagged", self.n_both_tagged),
            ):
                low, high = wilson_interval(self.n_misaligned, trials, level)
                numbers[name] = self.n_misaligned / trials if trials else None
                numbers[f"{name}_low"], numbers[f"{name}_high"] = low, high
        return numbers


NAME = "counts"
COUNTS = ".npy"  # ending of a shard's counts: concept ids in the first row, then a row per side


@dataclass(frozen=True, slots=True, kw_only=True)
class CountShard:
    """Counts one shard from the tags that the text and image stages stored."""

    text: ShardStore | None  # the stages' results; None for a side that was not audited
    image: ShardStore | None
    store: ShardStore  # where the counts go
    shares: Path | None = None  # estimated shares of ambiguous pairs, where the text tags hold such

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        if self.shares is not None and self.text is not None:
            result = self._count_open(self.text, self.shares, shard.name)
            self._write(shard, result)
            return
        self._write(shard, count_pairs(*_both_sides(self.text, self.image, shard)))

    def _write(self, shard: Shard, result: Json) -> None:
        counts = result.pop("counts")
        files = {}
        if counts:
            files[COUNTS] = self.store.path(shard.name, COUNTS)
            write_npy(files[COUNTS], packed(counts), sync=False)
        self.store.write(shard.name, shard.fingerprint, {**result, "sides": list(counts)}, files)

    def _count_open(self, text: ShardStore, shares: Path, shard: str) -> Json:
        """Count the image side, and how well the sides are expected to agree."""
        pairs = with_shares(read_pairs(text, self.image, shard), read_shares(shares))
        image = None if self.image is None else read_tags(self.image, shard)
        tagged = np.zeros(0, np.int64) if image is None else image["sample_id"].unique()
        expected = expected_agreement(pairs, tagged)
        if image is None:
            expected = {"n_text_tagged": expected["n_text_tagged"]}
        return {**count_pairs(None, image), "expected": expected}


def packed(counts: Mapping[str, Sequence[Sequence[int]]]) -> npt.NDArray[np.unsignedinteger]:
    """Lay sparse counts out as one array in the smallest type that holds them.

    Returns (1 + n_sides, n_found) concept ids, sorted; then each side's counts of them.
    """
    ids = np.unique(np.concatenate([np.asarray(i, dtype=np.int64) for i, _ in counts.values()]))
    rows = np.zeros((1 + len(counts), len(ids)), dtype=np.int64)
    rows[0] = ids
    for row, (found, n) in zip(rows[1:], counts.values(), strict=True):
        row[np.searchsorted(ids, np.asarray(found, dtype=np.int64))] = n
    return rows.astype(np.min_scalar_type(rows.max(initial=0)))


def read_counts(store: ShardStore, shard: str) -> Json:
    """Read a shard's counts as `add_shards` takes them."""
    record = store.read(shard)
    sides: list[str] = record["sides"]
    counts: dict[str, Any] = {}
    if sides:
        rows = np.load(store.path(shard, COUNTS), allow_pickle=False)
        counts = {side: (rows[0], row) for side, row in zip(sides, rows[1:], strict=True)}
    return {"counts": counts, "agreement": record["agreement"]}


def count_store(folder: Path, shares: Path | None = None) -> ShardStore:
    """Return the store of a run's counts."""
    rests_on = None if shares is None else file_digest(shares)
    return ShardStore(folder=folder / NAME, digest=digest_of([NAME, COUNTS, rests_on]))


def shards_to_count(shards: Sequence[Shard], sides: Sequence[ShardStore]) -> tuple[Shard, ...]:
    """Return the shards that every audited side has, identified by the tags they hold."""
    counted = []
    for shard in shards:
        records = [side.path(shard.name, ".json") for side in sides]
        if all(record.exists() for record in records):
            fingerprint = digest_of([file_digest(record) for record in records])
            counted.append(replace(shard, fingerprint=fingerprint))
    return tuple(counted)


BY_LANGUAGE = "counts_by_language"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountByLanguage:
    """Counts one shard per language."""

    languages: ShardStore  # each sample's language
    text: ShardStore | None  # the tags; None for a side that was not audited
    image: ShardStore | None
    store: ShardStore  # where the counts go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        languages = read_tags(self.languages, shard.name, ("sample_id", "language"))
        sides = _both_sides(self.text, self.image, shard)
        n_samples = self.languages.read(shard.name)["n_samples"]
        result = {
            language: {"n_samples": n, **count_pairs(*_of_language(sides, languages, language))}
            for language, n in n_samples.items()
        }
        self.store.write(shard.name, shard.fingerprint, result, {})


def _both_sides(
    text: ShardStore | None, image: ShardStore | None, shard: Shard
) -> list[pd.DataFrame | None]:
    return [None if side is None else read_tags(side, shard.name) for side in (text, image)]


def _of_language(
    sides: Sequence[pd.DataFrame | None], languages: pd.DataFrame, language: str
) -> list[pd.DataFrame | None]:
    """Keep the tags of samples in one language."""
    ids = languages.loc[languages["language"] == language, "sample_id"]
    return [None if side is None else side[side["sample_id"].isin(ids)] for side in sides]


def language_table(
    shards: Sequence[Json], vocabulary: ConceptVocabulary, *, level: float = LEVEL
) -> tuple[pd.DataFrame, dict[str, Json]]:
    """Add up shards and lay the counts out per language and concept.

    Returns `table`: ``language`` and the columns of a frequency table, for every pair that was
    counted at least once: whatever is not listed was counted 0 times. Summed over languages, a
    concept's counts are those of the whole dataset; `languages`: samples, and samples tagged on
    each side, per language.
    """
    names = sorted({language for shard in shards for language in shard})
    tables: list[pd.DataFrame] = []
    totals: dict[str, Json] = {}
    for language in names:
        parts = [shard[language] for shard in shards if language in shard]
        counts, agreement = add_shards(parts, len(vocabulary))
        totals[language] = {"n_samples": sum(part["n_samples"] for part in parts), **agreement}
        table = frequency_table(vocabulary, counts, level=level).table
        counted = [column for column in FREQUENCY_COLUMNS if column in table]
        seen = (table[counted].fillna(0) > 0).any(axis=1)
        tables.append(table[seen].assign(language=language))
    whole = pd.concat(tables, ignore_index=True)
    return whole[["language", *(c for c in whole if c != "language")]], totals
