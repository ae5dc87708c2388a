"""Which files a location names: a file, a folder, a glob pattern or a URL, in a fixed order.

Braces in a location, as shells and WebDataset write lists of archives: ``{00000..00099}.tar``.

A quoted pattern reaches the program with its braces, since the shell does not look inside quotes.
"""

import codecs
import glob
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from pathlib import Path, PurePosixPath
from typing import Any

from conceptaudit.datasets._files import (
    File,
    filesystem_of,
    is_remote,
    local_file,
    open_unpacked,
    reading,
    remote_file,
    stat_file,
    suffix,
)
from conceptaudit.datasets._remote import find_remote, glob_remote, info_of, list_remote
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.store.files import exists, is_there

_WILDCARDS = frozenset("*?[")

# Questions to a remote file system at a time: a thousand shards one by one take a minute.
_ASKED_AT_ONCE = 16


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


def list_files(location: str) -> Listing:
    """List the files of a file, folder, pattern or fsspec URL, sorted by name.

    A pattern has wildcards, or braces as in ``{00000..00099}.tar``, or both. Every name that
    braces stand for has to be there.

    Hidden names are left out. A folder is entered once, whatever symbolic links lead to it.
    """
    if is_remote(location):
        return _list_remote(location)
    path = Path(location)
    if is_there(path):
        return Listing(root=str(path.parent), files=(stat_file(str(path)),), is_file=True)
    if exists(path) and path.is_dir():
        with reading(location, "folder"):
            files, notes = _walk(path)
        return Listing(root=str(path), files=tuple(files), whole=True, notes=tuple(notes))
    if has_braces(location) or _WILDCARDS & set(location):
        root, names = _fixed_part(location), expand_braces(location)
        found = [_matching(name) for name in names]
        missing = [name for name, files in zip(names, found, strict=True) if not files]
        check_all_there(location, len(names), missing)
        return Listing(root=root, files=_stamped(sorted({one for of in found for one in of}), root))
    raise _nothing_there(location)


def _nothing_there(location: str) -> ConfigError:
    return ConfigError(
        "The 'location' parameter of open_dataset must be an existing file, folder, glob pattern "
        f"or fsspec URL. Got {location!r} instead, which names nothing that exists."
    )


def _matching(name: str) -> list[str]:
    """Find the files that a name, or a pattern with wildcards, stands for."""
    found = glob.glob(name, recursive=True) if _WILDCARDS & set(name) else [name]  # noqa: PTH207 -- absolute too
    return [one for one in found if Path(one).is_file()]


def _list_remote(url: str) -> Listing:
    filesystem, path = filesystem_of(url)
    with reading(url):
        if has_braces(path):
            return _list_remote_braces(filesystem, path, url)
        there = None if _WILDCARDS & set(path) else info_of(filesystem, path, url)
        if there is not None and there.get("type") == "file":
            return Listing(root=url.rpartition("/")[0], files=(stat_file(url),), is_file=True)
        if _WILDCARDS & set(path):
            root, found = _fixed_part(path), glob_remote(filesystem, path, url)
        else:
            root, found = path.rstrip("/"), find_remote(filesystem, path, url)
        files = [
            remote_file(info, filesystem.unstrip_protocol(name), _relative(name, root))
            for name, info in sorted(found.items())
            if info.get("type") != "directory"
        ]
        if not files and there is None:
            raise _nothing_there(url)
        return Listing(
            root=filesystem.unstrip_protocol(root),
            files=tuple(file for file in files if not _hidden(file.name)),
            whole=not _WILDCARDS & set(path),
        )


def _list_remote_braces(filesystem: Any, path: str, url: str) -> Listing:
    def look_up(name: str) -> dict[str, Mapping[str, Any]]:
        if _WILDCARDS & set(name):
            found = glob_remote(filesystem, name, url)
        else:
            told = info_of(filesystem, name, url)
            found = {} if told is None else {name: told}
        return {name: info for name, info in found.items() if info.get("type") != "directory"}

    names, root = expand_braces(path), _fixed_part(path)
    with ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        found = list(pool.map(look_up, names))
    missing = [name for name, files in zip(names, found, strict=True) if not files]
    check_all_there(url, len(names), missing)
    return Listing(
        root=filesystem.unstrip_protocol(root),
        files=tuple(
            remote_file(info, filesystem.unstrip_protocol(name), _relative(name, root))
            for name, info in sorted({n: i for files in found for n, i in files.items()}.items())
        ),
    )


def _hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _relative(name: str, root: str) -> str:
    return name.lstrip("/").removeprefix(root.lstrip("/")).lstrip("/")


