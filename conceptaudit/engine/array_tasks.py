"""One run as many jobs: each does its share of the shards, all write to one folder.

Jobs need to know nothing of each other: shard k belongs to part ``k mod n``. A part holds a lock
of its own and shares the folder's; a run over everything, such as the merge, holds the folder's
alone (`RunFolder`). So parts run side by side, and none runs while a merge reads what it writes.
A mark is written when a part has done its share, and names the command that was asked for; a merge
reads the marks to see what is missing. A finished run has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from conceptaudit.artifacts import MARK, Json, canonical_json, read_json, write_json
from conceptaudit.engine.stage import StageReport
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError

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


SHOWN = 20  # parts named in a message

MOST_SHARDS = 10_000_000  # a mark that tells of more is damaged


def mark_finished(folder: Path, part: Part, n_shards: int) -> None:
    """Note that a part has done its share of a dataset's shards."""
    told = {"part": [part.index, part.count], "n_shards": n_shards, "asked": part.asked}
    write_json(folder / f"{MARK}{part}.json", told)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The finished parts of a run."""

    folder: Path
    parts: tuple[Part, ...]  # in order of count and index; each knows how it was asked for
    n_shards: int  # shards of the dataset

    def unfinished(self) -> list[int]:
        """Return the positions of the shards that belong to no finished part."""
        return uncovered(self.n_shards, self.parts)

    def asked(self) -> Json:
        """Return the command of the parts."""
        commands = {canonical_json(part.asked): part.asked for part in self.parts}
        if len(commands) > 1:
            raise ArtifactMismatchError(
                f"The parts in {self.folder} are of different commands: "
                f"{' and '.join(sorted(commands)[:2])}. Run those again that are wrong."
            )
        command = next(iter(commands.values()), None)
        if command is None:
            raise ConfigError(
                f"{self.folder} does not say by which command its parts were made: no part has "
                "finished, or a script made them. Run the command of the parts again, without "
                "--shard: it finishes what they began."
            )
        return command


def read_marks(folder: Path) -> Marks:
    """Read which parts have done their share."""
    parts, sizes = [], {0}
    for path in sorted(folder.glob(f"{MARK}*.json")):
        try:
            told = read_json(path)
            index, count = map(_whole, told["part"])
            parts.append(Part(index=index, count=count, asked=told["asked"]))
            sizes.add(_whole(told["n_shards"]))
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            raise DataError(f"{path} says of no part that it is finished: {error}.") from error
    ordered = sorted(parts, key=lambda part: (part.count, part.index))
    return Marks(folder=folder, parts=tuple(ordered), n_shards=max(sizes))


def _whole(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_SHARDS:
        raise ValueError(f"{value!r} counts nothing")
    return value


def uncovered(n_shards: int, parts: Sequence[Part]) -> list[int]:
    """Return the positions of the shards that belong to none of these parts.

    Examples
    --------
    >>> uncovered(6, [Part(index=0, count=3), Part(index=1, count=3)])
    [2, 5]
    """
    covered = np.zeros(n_shards, dtype=bool)
    for part in parts:
        covered[part.index :: part.count] = True
    return [int(k) for k in np.flatnonzero(~covered)]


def parts_to_run(missing: Sequence[int], parts: Sequence[Part]) -> str:
    """Say which parts have to run for shards that are missing.

    Examples
    --------
    >>> parts_to_run([2, 5], [Part(index=0, count=3), Part(index=1, count=3)])
    'Run --shard 2/3 again'
    """
    if not parts:
        return "No part is finished: run them"
    count = parts[0].count
    wanted = [f"{index}/{count}" for index in sorted({k % count for k in missing})]
    more = ", …" if len(wanted) > SHOWN else ""
    return f"Run --shard {', '.join(wanted[:SHOWN])}{more} again"
