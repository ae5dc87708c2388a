"""Open vocabulary: which nouns and noun phrases a dataset's captions hold, and how often."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import (
    STARTED,
    Json,
    ShardStore,
    claim,
    clear,
    digest_of,
    exclusive,
    file_digest,
    package_versions,
    read_json,
    remove_partials,
    write_json,
)
from conceptaudit.engine import StageReport
from conceptaudit.engine.part_marks import forget_parts, mark_finished
from conceptaudit.engine.parts import Part, PartRun, sharing
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.openvocab.listing import write_concepts
from conceptaudit.openvocab.merging import merge_counts
from conceptaudit.openvocab.options import VocabOptions
from conceptaudit.openvocab.phrases import PhraseRule
from conceptaudit.openvocab.prepared import PreparedListing
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts as add_counts

__all__ = [
    "PhraseRule",
    "VocabOptions",
    "VocabRun",
    "list_part",
    "list_vocabulary",
    "parts_of",
    "write_concepts",
]

LISTING = "listing.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabRun:
    """A finished listing.

    Parameters
    ----------
    path : Path
        The table: ``kind, text, n_captions, n_images``, most frequent first.
    n_entries : int
        Its rows.
    account : dict
        Captions read, used, dropped by reason.
    notes : tuple of str
        What was detected or skipped.
    """

    path: Path
    n_entries: int
    account: Json
    notes: tuple[str, ...]


def list_vocabulary(
    dataset: str | Path,
    out: str | Path,
    *,
    options: VocabOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> VocabRun:
    """List the nouns and noun phrases of a dataset's captions with exact counts.

    Parameters
    ----------
    dataset : str or Path
        A file, folder, glob or fsspec URL in any layout of docs/formats.md.
    out : str or Path
        The parquet file to write. ``OUT.json`` beside it says what it was made from, and
        ``OUT.parts`` holds the shards' counts while the work goes on: a run that was interrupted
        goes on when it is called again.
    options : VocabOptions, optional
    overwrite : bool, default False
        Replace `out` where it holds another listing.
    progress : Progress, optional
        Told of every finished shard.

    Returns
    -------
    VocabRun

    Raises
    ------
    ConfigError, DataError, MissingDependencyError
        The options or files cannot be used; the message says what to do.
    ArtifactMismatchError
        `out` holds something else.
    """
    asked = PreparedListing.of(dataset, options or VocabOptions())
    target = Path(out)
    done = _finished(target, digest_of(asked.wanted), overwrite=overwrite)
    parts = parts_of(target)
    if done is not None:
        if parts.is_dir() and not asked.options.keep_parts:
            with exclusive(parts):  # left by a run that was killed at its very end
                shutil.rmtree(parts)
        return done
    with exclusive(parts):
        if claim(parts, asked.identity, resume=not overwrite, overwrite=overwrite) == "overwrite":
            clear(parts)
        remove_partials(parts)
        write_json(parts / STARTED, asked.started)
        report = asked.run(parts, progress or SilentProgress())
        run = _merged(asked, report, target, parts)
        write_json(
            _manifest(target),
            {
                "kind": "vocab",
                "digest": digest_of(asked.wanted),
                "dataset": asked.dataset.location,
                "settings": {
                    name: value for name, value in asked.wanted.items() if name != "shards"
                },
                "account": run.account,
                "notes": list(run.notes),
                "n_entries": run.n_entries,
                "sha256": file_digest(parts / LISTING),
                "versions": package_versions("spacy", "duckdb"),
            },
        )
        # last, so that a listing without its manifest is never ours: a kill leaves none
        try:
            (parts / LISTING).replace(target)
        except OSError as error:
            raise DataError(f"Cannot write {target}: {error.strerror or error}.") from error
        forget_parts(parts)
    if not asked.options.keep_parts:
        shutil.rmtree(parts)
    return run


def list_part(
    dataset: str | Path,
    out: str | Path,
    part: Part,
    *,
    options: VocabOptions | None = None,
    progress: Progress | None = None,
) -> PartRun:
    """Count the nouns and noun phrases of one part's share of a dataset.

    Parts may run side by side, be killed and run again. When all are finished, `list_vocabulary`
    with the same arguments adds up.

    Parameters
    ----------
    dataset, out, options, progress
        As in `list_vocabulary`, the same for all parts.
    part : Part
        Shard k of the sorted list belongs to part k mod n.

    Raises
    ------
    ConfigError, DataError
        As in `list_vocabulary`.
    ArtifactMismatchError
        The parts of `out` are of another listing, or this part is running already.
    """
    asked = PreparedListing.of(dataset, options or VocabOptions())
    parts, n_all = parts_of(Path(out)), len(asked.shards)
    with sharing(parts, part):
        claim(parts, asked.identity, resume=False, overwrite=False)
        write_json(parts / STARTED, asked.started)
        report = asked.run(parts, progress or SilentProgress(), part)
        mark_finished(parts, part, n_all)
    return PartRun.of(parts, part, n_all, {asked.stage.name: report})


def parts_of(out: Path) -> Path:
    """Where the counts of shards are while a listing is made."""
    return out.with_name(f"{out.name}.parts")


def _merged(asked: PreparedListing, report: StageReport, target: Path, parts: Path) -> VocabRun:
    """Add up the shards' counts."""
    options = asked.options
    names = [shard.name for shard in asked.shards if shard.name not in report.failed]
    n_entries = merge_counts(
        report.store.folder,
        names,
        parts / LISTING,
        spill=parts / "spill",
        captions_per_image=options.captions_per_image,
        min_count=options.min_count,
        min_images=options.min_images,
        memory_limit=options.memory_limit,
    )
    return VocabRun(
        path=target,
        n_entries=n_entries,
        account=_account(report.store, names),
        notes=(*asked.dataset.notes, *(f"Skipped: {why}" for why in report.failed.values())),
    )


def _account(store: ShardStore, shards: Sequence[str]) -> Json:
    records = [store.read(shard) for shard in shards]
    return {
        "n_samples": sum(record["n_samples"] for record in records),
        "n_used": sum(record["n_used"] for record in records),
        "dropped": add_counts([record["dropped"] for record in records]),
        "noted": add_counts([record["noted"] for record in records]),
    }


def _manifest(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _finished(target: Path, digest: str, *, overwrite: bool) -> VocabRun | None:
    """Return the listing that is there already, if it is the one asked for.

    Raises
    ------
    ArtifactMismatchError
        Another file is there, and must not be replaced.
    """
    if overwrite or not target.exists():
        return None
    told = read_json(_manifest(target)) if _manifest(target).exists() else {}
    if told.get("digest") == digest and told.get("sha256") == file_digest(target):
        return VocabRun(
            path=target,
            n_entries=told["n_entries"],
            account=told["account"],
            notes=tuple(told["notes"]),
        )
    raise ArtifactMismatchError(
        f"{target} is there and was not made from these inputs and settings. Add --overwrite to "
        "replace it, or name another file with -o."
    )
