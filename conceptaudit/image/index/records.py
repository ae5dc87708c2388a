"""What building and searching an index gives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import Json
from conceptaudit.errors import ConceptAuditError
from conceptaudit.records import Float32Array, Int64Array


class RecallError(ConceptAuditError):
    """An index that finds less than its preset promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorBlock:
    """Consecutive vectors of a source.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n,)
        Unique within the source.
    keys : list of str, length n
        External keys.
    vectors : numpy.ndarray of float32, shape (n, dimension)
        Unit vectors.
    """

    sample_ids: Int64Array
    keys: list[str]
    vectors: Float32Array

    def __len__(self) -> int:
        return len(self.sample_ids)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """How much of the exact answer an index finds.

    Parameters
    ----------
    k : int
        Neighbours per query, at least 1.
    value : float
        Mean over queries of the part of the k true neighbours found, in [0, 1].
    low, high : float
        Its 90 % interval over queries, by their standard deviation and never narrower than so few
        queries allow.
    n_queries : int
        Queries.
    """

    k: int
    value: float
    low: float
    high: float
    n_queries: int

    def as_json(self) -> Json:
        """Return the numbers by name."""
        return {
            "k": self.k,
            "value": round(self.value, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "n_queries": self.n_queries,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nearest images of each query, best first.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n_queries, k)
        −1 where fewer than k were found.
    scores : numpy.ndarray of float32, shape (n_queries, k)
        Cosine similarity, as precise as the index stores vectors.
    """

    sample_ids: Int64Array
    scores: Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexBuilt:
    """A finished build.

    Parameters
    ----------
    folder : Path
        Holds ``index.faiss``, ``samples.parquet`` and ``manifest.json``.
    manifest : dict
        What the manifest says: preset, numbers of vectors, measured recall, model.
    reused : bool
        Whether the folder held this very index already.
    """

    folder: Path
    manifest: Json
    reused: bool
