"""Files on disk and behind fsspec URLs: list them in a fixed order, stamp them, open them."""

import glob
import gzip
import hashlib
import json
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from conceptaudit.datasets.base import Shard
from conceptaudit.errors import ConfigError, DataError, MissingDependencyError

_WILDCARDS = frozenset("*?[")
_STAMPS = ("ETag", "etag", "checksum", "md5Hash", "LastModified", "last_modified", "mtime")
_DAMAGE = (OSError, EOFError, zlib.error, tarfile.TarError, zipfile.BadZipFile)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a dataset: where it is, its name within the dataset, its size and stamp."""

    path: str
    name: str
    size: int
    stamp: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The files that a location names, sorted by name.

    `root` is the folder that names are relative to; `is_file` says that the location is one file,
    `whole` that it is a folder.
    """

    root: str
    files: tuple[File, ...]
    is_file: bool = False
    whole: bool = False
    notes: tuple[str, ...] = ()


def is_remote(path: str) -> bool:
    """Whether the path is a URL for fsspec; ``file://`` is local and was stripped before."""
    return "://" in path


def as_location(location: str | os.PathLike[str]) -> str:
    """Write a location as text, ``file://`` URLs and ``~`` as plain paths."""
    text = os.fspath(location)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return text if is_remote(text) else str(Path(text).expanduser())


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        return cast("tuple[Any, str]", fsspec.core.url_to_fs(url))
    except ImportError as error:
        raise MissingDependencyError(
            f"Reading {url!r} needs a package that is not installed: {error}"
        ) from error
    except ValueError as error:
        raise ConfigError(f"The location {url!r} cannot be opened: {error}") from error


def list_files(location: str) -> Listing:
    """List the files of a file, folder, glob pattern or fsspec URL, sorted by name.

    Hidden names are left out. A folder is entered once, whatever symbolic links lead to it.
    """
    if is_remote(location):
        return _list_remote(location)
    path = Path(location)
    if path.is_file():
        return Listing(root=str(path.parent), files=(stat_file(str(path)),), is_file=True)
    if path.is_dir():
        files, notes = _walk(path)
        return Listing(root=str(path), files=tuple(files), whole=True, notes=tuple(notes))
    if _WILDCARDS & set(location):
        root = _fixed_part(location)
        found = [name for name in glob.glob(location, recursive=True) if Path(name).is_file()]  # noqa: PTH207
        if found:
            return Listing(root=root, files=_stamped(sorted(found), root))
    raise ConfigError(
        "The 'location' parameter of open_dataset must be an existing file, folder, glob pattern "
        f"or fsspec URL. Got {location!r} instead, which names nothing that exists."
    )


def _list_remote(url: str) -> Listing:
    filesystem, path = _filesystem(url)
    with reading(url):
        if filesystem.isfile(path):
            return Listing(root=url.rpartition("/")[0], files=(stat_file(url),), is_file=True)
        if _WILDCARDS & set(path):
            root, found = _fixed_part(path), filesystem.glob(path, detail=True)
        else:
            root, found = path.rstrip("/"), filesystem.find(path, detail=True)
        files = [
            _remote_file(info, filesystem.unstrip_protocol(name), _relative(name, root))
            for name, info in sorted(found.items())
            if info.get("type") != "directory"
        ]
        if not files and not filesystem.exists(path):
            raise ConfigError(
                "The 'location' parameter of open_dataset must be an existing file, folder, glob "
                f"pattern or fsspec URL. Got {url!r} instead, which names nothing that exists."
            )
        return Listing(
            root=filesystem.unstrip_protocol(root),
            files=tuple(file for file in files if not _hidden(file.name)),
            whole=not _WILDCARDS & set(path),
        )


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _relative(name: str, root: str) -> str:
    return name.lstrip("/").removeprefix(root.lstrip("/")).lstrip("/")


def _fixed_part(pattern: str) -> str:
    parts = pattern.split("/")
    wild = next(i for i, part in enumerate(parts) if _WILDCARDS & set(part))
    return "/".join(parts[:wild]) or ("/" if pattern.startswith("/") else ".")


def _stamped(paths: Sequence[str], root: str) -> tuple[File, ...]:
    return tuple(
        stat_file(path, name=Path(os.path.relpath(path, root)).as_posix()) for path in paths
    )


