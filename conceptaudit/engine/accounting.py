"""Every sample that a shard holds is counted once or dropped for a reason, or nothing is written.

The reader's batches are counted on their way to the stage, so that the stage's own account is held
against what was really read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import numpy as np

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.errors import AccountError
from conceptaudit.records import Int64Array, SampleBatch

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
