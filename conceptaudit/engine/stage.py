"""Run one stage over a dataset's shards, keeping every finished shard.

A stage maps the batches of one shard to one result and does no I/O. This module reads the shard,
calls the stage, writes the result whole and skips what is already there and still valid. Batches
are counted on their way to the stage: every sample is used or dropped for a reason, or nothing is
written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, digest_of, write_npy, write_parquet
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.datasets.changes import check_unchanged, stamps_of
from conceptaudit.display import quantity
from conceptaudit.engine.base import Engine, available_cpus
from conceptaudit.errors import AccountError, DataError
from conceptaudit.progress import Progress
from conceptaudit.records import Int64Array, SampleBatch
from conceptaudit.store.removing import remove

if TYPE_CHECKING:
    import pyarrow as pa


ACCOUNT = frozenset({"n_samples", "n_used", "dropped"})


class CountedBatches:
    """Batches of one shard, counted as they pass."""

    def __init__(self, batches: Iterator[SampleBatch], shard: str) -> None:
        self._batches = batches
        self._shard = shard
        self._last = -1
        self._seen: list[Int64Array] = []
        self.n_samples = 0

    def __iter__(self) -> Iterator[SampleBatch]:
        """Return itself."""
        return self

    def __next__(self) -> SampleBatch:
        """Return the next batch."""
        batch = next(self._batches)
        self._check_once(np.asarray(batch.sample_ids))
        self.n_samples += len(batch) + sum(1 for drop in batch.drops if drop.part == "sample")
        return batch

    def _check_once(self, ids: Int64Array) -> None:
        """Readers go on from row to row, so that a look at the order is enough nearly always."""
        if not len(ids):
            return
        rising = int(ids[0]) > self._last and bool((np.diff(ids) > 0).all())
        if not rising:
            before = np.concatenate([*self._seen, ids])
            values, times = np.unique(before, return_counts=True)
            if (times > 1).any():
                self._fail(f"sample {int(values[times > 1][0])} is read twice")
        self._seen.append(ids)
        self._last = max(self._last, int(ids.max()))

    def check(self, account: Json) -> None:
        """Hold a stage's account against what was read."""
        if not isinstance(account, dict) or not account.keys() >= ACCOUNT:
            return
        n_read, n_used = account["n_samples"], account["n_used"]
        n_dropped = sum(account["dropped"].values())
        if n_read != n_used + n_dropped or min(n_used, n_dropped) < 0:
            self._fail(
                f"{quantity(n_read, 'sample')}, but {n_used:,} used and {n_dropped:,} dropped"
            )
        if next(self._batches, None) is not None:
            self._fail(f"the stage stopped reading after {quantity(self.n_samples, 'sample')}")
        if n_read != self.n_samples:
            self._fail(
                f"{quantity(self.n_samples, 'sample was', 'samples were')} read, but {n_read:,} "
                "accounted for"
            )

    def _fail(self, what: str) -> NoReturn:
        raise AccountError(
            f"The account of shard {self._shard} does not add up: {what}. Nothing was written for "
            "it. This is a defect of conceptaudit, or the file changed while it was read: run the "
            "same command again, and report it if it recurs."
        )


MAX_CHECKING = 16  # threads that check the records of an earlier run

CHECKED_AT_ONCE = 64  # shards checked between two tellings of progress


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardResult:
    """What a stage made of one shard."""

    summary: Json  # small numbers that merge by addition
    # tables by file suffix (``".parquet"``, ``".drops.parquet"``); empty ones are not written
    tables: Mapping[str, pd.DataFrame | pa.Table] = field(default_factory=dict)
    # arrays by file suffix (``".npy"``)
    arrays: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)


