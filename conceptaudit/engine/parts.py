"""One run as many jobs: each does its share of the shards, all write to one folder.

Jobs need to know nothing of each other: shard k belongs to part ``k mod n``. A part holds a lock
of its own and shares the folder's; a run over everything, such as the merge, holds the folder's
alone (`RunFolder`). So parts run side by side, and none runs while a merge reads what it writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from conceptaudit.artifacts import Json
from conceptaudit.engine.stage import StageReport
from conceptaudit.errors import ConfigError

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One job of several.

    Examples
    --------
    >>> part = Part.parse("1/3")
    >>> part.share("abcdefg"), str(part)
    (('b', 'e'), '1-of-3')
    """

    index: int  # in [0, count), as a scheduler's array index
    count: int  # parts in all, at least 1
    # how the program was asked for this part, so that it can ask itself for the whole
    asked: Json = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise ConfigError(
                "The 'shard' parameter must be I/N with I from 0 to N - 1, as in 0/500 to 499/500. "
                f"Got {self.index}/{self.count} instead. Array jobs that count from 1 need "
                "$((ID - 1))/N."
            )

    @classmethod
    def parse(cls, text: str, *, asked: Json = None) -> Part:
        """Read ``"17/500"``."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, flags=re.ASCII)
        if found is None:
            raise ConfigError(
                f"The 'shard' parameter must be I/N, such as 17/500. Got {text!r} instead."
            )
        return cls(index=int(found[1]), count=int(found[2]), asked=asked)

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def share(self, shards: Sequence[T]) -> tuple[T, ...]:
        """Return every `count`-th shard, from `index` on."""
        return tuple(shards[self.index :: self.count])


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRun:
    """What one job did."""

    folder: Path  # the folder that all jobs write to
    part: Part
    n_shards: int  # shards of this part, and of the dataset
    n_all: int
    # by stage: shards computed by this call and why; shards kept from before
    redone: dict[str, dict[str, object]]
    failed: dict[str, str]  # shards that could not be read, with the error, where that was allowed

    @classmethod
    def of(
        cls, folder: Path, part: Part, n_all: int, reports: Mapping[str, StageReport]
    ) -> PartRun:
        """Sum up a part's stages."""
        return cls(
            folder=folder,
            part=part,
            n_shards=len(part.share(range(n_all))),
            n_all=n_all,
            redone={
                name: {"kept": report.kept, "redone": dict(report.redone)}
                for name, report in reports.items()
            },
            failed={
                shard: why for report in reports.values() for shard, why in report.failed.items()
            },
        )
