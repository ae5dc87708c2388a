"""The one place that removes files: ours, by names that stand in a record, and never by sweep."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import re
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.store.checking import RecordHead, read_head
from conceptaudit.store.files import Json, digest_of, read_json
from conceptaudit.store.layouts import (
    LOCK,
    MANIFEST,
    STARTED,
    Layout,
    is_own,
    shard_of,
    whole_name,
)
from conceptaudit.store.partials import PREFIX as SCRATCH
from conceptaudit.store.partials import remove_abandoned

SHOWN = 5  # files that are left, as a message names them

_log = logging.getLogger(__name__)


def remove(folder: Path, names: Iterable[str]) -> int:
    """Remove files below a folder, by their paths; say how many there were.

    No link is followed on the way to a file, and a folder that has a file's name stays. A link in
    a file's place is removed itself.
    """
    removed, parents = 0, set()
    for name in names:
        parent, _, own = name.rpartition("/")
        try:
            handle = _opened(folder, parent)
        except OSError:
            continue  # there is no such folder, or a link in its place
        try:
            if not stat.S_ISDIR(os.stat(own, dir_fd=handle, follow_symlinks=False).st_mode):
                os.unlink(own, dir_fd=handle)
                removed += 1
                parents.add(parent)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise DataError(f"Cannot remove {folder / name}: {error.strerror or error}.") from error
        finally:
            os.close(handle)
    for parent in sorted(parents - {""}, key=len, reverse=True):
        _remove_empty(folder, parent)
    return removed


def _opened(folder: Path, below: str) -> int:
    """Open a folder below another one, following no link; the first folder may be one."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    handle = os.open(folder, flags)
    for part in filter(None, below.split("/")):
        if part == os.pardir:
            os.close(handle)
            raise OSError(errno.EINVAL, "leads out of the folder", below)
        try:
            inner = os.open(part, flags | os.O_NOFOLLOW, dir_fd=handle)
        finally:
            os.close(handle)
        handle = inner
    return handle


def _remove_empty(folder: Path, below: str) -> None:
    """Remove a folder, and those above it, where nothing is left in them."""
    while below:
        with suppress(OSError):
            (folder / below).rmdir()
        below = below.rpartition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What lies in a run folder: files of ours, unfinished ones, and anybody else's."""

    # digests of files of shards by path, as the shards' records have them
    vouched: dict[str, str] = field(default_factory=dict)
    records: dict[str, str] = field(default_factory=dict)  # digests of these records
    # files of shards for which no record vouches: what a killed run was about to finish
    orphans: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()  # files of the run as a whole, the manifest and ``run.json`` last
    partial: tuple[str, ...] = ()  # unfinished files
    foreign: tuple[str, ...] = ()  # everything that is not ours, links among it

    @property
    def own(self) -> tuple[str, ...]:
        """Files of ours in the order of removal: whatever is named goes before what names it."""
        return (*self.orphans, *self.vouched, *self.records, *self.fixed)

    def warn(self, folder: Path) -> None:
        """Log what was left in the folder because it is not ours."""
        n = len(self.foreign)
        if n:
            _log.warning(
                "%s: %d %s not of conceptaudit %s left alone: %s%s",
                folder,
                n,
                "file" if n == 1 else "files",
                "was" if n == 1 else "were",
                ", ".join(self.foreign[:SHOWN]),
                ", …" if n > SHOWN else "",
            )


def contents_of(folder: Path, layout: Layout, shards: Iterable[str] = ()) -> Contents:
    """Sort what lies in a run folder.

    A file is ours where its name is one that the layout has and it stands in a record: the folder's
    own (``run.json``, ``manifest.json``) for names that every run has and for the files of the
    shards that it lists, a shard's for the files that this names.
    """
    refuse_links(folder, layout)
    listed, known = _recorded(folder)
    known |= set(shards)
    vouched: dict[str, str] = {}
    records: dict[str, str] = {}
    paths = list(_files(folder))
    for path in paths:
        stage, _, name = path.rpartition("/")
        if stage and layout.is_stage(stage) and name.endswith(".json"):
            record = read_record(folder / path)
            if record is not None:
                records[path] = record.digest
                vouched |= {layout.place(stage, one): sha for one, sha in record.files.items()}
    there = set(paths)
    orphans, fixed, partial, foreign = [], [], [], []
    for path in there - records.keys() - vouched.keys():
        stage, _, name = path.rpartition("/")
        whole = whole_name(name)
        if _of_shard(layout, path, known):
            orphans.append(path)
        elif layout.is_file(path) or (path in listed and layout.is_listed(path)):
            fixed.append(path)
        elif not stage and is_own(name):
            if not name.startswith(LOCK):
                fixed.append(path)
        elif whole is not None and _may_be(layout, stage, whole, known):
            partial.append(path)
        else:
            foreign.append(path)
    last = (MANIFEST, STARTED)
    return Contents(
        vouched={path: sha for path, sha in sorted(vouched.items()) if path in there},
        records=records,
        orphans=tuple(sorted(orphans)),
        fixed=tuple(sorted(fixed, key=lambda one: (last.index(one) if one in last else -1, one))),
        partial=tuple(sorted(partial)),
        foreign=tuple(sorted(foreign)),
    )