def _fixed_part(pattern: str) -> str:
    parts = starred(pattern).split("/")
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
                    files.append(local_file(entry.path, name, entry.stat()))
                elif entry.is_symlink():
                    ignored.append(name)
    files.sort(key=lambda file: file.name)
    if not ignored:
        return files, []
    shown = ", ".join(sorted(ignored)[:3])
    return files, [
        (
            f"{quantity(len(ignored), 'symbolic link')} ignored: broken, or leading to what is "
            f"read anyway ({shown})."
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
            filesystem, plain = filesystem_of(folder)
            return [
                remote_file(info, filesystem.unstrip_protocol(info["name"]), name)
                for info in list_remote(filesystem, plain, folder)
                if info.get("type") != "directory"
                and not _hidden(name := info["name"].rpartition("/")[2])
            ]
        with os.scandir(folder) as entries:
            return [
                local_file(entry.path, entry.name, entry.stat())
                for entry in entries
                if not entry.name.startswith(".") and _is_read(entry, Path(root))
            ]


# More shards than anybody has: a slip such as `{0..99999999}` must not fill the memory.
MAX_NAMES = 1_000_000

_GROUP = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{},]*(?:,[^{},]*)+)\}")


def has_braces(location: str) -> bool:
    """Whether a location holds a range ``{00..12}`` or a list ``{train,val}``."""
    return _GROUP.search(location) is not None


def starred(location: str) -> str:
    """Write ``*`` for every range and list."""
    return _GROUP.sub("*", location)


def expand_braces(location: str) -> list[str]:
    """Write out the names that a location with braces stands for, in order.

    Examples
    --------
    >>> expand_braces("data/{098..101}.tar")
    ['data/098.tar', 'data/099.tar', 'data/100.tar', 'data/101.tar']
    >>> expand_braces("{train,val}/*.{jpg,png}")
    ['train/*.jpg', 'train/*.png', 'val/*.jpg', 'val/*.png']
    """
    parts: list[range | list[str]] = []
    digits: list[int] = []
    texts: list[str] = []
    total, place = 1, 0
    for found in _GROUP.finditer(location):
        texts.append(location[place : found.start()])
        place = found.end()
        if found[3] is not None:
            parts.append(found[3].split(","))
            digits.append(0)
        else:
            first, last = int(found[1]), int(found[2])
            step = 1 if first <= last else -1
            parts.append(range(first, last + step, step))
            padded = any(bound[0] == "0" and len(bound) > 1 for bound in (found[1], found[2]))
            digits.append(max(len(found[1]), len(found[2])) if padded else 0)
        total *= len(parts[-1])
    if total > MAX_NAMES:
        raise ConfigError(
            f"The 'location' parameter of open_dataset must name at most {MAX_NAMES:,} files. Got "
            f"{location!r} instead, which stands for {total:,}."
        )
    return [
        "".join(text + one for text, one in zip(texts, chosen, strict=True)) + location[place:]
        for chosen in product(*(_written(part, n) for part, n in zip(parts, digits, strict=True)))
    ]


def _written(part: range | list[str], digits: int) -> Iterator[str]:
    for one in part:
        yield f"{one:0{digits}d}" if isinstance(one, int) else one


def check_all_there(location: str, wanted: int, missing: list[str]) -> None:
    """Refuse a location some of whose names lead to no file: its counts would be too small."""
    if not missing:
        return
    if len(missing) == wanted:
        raise _nothing_there(location)
    raise ConfigError(
        f"{len(missing):,} of the {quantity(wanted, 'file')} that {location!r} stands for do not "
        f"exist: {', '.join(missing[:3])}{', …' if len(missing) > 3 else '.'} Name those that do, "
        f"or all that are there: {starred(location)!r}."
    )


# Files that hold no captions by line, whatever their bytes look like.
_BINARY = frozenset(
    {
        ".bin", ".dat", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".safetensors", ".onnx", ".h5",
        ".hdf5", ".npy", ".npz", ".mat", ".arrow", ".feather", ".tfrecord", ".lmdb", ".mdb", ".db",
        ".sqlite", ".zip", ".rar", ".7z", ".xlsx", ".xls", ".pdf", ".doc", ".docx", ".html",
        ".htm", ".xml", ".md", ".rst", ".log", ".py", ".ipynb", ".toml", ".ini", ".cfg", ".yaml",
        ".yml", ".mp4", ".avi", ".webm", ".wav",
    }
)  # fmt: skip

_ABOUT = frozenset({"readme", "license", "licence", "notice", "copying", "changelog", "checksums"})
_PEEK_BYTES = 1 << 16
_MANY = 5  # more lines than a caption has


def is_text(file: File) -> bool:
    """Whether a file holds text in UTF-8 that may be captions."""
    if suffix(file.name) in _BINARY or not file.size:
        return False
    try:
        with reading(file.path), open_unpacked(file.path) as stream:
            head = stream.read(_PEEK_BYTES)
    except DataError:
        return False
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return True  # and the reader says what to do about UTF-16
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return bool(text.strip()) and "\0" not in text


def text_files(listing: Listing) -> list[File]:
    """Pick the files of a folder that may be lists of captions."""
    return [
        file
        for file in listing.files
        if suffix(file.name) not in {*_BINARY, ".json"}
        and PurePosixPath(file.name).name.partition(".")[0].lower() not in _ABOUT
    ]


def many_lines(files: Sequence[File]) -> bool:
    """Whether files are lists of captions: text, the first ones of more lines than a caption."""
    return bool(files) and all(is_text(file) and _n_lines(file) > _MANY for file in files[:3])


def _n_lines(file: File) -> int:
    with reading(file.path), open_unpacked(file.path) as stream:
        return sum(bool(line.strip()) for line in stream.read(_PEEK_BYTES).splitlines())