def _walk(root: Path) -> tuple[list[File], list[str]]:
    """All files below a folder; a folder counts once, whatever symbolic links lead to it."""
    files: list[File] = []
    seen: set[tuple[int, int]] = set()
    ignored: list[str] = []
    folders = [(root, "")]
    links: list[tuple[Path, str]] = []
    while folders or links:  # a link is followed after everything that can be reached without it
        if not folders:
            links.sort(key=lambda link: link[1], reverse=True)
        linked = not folders
        folder, prefix = links.pop() if linked else folders.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            ignored.append(prefix)
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            for entry in entries:
                name = f"{prefix}/{entry.name}" if prefix else entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append((Path(entry.path), name))
                elif _is_read(entry, root):
                    files.append(_local_file(entry.path, name, entry.stat()))
                elif entry.is_symlink():
                    ignored.append(name)
    files.sort(key=lambda file: file.name)
    if not ignored:
        return files, []
    shown = ", ".join(sorted(ignored)[:3])
    return files, [
        (
            f"{len(ignored):,} symbolic links are broken or lead to what is read anyway and were "
            f"ignored ({shown})."
        )
    ]


def _is_read(entry: os.DirEntry[str], root: Path) -> bool:
    """Whether an entry is a file that counts: a link into the dataset itself would count twice."""
    if not entry.is_file():
        return False
    return not entry.is_symlink() or root.resolve() not in Path(entry.path).resolve().parents


def list_folder(folder: str, root: str) -> list[File]:
    """List the files directly in one folder of the dataset at `root`, by the same rules."""
    with reading(folder, "folder"):
        if is_remote(folder):
            filesystem, plain = _filesystem(folder)
            return [
                _remote_file(info, filesystem.unstrip_protocol(info["name"]), name)
                for info in filesystem.ls(plain, detail=True)
                if info.get("type") != "directory"
                and not _hidden(name := info["name"].rpartition("/")[2])
            ]
        with os.scandir(folder) as entries:
            return [
                _local_file(entry.path, entry.name, entry.stat())
                for entry in entries
                if not entry.name.startswith(".") and _is_read(entry, Path(root))
            ]


def _local_file(path: str, name: str, status: os.stat_result) -> File:
    return File(path=path, name=name, size=status.st_size, stamp=str(status.st_mtime_ns))


def _remote_file(info: Mapping[str, Any], path: str, name: str) -> File:
    stamp = next((str(info[key]) for key in _STAMPS if info.get(key)), str(info.get("created")))
    return File(path=path, name=name, size=int(info.get("size") or 0), stamp=stamp)


def stat_file(path: str, *, name: str | None = None) -> File:
    """Size and stamp of one existing file; `name` is its name within the dataset."""
    short = name or path.rstrip("/").rpartition("/")[2]
    with reading(path):
        if not is_remote(path):
            return _local_file(path, name or Path(path).name, Path(path).stat())
        filesystem, plain = _filesystem(path)
        return _remote_file(filesystem.info(plain), path, short)


def if_exists(path: str, name: str) -> list[File]:
    """One file as a list of one, or of none where there is no such file."""
    if is_remote(path):
        filesystem, plain = _filesystem(path)
        found = filesystem.isfile(plain)
    else:
        found = Path(path).is_file()
    return [stat_file(path, name=name)] if found else []


def open_file(path: str) -> IO[bytes]:
    """Open a local path or fsspec URL for reading bytes, seekable."""
    if not is_remote(path):
        return Path(path).open("rb")
    filesystem, plain = _filesystem(path)
    return cast("IO[bytes]", filesystem.open(plain, "rb"))


@contextmanager
def open_unpacked(path: str) -> Iterator[IO[bytes]]:
    """Like `open_file`, with ``.gz`` (and ``.tgz``) decompressed on the fly."""
    with open_file(path) as stream:
        if not path.lower().endswith((".gz", ".tgz")):
            yield stream
            return
        with gzip.GzipFile(fileobj=stream, mode="rb") as unpacked:
            yield cast("IO[bytes]", unpacked)


@contextmanager
def reading(path: str, what: str = "file") -> Iterator[None]:
    """Turn every way in which a file can be missing or damaged into a `DataError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"The {what} {path} does not exist (any more).") from error
    except _DAMAGE as error:
        found = str(error) or type(error).__name__
        raise DataError(
            f"The {what} {path} cannot be read to its end: {found}. "
            "It is truncated, damaged or not what its name says; fetch or write it again."
        ) from error


def suffix(name: str) -> str:
    """Lower-case ending that says a file's format, without ``.gz``."""
    plain = name.lower().removesuffix(".gz")
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
        fingerprint=fingerprint([*files, *stamped], start, stop, settings),
    )
