"""Locks of run folders: one run has the whole of it, or parts share it, each alone with its share.

The operating system frees the lock of a process that dies, however it dies. The file system has to
know locks: local ones, NFS version 4, Lustre mounted with ``flock``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.store.layouts import LOCK
from conceptaudit.store.partials import leads_to

_ATTEMPTS = 20  # times that a lock which another process removes at its own end is taken anew


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the operating system frees it if we die."""
    with ExitStack() as stack:
        try:
            _lock(stack, _made(folder) / LOCK, fcntl.LOCK_EX)
        except BlockingIOError as error:
            raise _busy("Another run", folder) from error
        try:
            yield
        finally:
            _remove(folder / LOCK)


@contextmanager
def sharing(folder: Path, part: str) -> Iterator[None]:
    """Hold a part of a run for this process, while others hold other parts."""
    with ExitStack() as stack:
        try:
            everyone = _lock(stack, _made(folder) / LOCK, fcntl.LOCK_SH)
        except BlockingIOError as error:
            raise _busy("A run over all parts", folder) from error
        try:
            _lock(stack, folder / f"{LOCK}-{part}", fcntl.LOCK_EX)
        except BlockingIOError as error:
            raise _busy(f"Another process of part {part}", folder) from error
        try:
            yield
        finally:
            _remove(folder / f"{LOCK}-{part}")
            _remove_if_last(everyone, folder / LOCK)


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ArtifactMismatchError(f"{folder} is a file; -o must name a folder.") from error
    except OSError as error:
        raise DataError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    return folder


def _busy(what: str, folder: Path) -> ArtifactMismatchError:
    return ArtifactMismatchError(
        f"{what} is writing to {folder}. Wait for it, or name another folder with -o."
    )


def _lock(stack: ExitStack, path: Path, how: int) -> IO[str]:
    """Lock a file that another process may remove at the end of its own run."""
    for _ in range(_ATTEMPTS):
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            stream = os.fdopen(os.open(path, flags, 0o666), "a+")
        except OSError as error:
            raise DataError(f"Cannot write to {path.parent}: {error.strerror or error}.") from error
        try:
            fcntl.flock(stream, how | fcntl.LOCK_NB)
            same = leads_to(path, stream.fileno())
        except BlockingIOError:
            stream.close()
            raise
        except OSError as error:
            stream.close()
            raise _no_locks(path.parent, error) from error
        if same:
            return stack.enter_context(stream)
        stream.close()
    raise BlockingIOError(0, "the lock changes hands", str(path))


def _no_locks(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"{folder} lies on a file system that gives no file locks ({error.strerror or error}), by "
        "which two runs keep out of each other's way. Mount it with them (NFS as version 4 or with "
        "local_lock=flock, Lustre with flock), or name a folder on another disk with -o."
    )


def _remove_if_last(stream: IO[str], path: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return  # other parts hold it
    _remove(path)


def _remove(lock: Path) -> None:
    with suppress(OSError):  # one that stays is nobody's, and does no harm
        lock.unlink()
