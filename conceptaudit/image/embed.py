"""Embed a dataset's pictures into a folder: the library side of ``conceptaudit embed``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import (
    MANIFEST,
    RUN_PACKAGES,
    Json,
    RunFolder,
    digest_of,
    package_versions,
    read_json,
)
from conceptaudit.datasets.base import CAPTION, IMAGE, Dataset, Shard
from conceptaudit.engine import EngineChoice, StageReport, open_engine, run_shards
from conceptaudit.engine.part_marks import mark_finished
from conceptaudit.engine.parts import Part
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embedding_folder import (
    PLACES,
    EmbedShard,
    FolderStore,
    embed_settings,
    folder_store,
    numbered,
)
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts
from conceptaudit.store.places import folder_of, output_path

KIND = "embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFolder:
    """A finished folder of embeddings.

    Parameters
    ----------
    folder : Path
        Readable by `open_dataset`, and by clip-retrieval.
    account : dict
        Samples read, embedded, dropped by reason; always adds up.
    n_texts : int or None
        Captions embedded; None where they were not asked for.
    notes : tuple of str
        What was detected and which files were skipped.
    redone : mapping of str to int
        Shards embedded by this call, by why.
    kept : int
        Shards that were there already.
    """

    folder: Path
    account: Json
    n_texts: int | None
    notes: tuple[str, ...]
    redone: Mapping[str, int]
    kept: int


def embed(
    dataset: Dataset,
    clip: ClipModel,
    out: str | Path,
    *,
    texts: bool = False,
    workers: int | EngineChoice | None = 1,
    threads: int | None = None,
    part: Part | None = None,
    skip_unreadable: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> EmbeddingFolder:
    """Embed every picture of a dataset once and keep the vectors.

    Parameters
    ----------
    dataset : Dataset
        With images; see `conceptaudit.datasets.open_dataset`.
    clip : ClipModel
        See `conceptaudit.image.clip.find_clip`.
    out : str or Path
        The folder. One that was interrupted goes on; one with other inputs is refused.
    texts : bool, default False
        Embed captions as well.
    workers : int, EngineChoice or None, default 1
        Processes; None for one per processor. On a GPU there is one, or one per GPU of a Ray
        cluster. Changes no byte.
    threads : int or None, default None
        Threads per process that decode; None for a process's share. Changes no byte.
    part : Part or None, default None
        Embed only this part's share of the shards; parts may run side by side. The same call
        without a part finishes the folder.
    skip_unreadable : bool, default False
        List files that cannot be read instead of stopping.
    resume : bool, default False
        Redo in `out` only what other inputs or settings change.
    overwrite : bool, default False
        Remove what `out` holds.
    progress : Progress, optional
        Told of every finished shard.

    Returns
    -------
    EmbeddingFolder
        Of a part: what it has done.

    Raises
    ------
    ConfigError
        The dataset holds no images, or no captions where `texts` asks for them.
    DataError
        A file cannot be read, or no picture can be decoded.
    ArtifactMismatchError
        `out` holds something else.
    """
    _check_call(dataset, texts=texts, threads=threads)
    if part is not None and overwrite:
        raise ConfigError(
            "A part cannot overwrite what the others have written: remove the folder before the "
            "first part starts, or resume."
        )
    folder = output_path(out)
    shards, index = numbered(dataset.shards())
    store = folder_store(folder, dataset, clip, texts=texts)
    identity = digest_of([store.digest, [[shard.name, shard.fingerprint] for shard in shards]])
    mine = shards if part is None else part.share(shards)
    run = RunFolder.at(
        folder,
        kind=KIND,
        digest=identity,
        inputs=(dataset.location, folder_of(clip.name)),
        shards=[shard.name for shard in shards],
        about={"dataset": dataset.location},
    )
    held = (
        run.hold(resume=resume, overwrite=overwrite)
        if part is None
        else run.hold_part(str(part), resume=resume)
    )
    with held:
        task = EmbedShard(
            dataset=dataset,
            clip=clip,
            store=store,
            index=index,
            texts=texts,
            skip_unreadable=skip_unreadable,
            threads=threads,
        )
        report = run_shards(
            task,
            store,
            mine,
            engine=open_engine(
                workers, n_items=len(mine), on_gpu=clip.device != "cpu", folder=folder
            ),
            progress=progress or SilentProgress(),
            tidy=part is None,
        )
        if part is not None:
            mark_finished(folder, part, len(shards))
            return _summary(folder, dataset, store, mine, report, clip=clip, part=part)
        _refuse_strangers(store, shards)
        made = _summary(folder, dataset, store, shards, report, clip=clip)
        run.finish(_record(made, dataset, clip, store, shards))
    return made


def _check_call(dataset: Dataset, *, texts: bool, threads: int | None) -> None:
    """Refuse what cannot be embedded, and say what to do."""
    if IMAGE not in dataset.provides:
        raise ConfigError(
            f"{dataset.location} ({dataset.layout}) holds no images to embed, only "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Download the images of a URL "
            "table with img2dataset first, and name its output folder."
        )
    if texts and CAPTION not in dataset.provides:
        raise ConfigError(
            f"{dataset.location} ({dataset.layout}) has no captions to embed. Leave out --text, or "
            "name their column with --caption-column."
        )
    if threads is not None and threads < 1:
        raise ConfigError(f"The 'threads' parameter must be at least 1. Got {threads} instead.")


def _records(store: FolderStore, shards: Sequence[Shard]) -> dict[str, Json]:
    paths = {shard.name: store.path(shard.name, ".json") for shard in shards}
    return {name: read_json(path) for name, path in paths.items() if path.exists()}


def _refuse_strangers(store: FolderStore, shards: Sequence[Shard]) -> None:
    """Refuse files that no record vouches for: whoever reads the folder would take them for ours.

    Raises
    ------
    ArtifactMismatchError
        There is one.
    """
    named = {name for record in _records(store, shards).values() for name in record["files"]}
    for place, ending in PLACES.items():
        for path in (store.folder.parent / place).glob(f"{place}_*{ending}"):
            if path.name not in named:
                raise ArtifactMismatchError(
                    f"{path} was not written by this run, but would be read as a part of its "
                    "embeddings. Move it elsewhere, and run the same command again."
                )


def _summary(
    folder: Path,
    dataset: Dataset,
    store: FolderStore,
    shards: Sequence[Shard],
    report: StageReport,
    *,
    clip: ClipModel,
    part: Part | None = None,
) -> EmbeddingFolder:
    accounts = [record["result"] for record in _records(store, shards).values()]
    failures = [f"Skipped: {why}" for why in report.failed.values()]
    account = {
        "n_samples": sum(part["n_samples"] for part in accounts),
        "n_used": sum(part["n_used"] for part in accounts),
        "dropped": merge_counts([part["dropped"] for part in accounts]),
        "noted": merge_counts([part["noted"] for part in accounts]),
    }
    if not account["n_used"] and part is None:
        why = ", ".join(f"{n:,} × {reason}" for reason, n in account["dropped"].items())
        raise DataError(
            f"No picture of {dataset.location} can be embedded: "
            f"{why or next(iter(failures), 'it holds none')}."
        )
    texts = [part["n_texts"] for part in accounts if "n_texts" in part]
    return EmbeddingFolder(
        folder=folder,
        account=account,
        n_texts=sum(texts) if texts else None,
        notes=(*dataset.notes, *clip.notes, *failures),
        redone=dict(report.redone),
        kept=report.kept,
    )


def _record(
    made: EmbeddingFolder,
    dataset: Dataset,
    clip: ClipModel,
    store: FolderStore,
    shards: Sequence[Shard],
) -> Json:
    records = _records(store, shards)
    return {
        "dataset": dataset.location,
        "reading": dataset.settings,
        "clip": clip.name,
        "model": clip.digest,
        "configuration": dict(clip.configuration),
        "dimension": clip.dimension,
        "dtype": "float16",
        "settings": embed_settings(clip, texts=made.n_texts is not None),
        "account": made.account,
        "n_texts": made.n_texts,
        "notes": list(made.notes),
        "shards": {name: sorted(record["files"]) for name, record in records.items()},
        "versions": package_versions(*RUN_PACKAGES),
    }


def check_embedded_with(location: str, clip: ClipModel) -> None:
    """Refuse embeddings of ours that another model made.

    Folders of other tools do not say which model made them, and pass.

    Raises
    ------
    ArtifactMismatchError
        The folder's manifest names another model's digest.
    """
    path = Path(location) / MANIFEST
    if not path.is_file():
        return
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        return
    if manifest.get("model") != clip.digest:
        raise ArtifactMismatchError(
            f"The embeddings in {location} were made with {manifest.get('clip')!r}, whose weights "
            f"or configuration are not those of {clip.name!r}: their similarities mean nothing. "
            "Name that model with --clip, or embed the pictures anew."
        )
