"""Files on disk and behind fsspec URLs: stamp them, open them, say what is wrong with them."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, cast

from conceptaudit.datasets._remote import ReadOnly, info_of, open_remote
from conceptaudit.datasets.base import Shard
from conceptaudit.errors import (
    ConceptAuditError,
    ConfigError,
    DataError,
    MissingDependencyError,
)
from conceptaudit.records import SampleBatch
from conceptaudit.store.files import is_there

if TYPE_CHECKING:
    from typing_extensions import Buffer


_STAMPS = ("ETag", "etag", "checksum", "md5Hash", "LastModified", "last_modified", "mtime")
# what libraries raise on purpose; zipfile's NotImplementedError is a compression that is none
_DAMAGE = (
    OSError, EOFError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
    NotImplementedError,
)  # fmt: skip

# Captions, URLs and JSON shrink to a tenth or a thirtieth when they are packed.
MAX_UNPACKED_RATIO = 200

# A file that unpacks to less harms nobody, whatever its ratio: tests repeat one caption.
MIN_BOMB_BYTES = 1 << 27


MOST_LOOKED_AT = 20  # files at the start of a dataset, of which the first that is whole tells

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a dataset: where it is, its name within the dataset, its size and stamp."""

    path: str
    name: str
    size: int
    stamp: str


def is_remote(path: str) -> bool:
    """Whether the path is a URL for fsspec; ``file://`` is local and was stripped before."""
    return "://" in path


def as_location(location: str | os.PathLike[str]) -> str:
    """Write a location as text, ``file://`` URLs and ``~`` as plain paths."""
    text = os.fspath(location)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text if is_remote(text) else str(Path(text).expanduser())


def filesystem_of(url: str) -> tuple[Any, str]:
    """Find the fsspec file system of a URL, and the path in it."""
    import fsspec

    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {url!r} needs a package that is not installed: {error}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"The location {url!r} cannot be opened: {error}") from error


def local_file(path: str, name: str, status: os.stat_result) -> File:
    """Build the record of a local file."""
    return File(path=path, name=name, size=status.st_size, stamp=str(status.st_mtime_ns))


def remote_file(info: Mapping[str, Any], path: str, name: str) -> File:
    """Build the record of a remote file from what its file system says of it."""
    stamp = next((str(info[key]) for key in _STAMPS if info.get(key)), str(info.get("created")))
    return File(path=path, name=name, size=int(info.get("size") or 0), stamp=stamp)


def stat_file(path: str, *, name: str | None = None) -> File:
    """Size and stamp of one existing file; `name` is its name within the dataset."""
    short = name or path.rstrip("/").rpartition("/")[2]
    with reading(path):
        if not is_remote(path):
            return local_file(path, name or Path(path).name, Path(path).stat())
        filesystem, plain = filesystem_of(path)
        found = info_of(filesystem, plain, path)
        if found is None:
            raise FileNotFoundError(path)
        return remote_file(found, path, short)


def if_exists(path: str, name: str) -> list[File]:
    """One file as a list of one, or of none where there is no such file."""
    if is_remote(path):
        filesystem, plain = filesystem_of(path)
        told = info_of(filesystem, plain, path)
        found = told is not None and told.get("type") == "file"
    else:
        with reading(path):
            found = is_there(Path(path))
    return [stat_file(path, name=name)] if found else []


