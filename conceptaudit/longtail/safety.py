"""Images that the pool's own columns call unsafe or watermarked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.longtail.pool_counts import PoolAccount, ShardAccount
from conceptaudit.longtail.records import UNSAFE, WATERMARK
from conceptaudit.options.longtail import LongTailOptions

UNSAFE_WORDS = frozenset({"nsfw", "true", "yes", "1"})
"""LAION's NSFW column says UNLIKELY, UNSURE or NSFW; UNSURE is kept."""


def unsafe_rows(
    extra: Mapping[str, Sequence[Any]] | None, options: LongTailOptions
) -> dict[int, tuple[str, str]]:
    """Find rows that must not be in a test set.

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


def count_told(account: ShardAccount, extra: Mapping[str, Sequence[Any]] | None) -> None:
    """Count the rows of which each column says something."""
    for name, values in (extra or {}).items():
        n = sum(value is not None and value != "" for value in values)
        if n:
            account.told[name] += n


def safety_notes(account: PoolAccount, options: LongTailOptions) -> list[str]:
    """Say what the pool's columns told, and what was left out for it."""
    notes = []
    limits = {UNSAFE: options.max_unsafe, WATERMARK: options.max_watermark}
    columns = {UNSAFE: (UNSAFE, "nsfw"), WATERMARK: (WATERMARK,)}
    for reason, limit in limits.items():
        told = max((account.told[name] for name in columns[reason]), default=0)
        if not told:
            continue
        option = f"--max-{reason}"
        if limit > 1.0:
            notes.append(f"The pool says which images are {reason}; {option} is off, all stay.")
            continue
        notes.append(
            f"The pool says of {quantity(told, 'image')} how {reason} they are: "
            f"{account.dropped[reason]:,} above {limit:g} ({option}) are left out."
        )
    return notes


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
