"""The pair stage: a shard's text tags to the concepts that its captions name together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import ShardStore, digest_of, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.cooccurrence import DEFAULT_TOP, top_pairs
from conceptaudit.frequency.counting import SidePairs
from conceptaudit.frequency.pairs import PairCounts, count_together
from conceptaudit.records import ConceptVocabulary, Int64Array

NAME = "pairs"
_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPairs:
    """Counts the concept pairs of one shard from its stored text tags."""

    text: ShardStore  # the text stage's results
    store: ShardStore  # where the pairs go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        path = self.text.path(shard.name, ".parquet")
        columns = ["sample_id", "concept_id"]
        tags = SidePairs.from_table(
            pd.read_parquet(path, columns=columns) if path.exists() else None
        )
        table = count_together(tags.sample_ids, tags.concept_ids)
        target = self.store.path(shard.name, _SUFFIX)
        write_parquet(target, table, sync=False)
        self.store.write(shard.name, shard.fingerprint, {"n_pairs": len(table)}, {_SUFFIX: target})


def pair_store(folder: Path) -> ShardStore:
    """Return the store of a run's pairs."""
    return ShardStore(folder=folder / NAME, digest=digest_of(NAME))


def cooccurrence_table(
    store: ShardStore,
    shards: Sequence[Shard],
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
    *,
    top: int = DEFAULT_TOP,
) -> pd.DataFrame:
    """Add up the pairs of all shards and list each concept's top partners; see `top_pairs`."""
    with PairCounts(len(vocabulary)) as pairs:
        for shard in shards:
            pairs.add(pd.read_parquet(store.path(shard.name, _SUFFIX)))
        return top_pairs(pairs, vocabulary, n_text, n_captions, top=top)
