"""The index of a tar archive's samples. Members are read in place and never extracted.

Headers of tar archives, read in bounded time and memory whatever they claim.

Python's tarfile module believes them: versions before 3.11.13 and 3.12.11 search a pax header in
quadratic time (CVE-2024-6232) and go backwards, without end, over a negative size (CVE-2025-8194);
all versions read a header of any size, and the map of a sparse file, into memory.
"""

from __future__ import annotations

import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

from conceptaudit.datasets._files import is_remote, open_unpacked, reading, stat_file
from conceptaudit.datasets._groups import CAPTION_ENDINGS, IMAGE_ENDINGS, Group, Member
from conceptaudit.display import quantity
from conceptaudit.errors import DataError

# WebDataset's rule: the key ends at the first dot of the base name.
_NAME = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]*)")

_PARTS = frozenset((*IMAGE_ENDINGS, *CAPTION_ENDINGS, "json"))

_BLOCK = 512
MAX_RATIO = 100  # images do not shrink when they are packed, and captions by 10 at most

MIN_BOMB_BYTES = 1 << 30
_CHUNK = 1 << 20


@contextmanager
def seekable(path: str) -> Iterator[IO[bytes]]:
    """Open an archive so that it can be read twice and out of order.

    A remote or compressed archive is first copied to an unnamed temporary file, since every
    seek in it would fetch or decompress it again.
    """
    with reading(path, "archive"), open_unpacked(path) as stream:
        if not is_remote(path) and not path.lower().endswith((".gz", ".tgz")):
            yield stream
            return
        with tempfile.TemporaryFile() as copy:  # unnamed, and nobody else's to read
            _copy(stream, copy, path)
            copy.seek(0)
            yield copy


