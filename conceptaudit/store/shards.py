"""Results of shards: written whole, and valid only for what they were made from.

A stage writes one record per shard. Its sidecar, ``NAME.json``, is written last and holds the
digest of everything that the result depends on and the SHA-256 of every file beside it; a result
counts only while both still hold. So a killed run leaves nothing that looks finished, a damaged
file is noticed, and changed settings are never mistaken for finished work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.store.checking import RecordHead, read_head
from conceptaudit.store.files import (
    Json,
    canonical_json,
    digest_of,
    file_digest,
    is_there,
    read_json,
    sync_folder,
    write_text,
)
from conceptaudit.store.layouts import shard_of, whole_name
from conceptaudit.store.partials import remove_abandoned
from conceptaudit.store.removing import read_record, remove

FEW = 32  # shards whose files are synced one by one; of more, the file system is asked once for all


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardStore:
    """The results of one stage, one record per shard, in one folder."""

    folder: Path  # ``RUN/STAGE``; made when first written to
    # digest of the stage's settings, models and versions; every record carries it together with its
    # shard's fingerprint
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
        """Say why a shard has no valid record here, or None where it has one."""
        sidecar = self.path(shard, ".json")
        if not sidecar.exists():
            return "missing"
        try:
            head = read_head(sidecar.read_bytes()) or _parsed_head(self._read(sidecar))
        except (OSError, DataError) as error:
            return f"damaged: {error}"
        if head.digest != self.expected(fingerprint):
            return "made from other inputs or settings"
        faults = (self._file_fault(name, digest) for name, digest in head.files.items())
        return next((fault for fault in faults if fault is not None), None)

    def _file_fault(self, name: str, digest: str) -> str | None:
        path = self.located(name)
        try:
            if not is_there(path):
                return f"damaged: {path.name} is missing"
            if file_digest(path) != digest:
                return f"damaged: {path.name} has changed since it was written"
        except (OSError, DataError) as error:  # a disk that cannot read back what it was given
            return f"damaged: {error}"
        return None

    def write(self, shard: str, fingerprint: str, result: Json, files: Mapping[str, Path]) -> None:
        """Write a shard's record; the files beside it must be in place already."""
        body = {
            "digest": self.expected(fingerprint),
            "files": {path.name: file_digest(path) for path in files.values()},
            "result": result,
            "shard": shard,
        }
        text = canonical_json({**body, "sha256": digest_of(body)}) + "\n"
        write_text(self.path(shard, ".json"), text, sync=False)

    def sync(self, shards: Sequence[str]) -> None:
        """Have the results of shards on the disk, together: syncing each would take longer.

        A process that dies loses nothing that it has written. What a power failure takes away
        before this is noticed by the digests, and done again.
        """
        if len(shards) > FEW:
            sync_folder(self.folder)
        elif shards and self.folder.is_dir():
            records = {f"{shard}.json": read_record(self.path(shard, ".json")) for shard in shards}
            files = [name for record in records.values() if record for name in record.files]
            sync_folder(self.folder, [*files, *records])

    def read(self, shard: str) -> Json:
        """Read the result part of a shard's record."""
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
        """Remove records of shards that are not in the run, with the files that they name.

        Unfinished files go, too, where they would become one of these or of the run's shards.
        """
        if self.folder.is_symlink():
            raise ArtifactMismatchError(
                f"{self.folder} is a link, to {self.folder.resolve()}; conceptaudit writes and "
                "removes files only in folders of its own. Remove the link, or name another folder."
            )
        names = sorted(path.name for path in self.folder.iterdir()) if self.folder.is_dir() else []
        others = {
            name: record.files
            for name in names
            if name.endswith(".json") and name.removesuffix(".json") not in shards
            if (record := read_record(self.folder / name)) is not None
        }
        removed = 0
        for name, files in others.items():
            # the record last: what it names stays recognisable until it is gone
            for path in [*map(self.located, files), self.folder / name]:
                removed += remove(path.parent, [path.name])
        known = shards | {name.removesuffix(".json") for name in others}
        for name in names:
            whole = whole_name(name)
            if whole is not None and shard_of(whole) in known:
                removed += remove_abandoned(self.folder / name)
        return removed


def stage_tables(folder: Path) -> list[Path]:
    """List the main tables of a stage's shards, sorted, without drops, evidence and the like.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as name:
    ...     for end in (".parquet", ".drops.parquet", ".evidence.parquet", ".json"):
    ...         _ = Path(name, f"0000000{end}").touch()
    ...     [path.name for path in stage_tables(Path(name))]
    ['0000000.parquet']
    """
    return sorted(path for path in folder.glob("*.parquet") if len(path.suffixes) == 1)


def _parsed_head(record: Json) -> RecordHead:
    if not isinstance(record["files"], dict) or not isinstance(record["digest"], str):
        raise DataError("it does not say what it was made from.")
    return RecordHead(digest=record["digest"], files=record["files"])
