"""Folders for what a process needs while it lives; those of dead processes are removed.

They lie where `tempfile` puts such things and are locked by their process. A killed process cannot
remove its own, so the next one does: what is left over is never more than the last kill left.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from conceptaudit.store.partials import leads_to, lock

PREFIX = "conceptaudit.tmp."
"""Short, because Ray puts sockets below it, whose paths the system limits to 107 bytes."""

MARKER = ".scratch"
"""File in such a folder, by which it is told from anybody's folder of that name."""

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