def open_file(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes, seekable."""
    if not is_remote(path):
        return Path(path).open("rb")
    filesystem, plain = filesystem_of(path)
    return open_remote(filesystem, plain, path)


@contextmanager
def open_unpacked(path: str) -> Iterator[IO[bytes]]:
    """Like `open_file`, with ``.gz``, ``.tgz``, ``.bz2``, ``.xz``, ``.zst`` decompressed.

    A packed file that unpacks to what no captions unpack to raises `DataError` when it gets there;
    archives of images hold zeros between their members, and are held to a limit of their own.
    """
    name = path.lower()
    with open_file(path) as stream:
        unpack = next((unpack for end, unpack in _UNPACKERS.items() if name.endswith(end)), None)
        if unpack is None:
            yield stream
            return
        with unpack(stream) as unpacked:
            if name.endswith((".tgz", ".tar.gz")):
                yield unpacked
                return
            with io.BufferedReader(_Bounded(unpacked, stream, path), 1 << 16) as bounded:
                yield cast("IO[bytes]", bounded)


_UNPACKERS: Mapping[str, Callable[[IO[bytes]], Any]] = {
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": lambda stream: io.BufferedReader(Unpacked(stream)),
    ".gz": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
    ".tgz": lambda stream: gzip.GzipFile(fileobj=stream, mode="rb"),
}


class _Bounded(ReadOnly):
    """An unpacked stream that ends with an error where it grows out of all proportion."""

    def __init__(self, unpacked: Any, packed: IO[bytes], path: str) -> None:
        super().__init__()
        self._unpacked = unpacked
        self._packed = packed
        self._path = path

    def tell(self) -> int:
        return int(self._unpacked.tell())

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._unpacked.seek(offset, whence))

    def readinto(self, buffer: Any, /) -> int:
        n = self._unpacked.readinto(buffer)
        size = self._unpacked.tell()
        if size > MIN_BOMB_BYTES and size > MAX_UNPACKED_RATIO * self._packed.tell():
            raise DataError(
                f"The file {self._path} unpacks to more than {MAX_UNPACKED_RATIO} times its size: "
                "it is made to fill memory. Remove it; if it is what it should be, unpack it first."
            )
        return int(n)


@contextmanager
def reading(path: str, what: str = "file") -> Iterator[None]:
    """Turn everything that a file can make a reader raise into a `DataError` that names the file.

    Whatever a library raises counts: of a damaged file nobody can list it beforehand, and one bad
    file must not end the run of a user who allowed to skip it.
    """
    try:
        yield
    except ConceptAuditError:
        raise
    except FileNotFoundError as error:
        raise DataError(f"The {what} {path} does not exist (any more).") from error
    except _DAMAGE as error:
        found = str(error) or type(error).__name__
        raise DataError(
            f"The {what} {path} cannot be read to its end: {found}. "
            "It is truncated, damaged or not what its name says; fetch or write it again."
        ) from error
    except MemoryError as error:
        raise DataError(
            f"The {what} {path} asks for more memory than there is. It is damaged or made to fill "
            "memory; fetch or write it again, or give the program more memory."
        ) from error
    except Exception as error:
        found = f"{type(error).__name__}: {error}".splitlines()[0][:_SHOWN]
        raise DataError(
            f"The {what} {path} cannot be read ({found}). It is damaged or made by a program "
            "that writes it otherwise; fetch or write it again. --debug shows where it fails."
        ) from error


_SHOWN = 200  # characters of an unforeseen error: some quote what they failed on


def first_readable(files: Iterable[T], look: Callable[[T], R | None], place: str) -> R:
    """Return what the first of the files gives; what was wrong with the first, where none does."""
    problem: DataError | None = None
    for file in islice(files, MOST_LOOKED_AT):
        try:
            result = look(file)
        except DataError as error:
            problem = problem or error
            continue
        if result is not None:
            return result
    raise problem or DataError(f"None of the files of {place} can be read.")


def names_its_file(
    read: Callable[[Any, Shard, frozenset[str]], Iterator[SampleBatch]],
) -> Callable[[Any, Shard, frozenset[str]], Iterator[SampleBatch]]:
    """Decorate a layout's `read`, so that it raises nothing but errors that name the shard's file.

    Inner readers say more where they can: which row, which table beside it.
    """

    @wraps(read)
    def guarded(self: Any, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        with reading(shard.files[0]):
            yield from read(self, shard, parts)

    return guarded


PACKINGS = (".gz", ".zst", ".bz2", ".xz")


def is_packed(path: str) -> bool:
    """Whether a file is compressed, so that it cannot be entered in the middle."""
    return path.lower().endswith(PACKINGS)


def suffix(name: str) -> str:
    """Lower-case ending that says a file's format, without that of its packing."""
    plain = name.lower()
    for packing in PACKINGS:
        plain = plain.removesuffix(packing)
    base = plain.rpartition("/")[2]
    return "." + base.rpartition(".")[2] if "." in base else ""


def fingerprint(files: Sequence[File], start: int, stop: int, settings: Mapping[str, str]) -> str:
    """SHA-256 of what a shard is read from and how; equal exactly when the reading is."""
    content = [
        [[file.name, file.size, file.stamp] for file in files],
        [start, stop],
        sorted(settings.items()),
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def make_shard(
    files: Sequence[File],
    *,
    file_index: int,
    settings: Mapping[str, str],
    start: int = 0,
    stop: int = -1,
    offset: int = 0,
    ids_per_row: int = 1,
    stamped: Sequence[File] = (),
) -> Shard:
    """Build a shard of rows [start, stop) of the first file, with name and fingerprint.

    `stamped` are files that the shard depends on without naming them one by one.
    """
    return Shard(
        name=f"{file_index:07d}-{start:013d}",
        files=tuple(file.path for file in files),
        file_index=file_index,
        start=start,
        stop=stop,
        offset=offset,
        ids_per_row=ids_per_row,
        fingerprint=fingerprint([*files, *stamped], start, stop, settings),
    )


class Unpacked(ReadOnly):
    """A ``.zst`` stream, decompressed as it is read."""

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
