"""Unfinished files and folders: locked by the process that writes, and nobody's if it is dead.

A file is written beside its place as ``.NAME.partial`` under a lock that the operating system
frees when the writer dies, however it dies. Whoever writes NAME next finds what a dead writer
left by its name, and takes it over; what a living one holds is left alone, and the next name
(``.NAME.1.partial``) is taken. Scratch folders lie where `tempfile` puts such things, locked in the
same way. So what is left over is never more than the last kill left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

PARTIAL_SUFFIX = ".partial"  # ending of files being written; nothing reads them

# Names after the one taken that are looked at: so many writers of one file died side by side.
LOOK_AHEAD = 3


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


# Short, because Ray puts sockets below it, whose paths the system limits to 107 bytes.
PREFIX = "conceptaudit.tmp."

MARKER = ".scratch"  # file in such a folder, by which it is told from anybody's folder of that name

_TRIES = 30
_PAUSE_SECONDS = 0.1


class ScratchFolder:
    """A private, empty folder, until it is closed or the process dies.

    Examples
    --------
    >>> with ScratchFolder() as folder:
    ...     _ = (folder / "a.txt").write_text("a")
    >>> folder.exists()
    False
    """

    def __init__(self, place: Path | None = None) -> None:
        site = place or Path(tempfile.gettempdir())
        _remove_abandoned(site)
        while True:
            self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=site))
            self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            # another process may have seen it before it was locked, and removed it
            if lock(self._handle) is not False and leads_to(self.path, self._handle):
                (self.path / MARKER).touch(0o600)
                return
            os.close(self._handle)

    def close(self) -> None:
        """Remove the folder and what is in it."""
        if self._handle >= 0:
            for _ in range(_TRIES):  # while other processes that wrote to it are still ending
                shutil.rmtree(self.path, ignore_errors=True)
                if not self.path.exists():
                    break
                time.sleep(_PAUSE_SECONDS)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> Path:
        """Return its path."""
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove it."""
        self.close()


def _remove_abandoned(site: Path) -> None:
    """Remove marked folders whose process is dead; of others, only what is empty."""
    for path in site.glob(f"{PREFIX}*"):
        try:
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            continue
        try:
            found = os.fstat(handle)
            own = found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == stat.S_IRWXU
            if own and lock(handle) and leads_to(path, handle):
                if (path / MARKER).is_file():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    with suppress(OSError):  # killed before it was marked, or somebody else's
                        path.rmdir()
        finally:
            os.close(handle)
