"""Standard output and error that may break while a run goes on: a closed pipe, a full disk.

What is printed is commentary, and results are files: a reader that goes away (``| head``), a full
disk under a scheduler's log or a lost terminal stops no run. What cannot be written is dropped
from then on, whoever prints it, and the end of the program says so.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

OUT, ERR = 1, 2


class TolerantOutput(io.RawIOBase):
    """The writing end of a file descriptor; what it does not take is dropped."""

    def __init__(self, handle: int) -> None:
        super().__init__()
        self._handle = handle
        self.failure: OSError | None = None

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._handle

    def isatty(self) -> bool:
        """Whether it is a terminal that is still there."""
        return self.failure is None and os.isatty(self._handle)

    def write(self, data: ReadableBuffer, /) -> int:
        """Write, or pretend to."""
        size = memoryview(data).nbytes
        while self.failure is None:
            try:
                return os.write(self._handle, data)
            except BlockingIOError:
                select.select([], [self._handle], [])
            except OSError as error:
                self.failure = error
        return size


class Streams:
    """Standard output and error of the program, once `install` has put them in place."""

    def __init__(self) -> None:
        self._raw: dict[int, TolerantOutput] = {}

    def install(self) -> None:
        """Make `sys.stdout` and `sys.stderr` streams whose failures stop nothing."""
        hold_standard_files()
        sys.stdout = self._stream(OUT, sys.stdout)
        sys.stderr = self._stream(ERR, sys.stderr)

    def _stream(self, handle: int, plain: TextIO | None) -> TextIO:
        raw = self._raw[handle] = TolerantOutput(handle)
        return io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=plain.encoding if plain is not None else "utf-8",
            errors="backslashreplace",  # a terminal or file in ASCII or Latin-1
            line_buffering=handle == ERR or os.isatty(handle),
        )

    def failure(self, handle: int) -> OSError | None:
        """Return why a stream takes nothing any more, after writing what it has not written."""
        stream = sys.stdout if handle == OUT else sys.stderr
        raw = self._raw.get(handle)
        if raw is None:
            return None
        with suppress(ValueError):  # closed
            stream.flush()
        return raw.failure


STREAMS = Streams()


def hold_standard_files() -> None:
    """Open what of standard input, output and error is closed: no file of ours may take its place.

    A result opened as file 2 would get whatever a library prints to standard error.
    """
    for handle in (0, OUT, ERR):
        try:
            os.fstat(handle)
        except OSError:
            empty = os.open(os.devnull, os.O_RDWR)
            if empty != handle:
                os.dup2(empty, handle, inheritable=True)
                os.close(empty)
            else:
                os.set_inheritable(handle, True)


def last_words() -> Iterator[tuple[int, str]]:
    """Yield for each stream that broke the stream that still works, and one line to write there."""
    names = {OUT: "Standard output", ERR: "Standard error"}
    for handle, other in ((OUT, ERR), (ERR, OUT)):
        error = STREAMS.failure(handle)
        if error is not None and STREAMS.failure(other) is None:
            lost = "what was printed is lost" if handle == OUT else "progress and notes are lost"
            why = error.strerror or error
            yield other, f"{names[handle]} could not be written to ({why}): {lost}."
