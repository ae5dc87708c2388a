"""Headers of tar archives, read in bounded time and memory whatever they claim.

Python's tarfile module believes them: versions before 3.11.13 and 3.12.11 search a pax header in
quadratic time (CVE-2024-6232) and go backwards, without end, over a negative size (CVE-2025-8194);
all versions read a header of any size, and the map of a sparse file, into memory.
"""

from __future__ import annotations

import re
import tarfile
from typing import Any

MAX_HEADER_BYTES = 1 << 20
"""A name has up to 4,096 bytes, and what a file system notes beside it (xattr) some 64 KiB."""

MAX_RECORDS = 1_000
"""Records of a pax header; tar writes up to twenty."""

_LENGTH_DIGITS = 8
_LONG_NUMBER = re.compile(rb"[0-9]{129}")
"""Runs of digits are what tarfile's search is quadratic in; sizes and times have thirty."""

_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)


class CheckedHeader(tarfile.TarInfo):
    """A header that is checked before tarfile believes it, and whose sparse map is not read.

    The overridden methods are tarfile's own steps, the same from Python 3.8 to 3.14.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Refuse what no archive holds, with a `ValueError`, before tarfile reads it."""
        if self.size < 0:
            raise ValueError(f"a size of {self.size:,} bytes")
        if self.type in (*_LONG, *_PAX) and self.size > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {self.size:,} bytes")
        if self.type in _PAX:
            stream: Any = archive.fileobj
            place = stream.tell()
            _check_pax(stream.read(self.size))
            stream.seek(place)
            if len(archive.pax_headers) > MAX_RECORDS:
                raise ValueError(f"{len(archive.pax_headers):,} records for all later members")
        member: tarfile.TarInfo = super()._proc_member(archive)  # type: ignore[misc]
        return member

    def _proc_sparse(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """Skip the map of a sparse member: such a member is reported and not read."""
        stream: Any = archive.fileobj
        _, goes_on, _ = self._sparse_structs  # type: ignore[attr-defined]
        del self._sparse_structs  # type: ignore[attr-defined]
        while goes_on:
            goes_on = any(stream.read(tarfile.BLOCKSIZE)[504:505])
        self.sparse = []  # type: ignore[assignment] # typeshed has the header's field
        self.offset_data = stream.tell()
        archive.offset = self.offset_data + -(-self.size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
        return self

    def _proc_gnusparse_00(self, member: tarfile.TarInfo, *_: Any) -> None:
        member.sparse = []  # type: ignore[assignment]

    _proc_gnusparse_01 = _proc_gnusparse_10 = _proc_gnusparse_00


def _check_pax(content: bytes) -> None:
    """Check that a pax header is what POSIX says, records ``LENGTH KEY=VALUE``, in one pass."""
    if _LONG_NUMBER.search(content):
        raise ValueError("a pax header with a number of more than 128 digits")
    start = n_records = 0
    while start < len(content) and content[start]:
        space = content.find(b" ", start, start + _LENGTH_DIGITS)
        digits = content[start : max(space, start)]
        end = start + int(digits) if digits.isdigit() else 0
        key, equals, value = content[space + 1 : end].partition(b"=")
        if end > len(content) or not (key and equals and value.endswith(b"\n")):
            raise ValueError("a pax header whose records are none")
        n_records += 1
        if n_records > MAX_RECORDS:
            raise ValueError(f"a pax header of more than {MAX_RECORDS:,} records")
        start = end
