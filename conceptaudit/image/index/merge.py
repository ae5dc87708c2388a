"""Put indexes of parts together: built on several machines, or one after another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import (
    MANIFEST,
    Json,
    RunFolder,
    digest_of,
    read_json,
    write_parquet,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.faiss_ops import load_faiss
from conceptaudit.image.index.build import N_QUERIES, BuildJob
from conceptaudit.image.index.presets import read_presets
from conceptaudit.image.index.source import VectorSource, draw, open_source
from conceptaudit.image.index.store import INDEX, KIND, SAMPLES, IndexBuilt, VectorIndex, open_index
from conceptaudit.reading import read_parquet

SHARED = ("factory", "dimension", "model", "trained", "reading", "preset")
"""What the manifests of parts must agree in."""


def merge_indexes(
    parts: Sequence[str | Path],
    out: str | Path,
    *,
    embeddings: str | Path | None = None,
    overwrite: bool = False,
) -> IndexBuilt:
    """Merge the indexes of all parts of one set of embeddings.

    Recall is measured again, over all vectors, and must keep the lowest of the parts' promises.
    """
    opened = [open_index(part) for part in parts]
    _check(opened)
    first = opened[0].manifest
    source = open_source(embeddings if embeddings is not None else first["source"])
    identity = digest_of(["merged", [index.manifest["digest"] for index in opened]])
    run = RunFolder.at(
        out,
        kind=KIND,
        digest=identity,
        inputs=(*parts, source.location),
        about={"dataset": source.location},
    )
    folder = run.path
    with run.hold(overwrite=overwrite):
        run.clear()
        try:
            _write_keys(opened, folder / SAMPLES)
            manifest = _measured(opened, source, folder)
            carried = {name: first[name] for name in ("clip", "model", "trained")}
            run.finish(manifest | {**carried, "merged": len(opened)})
        except BaseException:
            run.clear(whole=True)
            raise
    return IndexBuilt(folder=folder, manifest=read_json(folder / MANIFEST), reused=False)


def _check(opened: Sequence[VectorIndex]) -> None:
    if not opened:
        raise ConfigError("There must be at least one index to merge. Got none instead.")
    first = opened[0].manifest
    for index in opened[1:]:
        differ = [name for name in SHARED if index.manifest.get(name) != first.get(name)]
        if differ:
            raise ArtifactMismatchError(
                f"{index.folder} and {opened[0].folder} differ in {', '.join(differ)} and cannot "
                "be merged. Build the parts of one folder with --part, the others with --trained "
                "naming the first."
            )
    if "HNSW" in first["factory"]:
        raise ConfigError(
            f"The preset {first['preset']!r} is a graph, which cannot be merged. Use ivf-flat."
        )
    found = sorted(tuple(index.manifest["part"]) for index in opened)
    wanted = [(number, len(opened)) for number in range(1, len(opened) + 1)]
    if found != wanted:
        raise ConfigError(
            f"There must be one index for each of the parts {wanted}. Got {found} instead."
        )


def _merged(opened: Sequence[VectorIndex]) -> Any:
    faiss = load_faiss()
    whole = faiss.read_index(str(opened[0].folder / INDEX))
    for other in opened[1:]:
        part = faiss.read_index(str(other.folder / INDEX))
        if faiss.try_extract_index_ivf(whole) is None:
            whole.merge_from(part, 0)
        else:
            faiss.merge_into(whole, part, False)
    return whole


def _measured(opened: Sequence[VectorIndex], source: VectorSource, folder: Path) -> dict[str, Json]:
    first = opened[0].manifest
    whole = _merged(opened)
    n = int(whole.ntotal)
    sample = draw(
        source.blocks(), expected=n, n_queries=N_QUERIES, n_training=0, seed=first["seed"]
    )
    if sample.n_rows != n:
        raise DataError(
            f"{source.location} holds {quantity(sample.n_rows, 'usable vector')}, the parts "
            f"{n:,}. Name the embeddings that they were built from."
        )
    job = BuildJob(
        source=source,
        sample=sample,
        preset=read_presets()[first["preset"]],
        factory=first["factory"],
        promise=min(float(index.manifest["recall"]["promised"]) for index in opened),
        seed=first["seed"],
    )
    truth = job.neighbours()
    for block in source.blocks():
        truth.add(block)
    return job.finish(whole, truth, folder)


def _write_keys(opened: Sequence[VectorIndex], path: Path) -> None:
    import pandas as pd

    tables = [read_parquet(index.folder / SAMPLES) for index in opened]
    write_parquet(path, pd.concat(tables).sort_values("sample_id", ignore_index=True))
