"""Results on disk: written whole or not at all, and valid only for what they were made from.

A stage writes one record per shard. Its sidecar, ``NAME.json``, is written last and holds the
digest of everything that the result depends on and the SHA-256 of every file beside it; a result
counts only while both still hold. So a killed run leaves nothing that looks finished, a damaged
file is noticed, and changed settings are never mistaken for done work.
"""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.partials import PARTIAL_SUFFIX, remove_abandoned, whole
from conceptaudit.paths import is_there
from conceptaudit.sidecars import RecordHead, read_head

MANIFEST = "manifest.json"
STARTED = "run.json"
"""Written first into a run folder: which run this is, so that it is never mixed with another."""

LOCK = ".lock"
MARK = ".part-"
"""Begin of the names of files that say which parts of a run are finished; a whole run has none."""

LOG = "log.jsonl"
"""Written by `runlog`: the only file of a run with clocks in it, so no manifest names it."""

Json = Any
"""A value that `json` can write."""


def canonical_json(value: Json) -> str:
    """Write a value as JSON whose bytes depend on nothing but the value."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def digest_of(value: Json) -> str:
    """SHA-256, in hex, of a JSON value.

    Examples
    --------
    >>> digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256, in hex, of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def package_versions(*names: str) -> dict[str, str]:
    """Installed versions of the packages that a result depends on; absent ones are left out."""
    versions = {}
    for name in ("conceptaudit", *names):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success sync and rename it, else remove it.

    What killed processes left half-written of the same name goes, too (see `partials`).

    Raises
    ------
    DataError
        The folder cannot be written to, or the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as partial:
            yield partial
    except OSError as error:
        raise DataError(f"Cannot write {path}: {error.strerror or error}.") from error


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all (UTF-8; lone surrogates become U+FFFD)."""
    with whole_file(path) as partial:
        partial.write_bytes(text.encode("utf-8", "replace"))


def write_json(path: Path, value: Json) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, sort_keys=True, ensure_ascii=False, indent=1) + "\n")


def write_parquet(path: Path, table: pd.DataFrame) -> None:
    """Write a table as parquet, whole or not at all, with the same bytes for the same table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    with whole_file(path) as partial:
        pq.write_table(arrow, partial, compression="zstd", write_page_checksum=True)


def write_npy(path: Path, array: npt.NDArray[Any]) -> None:
    """Write an array as ``.npy``, whole or not at all; objects are refused."""
    with whole_file(path) as partial, partial.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)