def refuse_links(folder: Path, layout: Layout) -> None:
    """Refuse a run folder in which a link stands where a folder of ours belongs."""
    for pattern in layout.folders():
        for path in folder.glob(pattern):
            if path.is_symlink():
                raise ArtifactMismatchError(
                    f"{path} is a link, to {os.path.realpath(path)}; conceptaudit writes and "
                    "removes files only in folders of its own. Remove the link, or name another "
                    "folder."
                )


def read_record(path: Path) -> RecordHead | None:
    """Read which files a shard's record names, with their digests and its own."""
    shard = path.name.removesuffix(".json")
    if shard_of(path.name) is None or path.is_symlink():
        return None
    try:
        data = path.read_bytes()
        head = read_head(data)
        if head is None or not data.rstrip().endswith(b'"shard":"%s"}' % shard.encode()):
            head = _parsed_head(json.loads(data), shard)
    except (OSError, ValueError, RecursionError):
        return None
    if head is None or not all(map(_is_plain, head.files)):
        return None
    return RecordHead(digest=hashlib.sha256(data).hexdigest(), files=head.files)


def _parsed_head(record: Json, shard: str) -> RecordHead | None:
    """Read the head of a record that is not written as canonical JSON."""
    if not isinstance(record, dict) or record.get("shard") != shard:
        return None
    body = {key: value for key, value in record.items() if key != "sha256"}
    files = record.get("files")
    if record.get("sha256") != digest_of(body) or not isinstance(files, dict):
        return None
    return RecordHead(digest="", files=files)


def _is_plain(name: str) -> bool:
    return "/" not in name and "\0" not in name and name not in ("", ".", "..")


def _recorded(folder: Path) -> tuple[set[str], set[str]]:
    """Paths that the manifest names, and shards that ``run.json`` and the manifest list."""
    listed: set[str] = set()
    shards: set[str] = set()
    for name in (MANIFEST, STARTED):
        with suppress(DataError):
            value: Json = read_json(folder / name)
            if isinstance(value, dict):
                listed |= set(value["files"]) if isinstance(value.get("files"), dict) else set()
                names = value.get("shards")
                if isinstance(names, list | dict):
                    shards |= {one for one in names if isinstance(one, str)}
    return listed, shards


def _files(folder: Path) -> Iterator[str]:
    """Yield the paths of all files below a folder, and of links; no link is followed."""
    stack = [""]
    while stack:
        below = stack.pop()
        try:
            entries = sorted(os.scandir(folder / below), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith(SCRATCH):  # its process removes it, or the next one
                    stack.append(path)
            else:
                yield path


def _of_shard(layout: Layout, path: str, known: set[str]) -> bool:
    """Whether a path is that of a file of a shard that a record of the run lists."""
    stage, _, name = path.rpartition("/")
    if stage in layout.beside:
        numbered = re.fullmatch(rf"{stage}_(\d{{1,9}})\.(npy|parquet)", name)
        return numbered is not None and int(numbered[1]) < len(known)
    return layout.is_stage(stage) and shard_of(name) in known


def _may_be(layout: Layout, stage: str, name: str, known: set[str]) -> bool:
    """Whether an unfinished file would become one of ours."""
    path = f"{stage}/{name}" if stage else name
    if layout.is_file(path) or (not stage and is_own(name)):
        return True
    return _of_shard(layout, path, known)


def remove_partials(folder: Path, contents: Contents) -> None:
    """Remove what killed runs left half-written; what a living process writes stays."""
    for path in contents.partial:
        remove_abandoned(folder / path)
