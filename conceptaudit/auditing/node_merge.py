"""Copying the results of parts that ran on different file systems into one run folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from conceptaudit.artifacts import (
    MARK,
    STARTED,
    Json,
    RunFolder,
    digest_of,
    file_digest,
    read_json,
    whole_file,
)
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.paths import is_there
from conceptaudit.store.layouts import shard_of


def collect_parts(parts: Sequence[Path], run: RunFolder) -> int:
    """Copy the valid shard records of parts, and the files that they vouch for.

    A record is copied after its files, and only where both match their digests: a damaged one
    is left out, and its shard counts as missing.
    """
    folder = run.path
    for part in parts:
        _check_same_run(part, run.digest, folder)
    copied = 0
    for part in parts:
        if part.resolve() == folder.resolve():
            continue
        for record in sorted(part.glob("*/*.json")):
            if run.layout.is_stage(record.parent.name):
                copied += _copy_record(record, folder / record.parent.name)
        for marker in part.glob(f"{MARK}*.json"):
            _copy(marker, folder / marker.name)
    return copied


def collect_shards(source: Path, run: RunFolder, shards: frozenset[str]) -> None:
    """Copy the valid records of some shards of a run that may still go on, and their files."""
    for record in sorted(source.glob("*/*.json")):
        name = shard_of(record.name)
        if name in shards and run.layout.is_stage(record.parent.name):
            _copy_record(record, run.path / record.parent.name)


def _check_same_run(part: Path, wanted: str, folder: Path) -> None:
    if not (part / STARTED).is_file():
        raise ConfigError(f"{part} holds no run, and so no part of one.")
    told = read_json(part / STARTED)
    if not isinstance(told, dict) or told.get("digest") != wanted:
        raise ArtifactMismatchError(
            f"{part} is no part of the run in {folder}: data, concepts or settings differ. Merge "
            "parts of one audit only; files that were copied need their times of change, too "
            "(rsync -a, cp -p)."
        )


def _copy_record(source: Path, target: Path) -> int:
    record = _valid_record(source)
    if record is None:
        return 0
    there = target / source.name
    if there.exists():
        if file_digest(there) == file_digest(source):
            return 0
        if _valid_record(there) is not None:
            raise ArtifactMismatchError(
                f"{source} and {there} hold different results for one shard of one run: one was "
                "made with other packages or on other hardware. Remove the one that is wrong."
            )
    for name in record["files"]:
        _copy(source.parent / Path(name).name, target / Path(name).name)
    _copy(source, there)
    return 1


def _valid_record(path: Path) -> Json:
    """Read a record if it and its files match their digests, else return None."""
    try:
        record = read_json(path)
    except DataError:
        return None
    if not isinstance(record, dict) or not {"digest", "files", "result", "sha256"} <= record.keys():
        return None
    if not isinstance(record["files"], dict):
        return None
    body = {key: value for key, value in record.items() if key != "sha256"}
    files = {path.parent / Path(name).name: digest for name, digest in record["files"].items()}
    whole = record["sha256"] == digest_of(body) and all(
        is_there(file) and file_digest(file) == digest for file, digest in files.items()
    )
    return record if whole else None


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)
