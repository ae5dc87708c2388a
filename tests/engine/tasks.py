"""Tasks that lose their worker, or fail, when they are told to."""

import logging
import os
import resource
import signal
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.errors import DataError

TOO_MUCH = 128 * 2**20
"""Bytes: twice what `MemoryGroup` allows."""


@dataclass(frozen=True)
class Fail:
    """Squares numbers; at one of them something happens, as often as it is told to.

    Parameters
    ----------
    at : int
        The number.
    how : str
        As `lose` takes it.
    folder : Path
        Where it is noted, by a file each time.
    times : int
    """

    at: int
    how: str
    folder: Path
    times: int = 1_000

    def __call__(self, n: int) -> int:
        if n == self.at and len(list(self.folder.glob("went.*"))) < self.times:
            (self.folder / f"went.{time.monotonic_ns()}").touch()
            lose(self.how)
        return n * n


@dataclass(frozen=True)
class Where:
    """Says which process it ran in."""

    def __call__(self, n: int) -> int:
        time.sleep(0.05)  # long enough that a second worker is there before the first is through
        return os.getpid()


@dataclass(frozen=True)
class LoseOnce:
    """Another task, in a process that is lost when it has written its first result."""

    task: Callable[[Any], Any]
    how: str
    mark: Path

    def __call__(self, item: Any) -> Any:
        result = self.task(item)
        if not self.mark.exists():
            self.mark.touch()
            lose(self.how)
        return result


def lose(how: str) -> None:
    """Lose this process or this item.

    Parameters
    ----------
    how : str
        ``"kill"``, ``"memory"`` (an allocation fails), ``"error"``, or the folder of a group
        with little memory: then the kernel kills the process.
    """
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "memory":
        # a limit on the address space, so that the machine's memory stays out of it
        used = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
        limit = used * resource.getpagesize() + TOO_MUCH // 2
        before = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
        try:
            bytearray(TOO_MUCH)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, before)
    elif how.startswith("/"):
        Path(how, "cgroup.procs").write_text(str(os.getpid()), encoding="utf-8")
        taken = bytearray(TOO_MUCH)
        for page in range(0, len(taken), resource.getpagesize()):
            taken[page] = 1
    else:
        raise DataError("file 7, row 3: not a caption")


def nothing() -> None:
    """Prepare a process for what needs no preparation."""


def pid_of(_: object) -> int:
    return os.getpid()


def wait_forever(_: object) -> None:
    threading.Event().wait()


def refuse(row: int) -> None:
    raise DataError(f"row {row}: not a caption")


def lock_of(_: object) -> object:
    return threading.Lock()


class OddError(Exception):
    """Cannot be made again from what it says."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def raise_odd(_: object) -> None:
    raise OddError("a", "b")


def warn(n: int) -> int:
    """Warn, and write to the log."""
    warnings.warn(f"row {n} is odd", RuntimeWarning, stacklevel=1)
    logging.getLogger("some.package").warning("column %d is odd", n)
    return n
