"""Build an index: sample, train, add shard by shard, tune, measure, write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import (
    MANIFEST,
    RUN_PACKAGES,
    Json,
    RunFolder,
    digest_of,
    package_versions,
    read_json,
    whole_file,
)
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.faiss_ops import (
    digest_of_index,
    emptied,
    find_gpu,
    load_faiss,
    make_index,
    on_cpu,
    threads,
    tune,
)
from conceptaudit.image.index.presets import Preset, choose_preset
from conceptaudit.image.index.recall import RECALL_K, ExactNeighbours
from conceptaudit.image.index.source import Sample, VectorSource, draw, open_source, reading_digest
from conceptaudit.image.index.store import (
    INDEX,
    KIND,
    SAMPLES,
    IndexBuilt,
    Recall,
    RecallError,
    VectorBlock,
    VectorIndex,
    damaged_files,
    open_index,
    read_index_manifest,
)
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.run_folder import RESUME

N_QUERIES = 1_000  # held-out vectors: recall is then known to within about 0.01
KEY_ROWS = 65_536  # rows per row group of the key table, which is read by row group


def default_memory() -> int:
    """Return half of this machine's memory, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def build_index(
    embeddings: str | Path,
    out: str | Path,
    *,
    preset: str = "auto",
    memory: int | None = None,
    device: str = "auto",
    recall: float | None = None,
    clip: str | None = None,
    seed: int = 0,
    part: tuple[int, int] = (1, 1),
    trained: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> IndexBuilt:
    """Build a FAISS index over image embeddings, for search by inner product of unit vectors.

    Parameters
    ----------
    embeddings : str or Path
        Folder of embeddings, or the run folder of an audit that embedded its images.
    out : str or Path
        Folder to write: ``index.faiss``, ``samples.parquet``, ``manifest.json``.
    preset : str, default "auto"
        One of ``indexes/*.toml``, or the first of them that suits the number of vectors and
        fits the memory limit.
    memory : int or None, default None
        Bytes that building may take, at least 1; None for half of the machine's memory.
    device : str, default "auto"
        ``"cpu"``, ``"cuda:0"``, or ``"auto"`` for a GPU where FAISS has one.
    recall : float or None, default None
        Recall@10 to require, in (0, 1], in place of the preset's promise.
    clip : str or None, default None
        Name of the model that made the vectors, where the folder does not say; it is loaded
        once to note its digest.
    seed : int, default 0
        Decides which vectors train and which test.
    part : tuple of int, default (1, 1)
        (2, 4) for the second of four parts of the shards, to be merged later; see
        `merge_indexes`.
    trained : str, Path or None, default None
        An index whose training, and preset, to take over: parts must share them.
    resume, overwrite : bool, default False
        What may happen where `out` holds another index: both replace it.
    progress : Progress, optional
        Told of the vectors added.

    Returns
    -------
    IndexBuilt

    Raises
    ------
    ConfigError
        An option cannot be used; a preset that does not fit names those that do.
    DataError
        The vectors cannot be read, or there are none.
    RecallError
        The index finds less than is required of it; nothing is written.
    ArtifactMismatchError
        `out` holds something else.
    MissingDependencyError
        FAISS is not installed.
    """
    load_faiss()
    _check(recall, memory, part)
    source = replace(open_source(embeddings), part=part)
    model = _model(source, clip)
    gpu = find_gpu(device)
    like = None if trained is None else open_index(trained)
    settings = {
        "preset": preset,
        "memory": memory,
        "recall": recall,
        "seed": seed,
        "model": model,
        "gpu": gpu is not None,
        "part": list(part),
        "trained": None if like is None else like.manifest["trained"],
        "source": source.fingerprint,
        "versions": package_versions(*RUN_PACKAGES),
    }
    run = RunFolder.at(
        out,
        kind=KIND,
        digest=digest_of(settings),
        inputs=(embeddings, trained),
        about={"dataset": str(embeddings)},
    )
    folder = run.path
    with run.hold(resume=resume, overwrite=overwrite) as state:
        there = _finished(folder, run.digest) if state == RESUME else None
        if there is not None:
            return IndexBuilt(folder=folder, manifest=there, reused=True)
        run.clear()
        try:
            manifest = _build(
                source,
                folder,
                preset,
                memory=memory or default_memory(),
                recall=recall,
                gpu=gpu,
                seed=seed,
                like=like,
                progress=progress or SilentProgress(),
            )
            run.finish(manifest | model)
        except BaseException:
            run.clear(whole=True)
            raise
    return IndexBuilt(folder=folder, manifest=read_json(folder / MANIFEST), reused=False)


