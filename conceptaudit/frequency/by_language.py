"""Counts per language: the same tags, told apart by what language a sample says it is in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.counting import SidePairs, add_shards, count_pairs, frequency_table
from conceptaudit.frequency.intervals import LEVEL
from conceptaudit.records import FREQUENCY_COLUMNS, ConceptVocabulary

NAME = "counts_by_language"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountByLanguage:
    """Counts one shard per language."""

    languages: ShardStore  # each sample's language
    text: ShardStore | None  # the tags; None for a side that was not audited
    image: ShardStore | None
    store: ShardStore  # where the counts go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        listed = _read(self.languages, shard.name, ["sample_id", "language"])
        sides = [
            None if side is None else _read(side, shard.name, ["sample_id", "concept_id"])
            for side in (self.text, self.image)
        ]
        n_samples = self.languages.read(shard.name)["n_samples"]
        counted = count_languages(listed, *sides)
        nothing: dict[str, Any] = count_pairs(
            *(None if side is None else SidePairs.from_table(None) for side in sides)
        )
        result = {
            language: {"n_samples": n, **counted.get(language, nothing)}
            for language, n in n_samples.items()
        }
        self.store.write(shard.name, shard.fingerprint, result, {})


def count_languages(
    languages: pd.DataFrame, text: pd.DataFrame | None, image: pd.DataFrame | None
) -> dict[str, dict[str, Any]]:
    """Count the tags of one shard per language.

    Per language that has a tag: what `count_pairs` gives for its samples.
    """
    sides = [
        None if tags is None else tags.merge(languages, on="sample_id") for tags in (text, image)
    ]
    found = sorted({name for side in sides if side is not None for name in side["language"]})
    return {
        language: count_pairs(
            *(
                None if side is None else SidePairs.from_table(side[side["language"] == language])
                for side in sides
            )
        )
        for language in found
    }


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


def _read(store: ShardStore, shard: str, columns: list[str]) -> pd.DataFrame:
    path = store.path(shard, ".parquet")
    if path.exists():
        return pd.read_parquet(path, columns=columns)
    return pd.DataFrame({column: [] for column in columns}).astype(
        {column: "str" if column == "language" else "int64" for column in columns}
    )
