"""Remote files that time out, break off, or fail once: tried again a few times, then named.

fsspec's own helpers take an error for an answer (`isfile` says False, `find` leaves a folder out
when listing it fails), so that a bad moment of the network would make a smaller dataset in
silence. Everything that is asked of a remote file system goes through this module.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from conceptaudit.errors import ConceptAuditError, DataError

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

# Seconds before the second, third … try: what lasts longer is no hiccup.
WAITS = (0.5, 1.0, 2.0, 4.0)

BUFFER_BYTES = 1 << 20

# What no second try mends; anything else that a file system raises may pass.
_PERMANENT = (
    FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, NotImplementedError,
    ImportError, MemoryError, ConceptAuditError,
)  # fmt: skip


def retried(action: Callable[[], T], url: str) -> T:
    """Do something remote, again where it fails for a reason that may pass."""
    for wait in (*WAITS, None):
        try:
            return action()
        except _PERMANENT:
            raise
        except Exception as error:
            # file systems raise their transport's own exceptions, which have no common base
            if wait is None:
                found = f"{type(error).__name__} {error}".strip()
                raise DataError(
                    f"{url} cannot be read: {found} ({len(WAITS) + 1} tries). Run the same command "
                    "again when it can be reached."
                ) from error
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


class ReadOnly(io.RawIOBase):
    """A file that can be read, from any place on."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True


class RemoteFile(ReadOnly):
    """A remote file that is opened again where it was when reading fails."""

    def __init__(self, filesystem: Any, path: str, url: str) -> None:
        super().__init__()
        self._filesystem, self._path, self._url = filesystem, path, url
        self._place = 0
        self._stream: Any = None
        size = retried(lambda: filesystem.info(path), url).get("size")
        self._size = None if size is None else int(size)
        retried(self._open, url)

    def _open(self) -> None:
        self._stream = self._filesystem.open(self._path, "rb")

    def _end(self) -> int:
        if self._stream is None:
            self._open()
        return int(self._stream.seek(0, io.SEEK_END))

    def tell(self) -> int:
        """Return the position."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; nothing is asked of the file system before something is read there."""
        if whence == io.SEEK_CUR:
            offset += self._place
        elif whence == io.SEEK_END:
            offset += retried(self._end, self._url) if self._size is None else self._size
        if offset < 0:
            raise ValueError(f"negative seek position {offset}")
        self._place = offset
        return offset

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer as far as the file goes."""
        view = memoryview(buffer).cast("B")
        wanted = len(view)
        if self._size is not None:
            wanted = max(min(wanted, self._size - self._place), 0)
        if not wanted:
            return 0
        content = retried(lambda: self._read(wanted), self._url)
        view[: len(content)] = content
        self._place += len(content)
        return len(content)

    def _read(self, wanted: int) -> bytes:
        try:
            if self._stream is None:
                self._open()
            self._stream.seek(self._place)
            content = cast("bytes", self._stream.read(wanted))
            if not content and self._size is not None:
                raise EOFError(f"ends at byte {self._place:,} of {self._size:,}")
        except Exception:
            self._drop()
            raise
        return content

    def _drop(self) -> None:
        """Forget a stream that failed; the next try opens another."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(Exception):  # a broken connection may fail to close as well
                stream.close()

    def close(self) -> None:
        """Close it."""
        self._drop()
        super().close()


def open_remote(filesystem: Any, path: str, url: str) -> IO[bytes]:
    """Open a remote file for reading: a read returns what was asked for, unless the file ends."""
    return cast("IO[bytes]", io.BufferedReader(RemoteFile(filesystem, path, url), BUFFER_BYTES))


def info_of(filesystem: Any, path: str, url: str) -> Mapping[str, Any] | None:
    """Return what the file system says of a path; None where there is no such path."""
    try:
        return cast("Mapping[str, Any]", retried(lambda: filesystem.info(path), url))
    except FileNotFoundError:
        return None


def list_remote(filesystem: Any, path: str, url: str) -> list[Mapping[str, Any]]:
    """List what lies directly in a folder."""
    return list(retried(lambda: filesystem.ls(path, detail=True), url))


def find_remote(filesystem: Any, path: str, url: str) -> dict[str, Mapping[str, Any]]:
    """Find all files below a folder, by path."""
    if not _is_inherited(filesystem, "find"):  # object stores list all keys of a prefix at once
        return dict(retried(lambda: filesystem.find(path, detail=True), url))
    return dict(sorted(_walk(filesystem, path, url)))


def glob_remote(filesystem: Any, pattern: str, url: str) -> dict[str, Mapping[str, Any]]:
    """Find the files that a pattern names, by path."""
    if not (_is_inherited(filesystem, "glob") and _is_inherited(filesystem, "find")):
        return dict(retried(lambda: filesystem.glob(pattern, detail=True), url))
    from fsspec.utils import glob_translate

    wild = min(pattern.index(mark) for mark in "*?[" if mark in pattern)
    root = pattern[:wild].rpartition("/")[0]
    matches = re.compile(glob_translate(pattern)).match
    depth = None if "**" in pattern else pattern.count("/") - root.count("/") - (not root)
    return {
        path: info for path, info in sorted(_walk(filesystem, root, url, depth)) if matches(path)
    }


def _is_inherited(filesystem: Any, name: str) -> bool:
    """Whether a file system leaves a method to fsspec's base classes."""
    from fsspec.asyn import AsyncFileSystem
    from fsspec.spec import AbstractFileSystem

    kind = type(filesystem)
    if issubclass(kind, AsyncFileSystem):
        return getattr(kind, f"_{name}") is getattr(AsyncFileSystem, f"_{name}")
    return getattr(kind, name) is getattr(AbstractFileSystem, name)


def _walk(
    filesystem: Any, root: str, url: str, depth: int | None = None
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield every file below a folder, down to `depth` levels; an unknown folder has none."""
    folders = [(root, 1)]
    while folders:
        folder, level = folders.pop()
        try:
            entries = list_remote(filesystem, folder, url)
        except FileNotFoundError:
            if folder != root:
                raise
            return
        for entry in entries:
            name = str(entry["name"])
            if entry.get("type") != "directory":
                yield name, entry
            elif name.rstrip("/") != folder.rstrip("/") and (depth is None or level < depth):
                folders.append((name, level + 1))
