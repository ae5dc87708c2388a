"""A built index: its records, opening, checking, searching."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conceptaudit.artifacts import MANIFEST, Json, file_digest, read_json
from conceptaudit.display import quantity
from conceptaudit.errors import ArtifactMismatchError, ConceptAuditError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.faiss_ops import map_index, tune
from conceptaudit.image.vectors import unit_rows
from conceptaudit.reading import read_parquet
from conceptaudit.records import Float32Array, Int64Array
from conceptaudit.store.files import is_there


class RecallError(ConceptAuditError):
    """An index that finds less than its preset promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """Consecutive vectors of a source."""

    sample_ids: Int64Array  # shape (n,): unique within the source
    keys: list[str]
    vectors: Float32Array  # shape (n, dimension): unit vectors

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How much of the exact answer an index finds."""

    k: int  # neighbours per query, at least 1
    value: float  # mean over queries of the part of the k true neighbours found, in [0, 1]
    # its 90 % interval over queries, by their standard deviation and never narrower than so few
    # queries allow
    low: float
    high: float
    n_queries: int

    def as_json(self) -> Json:
        """Return the numbers by name."""
        return {name: round(value, 6) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nearest images of each query, best first."""

    sample_ids: Int64Array  # shape (n_queries, k): −1 where fewer than k were found
    # shape (n_queries, k): cosine similarity, as precise as the index stores vectors
    scores: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBuilt:
    """A finished build."""

    folder: Path  # holds ``index.faiss``, ``samples.parquet`` and ``manifest.json``
    manifest: Json  # what the manifest says: preset, numbers of vectors, measured recall, model
    reused: bool  # whether the folder held this very index already


KIND = "index"
INDEX = "index.faiss"
SAMPLES = "samples.parquet"

