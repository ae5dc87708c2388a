"""Files in the making: each is held by the process that writes it, and nobody's if that is dead.

A file is written beside its place as ``.NAME.partial`` under a lock that the operating system
frees when the writer dies, however it dies. Whoever writes NAME next finds what a dead writer
left by its name, and takes it over; what a living one holds is left alone, and the next name
(``.NAME.1.partial``) is taken. So nothing half-written piles up, in whatever folder.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PARTIAL_SUFFIX = ".partial"
"""Ending of files being written; nothing reads them."""

LOOK_AHEAD = 3
"""Names after the one taken that are looked at: so many writers of one file died side by side."""


@contextmanager
def whole(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield an empty, private file beside `path`; on success sync and rename it, else remove it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with whole(Path(folder, "a.txt")) as partial:
    ...         _ = partial.write_text("all of it")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.txt']
    """
    number, handle = _taken(path)
    partial = _name(path, number)
    try:
        for later in range(number + 1, number + 1 + LOOK_AHEAD):
            remove_abandoned(_name(path, later))
        try:
            yield partial
            if sync:  # where not, only a power failure tells
                # by its name: a writer may have put another file in its place
                with partial.open("rb+") as stream:
                    os.fsync(stream.fileno())
            partial.chmod(0o666 & ~user_mask())
            partial.replace(path)
        except BaseException:
            if leads_to(partial, handle):
                with suppress(OSError):  # the next writer takes it over
                    partial.unlink()
            raise
    finally:
        os.close(handle)


def user_mask() -> int:
    """Return the mask of permissions that the user wants new files to lack (``umask``).

    Setting it is the only portable way to ask, and changes it for other threads meanwhile; Linux
    has it in a file.
    """
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def remove_abandoned(partial: Path) -> bool:
    """Remove a partial file unless a living process is writing it; say whether it is gone."""
    if not os.path.lexists(partial):
        return True
    try:
        handle = os.open(partial, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # under the lock, so that nobody takes it over between the look and the removal
        if leads_to(partial, handle):
            partial.unlink()
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _name(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}{f'.{number}' if number else ''}{PARTIAL_SUFFIX}")


def _taken(path: Path) -> tuple[int, int]:
    """Return the first partial file of a path that is free: its number and a handle."""
    number = 0
    while (handle := _hold(_name(path, number))) is None:
        number += 1
    return number, handle


def _hold(partial: Path) -> int | None:
    """Make a file, or take over what a dead process left; None where it is somebody else's."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
    new = True
    try:
        handle = os.open(partial, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        new = False
        try:
            handle = os.open(partial, flags)
        except OSError:
            return None
    held = False
    try:
        locked = lock(handle)
        # a file system without locks: who made a file has it, and what is there may be another's
        free = new if locked is None else locked
        held = free and leads_to(partial, handle) and (new or _own(handle))
        if held and not new:
            os.fchmod(handle, 0o600)
            os.ftruncate(handle, 0)
    finally:
        if not held:
            os.close(handle)
    return handle if held else None


def lock(handle: int) -> bool | None:
    """Lock a file or folder; False where a living process has it, None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _own(handle: int) -> bool:
    """Whether a file is a plain one of this user that has no other name."""
    found = os.fstat(handle)
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1


def leads_to(path: Path, handle: int) -> bool:
    """Whether a path still leads to the file or folder that is open."""
    with suppress(OSError):
        return os.path.samestat(path.lstat(), os.fstat(handle))
    return False
