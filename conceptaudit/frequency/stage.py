"""The counting stage: text and image tags of a shard to its counts.

Counts lie in an array beside the record, not in it: ten thousand shards of a vocabulary of twenty
thousand concepts would be gigabytes of JSON to parse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, file_digest, write_npy
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.counting import SidePairs, count_pairs
from conceptaudit.frequency.open_pairs import (
    expected_agreement,
    read_pairs,
    read_shares,
    with_shares,
)

NAME = "counts"
COUNTS = ".npy"
"""Ending of a shard's counts: concept ids in the first row, then a row per side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountShard:
    """Counts one shard from the tags that the text and image stages stored."""

    text: ShardStore | None  # the stages' results; None for a side that was not audited
    image: ShardStore | None
    store: ShardStore  # where the counts go
    shares: Path | None = None  # estimated shares of open pairs, where the text tags hold such

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        if self.shares is not None and self.text is not None:
            result = self._count_open(self.text, self.shares, shard.name)
            self._write(shard, result)
            return
        sides = [
            None if side is None else SidePairs.from_table(_read_tags(side, shard.name))
            for side in (self.text, self.image)
        ]
        self._write(shard, count_pairs(*sides))

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
        if self.image is None:
            image = SidePairs.from_table(None)
            counted = count_pairs(None, None)
        else:
            image = SidePairs.from_table(_read_tags(self.image, shard))
            counted = count_pairs(None, image)
        expected = expected_agreement(pairs, np.unique(image.sample_ids))
        if self.image is None:
            expected = {"n_text_tagged": expected["n_text_tagged"]}
        return {
            "counts": counted["counts"],
            "agreement": counted["agreement"],
            "expected": expected,
        }


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


def _read_tags(store: ShardStore, shard: str) -> pd.DataFrame | None:
    path = store.path(shard, ".parquet")
    return pd.read_parquet(path, columns=["sample_id", "concept_id"]) if path.exists() else None
