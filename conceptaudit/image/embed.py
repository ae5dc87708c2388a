"""Embed a dataset's images into a folder: the library side of ``conceptaudit embed``.

The layout is clip-retrieval's: ``img_emb/img_emb_{i}.npy`` holds float16 unit vectors,
``metadata/metadata_{i}.parquet`` a row for each, ``text_emb/text_emb_{i}.npy`` the captions'
vectors where they are wanted. An image that cannot be decoded is in none of them;
``dropped/dropped_{i}.parquet`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import (
    MANIFEST,
    RUN_PACKAGES,
    Json,
    RunFolder,
    ShardStore,
    digest_of,
    package_versions,
    read_json,
    write_npy,
    write_parquet,
)
from conceptaudit.datasets.base import CAPTION, IMAGE, SOURCE_COLUMN, Dataset, Shard
from conceptaudit.datasets.changes import check_unchanged, stamps_of
from conceptaudit.engine import EngineChoice, StageReport, open_engine, run_shards
from conceptaudit.engine.array_tasks import Part, mark_finished
from conceptaudit.engine.stage import CountedBatches
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.encode import EncodedShard, encode_shard
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import merge_counts
from conceptaudit.store.places import folder_of, output_path
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import check_account, drop_table, part_account

RECORDS = "shards"
ARRAY, METADATA, TEXTS, DROPPED = "img_emb", "metadata", "text_emb", "dropped"
KIND = "embeddings"
PLACES = {ARRAY: ".npy", METADATA: ".parquet", TEXTS: ".npy", DROPPED: ".parquet"}
"""Subfolders of the layout and the ending of their files."""


@dataclass(frozen=True, slots=True)
class FolderStore(ShardStore):
    """Records in ``EMB/shards``, the files that they vouch for in the layout's own subfolders."""

    def located(self, name: str) -> Path:
        """Where a file that a record names lies."""
        place = next(p for p in PLACES if name.startswith(f"{p}_"))
        return self.folder.parent / place / Path(name).name


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedShard:
    """Embeds one shard and writes its files; what an engine sends to a worker."""

    dataset: Dataset
    clip: ClipModel
    store: FolderStore
    index: Mapping[str, int]  # the number of each shard's files, by shard name
    texts: bool  # whether captions are embedded too
    skip_unreadable: bool  # whether a shard that cannot be read is reported instead of raised
    threads: int | None  # that decode; changes no result

    def __call__(self, shard: Shard) -> str | None:
        """Embed a shard, write its files and then its record."""
        parts = frozenset({IMAGE, CAPTION}) & self.dataset.provides
        try:
            stamps = stamps_of([shard])
            batches = CountedBatches(self.dataset.read(shard, parts), shard.name)
            encoded = encode_shard(batches, self.clip, threads=self.threads)
            check_unchanged(stamps, shard)
        except DataError as error:
            if self.skip_unreadable:
                return str(error)
            raise
        account = part_account(len(encoded.keys), encoded.drops, part=IMAGE)
        check_account(account, encoded.n_used, f"images of shard {shard.name}")
        batches.check(account)
        files = self._write(encoded, self.index[shard.name], account)
        self.store.write(shard.name, shard.fingerprint, account, files)
        return None

    def _write(self, encoded: EncodedShard, index: int, account: Json) -> dict[str, Path]:
        files: dict[str, Path] = {}
        paths = {
            place: self.store.located(f"{place}_{file_number(index, len(self.index))}{ending}")
            for place, ending in PLACES.items()
        }
        for path in paths.values():
            remove(path.parent, [path.name])
        kept = np.flatnonzero(encoded.usable)
        # no empty arrays: clip-retrieval's reader leaves them out and so shifts every later pair
        if len(kept):
            write_npy(paths[ARRAY], encoded.vectors[kept])
            write_parquet(paths[METADATA], _metadata(encoded, kept))
            files |= {place: paths[place] for place in (ARRAY, METADATA)}
            if self.texts:
                vectors, n_texts = self._texts([encoded.captions[row] for row in kept.tolist()])
                write_npy(paths[TEXTS], vectors)
                files[TEXTS] = paths[TEXTS]
                account["n_texts"] = n_texts
        drops = drop_table(encoded.drops)
        if len(drops):
            write_parquet(paths[DROPPED], drops)
            files[DROPPED] = paths[DROPPED]
        return files

    def _texts(self, captions: Sequence[str | None]) -> tuple[npt.NDArray[np.float16], int]:
        """Embed captions; one that is missing keeps zeros, so that rows stay in step."""
        vectors = np.zeros((len(captions), self.clip.dimension), dtype=np.float16)
        rows = [row for row, caption in enumerate(captions) if caption is not None]
        texts = [caption for caption in captions if caption is not None]
        if texts:
            vectors[rows] = self.clip.encode_texts(texts).astype(np.float16)
        return vectors, len(texts)

    def records(self, shards: Sequence[Shard]) -> dict[str, Json]:
        """Read the records that are there, by shard."""
        paths = {shard.name: self.store.path(shard.name, ".json") for shard in shards}
        return {name: read_json(path) for name, path in paths.items() if path.exists()}


