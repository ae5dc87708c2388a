"""Zstandard streams as files that can be read from the start again."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer


class Unpacked(io.RawIOBase):
    """A ``.zst`` stream, decompressed as it is read.

    Parameters
    ----------
    stream : binary file
        The compressed bytes; one frame or several, one after the other.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self._packed: Any = stream
        self._position = 0
        self._open()

    def _open(self) -> None:
        import pyarrow as pa

        self._packed.seek(0)
        self._position = 0
        self._plain: Any = pa.CompressedInputStream(pa.PythonFile(self._packed, "r"), "zstd")

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True; only the start and places further on can be gone to."""
        return True

    def tell(self) -> int:
        """Return the position among the decompressed bytes."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to a place; backwards means decompressing again from the start."""
        target = offset if whence == io.SEEK_SET else self._position + offset
        if target < self._position:
            self._open()
        while self._position < target:
            skipped = self._plain.read(min(target - self._position, 1 << 20))
            if not skipped:
                break
            self._position += len(skipped)
        return self._position

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer with decompressed bytes."""
        view = memoryview(buffer)
        content = self._plain.read(len(view))
        view[: len(content)] = content
        self._position += len(content)
        return len(content)
