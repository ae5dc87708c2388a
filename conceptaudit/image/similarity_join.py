"""All pairs of vectors whose cosine similarity reaches a threshold.

Few pairs are compared one and all. Beyond `EXACT_PAIRS` the references are cut into cells by
k-means, and a query is compared with the cells nearest to it: a near duplicate lies in the same
cell or next door. Either way a matrix product proposes and one float32 product per pair decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError
from conceptaudit.image.faiss_ops import load_faiss
from conceptaudit.image.vectors import pair_scores, reaches, rounding_margin, unit_rows
from conceptaudit.records import Float32Array, Int64Array

EXACT_PAIRS = 20_000_000_000
"""Pairs that are compared one and all: among 200,000 vectors, some two minutes on two cores."""

LIMIT = 64
"""Earliest matches kept per query, so that a clump of a million copies takes bounded memory."""

QUERY_ROWS, REFERENCE_ROWS = 1024, 8192  # a block of scores: 32 MB
PROBES = 8  # cells that a query is compared with

POINTS_PER_CELL = 32
"""Training points per cell: fewer than the 39 that FAISS advises; recall is measured instead."""

AnyVectors = npt.NDArray[np.float16] | Float32Array
Pairs = tuple[Int64Array, Int64Array, Float32Array]
"""Positions of queries and of references, and cosine similarities, each of shape (n,)."""

Confirm = Callable[[Int64Array, Int64Array], npt.NDArray[np.bool_]]
"""Second opinion on pairs (positions of rows, of columns): which of them count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs found, in order of row, then column."""

    rows: Int64Array  # shape (n,): positions among the queries
    # positions among the references; among one set, always before the row
    columns: Int64Array
    scores: Float32Array  # shape (n,): cosine similarity
    approximate: bool = False  # whether only neighbouring cells were compared


def find_matches(
    queries: AnyVectors,
    references: AnyVectors,
    threshold: float,
    *,
    limit: int = LIMIT,
    exact_pairs: int = EXACT_PAIRS,
) -> Matches:
    """Find for each query the references that resemble it, the earliest `limit` of them.

    Vectors of shape (n, dimension) need not be of length one, but not zero; they may be
    memory-mapped. The threshold lies in (0, 1].

    >>> test = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> train = np.array([[0.6, 0.8], [0.1, 1], [1, 0.1]], dtype=np.float32)
    >>> matches = find_matches(test, train, 0.9)
    >>> matches.rows.tolist(), matches.columns.tolist()
    ([0, 1], [2, 1])
    """
    join = _Join(queries, references, threshold, limit)
    return join.matches(approximate=len(queries) * len(references) > exact_pairs)


def match_among(
    vectors: AnyVectors,
    threshold: float,
    *,
    confirm: Confirm | None = None,
    limit: int = LIMIT,
    exact_pairs: int = EXACT_PAIRS,
) -> Matches:
    """Find the pairs within one set that resemble each other, each once.

    Of a vector's matches before it the earliest `limit` are kept; with `confirm`, of those only
    that it confirms.
    """
    join = _Join(vectors, vectors, threshold, limit, among=True, confirm=confirm)
    return join.matches(approximate=len(vectors) * (len(vectors) - 1) // 2 > exact_pairs)


@dataclass(frozen=True, slots=True)
class _Join:
    """One join; `among` where queries and references are the same vectors."""

    queries: AnyVectors
    references: AnyVectors
    threshold: float
    limit: int
    among: bool = False
    confirm: Confirm | None = None

    def __post_init__(self) -> None:
        dimensions = self.queries.shape[1:], self.references.shape[1:]
        if dimensions[0] != dimensions[1]:
            raise ConfigError(
                f"Queries have dimension {dimensions[0]}, references {dimensions[1]}: they come "
                "from different models."
            )
        if not 0.0 < self.threshold <= 1.0:
            raise ConfigError(
                f"The 'threshold' parameter must lie in (0, 1]. Got {self.threshold} instead."
            )
        if self.limit < 1:
            raise ConfigError(f"The 'limit' parameter must be at least 1. Got {self.limit}.")

    def matches(self, *, approximate: bool) -> Matches:
        """Put blocks together: each pair once, in order, the earliest of each row."""
        blocks = self._neighbouring() if approximate else self._every_pair()
        empty: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        rows, columns, scores = (np.concatenate(part) for part in zip(empty, *blocks, strict=True))
        order = np.lexsort((columns, rows))
        rows, columns, scores = rows[order], columns[order], scores[order]
        # cells that are each other's neighbours give a pair twice
        fresh = np.ones(len(rows), dtype=bool)
        fresh[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
        rows, columns, scores = self._earliest(rows[fresh], columns[fresh], scores[fresh])
        return Matches(rows=rows, columns=columns, scores=scores, approximate=approximate)

    def _every_pair(self) -> Iterator[Pairs]:
        for first in range(0, len(self.queries), QUERY_ROWS):
            left = _unit(self.queries[first : first + QUERY_ROWS])
            n_found = np.zeros(len(left), dtype=np.int64)
            stop = first + len(left) if self.among else len(self.references)
            for start in range(0, stop, REFERENCE_ROWS):
                right = _unit(self.references[start : min(start + REFERENCE_ROWS, stop)])
                scores = left @ right.T
                scores[n_found >= self.limit] = -2.0  # these have all the matches they may keep
                near, other, exact = self._decided(left, right, scores)
                rows, columns = near + first, other + start
                if self.among:
                    earlier = columns < rows
                    rows, columns, exact = rows[earlier], columns[earlier], exact[earlier]
                rows, columns, exact = self._confirmed(rows, columns, exact)
                n_found += np.bincount(rows - first, minlength=len(left))
                yield rows, columns, exact

    def _neighbouring(self) -> Iterator[Pairs]:
        cells = _train_cells(self.references)
        probes = nearest_cells(self.queries, cells, min(PROBES, len(cells)))
        home = probes[:, 0] if self.among else nearest_cells(self.references, cells, 1)[:, 0]
        members = np.argsort(home, kind="stable")
        bounds = np.searchsorted(home[members], np.arange(len(cells) + 1))
        askers = np.argsort(probes.ravel(), kind="stable") // probes.shape[1]
        asked = np.searchsorted(np.sort(probes.ravel()), np.arange(len(cells) + 1))
        for cell in range(len(cells)):
            inside = members[bounds[cell] : bounds[cell + 1]]
            asking = askers[asked[cell] : asked[cell + 1]]
            for first in range(0, len(asking) if len(inside) else 0, QUERY_ROWS):
                block = asking[first : first + QUERY_ROWS]
                left = _unit(self.queries[block])
                for start in range(0, len(inside), REFERENCE_ROWS):
                    part = inside[start : start + REFERENCE_ROWS]
                    right = _unit(self.references[part])
                    near, other, exact = self._decided(left, right, left @ right.T)
                    rows, columns = block[near], part[other]
                    if self.among:
                        apart = rows != columns
                        rows, columns, exact = rows[apart], columns[apart], exact[apart]
                    rows, columns, exact = self._confirmed(rows, columns, exact)
                    if self.among:  # either may have found the other
                        rows, columns = np.maximum(rows, columns), np.minimum(rows, columns)
                    yield rows, columns, exact

    def _decided(self, left: Float32Array, right: Float32Array, scores: Float32Array) -> Pairs:
        """Decide which pairs count that a block of scores proposes."""
        floor = np.float32(self.threshold - rounding_margin(left.shape[1]))
        rows, columns = np.divmod(np.flatnonzero(scores >= floor), scores.shape[1])
        exact = pair_scores(left, rows, right, columns)
        good = reaches(exact, self.threshold)
        return rows[good], columns[good], exact[good]

    def _confirmed(self, rows: Int64Array, columns: Int64Array, scores: Float32Array) -> Pairs:
        """Ask for the second opinion, and keep the earliest pairs of every row."""
        if self.confirm is not None and len(rows):
            good = self.confirm(rows, columns)
            rows, columns, scores = rows[good], columns[good], scores[good]
        return self._earliest(rows, columns, scores)

    def _earliest(self, rows: Int64Array, columns: Int64Array, scores: Float32Array) -> Pairs:
        """Keep the first `limit` pairs of every row; pairs come sorted by row, then column."""
        kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < self.limit
        return rows[kept], columns[kept], scores[kept]


def _unit(vectors: AnyVectors) -> Float32Array:
    return unit_rows(np.asarray(vectors, dtype=np.float32))


def _train_cells(vectors: AnyVectors) -> Float32Array:
    """Cut the space by spherical k-means on evenly spaced vectors: no random choice but FAISS's."""
    n_cells = max(int(2 * np.sqrt(len(vectors))), 1)
    step = max(len(vectors) // (POINTS_PER_CELL * n_cells), 1)
    sample = _unit(vectors[::step])
    means = load_faiss().Kmeans(
        sample.shape[1],
        min(n_cells, len(sample)),
        niter=6,
        seed=1,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=2 * POINTS_PER_CELL,
    )
    means.train(sample)
    return _unit(np.asarray(means.centroids, dtype=np.float32))


def nearest_cells(vectors: AnyVectors, cells: Float32Array, n: int) -> npt.NDArray[np.int32]:
    """Find the n cells nearest to each vector, nearest first, shape (n_vectors, n)."""
    nearest = np.empty((len(vectors), n), dtype=np.int32)
    for start in range(0, len(vectors), QUERY_ROWS):
        scores = _unit(vectors[start : start + QUERY_ROWS]) @ cells.T
        if n == 1:
            nearest[start : start + len(scores), 0] = scores.argmax(axis=1)
            continue
        best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        nearest[start : start + len(scores)] = np.take_along_axis(best, order, axis=1)
    return nearest