VERIFIED_BYTES = 4 << 30
"""Index files up to this size are read whole, once, before FAISS sees them: a few seconds."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VectorIndex:
    """An index on disk, memory-mapped; see `open_index`.

    Parameters
    ----------
    folder : Path
        Where it lies.
    manifest : dict
        How it was made: preset, model, measured recall.
    index : faiss.Index
        With the search setting at which its recall was measured.
    """

    folder: Path
    manifest: dict[str, Json]
    index: Any

    @property
    def dimension(self) -> int:
        """Of its vectors."""
        return int(self.manifest["dimension"])

    @property
    def model_digest(self) -> str | None:
        """Digest of the model that made the vectors; None where it is not known."""
        digest = self.manifest.get("model")
        return None if digest is None else str(digest)

    def __len__(self) -> int:
        return int(self.manifest["n_vectors"])

    def search(self, vectors: Float32Array, k: int = 10) -> Found:
        """Find the nearest images of each vector.

        Parameters
        ----------
        vectors : numpy.ndarray of float32, shape (n, dimension)
            Of any length; scaled to 1 here.
        k : int, default 10
            How many to find, at least 1.

        Raises
        ------
        ConfigError
            The dimension is not the index's, or `k` is below 1.
        """
        if k < 1:
            raise ConfigError(f"The 'k' parameter must be at least 1. Got {k} instead.")
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ConfigError(
                f"The index in {self.folder} holds vectors of dimension {self.dimension}, but the "
                f"queries have shape {vectors.shape}: they come from different models."
            )
        scores, ids = self.index.search(unit_rows(vectors), min(k, len(self)))
        return Found(sample_ids=ids.astype(np.int64), scores=scores)

    def check_model(self, clip: ClipModel) -> None:
        """Refuse a model whose vectors cannot be compared with the index's.

        Raises
        ------
        ConfigError
            Its dimension differs.
        ArtifactMismatchError
            Its digest differs from the one that the index was built with.
        """
        if clip.dimension != self.dimension:
            raise ConfigError(
                f"{clip.name} gives vectors of dimension {clip.dimension}, but the index in "
                f"{self.folder} holds vectors of dimension {self.dimension}. Name the model that "
                f"they were made with{self._maker()}."
            )
        if self.model_digest is not None and clip.digest != self.model_digest:
            raise ArtifactMismatchError(
                f"Weights or configuration of {clip.name} are not those that made the vectors in "
                f"{self.folder}{self._maker()}: similarities between them mean nothing."
            )

    def _maker(self) -> str:
        clip = self.manifest.get("clip")
        return f" ({clip})" if clip else ""

    def keys(self, sample_ids: Sequence[int]) -> dict[int, str]:
        """Look up the external keys of samples; ids that are not in the index are left out."""
        wanted = sorted({int(i) for i in sample_ids if i >= 0})
        if not wanted:
            return {}
        table = read_parquet(self.folder / SAMPLES, filters=[("sample_id", "in", wanted)])
        if not {"sample_id", "key"} <= set(table.columns):
            raise DataError(f"{self.folder / SAMPLES} is damaged: it has no ids and keys.")
        return dict(zip(table["sample_id"].tolist(), table["key"].tolist(), strict=True))

    def damage(self) -> list[str]:
        """Name the files that are not as they were written (this reads all of them)."""
        return damaged_files(self.folder, self.manifest)


_KINDS: dict[str, type | tuple[type, ...]] = {
    "bytes": int, "dimension": int, "n_vectors": int, "factory": str, "files": dict,
    "search": dict, "recall": dict, "preset": str, "dropped": dict, "search.setting": str,
    "search.value": (int, float), **dict.fromkeys(
        (f"recall.{name}" for name in ("k", "value", "low", "high", "promised", "n_queries")),
        (int, float),
    ),
}  # fmt: skip
"""What a manifest must hold for the index to be searched and described."""


def _check_manifest(manifest: dict[str, Json], path: Path) -> None:
    for name, kind in _KINDS.items():
        value: Json = manifest
        for step in name.split("."):
            value = value.get(step)
        if not isinstance(value, kind):
            raise DataError(
                f"{path} is damaged: it lacks a proper {name!r}. Build the index again."
            )


def damaged_files(folder: Path, manifest: dict[str, Json]) -> list[str]:
    """Name the files of an index that are missing or not as they were written; reads them all."""
    return [
        name
        for name in (INDEX, SAMPLES)
        if not is_there(folder / name) or file_digest(folder / name) != manifest["files"].get(name)
    ]


def read_index_manifest(folder: Path) -> dict[str, Json]:
    """Read what an index says of itself, without FAISS."""
    if not (folder / MANIFEST).is_file():
        beside = f", only an {INDEX}" if (folder / INDEX).is_file() else ""
        raise DataError(
            f"{folder} holds no {MANIFEST}{beside}: without it nobody knows which model made the "
            "vectors and which samples they are. Name a folder that 'conceptaudit index build' "
            "wrote, or build the index again."
        )
    manifest = read_json(folder / MANIFEST)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        kind = manifest.get("kind") if isinstance(manifest, dict) else None
        raise DataError(f"{folder} is not an index of conceptaudit. Its manifest says {kind!r}.")
    _check_manifest(manifest, folder / MANIFEST)
    return manifest


def open_index(path: str | Path, *, verify: bool | None = None) -> VectorIndex:
    """Open a built index, memory-mapped: it takes memory as searches touch it.

    Parameters
    ----------
    path : str or Path
        The folder that ``conceptaudit index build`` wrote.
    verify : bool, optional
        Hold the index file against its digest before FAISS reads it: FAISS trusts what it reads,
        and a damaged file can end the process or give wrong neighbours. By default, files of up
        to 4 GiB (`VERIFIED_BYTES`); for larger ones, which are opened in an instant and read as
        searches touch them, ``conceptaudit validate`` does it.

    Raises
    ------
    DataError
        It has no manifest, or a file is missing, damaged or of another size than was written.
    MissingDependencyError
        FAISS is not installed.
    """
    folder = Path(path)
    manifest = read_index_manifest(folder)
    for name in (INDEX, SAMPLES):
        if not (folder / name).is_file():
            raise DataError(f"The index in {folder} has no {name}. Build it again.")
    size = (folder / INDEX).stat().st_size
    if size != manifest["bytes"]:
        raise DataError(
            f"{folder / INDEX} has {size:,} bytes, but {manifest['bytes']:,} were written. It is "
            "truncated or was replaced: build the index again."
        )
    verify = size <= VERIFIED_BYTES if verify is None else verify
    if verify and file_digest(folder / INDEX) != manifest["files"].get(INDEX):
        raise DataError(
            f"{folder / INDEX} is not as it was written: its digest is not the one in {MANIFEST}. "
            "Fetch it or build the index again."
        )
    try:
        index = map_index(folder / INDEX, str(manifest["factory"]))
    except RuntimeError as error:
        raise DataError(
            f"FAISS cannot read {folder / INDEX}: {str(error).splitlines()[0]}"
        ) from error
    if index.d != manifest["dimension"] or index.ntotal != manifest["n_vectors"]:
        raise DataError(
            f"{folder / INDEX} holds {quantity(index.ntotal, 'vector')} of dimension {index.d}, "
            f"but its manifest says {manifest['n_vectors']:,} of {manifest['dimension']}. Build "
            "it again."
        )
    search = manifest["search"]
    try:
        tune(index, search["setting"], search["value"])
    except (RuntimeError, TypeError, OverflowError) as error:
        raise DataError(
            f"FAISS cannot search {folder / INDEX} with {search}. Build the index again."
        ) from error
    return VectorIndex(folder=folder, manifest=manifest, index=index)
