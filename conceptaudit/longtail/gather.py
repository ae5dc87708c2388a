"""Put together what the shards of a pool have to offer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath

import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport
from conceptaudit.errors import DataError
from conceptaudit.longtail.collect import DROPS, CollectShard
from conceptaudit.longtail.finder import TopKSearch
from conceptaudit.longtail.finds import IMAGES, PAIRS, VECTORS, read_finds
from conceptaudit.longtail.pool_counts import COLUMNS, PoolAccount
from conceptaudit.longtail.topk import CandidateLists
from conceptaudit.records import ROW_BITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """The candidates of every concept, and what became of the pool's other images."""

    candidates: CandidateLists
    account: PoolAccount
    notes: list[str] = field(default_factory=list)  # what a user of the set must know
    # shard and sample id of images that lie elsewhere than their vectors, by content
    places: dict[str, tuple[int, int]] = field(default_factory=dict)


def gather(
    stage: CollectShard, pool: Dataset, shards: Sequence[Shard], report: StageReport
) -> Collected:
    """Put together what the shards have to offer, and keep the best candidates of all."""
    finder = TopKSearch(stage.concepts, stage.options.n_candidates, stage.options.min_score)
    account = PoolAccount()
    for number, shard in enumerate(shards):
        if shard.name in report.failed:
            account.skip_file(source_of(pool, shard), report.failed[shard.name])
            continue
        summary = report.store.read(shard.name)
        if "dimension" in summary:
            raise DataError(
                f"The pool's embeddings have dimension {summary['dimension']}, the concept vectors "
                f"{stage.concepts.shape[1]}: they come from different models. Name the pool's "
                "model with --clip."
            )
        account.add(summary, _dropped(report.store, shard), partial(source_of, pool, shard))
        paths = {end: report.store.path(shard.name, end) for end in (IMAGES, PAIRS, VECTORS)}
        finds = read_finds(paths, number)
        if finds is not None:
            finder.merge(finds)
    lists = finder.lists(lambda number, sample: source_of(pool, shards[number], sample))
    return Collected(candidates=lists, account=account)


def _dropped(store: ShardStore, shard: Shard) -> pd.DataFrame:
    path = store.path(shard.name, DROPS)
    return pd.read_parquet(path) if path.exists() else pd.DataFrame(columns=list(COLUMNS))


def source_of(pool: Dataset, shard: Shard, sample: int | None = None) -> str:
    """Name a shard's main file relative to the pool, and the row of a sample in it."""
    path = shard.files[0] if shard.files else shard.name
    inside = path.removeprefix(pool.location.rstrip("/")).lstrip("/")
    name = inside if inside and inside != path.lstrip("/") else PurePosixPath(path).name
    return name if sample is None else f"{name}#{sample & ((1 << ROW_BITS) - 1)}"
