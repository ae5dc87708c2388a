"""The first stage: which samples there are, and which of them the conditions keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore, write_parquet
from conceptaudit.curate.expression import Condition
from conceptaudit.curate.scores import ScoreTable
from conceptaudit.datasets._columns import EXTRA_ALIASES, URL
from conceptaudit.datasets.base import EXTRA, Dataset, Shard
from conceptaudit.datasets.identities import is_url, plain_url
from conceptaudit.errors import ConfigError
from conceptaudit.records import SampleBatch
from conceptaudit.tagtable import SAMPLE

NAME = "screened"
LEFT = ".parquet"

_CANONICAL = {alias: name for name, aliases in EXTRA_ALIASES.items() for alias in aliases}


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenShard:
    """Lists the samples of one shard that the conditions keep.

    Parameters
    ----------
    dataset : Dataset
    store : ShardStore
        Where the lists go: ``sample_id, key`` per shard, and an account.
    conditions : tuple of Condition
    scores : ScoreTable or None
        Columns that are not the dataset's.
    urls : frozenset of str
        Addresses, as `plain_url` gives them, whose samples are left out.
    """

    dataset: Dataset
    store: ShardStore
    conditions: tuple[Condition, ...] = ()
    scores: ScoreTable | None = None
    urls: frozenset[str] = frozenset()

    def __call__(self, shard: Shard) -> None:
        """Screen a shard and write its record."""
        dropped: Counter[str] = Counter()
        ids, keys, n_samples = [], [], 0
        for batch in self._batches(shard):
            lost = [drop.reason for drop in batch.drops if drop.part == SAMPLE]
            dropped.update(f"unreadable: {reason}" for reason in lost)
            n_samples += len(batch) + len(lost)
            left = self._left(batch, dropped)
            ids.append(batch.sample_ids[left])
            keys += [batch.keys[row] for row in left.tolist()] if len(left) else []
        found = np.concatenate([np.empty(0, np.int64), *ids])
        order = np.argsort(found, kind="stable")
        table = pd.DataFrame({"sample_id": found, "key": pd.Series(keys, dtype="str")}).iloc[order]
        path = self.store.path(shard.name, LEFT)
        write_parquet(path, table)
        account = {
            "n_samples": n_samples,
            "n_left": len(found),
            "dropped": dict(sorted(dropped.items())),
        }
        self.store.write(shard.name, shard.fingerprint, account, {LEFT: path})

    def _batches(self, shard: Shard) -> Iterator[SampleBatch]:
        parts = frozenset({EXTRA}) if self.conditions or self.urls else frozenset[str]()
        yield from self.dataset.read(shard, parts)

    def _left(self, batch: SampleBatch, dropped: Counter[str]) -> np.ndarray[Any, Any]:
        """Rows that all conditions keep; the first that does not is the reason."""
        left = np.ones(len(batch), dtype=bool)
        for condition in self.conditions:
            columns = {name: self.column(batch, name) for name in condition.columns}
            holds, missing = condition.holds(columns), condition.missing(columns)
            dropped[f"keep: {condition.text}"] += int((left & ~holds & ~missing).sum())
            dropped[f"keep: {condition.text} (no value)"] += int((left & ~holds & missing).sum())
            left &= holds
        if self.urls:
            leaks = np.array([address in self.urls for address in _addresses(batch)], dtype=bool)
            dropped["exclude: same URL"] += int((left & leaks).sum())
            left &= ~leaks
        for reason in [reason for reason, n in dropped.items() if not n]:
            del dropped[reason]
        return np.flatnonzero(left)

    def column(self, batch: SampleBatch, name: str) -> Sequence[Any]:
        """Take a column of a batch, or of the scores.

        Raises
        ------
        ConfigError
            Neither has it.
        """
        extra = batch.extra or {}
        own = name if name in extra else _CANONICAL.get(name.strip().lower(), name)
        if self.scores is not None and name in self.scores.names:
            if own in extra:
                raise ConfigError(
                    f"--keep: both the dataset and --scores have a column {name!r}. Rename that of "
                    "the scores."
                )
            return self.scores.of(list(batch.keys), name).tolist()
        if own in extra:
            return list(extra[own])
        known = sorted({*extra, *(self.scores.names if self.scores is not None else ())})
        raise ConfigError(
            f"--keep names the column {name!r}, which neither the dataset nor --scores has. There "
            f"are {known or 'none'}; other columns are read where the dataset is a table."
        )

    def check_columns(self, shards: Sequence[Shard]) -> None:
        """Refuse a column that is not there before any work is done."""
        wanted = {name for condition in self.conditions for name in condition.columns}
        for shard in shards[:1] if wanted else ():
            for batch in self._batches(shard):
                if len(batch):
                    for name in sorted(wanted):
                        self.column(batch, name)
                    return


def _addresses(batch: SampleBatch) -> list[str]:
    """Return each sample's address: its URL column, or a key that is one."""
    urls = (batch.extra or {}).get(URL) or [None] * len(batch)
    own = [
        str(url) if url else key if is_url(key) else ""
        for url, key in zip(urls, batch.keys, strict=True)
    ]
    return [plain_url(one) if one else "" for one in own]
