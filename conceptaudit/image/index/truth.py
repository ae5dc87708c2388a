"""The exact neighbours of queries, gathered while vectors stream, and recall against them."""

from __future__ import annotations

import math

import numpy as np

from conceptaudit.image.index.records import Recall, VectorBlock
from conceptaudit.records import Float32Array, Int64Array

SPARE = 4
"""Neighbours kept per neighbour asked for: copies of one picture share a score, and any of them
is a right answer."""

TIE = 1e-6
"""Scores closer than this are the same score."""

Z90 = 1.6449
"""Normal quantile of a 90 % interval."""


class ExactNeighbours:
    """The nearest vectors of each query, itself left out, over all blocks seen so far.

    Parameters
    ----------
    query_ids : numpy.ndarray of int64, shape (n_queries,)
        Sample ids of the queries; −1 for queries that are not among the vectors.
    queries : numpy.ndarray of float32, shape (n_queries, dimension)
        Unit vectors.
    k : int
        Neighbours that recall will be asked for, at least 1.
    """

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
        """Compare what an index found with the exact answer.

        Parameters
        ----------
        found : numpy.ndarray of int64, shape (n_queries, at least k + 1)
            Sample ids, best first; a query's own id is passed over.
        k : int or None
            Neighbours that count, at most the `k` of this object.
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