class Stage(Protocol):
    """Parameters plus one method."""

    @property
    def name(self) -> str:
        """Folder of the stage's results in the run."""

    @property
    def parts(self) -> frozenset[str]:
        """The parts of a sample that the stage needs."""

    @property
    def settings(self) -> Json:
        """Everything that can change a result: options, models and their digests."""

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Turn one shard's batches into its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageReport:
    """What running a stage did."""

    store: ShardStore  # where the results are
    # shards computed now, by why they had to be (``"missing"``, ``"damaged"``, …)
    redone: Mapping[str, int]
    kept: int  # shards whose results were there already
    # shards that could not be read, with the error, where that was allowed
    failed: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShardTask:
    """Reads one shard, runs the stage, writes the result; what an engine sends to a worker."""

    dataset: Dataset
    stage: Stage
    store: ShardStore
    skip_unreadable: bool

    def __call__(self, shard: Shard) -> str | None:
        try:
            stamps = stamps_of([shard])
            batches = CountedBatches(self.dataset.read(shard, self.stage.parts), shard.name)
            result = self.stage(shard, batches)
            check_unchanged(stamps, shard)
        except DataError as error:
            if self.skip_unreadable:
                return str(error)
            raise
        batches.check(result.summary)
        files = {}
        for suffix, table in result.tables.items():
            path = self.store.path(shard.name, suffix)
            if not len(table):
                remove(path.parent, [path.name])
                continue
            write_parquet(path, table, sync=False)
            files[suffix] = path
        for suffix, array in result.arrays.items():
            files[suffix] = self.store.path(shard.name, suffix)
            write_npy(files[suffix], array, sync=False)
        self.store.write(shard.name, shard.fingerprint, result.summary, files)
        return None


def stage_store(folder: Path, dataset: Dataset, stage: Stage) -> ShardStore:
    """Return the store whose records are valid for this stage on this dataset."""
    digest = digest_of({"stage": stage.settings, "reading": dataset.settings})
    return ShardStore(folder=folder / stage.name, digest=digest)


def run_stage(
    stage: Stage,
    dataset: Dataset,
    shards: Sequence[Shard],
    *,
    folder: Path,
    engine: Engine,
    progress: Progress,
    skip_unreadable: bool = False,
    tidy: bool = True,
) -> StageReport:
    """Bring a stage's results up to date for all shards of a dataset."""
    store = stage_store(folder, dataset, stage)
    task = _ShardTask(dataset=dataset, stage=stage, store=store, skip_unreadable=skip_unreadable)
    return run_shards(task, store, shards, engine=engine, progress=progress, tidy=tidy)


def run_shards(
    task: Callable[[Shard], str | None],
    store: ShardStore,
    shards: Sequence[Shard],
    *,
    engine: Engine,
    progress: Progress,
    tidy: bool = True,
) -> StageReport:
    """Run a task for the shards that have no valid record in a store.

    The task writes a shard's record and returns None, or the reason why it could not. `tidy` first
    removes partial files and records of other shards; not while other processes write there.
    """
    if tidy:
        store.discard_others(frozenset(shard.name for shard in shards))
    progress.start(store.folder.name, len(shards))
    todo: list[Shard] = []
    redone: Counter[str] = Counter()
    for shard, fault in _faults(store, shards):
        if fault is None:
            progress.advance()
        else:
            todo.append(shard)
            redone[fault.split(":")[0]] += 1
    failed: dict[str, str] = {}
    for shard, error in engine.run(task, todo):
        if error is not None:
            failed[shard.name] = error
        progress.advance()
    store.sync([shard.name for shard in todo])
    progress.finish()
    return StageReport(
        store=store,
        redone=dict(redone),
        kept=len(shards) - len(todo),
        failed=dict(sorted(failed.items())),
    )


def _faults(store: ShardStore, shards: Sequence[Shard]) -> Iterator[tuple[Shard, str | None]]:
    """Yield every shard with what is wrong with its record; hashing leaves Python's lock."""
    check = partial(_fault, store)
    threads = min(available_cpus(), MAX_CHECKING)
    if threads < 2 or len(shards) < CHECKED_AT_ONCE:
        yield from ((shard, check(shard)) for shard in shards)
        return
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(shards), CHECKED_AT_ONCE):
            block = shards[start : start + CHECKED_AT_ONCE]
            yield from zip(block, pool.map(check, block), strict=True)


def _fault(store: ShardStore, shard: Shard) -> str | None:
    return store.fault(shard.name, shard.fingerprint)
