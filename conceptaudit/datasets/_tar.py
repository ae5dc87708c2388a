"""The index of a tar archive's samples. Members are read in place and never extracted."""

import re
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import IO

from conceptaudit.datasets._files import is_remote, open_unpacked, reading, stat_file
from conceptaudit.datasets._groups import Group, Member
from conceptaudit.errors import DataError

_NAME = re.compile(r"(?:\./)?((?:.*/)?[^./][^./]*)\.([^/]*)")
"""WebDataset's rule: the key ends at the first dot of the base name."""

_BLOCK = 512
MAX_RATIO = 100
"""Pictures do not shrink when they are packed, and captions by 10 at most."""

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
    """Copy an archive to disk, unless it unpacks to what no archive of pictures unpacks to."""
    most = max(stat_file(path).size * MAX_RATIO, MIN_BOMB_BYTES)
    written = 0
    while chunk := stream.read(_CHUNK):
        written += copy.write(chunk)
        if written > most:
            raise DataError(
                f"The archive {path} unpacks to more than {MAX_RATIO} times its size: it is made "
                "to fill a disk. Remove it; if it is what it should be, unpack it first."
            )


def index_samples(stream: IO[bytes], path: str) -> tuple[list[Group], list[Group]]:
    """Group an archive's members into samples, in the order of their first member.

    Only headers are read. Where a key comes again with an ending that it already has, the
    members belong to a repeated sample.

    Returns
    -------
    samples : list of Group
    repeated : list of Group
        Samples whose key an earlier sample has.

    Raises
    ------
    DataError
        The archive is truncated, or goes on after its end marker.
    """
    groups: dict[tuple[str, int], Group] = {}
    times: Counter[tuple[str, str]] = Counter()
    for key, ending, member in _members(stream, path):
        occurrence = times[key, ending]
        times[key, ending] += 1
        group = groups.setdefault((key, occurrence), Group(row=len(groups), key=key))
        group.members[ending] = member
    return (
        [group for (_, occurrence), group in groups.items() if occurrence == 0],
        [group for (_, occurrence), group in groups.items() if occurrence > 0],
    )


def peek_samples(stream: IO[bytes], path: str, n_members: int) -> list[Group]:
    """Group the first members of an archive, to find out what it holds."""
    groups: dict[str, Group] = {}
    for key, ending, member in islice(_members(stream, path), n_members):
        group = groups.setdefault(key, Group(row=len(groups), key=key))
        group.members.setdefault(ending, member)
    return list(groups.values())


def _members(stream: IO[bytes], path: str) -> Iterator[tuple[str, str, Member]]:
    with _opened(stream, path) as archive:
        while (info := _next(archive, path)) is not None:
            archive.members = []  # type: ignore[attr-defined] # tarfile would keep every header of a huge archive
            match = _NAME.fullmatch(info.name)
            if match is None or info.isdir():
                continue
            fault = "" if info.isreg() and not info.issparse() else "not_a_regular_file"
            member = Member(size=info.size, place=info.offset_data, fault=fault)
            yield match[1], match[2].lower(), member
        _check_end(stream, archive.offset, path)


_IMPOSSIBLE = (ValueError, OverflowError)
"""What the tarfile module raises for sizes that no file has."""


def _opened(stream: IO[bytes], path: str) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:")  # which reads the first header
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