def _metadata(encoded: EncodedShard, kept: npt.NDArray[np.int64]) -> pd.DataFrame:
    table = pd.DataFrame(
        {
            "image_path": pd.Series(encoded.keys, dtype="str"),
            "caption": pd.Series(encoded.captions, dtype="str"),
            SOURCE_COLUMN: encoded.sample_ids,
            "image_digest": pd.Series(encoded.digests, dtype="str"),
            "image_look": pd.Series(encoded.thumbnails, dtype="object"),
        }
    )
    if all(caption is None for caption in encoded.captions):
        del table["caption"]
    return table.iloc[kept].reset_index(drop=True)


def file_number(index: int, n_shards: int) -> str:
    """Write a shard's number as clip-retrieval does: as many digits as the last one has.

    >>> file_number(3, 10), file_number(3, 11)
    ('3', '03')
    """
    return str(index).zfill(len(str(max(n_shards - 1, 0))))


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingFolder:
    """A finished folder of embeddings."""

    folder: Path  # readable by `open_dataset`, and by clip-retrieval
    account: Json  # samples read, embedded, dropped by reason; always adds up
    n_texts: int | None  # captions embedded; None where they were not asked for
    notes: tuple[str, ...]  # what was detected and which files were skipped
    redone: Mapping[str, int]  # shards embedded by this call, by why
    kept: int  # shards that were there already


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
    """Embed every image of a dataset once and keep the vectors.

    A folder that was interrupted goes on. With a part only its share of the shards is embedded,
    and parts may run side by side; the same call without one finishes the folder. Neither
    `workers` nor `threads`, which decode in each of them, change a byte.
    """
    _check_call(dataset, texts=texts, threads=threads)
    if part is not None and overwrite:
        raise ConfigError(
            "A part cannot overwrite what the others have written: remove the folder before the "
            "first part starts, or resume."
        )
    folder = output_path(out)
    index = {shard.name: number for number, shard in enumerate(dataset.shards())}
    # a shard's number names its files, and so is a part of what its record depends on
    shards = tuple(
        replace(shard, fingerprint=digest_of([shard.fingerprint, index[shard.name], len(index)]))
        for shard in dataset.shards()
    )
    settings = {**clip.settings, "texts": texts}
    store = FolderStore(
        folder=folder / RECORDS,
        digest=digest_of({"embed": settings, "reading": dataset.settings}),
    )
    mine = shards if part is None else part.share(shards)
    run = RunFolder.at(
        folder,
        kind=KIND,
        digest=digest_of([store.digest, [[shard.name, shard.fingerprint] for shard in shards]]),
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
        engine = open_engine(workers, n_items=len(mine), on_gpu=clip.device != "cpu", folder=folder)
        report = run_shards(
            task,
            store,
            mine,
            engine=engine,
            progress=progress or SilentProgress(),
            tidy=part is None,
        )
        records = task.records(mine)
        result = _summary(folder, task, records, report)
        if part is not None:
            mark_finished(folder, part, len(shards))
            return result
        _refuse_strangers(store, records)
        _check_used(result, dataset, report)
        run.finish(
            {
                "dataset": dataset.location,
                "reading": dataset.settings,
                "clip": clip.name,
                "model": clip.digest,
                "configuration": dict(clip.configuration),
                "dimension": clip.dimension,
                "dtype": "float16",
                "settings": {**settings, "texts": result.n_texts is not None},
                "account": result.account,
                "n_texts": result.n_texts,
                "notes": list(result.notes),
                "shards": {name: sorted(record["files"]) for name, record in records.items()},
                "versions": package_versions(*RUN_PACKAGES),
            }
        )
    return result


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


def _refuse_strangers(store: FolderStore, records: Mapping[str, Json]) -> None:
    """Refuse files that no record vouches for: a reader would take them for ours."""
    named = {name for record in records.values() for name in record["files"]}
    for place, ending in PLACES.items():
        for path in (store.folder.parent / place).glob(f"{place}_*{ending}"):
            if path.name not in named:
                raise ArtifactMismatchError(
                    f"{path} was not written by this run, but would be read as a part of its "
                    "embeddings. Move it elsewhere, and run the same command again."
                )


def _summary(
    folder: Path, task: EmbedShard, records: Mapping[str, Json], report: StageReport
) -> EmbeddingFolder:
    accounts = [record["result"] for record in records.values()]
    texts = [account["n_texts"] for account in accounts if "n_texts" in account]
    return EmbeddingFolder(
        folder=folder,
        account={
            "n_samples": sum(account["n_samples"] for account in accounts),
            "n_used": sum(account["n_used"] for account in accounts),
            "dropped": merge_counts([account["dropped"] for account in accounts]),
            "noted": merge_counts([account["noted"] for account in accounts]),
        },
        n_texts=sum(texts) if texts else None,
        notes=(*task.dataset.notes, *task.clip.notes, *_failures(report)),
        redone=dict(report.redone),
        kept=report.kept,
    )


def _failures(report: StageReport) -> list[str]:
    return [f"Skipped: {why}" for why in report.failed.values()]


def _check_used(result: EmbeddingFolder, dataset: Dataset, report: StageReport) -> None:
    """Refuse to finish a folder without a single vector."""
    if not result.account["n_used"]:
        dropped = result.account["dropped"].items()
        why = ", ".join(f"{n:,} × {reason}" for reason, n in dropped)
        raise DataError(
            f"No image of {dataset.location} can be embedded: "
            f"{why or next(iter(_failures(report)), 'it holds none')}."
        )


def check_embedded_with(location: str, clip: ClipModel) -> None:
    """Refuse embeddings of ours that another model made.

    Folders of other tools do not say which model made them, and pass.
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
            "Name that model with --clip, or embed the images anew."
        )