def _check(recall: float | None, memory: int | None, part: tuple[int, int]) -> None:
    if not 1 <= part[0] <= part[1]:
        raise ConfigError(
            f"The 'part' parameter must be one of N parts, such as (1, 4). Got {part} instead."
        )
    if recall is not None and not 0.0 < recall <= 1.0:
        raise ConfigError(f"The 'recall' parameter must lie in (0, 1]. Got {recall} instead.")
    if memory is not None and memory < 1:
        raise ConfigError(f"The 'memory' parameter must be at least 1 byte. Got {memory} instead.")


def _model(source: VectorSource, clip: str | None) -> dict[str, str | None]:
    """Name the model that made the vectors: what the folder says, else what the user says."""
    if clip is None:
        return {"clip": source.clip, "model": source.model}
    from conceptaudit.image.clip import find_clip

    model = find_clip(clip, device="cpu")
    if source.model is not None and source.model != model.digest:
        raise ArtifactMismatchError(
            f"The vectors of {source.location} were made with {source.clip!r}, whose weights or "
            f"configuration are not those of {clip!r}. Leave out --clip."
        )
    return {"clip": clip, "model": model.digest}


def _finished(folder: Path, digest: str) -> dict[str, Json] | None:
    """Return the manifest of an index that is there already, whole and for the same inputs."""
    try:
        manifest = read_index_manifest(folder)
    except DataError:
        return None
    good = manifest.get("digest") == digest and not damaged_files(folder, manifest)
    return manifest if good else None


def _build(
    source: VectorSource,
    folder: Path,
    name: str,
    *,
    memory: int,
    recall: float | None,
    gpu: int | None,
    seed: int,
    like: VectorIndex | None,
    progress: Progress,
) -> dict[str, Json]:
    n, dimension = _size(source)
    n_all = n * source.part[1]  # lists are cut for the vectors of all parts
    if like is not None and like.dimension != dimension:
        raise ConfigError(
            f"The index in {like.folder} was trained for dimension {like.dimension}, but the "
            f"vectors of {source.location} have {dimension}."
        )
    preset = choose_preset(
        name if like is None else str(like.manifest["preset"]),
        n=n,
        dimension=dimension,
        memory=memory,
        gpu=gpu is not None,
    )
    sample = draw(
        source.blocks(),
        expected=n,
        n_queries=N_QUERIES,
        n_training=0 if like is not None else preset.training_size(n_all),
        seed=seed,
    )
    if not sample.n_rows:
        raise DataError(f"{source.location} holds no usable vector.")
    if like is None:
        factory = preset.factory_string(n_all, dimension)
        index = make_index(factory, sample.training, gpu=gpu)
        trained = digest_of_index(on_cpu(index))
    else:  # its search setting, which it keeps, is part of the bytes: the digest is handed on
        factory, trained = str(like.manifest["factory"]), str(like.manifest["trained"])
        index = emptied(like.folder / INDEX)
    job = BuildJob(
        source=source,
        sample=sample,
        preset=preset,
        factory=factory,
        promise=preset.recall if recall is None else recall,
        seed=seed,
    )
    truth = job.fill(index, folder / SAMPLES, progress)
    return job.finish(on_cpu(index), truth, folder) | {"trained": trained}