FORMULA = re.compile(r"\s*[=+\-@＝＋－＠]|[\t\r]")
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def inert_text(value: Json) -> Json:
    """Put an apostrophe before text that a spreadsheet would compute; numbers stay numbers.

    Examples
    --------
    >>> inert_text("=1+1"), inert_text("a-b"), inert_text("-0.5")
    ("'=1+1", 'a-b', '-0.5')
    """
    if not isinstance(value, str) or not FORMULA.match(value) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def write_csv(path: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, whole or not at all; text is inert in a spreadsheet."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    inert = table.assign(**{str(name): table[name].map(inert_text) for name in texts})
    with whole_file(path) as partial:
        inert.to_csv(partial, index=False, lineterminator="\n")


def remove_partials(folder: Path) -> None:
    """Remove what killed runs left half-written in a folder that `claim` says is ours."""
    for path in sorted(folder.rglob(f".*{PARTIAL_SUFFIX}")):
        remove_abandoned(path)


def read_json(path: Path) -> Json:
    """Read a JSON file.

    Raises
    ------
    DataError
        It is missing, not UTF-8 or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path} as JSON: {error}.") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStore:
    """The results of one stage, one record per shard, in one folder.

    Parameters
    ----------
    folder : Path
        ``RUN/STAGE``; made when first written to.
    digest : str
        Digest of the stage's settings, models and versions; every record carries it together
        with its shard's fingerprint.
    """

    folder: Path
    digest: str

    def expected(self, fingerprint: str) -> str:
        """Digest that a valid record of the shard with this fingerprint carries."""
        return digest_of([self.digest, fingerprint])

    def path(self, shard: str, suffix: str) -> Path:
        """Where a shard's file with this suffix (``".parquet"``, ``".json"``) belongs."""
        return self.folder / f"{shard}{suffix}"

    def located(self, name: str) -> Path:
        """Where a file that a record names lies: beside the record."""
        return self.folder / Path(name).name

    def fault(self, shard: str, fingerprint: str) -> str | None:
        """Say why a shard has no valid record here, or None where it has one.

        Returns
        -------
        str or None
            ``"missing"``, ``"damaged: …"`` or ``"made from other inputs or settings"``.
        """
        sidecar = self.path(shard, ".json")
        if not sidecar.exists():
            return "missing"
        try:
            head = read_head(sidecar.read_bytes()) or _parsed_head(self._read(sidecar))
        except (OSError, DataError) as error:
            return f"damaged: {error}"
        if head.digest != self.expected(fingerprint):
            return "made from other inputs or settings"
        for name, digest in head.files.items():
            path = self.located(name)
            if not is_there(path):
                return f"damaged: {path.name} is missing"
            if file_digest(path) != digest:
                return f"damaged: {path.name} has changed since it was written"
        return None

    def write(self, shard: str, fingerprint: str, result: Json, files: Mapping[str, Path]) -> None:
        """Write a shard's record; the files beside it must be in place already."""
        body = {
            "digest": self.expected(fingerprint),
            "files": {path.name: file_digest(path) for path in files.values()},
            "result": result,
            "shard": shard,
        }
        write_text(
            self.path(shard, ".json"), canonical_json({**body, "sha256": digest_of(body)}) + "\n"
        )

    def read(self, shard: str) -> Json:
        """Read the result part of a shard's record.

        Raises
        ------
        DataError
            The record is missing or damaged.
        """
        return self._read(self.path(shard, ".json"))["result"]

    def _read(self, sidecar: Path) -> dict[str, Json]:
        record = read_json(sidecar)
        if not isinstance(record, dict) or not {"digest", "files", "result"} <= record.keys():
            raise DataError(f"{sidecar} is not a shard record.")
        if read_head(sidecar.read_bytes()) is not None:
            return record
        body = {key: value for key, value in record.items() if key != "sha256"}
        if record.get("sha256") != digest_of(body):
            raise DataError(f"{sidecar} does not match its own checksum")
        return record

    def discard_others(self, shards: frozenset[str]) -> int:
        """Remove partial files and files of shards that are not in the run; return how many."""
        removed = 0
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else []:
            if path.name.endswith(PARTIAL_SUFFIX):
                removed += remove_abandoned(path)
            elif path.name.split(".")[0] not in shards:
                path.unlink()
                removed += 1
        return removed


def _parsed_head(record: Json) -> RecordHead:
    if not isinstance(record["files"], dict) or not isinstance(record["digest"], str):
        raise DataError("it does not say what it was made from.")
    return RecordHead(digest=record["digest"], files=record["files"])


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a run folder for this process alone; the operating system frees it if we die.

    Raises
    ------
    ArtifactMismatchError
        Another process is writing to the folder.
    DataError
        The folder cannot be made or written to.
    """
    lock = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stream = lock.open("a")
    except OSError as error:
        raise DataError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    with stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            held = lock.exists() and os.fstat(stream.fileno()).st_ino == lock.stat().st_ino
        except OSError:
            held = False
        if not held:
            raise ArtifactMismatchError(
                f"Another run is writing to {folder}. Wait for it, or name another folder with -o."
            )
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def claim(folder: Path, digest: str, *, resume: bool, overwrite: bool) -> str:
    """Decide what may happen to an output folder before anything is written to it.

    Parameters
    ----------
    folder : Path
        The output folder; need not exist.
    digest : str
        Digest of the run's inputs and settings.
    resume, overwrite : bool
        What the user allows where the folder holds another run.

    Returns
    -------
    str
        ``"new"``, ``"resume"`` (the same run, or another with `resume`) or ``"overwrite"``.

    Raises
    ------
    ConfigError
        Both `resume` and `overwrite`.
    ArtifactMismatchError
        The folder holds another run, or files that no run of ours wrote.
    """
    if resume and overwrite:
        raise ConfigError("--resume keeps what is there and --overwrite removes it: choose one.")
    entries = [p for p in folder.iterdir() if not _passing(p.name)] if folder.is_dir() else []
    if folder.exists() and not folder.is_dir():
        raise ArtifactMismatchError(f"{folder} is a file; -o must name a folder.")
    if not entries:
        return "new"
    started = folder / STARTED
    if not started.exists():
        raise ArtifactMismatchError(
            f"{folder} holds files that are not a conceptaudit run "
            f"(such as {min(p.name for p in entries)!r}). Name a new or empty folder."
        )
    if overwrite:
        return "overwrite"
    same = resume or _digest_in(started) == digest
    if same:
        return "resume"
    raise ArtifactMismatchError(
        f"{folder} holds a run with other inputs or settings. Add --resume to redo only what "
        "they change, --overwrite to start over, or name another folder with -o."
    )


def _digest_in(started: Path) -> Json:
    """Digest of the run that a folder holds; None where a damaged file does not say."""
    try:
        told = read_json(started)
    except DataError:
        return None
    return told.get("digest") if isinstance(told, dict) else None


def _passing(name: str) -> bool:
    """Whether a file is a lock, a mark, a log or half-written, as parts of a run leave them."""
    return name == LOG or name.startswith((LOCK, MARK)) or name.endswith(PARTIAL_SUFFIX)


def clear(folder: Path) -> None:
    """Remove everything in a run folder that `claim` has allowed to be overwritten."""
    import shutil

    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()
