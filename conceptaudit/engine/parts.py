"""One run as many jobs: each does its share of the shards, all write to one folder.

Jobs need to know nothing of each other: shard k belongs to part ``k mod n``. A part holds a lock
of its own and shares the folder's; a run over everything, such as the merge, holds the folder's
alone. So parts run side by side, and none runs while a merge reads what it writes.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from conceptaudit.artifacts import LOCK, read_json, write_json
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError

MARKER = ".part-"
"""Begin of the names of files that say which parts are finished; a whole run removes them."""

_ATTEMPTS = 20
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One job of several.

    Parameters
    ----------
    index : int
        In [0, count), as a scheduler's array index.
    count : int
        Parts in all, at least 1.

    Raises
    ------
    ConfigError
        The index is out of range.

    Examples
    --------
    >>> part = Part.parse("1/3")
    >>> part.share("abcdefg"), str(part)
    (('b', 'e'), '1-of-3')
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 <= self.index < self.count:
            raise ConfigError(
                "The 'shard' parameter must be I/N with I from 0 to N - 1, as in 0/500 to 499/500. "
                f"Got {self.index}/{self.count} instead. Array jobs that count from 1 need "
                "$((ID - 1))/N."
            )

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``"17/500"``.

        Raises
        ------
        ConfigError
            It is something else.
        """
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, flags=re.ASCII)
        if found is None:
            raise ConfigError(
                f"The 'shard' parameter must be I/N, such as 17/500. Got {text!r} instead."
            )
        return cls(index=int(found[1]), count=int(found[2]))

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def share(self, shards: Sequence[T]) -> tuple[T, ...]:
        """Return every `count`-th shard, from `index` on."""
        return tuple(shards[self.index :: self.count])


@contextmanager
def sharing(folder: Path, part: Part) -> Iterator[None]:
    """Hold a part of a run for this process, while others hold other parts.

    The file system has to know locks (local ones, NFS version 4, Lustre mounted with ``flock``).

    Raises
    ------
    ArtifactMismatchError
        The part is running already, or a run over all parts is.
    DataError
        The folder cannot be made or written to.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            everyone = _locked(stack, folder / LOCK, fcntl.LOCK_SH)
            own = _locked(stack, folder / f"{LOCK}-{part}", fcntl.LOCK_EX)
        except BlockingIOError as error:
            held = Path(str(error.filename)).name
            what = "A run over all parts" if held == LOCK else f"Another process of part {part}"
            raise ArtifactMismatchError(
                f"{what} is writing to {folder}. Wait for it, or name another folder with -o."
            ) from error
        except OSError as error:
            raise DataError(f"Cannot write to {folder}: {error.strerror or error}.") from error
        try:
            yield
        finally:
            Path(own.name).unlink(missing_ok=True)
            _remove_if_last(everyone)


def _locked(stack: ExitStack, path: Path, how: int) -> IO[str]:
    """Lock a file that another process may remove at the end of its own run."""
    for _ in range(_ATTEMPTS):
        stream = path.open("a+")
        try:
            fcntl.flock(stream, how | fcntl.LOCK_NB)
        except OSError as error:
            stream.close()
            raise BlockingIOError(error.errno, error.strerror, str(path)) from error
        if path.exists() and path.stat().st_ino == os.fstat(stream.fileno()).st_ino:
            return stack.enter_context(stream)
        stream.close()
    raise BlockingIOError(0, "the lock changes hands", str(path))


def _remove_if_last(stream: IO[str]) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # other parts hold it
    Path(stream.name).unlink(missing_ok=True)


def mark_finished(folder: Path, part: Part) -> None:
    """Note that a part has done its share."""
    write_json(folder / f"{MARKER}{part}.json", {"part": [part.index, part.count]})


def finished_parts(folder: Path) -> tuple[Part, ...]:
    """Return the parts that have done their share, in order.

    Raises
    ------
    DataError
        A marker is damaged.
    """
    parts = []
    for path in folder.glob(f"{MARKER}*.json"):
        try:
            index, count = read_json(path)["part"]
            parts.append(Part(index=int(index), count=int(count)))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} says of no part that it is finished: {error}.") from error
    return tuple(sorted(parts, key=lambda part: (part.count, part.index)))


def uncovered(n_shards: int, parts: Sequence[Part]) -> list[int]:
    """Return the positions of the shards that belong to none of these parts.

    Examples
    --------
    >>> uncovered(6, [Part(index=0, count=3), Part(index=1, count=3)])
    [2, 5]
    """
    covered = {k for part in parts for k in part.share(range(n_shards))}
    return [k for k in range(n_shards) if k not in covered]


def forget_parts(folder: Path) -> None:
    """Remove what parts leave beside their results; only for who holds the whole folder."""
    for pattern in (f"{MARKER}*.json", f"{LOCK}-*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
