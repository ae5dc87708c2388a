"""The counting stage: text and image tags of a shard to its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, file_digest
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.counting import SidePairs, count_pairs
from conceptaudit.frequency.open_pairs import (
    expected_agreement,
    read_pairs,
    read_shares,
    with_shares,
)

NAME = "counts"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountShard:
    """Counts one shard from the tags that the text and image stages stored.

    Parameters
    ----------
    text, image : ShardStore or None
        The stages' results; None for a side that was not audited.
    store : ShardStore
        Where the counts go.
    shares : Path or None
        Estimated shares of open pairs, where the text tags hold such.
    """

    text: ShardStore | None
    image: ShardStore | None
    store: ShardStore
    shares: Path | None = None

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        if self.shares is not None and self.text is not None:
            result = self._count_open(self.text, self.shares, shard.name)
            self.store.write(shard.name, shard.fingerprint, result, {})
            return
        sides = [
            None if side is None else SidePairs.from_table(_read_tags(side, shard.name))
            for side in (self.text, self.image)
        ]
        self.store.write(shard.name, shard.fingerprint, count_pairs(*sides), {})

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


def count_store(folder: Path, shares: Path | None = None) -> ShardStore:
    """Return the store of a run's counts.

    Parameters
    ----------
    folder : Path
        The run folder.
    shares : Path or None
        Estimated shares of open pairs that the counts rest on.
    """
    identity = NAME if shares is None else [NAME, file_digest(shares)]
    return ShardStore(folder=folder / NAME, digest=digest_of(identity))


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
