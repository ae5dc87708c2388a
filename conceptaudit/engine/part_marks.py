"""Which parts of a run are finished, as files in its folder say.

A mark is written when a part has done its share, and names the command that was asked for. A merge
reads the marks to see what is missing, and asks for the whole; a finished run has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conceptaudit.artifacts import MARK, Json, canonical_json, read_json, write_json
from conceptaudit.engine.parts import Part
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError

SHOWN = 20
"""Parts named in a message."""

MOST_SHARDS = 10_000_000
"""A mark that tells of more is damaged."""


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
