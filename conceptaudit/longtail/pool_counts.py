"""What became of the pool's samples, which always adds up; what its own columns call unsafe."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.longtail.records import REMOVED_COLUMNS, UNREADABLE_FILE, UNSAFE, WATERMARK
from conceptaudit.options.longtail import LongTailOptions

# Unusable pool images listed per reason; all of them are counted.
MAX_LISTED = 10_000

DROP_COLUMNS = ("sample_id", "key", "reason", "detail")

# LAION's NSFW column says UNLIKELY, UNSURE or NSFW; UNSURE is kept.
UNSAFE_WORDS = frozenset({"nsfw", "true", "yes", "1"})


@dataclass(slots=True)
class PoolCounts:
    """What became of the samples of a shard, or of the whole pool."""

    n_samples: int = 0  # samples read
    n_compared: int = 0  # images that were compared with the concepts
    dropped: Counter[str] = field(default_factory=Counter)  # images that could not be, by reason
    # images of which the pool's columns say more, by column: ``"unsafe"``, ``"watermark"`` …
    told: Counter[str] = field(default_factory=Counter)
    # what cannot be used, at most `MAX_LISTED` per reason: sample id (in the whole pool the file
    # and row), key, reason, detail
    listed: list[tuple[int | str, str, str, str]] = field(default_factory=list)
    n_unreadable_files: int = 0
    n_listed: Counter[str] = field(default_factory=Counter)

    def count(self, extra: Mapping[str, Sequence[Any]] | None) -> None:
        """Count the rows of which each column says something."""
        for name, values in (extra or {}).items():
            n = sum(value is not None and value != "" for value in values)
            if n:
                self.told[name] += n

    def drop(self, where: int | str, key: str, reason: str, detail: str = "") -> None:
        """Count an image that cannot be used, and list it while there is room."""
        self.dropped[reason] += 1
        self._list(where, key, reason, detail)

    def _list(self, where: int | str, key: str, reason: str, detail: str) -> None:
        self.n_listed[reason] += 1
        if self.n_listed[reason] <= MAX_LISTED:
            self.listed.append((where, key, reason, detail))

    def summary(self) -> Json:
        """Return the counts of a shard."""
        return {
            "n_samples": self.n_samples,
            "n_compared": self.n_compared,
            "dropped": dict(sorted(self.dropped.items())),
            "told": dict(sorted(self.told.items())),
        }

    def drops(self) -> pd.DataFrame:
        """Lay out a shard's images that cannot be used."""
        return pd.DataFrame(self.listed, columns=list(DROP_COLUMNS))

    def add(self, part: Json, drops: pd.DataFrame, source: Callable[[int], str]) -> None:
        """Add a shard's `summary` and `drops`; `source` names the file and row of a sample id."""
        self.n_samples += part["n_samples"]
        self.n_compared += part["n_compared"]
        self.dropped.update(part["dropped"])
        self.told.update(part["told"])
        for sample, key, reason, detail in drops.itertuples(index=False, name=None):
            self._list(source(int(sample)), key, reason, detail)

    def skip_file(self, source: str, detail: str) -> None:
        """Count and list a file that cannot be read; its samples are not known."""
        self.n_unreadable_files += 1
        self.listed.append((source, "", UNREADABLE_FILE, detail))

    def removed(self) -> pd.DataFrame:
        """Rows of ``removed.csv`` for what the pool could not offer."""
        rows = [
            (key, source, "", reason, detail, "") for source, key, reason, detail in self.listed
        ]
        return pd.DataFrame(rows, columns=list(REMOVED_COLUMNS))

    def notes(self, options: LongTailOptions) -> list[str]:
        """Say which reasons have more images than are listed, and what the pool calls unsafe."""
        notes = [
            f"{n:,} pool images are unusable as {reason!r}; {MAX_LISTED:,} of them are listed."
            for reason, n in sorted(self.dropped.items())
            if n > MAX_LISTED
        ]
        limits = {UNSAFE: options.max_unsafe, WATERMARK: options.max_watermark}
        columns = {UNSAFE: (UNSAFE, "nsfw"), WATERMARK: (WATERMARK,)}
        for reason, limit in limits.items():
            told = max((self.told[name] for name in columns[reason]), default=0)
            option = f"--max-{reason}"
            if told and limit > 1.0:
                notes.append(f"The pool says which images are {reason}; {option} is off, all stay.")
            elif told:
                notes.append(
                    f"The pool says of {quantity(told, 'image')} how {reason} they are: "
                    f"{self.dropped[reason]:,} above {limit:g} ({option}) are left out."
                )
        return notes


def unsafe_rows(
    extra: Mapping[str, Sequence[Any]] | None, options: LongTailOptions
) -> dict[int, tuple[str, str]]:
    """Find rows that must not be in a test set, with the reason and what was found.

    >>> unsafe_rows({"unsafe": [0.1, 0.9, None], "nsfw": ["NSFW", "UNSURE", None]},
    ...             LongTailOptions())
    {0: ('unsafe', "nsfw is 'NSFW'"), 1: ('unsafe', 'unsafe is 0.9')}
    """
    found: dict[int, tuple[str, str]] = {}
    for name, values in sorted((extra or {}).items()):
        reason = WATERMARK if name == WATERMARK else UNSAFE
        limit = options.max_watermark if name == WATERMARK else options.max_unsafe
        if name not in (WATERMARK, UNSAFE, "nsfw") or limit > 1.0:
            continue
        for row, value in enumerate(values):
            number = _number(value)
            over = number > limit if number is not None else _is_unsafe_word(value)
            if over and row not in found:
                shown = repr(value) if number is None else f"{number:g}"
                found[row] = (reason, f"{name} is {shown}")
    return dict(sorted(found.items()))


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return None if math.isnan(number) else number


def _is_unsafe_word(value: Any) -> bool:
    return isinstance(value, str) and value.strip().casefold() in UNSAFE_WORDS
