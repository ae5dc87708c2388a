"""Measure a built index again, with other queries or the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.index.filling import RECALL_K
from conceptaudit.image.index.records import Recall
from conceptaudit.image.index.sampling import draw
from conceptaudit.image.index.source import VectorSource, open_source
from conceptaudit.image.index.store import VectorIndex
from conceptaudit.image.index.truth import ExactNeighbours
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

KS = (1, RECALL_K, 100)


def measure_recall(
    index: VectorIndex,
    *,
    embeddings: str | Path | None = None,
    queries: Float32Array | None = None,
    n_queries: int = 1_000,
    seed: int = 1,
) -> tuple[Recall, ...]:
    """Compare an index with the exact answer, by streaming its vectors once more.

    Parameters
    ----------
    index : VectorIndex
        See `open_index`.
    embeddings : str, Path or None, default None
        Where the vectors are; None for where they were.
    queries : numpy.ndarray of float32, shape (n, dimension), or None, default None
        Such as the vectors of texts, which lie apart from those of images and are harder for
        most indexes; None for vectors of the index, drawn by `seed`.
    n_queries : int, default 1000
        How many to draw.
    seed : int, default 1
        Other than the build's, so that other vectors are drawn.

    Returns
    -------
    tuple of Recall
        At k = 1, 10 and 100, as far as there are vectors.

    Raises
    ------
    ConfigError
        The queries' dimension is not the index's, or there is none.
    DataError
        The embeddings are not those that were indexed.
    """
    source = open_source(embeddings if embeddings is not None else index.manifest["source"])
    if n_queries < 1:
        raise ConfigError(f"The 'n_queries' parameter must be at least 1. Got {n_queries} instead.")
    ids, vectors = _queries(source, index, queries, n_queries, seed)
    largest = min(max(KS), max(len(index) - 1, 1))
    truth = ExactNeighbours(ids, vectors, largest)
    n_rows = 0
    for block in source.blocks():
        truth.add(block)
        n_rows += len(block)
    if n_rows != len(index):
        raise DataError(
            f"{source.location} holds {quantity(n_rows, 'usable vector')}, the index in "
            f"{index.folder} {len(index):,}. Build it again, or name the embeddings that it was "
            "built from."
        )
    found = index.search(vectors, largest + 1).sample_ids
    return tuple(truth.recall(found, k) for k in KS if k <= largest)


def _queries(
    source: VectorSource,
    index: VectorIndex,
    queries: Float32Array | None,
    n_queries: int,
    seed: int,
) -> tuple[Int64Array, Float32Array]:
    if queries is None:
        sample = draw(
            source.blocks(), expected=len(index), n_queries=n_queries, n_training=0, seed=seed
        )
        if sample.dimension != index.dimension:
            raise DataError(
                f"{source.location} holds vectors of dimension {sample.dimension}, the index in "
                f"{index.folder} of {index.dimension}. Name the embeddings that it was built from."
            )
        return sample.query_ids, sample.queries
    if queries.ndim != 2 or queries.shape[1] != index.dimension or not len(queries):
        raise ConfigError(
            f"Queries must have shape (at least 1, {index.dimension}), like the vectors of the "
            f"index in {index.folder}. Got {queries.shape} instead."
        )
    return np.full(len(queries), -1, dtype=np.int64), unit_rows(queries)
