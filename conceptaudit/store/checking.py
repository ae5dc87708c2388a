"""Whether a file is the one that its record was written for: what every reader of results asks.

Two kinds of record bind files: the manifest of a run folder, and ``NAME.json`` beside a single
output (see `outputs`). A command that is killed between a record and its file leaves a pair that
does not belong together, and so does an editor; neither is taken for a result.

The record of a shard may be a long list of numbers. Whether it is whole, what it was made from and
which files belong to it is read from its first bytes, ten times as fast as by parsing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.errors import DataError
from conceptaudit.store.files import Json, file_digest, is_digest, is_there, read_json
from conceptaudit.store.layouts import LAYOUTS, MANIFEST, STARTED

VERSION = 1  # of the protocol; a folder or record of another version is none of ours

REPLACES = "replaces"  # key of a record: digests of the files that its own are about to replace

# Kinds of outputs that a user is meant to fill in or shorten: a changed one is read.
FOR_EDITING = frozenset({"concepts", "download-list", "judge", "review", "vocab"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a folder says that it holds."""

    kind: str  # one of `LAYOUTS`
    digest: str  # of the run's inputs and settings


def identify(folder: Path) -> Identity | None:
    """Read which run a folder holds; None where it is none of ours.

    A ``run.json`` or ``manifest.json`` of any other program has not our kinds, our version and a
    digest.

    Examples
    --------
    >>> identify(Path("no-such-folder")) is None
    True
    """
    for name in (STARTED, MANIFEST):
        try:
            value = read_json(folder / name)
        except DataError:
            continue
        if not isinstance(value, dict) or value.get("version") != VERSION:
            continue
        kind, digest = value.get("kind"), value.get("digest")
        if (
            isinstance(kind, str)
            and kind in LAYOUTS
            and isinstance(digest, str)
            and is_digest(digest)
        ):
            return Identity(kind=kind, digest=digest)
    return None


def check_finished(folder: Path) -> None:
    """Refuse a run folder that is unfinished, or whose files are not those of its manifest.

    A folder that is none of ours passes, and so does a run from which files were taken away.
    """
    if identify(folder) is None:
        return
    manifest = _manifest(folder)
    replaced = manifest.get(REPLACES)
    for name, digest in manifest["files"].items():
        path = folder / str(name)
        if is_there(path):
            before = replaced.get(name) if isinstance(replaced, dict) else None
            _compare(path, folder / MANIFEST, digest, before, edited=False)


def digest_in(record: Path) -> Json:
    """Digest that a ``run.json`` or a manifest carries; None where it is damaged."""
    try:
        value = read_json(record)
    except DataError:
        return None
    return value.get("digest") if isinstance(value, dict) else None


def record_path(path: Path) -> Path:
    """Return where the record of a single output is."""
    return path.with_name(f"{path.name}.json")


def read_bound(path: Path) -> dict[str, Json] | None:
    """Read the record of a single output; None where there is none, or a file of anybody's."""
    try:
        value = read_json(record_path(path))
    except DataError:
        return None
    if not isinstance(value, dict) or value.get("version") != VERSION:
        return None
    ours = isinstance(value.get("kind"), str) and is_digest(value.get("digest"))
    return value if ours and is_digest(value.get("sha256")) else None


def check_written(path: Path) -> None:
    """Refuse a result that is not the one which its record was written for.

    A file without a record, as any other program writes it, passes; and so does a list that its
    user has edited (`FOR_EDITING`).
    """
    if not path.is_file():
        return
    bound = read_bound(path)
    if bound is not None:
        edited = bound["kind"] in FOR_EDITING
        _compare(path, record_path(path), bound["sha256"], bound.get(REPLACES), edited=edited)
        return
    held = identify(path.parent)
    if held is None or not LAYOUTS[held.kind].is_file(path.name):
        return
    manifest = _manifest(path.parent)
    digest, replaced = manifest["files"].get(path.name), manifest.get(REPLACES)
    before = replaced.get(path.name) if isinstance(replaced, dict) else None
    if digest is not None:
        _compare(path, path.with_name(MANIFEST), digest, before, edited=False)


def _compare(path: Path, record: Path, digest: Json, before: Json, *, edited: bool) -> None:
    """Refuse a file that is neither what a record says nor may have been edited."""
    now = file_digest(path)
    if now == digest or (edited and now != before):
        return
    if now == before:
        why = "The command that was to replace it was stopped: run it again."
    else:
        why = "Run the command that wrote them again" + (
            "." if record.name == MANIFEST else ", or remove the record where you changed the file."
        )
    raise DataError(f"{path} is not the file that {record.name} beside it was written for. {why}")


def _manifest(folder: Path) -> dict[str, Json]:
    """Read the manifest of a run folder of ours; ``files`` is a mapping in it."""
    if not (folder / MANIFEST).is_file():
        raise DataError(
            f"{folder} holds a run that is not finished: run the command that writes it again."
        )
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict):
        raise DataError(f"{folder / MANIFEST} is damaged: it is no object.")
    files = manifest.get("files")
    return {**manifest, "files": files if isinstance(files, dict) else {}}


_HEX = 64
_BEGIN = b'{"digest":"'
_FILES = b'","files":'
_SUM = b'"sha256":"'


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordHead:
    """What a record says of itself."""

    digest: str  # of what it was made from
    files: dict[str, str]  # digests of the files beside it, by name


def read_head(data: bytes) -> RecordHead | None:
    """Read the head of a record that was written as canonical JSON and matches its checksum.

    Examples
    --------
    >>> body = b'{"digest":"%s","files":{},"result":[1],"shard":"0"}' % (64 * b"a")
    >>> own = b'"sha256":"%s",' % hashlib.sha256(body).hexdigest().encode()
    >>> read_head(body[:-11] + own + body[-11:]).files
    {}
    >>> read_head(body)
    """
    # the keys are sorted, so the checksum stands between the result and the shard's name
    at = data.rfind(_SUM)
    stop = at + len(_SUM) + _HEX
    if not data.startswith(_BEGIN) or at < 0 or data[stop : stop + 2] != b'",':
        return None
    summed = hashlib.sha256(data[:at])
    summed.update(data[stop + 2 :].rstrip(b"\n"))
    if summed.hexdigest().encode() != data[at + len(_SUM) : stop]:
        return None
    end = len(_BEGIN) + _HEX
    if data[end : end + len(_FILES)] != _FILES:
        return None
    # the object of files is text alone: names and digests
    begin = end + len(_FILES)
    close = data.find(b"}", begin) + 1
    try:
        files = json.loads(data[begin:close])
    except ValueError:
        return None
    if not isinstance(files, dict):
        return None
    return RecordHead(digest=data[len(_BEGIN) : end].decode("ascii", "replace"), files=files)
