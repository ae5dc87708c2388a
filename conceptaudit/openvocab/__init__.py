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
from conceptaudit.datasets import Dataset, Shard, open_dataset
from conceptaudit.engine import open_engine, run_stage
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.openvocab.listing import write_concepts
from conceptaudit.openvocab.merging import merge_counts
from conceptaudit.openvocab.options import VocabOptions
from conceptaudit.openvocab.phrases import PhraseRule
from conceptaudit.openvocab.stage import NounLister
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts as add_counts
from conceptaudit.text.pipeline import find_pipeline

__all__ = ["PhraseRule", "VocabOptions", "VocabRun", "list_vocabulary", "write_concepts"]


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
    options = options or VocabOptions()
    opened = open_dataset(
        dataset,
        layout=options.layout,
        caption_column=options.caption_column,
        key_column=options.key_column,
        url_column=options.url_column,
        language_column=options.language_column,
        languages=options.languages,
        unit=options.unit,
        shard_rows=options.shard_rows,
    )
    stage = NounLister(
        pipeline=find_pipeline(options.spacy_model),
        rule=options.rule,
        captions_per_image=options.captions_per_image,
        unit=options.unit,
    )
    if not stage.parts <= opened.provides:
        raise DataError(f"{opened.location} holds no captions, so there is nothing to list.")
    shards = opened.shards()
    read_from = {
        "reading": opened.settings,
        "shards": [[shard.name, shard.fingerprint] for shard in shards],
    }
    wanted = {
        "stage": stage.settings,
        **read_from,
        "min_count": options.min_count,
        "min_images": options.min_images,
    }
    target = Path(out)
    done = _finished(target, digest_of(wanted), overwrite=overwrite)
    if done is not None:
        return done
    parts = target.with_name(f"{target.name}.parts")
    with exclusive(parts):
        identity = digest_of([stage.settings, read_from])
        if claim(parts, identity, resume=not overwrite, overwrite=overwrite) == "overwrite":
            clear(parts)
        remove_partials(parts)
        remove_partials(target.parent, of=target.name)
        write_json(parts / STARTED, {"digest": identity, "kind": "vocab", "dataset": str(dataset)})
        run = _list(opened, shards, stage, target, parts, options, progress or SilentProgress())
        write_json(
            _manifest(target),
            {
                "kind": "vocab",
                "digest": digest_of(wanted),
                "dataset": opened.location,
                "settings": {name: wanted[name] for name in wanted if name != "shards"},
                "account": run.account,
                "notes": list(run.notes),
                "n_entries": run.n_entries,
                "sha256": file_digest(target),
                "versions": package_versions("spacy", "duckdb"),
            },
        )
    if not options.keep_parts:
        shutil.rmtree(parts)
    return run


def _list(
    dataset: Dataset,
    shards: Sequence[Shard],
    stage: NounLister,
    target: Path,
    parts: Path,
    options: VocabOptions,
    progress: Progress,
) -> VocabRun:
    report = run_stage(
        stage,
        dataset,
        shards,
        folder=parts,
        engine=open_engine(options.engine_choice, n_items=len(shards), folder=parts),
        progress=progress,
        skip_unreadable=options.skip_unreadable,
    )
    names = [shard.name for shard in shards if shard.name not in report.failed]
    n_entries = merge_counts(
        report.store.folder,
        names,
        target,
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
        notes=(*dataset.notes, *(f"Skipped: {why}" for why in report.failed.values())),
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
