"""What became of the pool's samples; always adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.longtail.records import UNREADABLE_FILE, Removal

MAX_LISTED = 10_000
"""Unusable pool images listed per reason; all of them are counted."""

COLUMNS = ("sample_id", "key", "reason", "detail")


@dataclass(slots=True)
class ShardAccount:
    """What became of one shard's samples."""

    n_samples: int = 0
    n_compared: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    # sample id, key, reason and detail of images that cannot be used, at most `MAX_LISTED` per
    # reason
    listed: list[tuple[int, str, str, str]] = field(default_factory=list)

    def drop(self, sample_id: int, key: str, reason: str, detail: str = "") -> None:
        """Count an image that cannot be used, and list it while there is room."""
        self.dropped[reason] += 1
        if self.dropped[reason] <= MAX_LISTED:
            self.listed.append((sample_id, key, reason, detail))

    def summary(self) -> Json:
        """Return the counts."""
        return {
            "n_samples": self.n_samples,
            "n_compared": self.n_compared,
            "dropped": dict(sorted(self.dropped.items())),
            "told": dict(sorted(self.told.items())),
        }

    def table(self) -> pd.DataFrame:
        """Lay out the images that cannot be used."""
        return pd.DataFrame(self.listed, columns=list(COLUMNS))


@dataclass(slots=True)
class PoolAccount:
    """What became of the pool's samples."""

    n_samples: int = 0  # samples read
    n_compared: int = 0  # images that were compared with the concepts
    dropped: Counter[str] = field(default_factory=Counter)  # images that could not be, by reason
    # images of which the pool's columns say more, by what: ``"unsafe"``, ``"watermark"`` …
    told: Counter[str] = field(default_factory=Counter)
    # images that could not be compared, at most `MAX_LISTED` per reason, and files that were
    # skipped
    removals: list[Removal] = field(default_factory=list)
    n_unreadable_files: int = 0  # files that were skipped
    _n_listed: Counter[str] = field(default_factory=Counter)

    def add(self, part: Json, listed: pd.DataFrame, source: Callable[[int], str]) -> None:
        """Add a shard's account."""
        self.n_samples += part["n_samples"]
        self.n_compared += part["n_compared"]
        self.dropped.update(part["dropped"])
        self.told.update(part["told"])
        for sample, key, reason, detail in listed.itertuples(index=False, name=None):
            self._n_listed[reason] += 1
            if self._n_listed[reason] <= MAX_LISTED:
                self.removals.append(
                    Removal(
                        key=key,
                        source=source(int(sample)),
                        concept="",
                        reason=reason,
                        detail=detail,
                    )
                )

    def skip_file(self, source: str, detail: str) -> None:
        """Count and list a file that cannot be read; its samples are not known."""
        self.n_unreadable_files += 1
        self.removals.append(
            Removal(key="", source=source, concept="", reason=UNREADABLE_FILE, detail=detail)
        )

    def notes(self) -> list[str]:
        """Say which reasons have more images than are listed."""
        return [
            f"{quantity(n, 'pool image is', 'pool images are')} unusable as {reason!r}; "
            f"{MAX_LISTED:,} of them are listed."
            for reason, n in sorted(self.dropped.items())
            if n > MAX_LISTED
        ]