def _copy(stream: IO[bytes], copy: IO[bytes], path: str) -> None:
    """Copy an archive to disk, unless it unpacks to what no archive of images unpacks to."""
    most = max(stat_file(path).size * MAX_RATIO, MIN_BOMB_BYTES)
    written = 0
    while chunk := stream.read(_CHUNK):
        written += copy.write(chunk)
        if written > most:
            raise DataError(
                f"The archive {path} unpacks to more than {MAX_RATIO} times its size: it is made "
                "to fill a disk. Remove it; if it is what it should be, unpack it first."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class TarIndex:
    """An archive's members as samples."""

    samples: list[Group]  # in the order of their first member
    repeated: list[Group]  # samples whose key an earlier sample has
    # samples that fall on one key where it ends at the first dot, each under the name up to its
    # last dot
    collapsed: list[Group]


def index_samples(
    stream: IO[bytes], path: str, named: Sequence[str] = (), n_members: int | None = None
) -> TarIndex:
    """Group an archive's members into samples.

    Only headers are read. The first dot of a name ends the key, as in webdataset. Where no member
    is then an image or a caption, the ending is what stands behind the last dot; the key still
    ends at the first, unless it would join several images or captions (``St. Peter 0.jpg``,
    ``St. Peter 1.jpg``): then it ends at the last dot too; or, where most samples have the same
    ones (``1.img.png``, ``1.seg.png``), the user has to choose. Where a key comes again with an
    ending that it already has, the members belong to a repeated sample.
    """
    members = [
        (match[1], match[2], member)
        for name, member in islice(_members(stream, path), n_members)
        if (match := _NAME.fullmatch(name)) is not None
    ]
    if not named and members and not any(_is_part(ending.lower()) for _, ending, _ in members):
        members = _by_last_dot(members, path)
    groups: dict[tuple[str, int], Group] = {}
    times: Counter[tuple[str, str]] = Counter()
    names: dict[int, list[str]] = {}
    for key, written, member in members:
        ending = written.lower()
        occurrence = times[key, ending]
        times[key, ending] += 1
        group = groups.setdefault((key, occurrence), Group(row=len(groups), key=key))
        group.members[ending] = member
        names.setdefault(group.row, []).append(written)
    for group in groups.values() if named else ():
        _complete(group, named)
    by_occurrence = [(group, occurrence) for (_, occurrence), group in groups.items()]
    whole = [(g, n) for g, n in by_occurrence if not _is_collapsed(g)]
    return TarIndex(
        samples=[group for group, occurrence in whole if occurrence == 0],
        repeated=[group for group, occurrence in whole if occurrence > 0],
        collapsed=_apart(
            [(group, names[group.row]) for group, _ in by_occurrence if _is_collapsed(group)],
            len(groups),
        ),
    )


_Named = tuple[str, str, Member]


def _is_part(ending: str) -> bool:
    return ending in _PARTS


def _last(ending: str) -> str:
    return ending.rpartition(".")[2].lower()


def _complete(group: Group, named: Sequence[str]) -> None:
    """Where the user named one part, let the only member that may be the other be found."""
    for kind in (IMAGE_ENDINGS, CAPTION_ENDINGS):
        others = [end for end in group.members if _last(end) in kind and end not in named]
        if len(others) == 1:
            group.members.setdefault(_last(others[0]), group.members[others[0]])


def _by_last_dot(members: Sequence[_Named], path: str) -> list[_Named]:
    parts = [(key, _last(ending)) for key, ending, _ in members if _is_part(_last(ending))]
    kinds = Counter((key, ending in IMAGE_ENDINGS) for key, ending in parts)
    if not kinds:
        return list(members)
    if max(kinds.values()) == 1:
        return [(key, _last(ending), member) for key, ending, member in members]
    times = Counter(ending for _, ending, _ in members if _is_part(_last(ending)))
    shared = sorted(ending for ending, n in times.items() if n > 1)
    if 2 * sum(times[ending] for ending in shared) > times.total():
        # every sample has them: not dots within names, as in "St. Peter 0.jpg"
        shown = ", ".join(f".{ending}" for ending in shared[:6])
        raise DataError(
            f"The samples of {path} hold several images or captions ({shown}). Name those to read "
            "with --image-column and --caption-column, without the first dot; a key ends there."
        )
    return [(f"{key}.{_stem(ending)}", _last(ending), member) for key, ending, member in members]


def _stem(ending: str) -> str:
    return ending.rpartition(".")[0]


def _is_collapsed(group: Group) -> bool:
    """Whether a key has nothing but members of several names, images or captions among them."""
    endings = list(group.members)
    return not any(map(_is_part, endings)) and any(
        "." in ending and _is_part(_last(ending)) for ending in endings
    )


def _apart(groups: Sequence[tuple[Group, list[str]]], first_row: int) -> list[Group]:
    found: dict[str, Group] = {}
    for group, written in groups:
        for ending in written:
            stem = f"{group.key}.{_stem(ending)}"
            row = first_row + len(found)
            sample = found.setdefault(stem, Group(row=row, key=stem))
            sample.members[_last(ending)] = group.members[ending.lower()]
    return list(found.values())


def _members(stream: IO[bytes], path: str) -> Iterator[tuple[str, Member]]:
    with _opened(stream, path) as archive:
        before = 0
        while (info := _next(archive, path)) is not None:
            archive.members = []  # type: ignore[attr-defined] # tarfile would keep every header of a huge archive
            if info.size < 0 or archive.offset <= before:  # a pax record may say the size, too
                raise _damaged(path, before, ValueError(f"a size of {info.size:,} bytes"))
            before = archive.offset
            if info.isdir():
                continue
            fault = "" if info.isreg() and not info.issparse() else "not_a_regular_file"
            yield info.name, Member(size=info.size, place=info.offset_data, fault=fault)
        _check_end(stream, archive.offset, path)


# Raised for sizes that no file has, and for headers about headers about headers.
_IMPOSSIBLE = (ValueError, OverflowError, RecursionError)


def _opened(stream: IO[bytes], path: str) -> tarfile.TarFile:
    try:
        return tarfile.open(
            fileobj=stream, mode="r:", tarinfo=CheckedHeader
        )  # which reads the first header
    except _IMPOSSIBLE as error:
        raise _damaged(path, 0, error) from error


def _next(archive: tarfile.TarFile, path: str) -> tarfile.TarInfo | None:
    try:
        return archive.next()
    except _IMPOSSIBLE as error:
        raise _damaged(path, archive.offset, error) from error


def _damaged(path: str, offset: int, error: Exception) -> DataError:
    return DataError(
        f"The archive {path} is damaged: after byte {offset:,} a header says what cannot be "
        f"({error}). Fetch or write it again."
    )


def _check_end(stream: IO[bytes], offset: int, path: str) -> None:
    """Tell the end from damage: the tarfile module takes any damaged header for the end."""
    stream.seek(offset)
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK or any(block):
        raise DataError(
            f"The archive {path} is truncated or damaged: at byte {offset:,} there is neither a "
            "member nor the end marker. Fetch or write it again."
        )
    while rest := stream.read(_CHUNK):
        if rest.count(0) < len(rest):
            raise DataError(
                f"The archive {path} goes on after its end marker (byte {offset:,}): several "
                "archives were joined. Split them again, or their later samples are lost."
            )


def read_member(stream: IO[bytes], member: Member) -> bytes:
    """Read one member's bytes."""
    stream.seek(member.place)
    return stream.read(member.size)


# A name has up to 4,096 bytes, and what a file system notes beside it (xattr) some 64 KiB.
MAX_HEADER_BYTES = 1 << 20

MAX_RECORDS = 1_000  # records of a pax header; tar writes up to twenty

_LENGTH_DIGITS = 8
# Runs of digits are what tarfile's search is quadratic in; sizes and times have thirty.
_LONG_NUMBER = re.compile(rb"[0-9]{129}")

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
                raise ValueError(
                    f"{quantity(len(archive.pax_headers), 'record')} for all later members"
                )
        # typeshed leaves out the private methods and fields of `tarfile` that are used from here on
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