def _size(source: VectorSource) -> tuple[int, int]:
    """Count rows without reading them where shards say how many they have."""
    shards = source.shards()
    dimension = next((b.vectors.shape[1] for b in source.blocks()), 0)
    if all(shard.stop >= 0 and shard.ids_per_row == 1 for shard in shards):
        return sum(shard.stop - shard.start for shard in shards), dimension
    return sum(len(block) for block in source.blocks()), dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildJob:
    """One build in progress."""

    source: VectorSource
    sample: Sample  # the vectors that train and those that test
    preset: Preset
    factory: str  # the preset's FAISS factory string, for the number of vectors in all parts
    promise: float  # recall@10 to reach, in (0, 1]
    seed: int  # with which the sample was drawn

    def neighbours(self) -> ExactNeighbours:
        """Begin to gather the exact neighbours of the sample's queries."""
        k = min(RECALL_K, max(self.sample.n_rows - 1, 1))
        return ExactNeighbours(self.sample.query_ids, self.sample.queries, k)

    def fill(self, index: Any, keys: Path, progress: Progress) -> ExactNeighbours:
        """Add every vector to a trained index, and write the key table on the way."""
        truth = self.neighbours()
        progress.start("index", self.sample.n_rows, unit="vectors")
        with _key_table(keys) as write_keys, threads(self.preset.threads):
            for block in self.source.blocks():
                index.add_with_ids(block.vectors, block.sample_ids)
                truth.add(block)
                write_keys(block)
                progress.advance(len(block))
        progress.finish()
        return truth

    def tune(self, index: Any, truth: ExactNeighbours) -> tuple[int, list[Json], Recall]:
        """Raise the search setting until the promise is kept."""
        tried: list[Json] = []
        setting = self.preset.setting
        for value in self.preset.values or (0,):
            tune(index, setting, value)
            recall = truth.recall(index.search(truth.queries, truth.k + 1)[1])
            tried.append({"value": value, "recall": recall.as_json()["value"]})
            if recall.value >= self.promise:
                return value, tried, recall
        best = max(tried, key=lambda one: float(one["recall"]))
        raise RecallError(
            f"The index finds {best['recall']:.1%} of the {truth.k} nearest vectors"
            f"{f' with {setting} ' + str(best['value']) if setting else ''}, but "
            f"{self.promise:.1%} are required (preset {self.preset.name!r} promises "
            f"{self.preset.recall:.1%}). Nothing was written. Use a preset that stores vectors "
            "more precisely (--preset ivf-flat, or flat for an exact one), or accept less with "
            "--recall."
        )

    def finish(self, index: Any, truth: ExactNeighbours, folder: Path) -> dict[str, Json]:
        """Tune and write a filled index, and return what its manifest says of it."""
        value, tried, measured = self.tune(index, truth)
        with whole_file(folder / INDEX) as partial:
            load_faiss().write_index(index, str(partial))
        source, sample, preset = self.source, self.sample, self.preset
        return {
            "kind": KIND,
            "preset": preset.name,
            "factory": self.factory,
            "metric": "inner product of unit vectors",
            "n_vectors": sample.n_rows,
            "dimension": sample.dimension,
            "ids": f"sample ids; their keys are in {SAMPLES}",
            "search": {"setting": preset.setting, "value": value, "tried": tried},
            "recall": {**measured.as_json(), "promised": self.promise},
            "n_training": len(sample.training),
            "seed": self.seed,
            "source": source.location,
            "part": list(source.part),
            "images": source.images,
            "reading": reading_digest(source.dataset, source.dataset.shards()),
            "dropped": dict(sorted(source.dropped.items())),
            "versions": package_versions("faiss-cpu", "faiss-gpu"),
            "bytes": (folder / INDEX).stat().st_size,
        }


@contextmanager
def _key_table(path: Path) -> Iterator[Any]:
    """Yield a function that appends a block's ids and keys to the table at `path`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields: list[Any] = [pa.field("sample_id", pa.int64()), pa.field("key", pa.string())]
    schema = pa.schema(fields)
    with (
        whole_file(path) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer,
    ):

        def write(block: VectorBlock) -> None:
            columns: list[Any] = [pa.array(block.sample_ids), pa.array(block.keys, pa.string())]
            writer.write_table(
                pa.Table.from_arrays(columns, schema=schema), row_group_size=KEY_ROWS
            )

        yield write
