"""The exact neighbours of queries, gathered while vectors stream, and recall against them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.index.source import VectorSource, draw, open_source
from conceptaudit.image.index.store import Recall, VectorBlock, VectorIndex
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

SPARE = 4
"""Neighbours kept per neighbour asked for: copies of one image share a score, and any of them
is a right answer."""

TIE = 1e-6  # scores closer than this are the same score
Z90 = 1.6449  # normal quantile of a 90 % interval


class ExactNeighbours:
    """The nearest vectors of each query, itself left out, over all blocks seen so far."""

    def __init__(self, query_ids: Int64Array, queries: Float32Array, k: int) -> None:
        self.query_ids, self.queries, self.k = query_ids, queries, k
        self._kept = SPARE * k + 1
        self._scores = np.full((len(queries), self._kept), -np.inf, dtype=np.float32)
        self._ids = np.full((len(queries), self._kept), -1, dtype=np.int64)

    def add(self, block: VectorBlock) -> None:
        """Take in the next vectors."""
        import faiss

        k = min(self._kept, len(block))
        scores, positions = faiss.knn(
            self.queries, block.vectors, k, metric=faiss.METRIC_INNER_PRODUCT
        )
        both = np.hstack([self._scores, scores])
        ids = np.hstack([self._ids, block.sample_ids[positions]])
        order = np.argsort(-both, axis=1, kind="stable")[:, : self._kept]
        self._scores = np.take_along_axis(both, order, axis=1)
        self._ids = np.take_along_axis(ids, order, axis=1)

    def recall(self, found: Int64Array, k: int | None = None) -> Recall:
        """Compare the sample ids that an index found, best first, with the exact answer.

        They have shape (n_queries, at least k + 1): a query's own id is passed over.
        """
        k = self.k if k is None else k
        parts = [self._part(row, found[row], k) for row in range(len(self.queries))]
        right = np.array([part for part in parts if not math.isnan(part)])
        if not len(right):
            return Recall(k=k, value=1.0, low=0.0, high=1.0, n_queries=0)
        value = float(right.mean())
        spread = Z90 * float(right.std(ddof=1) / math.sqrt(len(right))) if len(right) > 1 else 0.0
        # queries that all find everything do not prove that every query would: Wilson's ends
        least = Z90**2 / (len(right) + Z90**2)
        low, high = value * (1 - least), value * (1 - least) + least
        return Recall(
            k=k,
            value=value,
            low=max(min(value - spread, low), 0.0),
            high=min(max(value + spread, high), 1.0),
            n_queries=len(right),
        )

    def _part(self, row: int, found: Int64Array, k: int) -> float:
        own = self.query_ids[row]
        exact = (self._ids[row] >= 0) & (self._ids[row] != own)
        ids, scores = self._ids[row][exact], self._scores[row][exact]
        k = min(k, len(ids))
        if not k:
            return math.nan
        right = set(ids[scores >= scores[k - 1] - TIE].tolist())
        answers = [i for i in found.tolist() if i not in (own, -1)][:k]
        return min(len(right.intersection(answers)), k) / k


RECALL_K = 10  # presets promise recall@10

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

    Queries, shape (n, dimension), may be the vectors of texts, which lie apart from those of images
    and are harder for most indexes; by default vectors are drawn, by another seed than the build's.
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
