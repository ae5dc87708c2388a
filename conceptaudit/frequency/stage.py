"""The counting stage: text and image tags of a shard to its counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import ShardStore, digest_of, file_digest
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.counting import SidePairs, count_pairs

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
    """

    text: ShardStore | None
    image: ShardStore | None
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        sides = [
            None if side is None else SidePairs.from_table(_read_tags(side, shard.name))
            for side in (self.text, self.image)
        ]
        self.store.write(shard.name, shard.fingerprint, count_pairs(*sides), {})


def count_store(folder: Path) -> ShardStore:
    """Return the store of a run's counts."""
    return ShardStore(folder=folder / NAME, digest=digest_of(NAME))


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
