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

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.image.backends.base import FAISS_HINT, rounding_margin
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

EXACT_PAIRS = 20_000_000_000
"""Pairs that are compared one and all: among 200,000 vectors, some two minutes on two cores."""

LIMIT = 64
"""Earliest matches kept per query, so that a clump of a million copies takes bounded memory."""

QUERY_ROWS, REFERENCE_ROWS = 1024, 8192
"""A block of scores: 32 MB."""

PROBES = 8
"""Cells that a query is compared with."""

POINTS_PER_CELL = 32
"""Training points per cell: fewer than the 39 that FAISS advises; recall is measured instead."""

AnyVectors = npt.NDArray[np.float16] | Float32Array
Pairs = tuple[Int64Array, Int64Array, Float32Array]

Confirm = Callable[[Int64Array, Int64Array], npt.NDArray[np.bool_]]
"""Second opinion on pairs (positions of rows, of columns): which of them count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """Pairs found, in order of row, then column.

    Parameters
    ----------
    rows : numpy.ndarray of int64, shape (n,)
        Positions among the queries.
    columns : numpy.ndarray of int64, shape (n,)
        Positions among the references; among one set, always before the row.
    scores : numpy.ndarray of float32, shape (n,)
        Cosine similarity.
    approximate : bool
        Whether only neighbouring cells were compared.
    """

    rows: Int64Array
    columns: Int64Array
    scores: Float32Array
    approximate: bool = False


def find_matches(
    queries: AnyVectors,
    references: AnyVectors,
    threshold: float,
    *,
    limit: int = LIMIT,
    exact_pairs: int = EXACT_PAIRS,
) -> Matches:
    """Find for each query the references that resemble it.

    Parameters
    ----------
    queries : numpy.ndarray of float, shape (n_queries, dimension)
        Not zero; need not be of length one. May be memory-mapped.
    references : numpy.ndarray of float, shape (n_references, dimension)
        Likewise.
    threshold : float
        Smallest cosine similarity, in (0, 1].
    limit : int
        The earliest matches kept per query, at least 1.
    exact_pairs : int
        Compare every pair up to this many; beyond it, only neighbouring cells.

    Returns
    -------
    Matches

    Raises
    ------
    ConfigError
        The dimensions differ or a parameter is out of range.
    MissingDependencyError
        So many pairs need FAISS's k-means, and it is not installed.

    Examples
    --------
    >>> test = np.array([[1, 0], [0, 1]], dtype=np.float32)
    >>> train = np.array([[0.6, 0.8], [0.1, 1], [1, 0.1]], dtype=np.float32)
    >>> found = find_matches(test, train, 0.9)
    >>> found.rows.tolist(), found.columns.tolist()
    ([0, 1], [2, 1])
    """
    _check(queries, references, threshold, limit)
    if len(queries) * len(references) <= exact_pairs:
        blocks = _every_pair(queries, references, threshold, limit, among=False)
        return _joined(blocks, limit, approximate=False)
    pairs = _neighbouring(queries, references, threshold, limit, among=False)
    return _joined(pairs, limit, approximate=True)


def match_among(
    vectors: AnyVectors,
    threshold: float,
    *,
    confirm: Confirm | None = None,
    limit: int = LIMIT,
    exact_pairs: int = EXACT_PAIRS,
) -> Matches:
    """Find the pairs within one set that resemble each other, each once.

    Parameters
    ----------
    vectors : numpy.ndarray of float, shape (n, dimension)
        Not zero; need not be of length one.
    confirm : callable or None
        Asked of every pair that reaches the threshold; only those that it confirms count.
    threshold, limit, exact_pairs
        As in `find_matches`; of a vector's matches before it the earliest are kept.
    """
    _check(vectors, vectors, threshold, limit)
    if len(vectors) * (len(vectors) - 1) // 2 <= exact_pairs:
        blocks = _every_pair(vectors, vectors, threshold, limit, among=True, confirm=confirm)
        return _joined(blocks, limit, approximate=False)
    pairs = _neighbouring(vectors, vectors, threshold, limit, among=True, confirm=confirm)
    return _joined(pairs, limit, approximate=True)


def _check(queries: AnyVectors, references: AnyVectors, threshold: float, limit: int) -> None:
    if queries.shape[1:] != references.shape[1:]:
        raise ConfigError(
            f"Queries have dimension {queries.shape[1:]}, references {references.shape[1:]}: they "
            "come from different models."
        )
    if not 0.0 < threshold <= 1.0:
        raise ConfigError(f"The 'threshold' parameter must lie in (0, 1]. Got {threshold} instead.")
    if limit < 1:
        raise ConfigError(f"The 'limit' parameter must be at least 1. Got {limit} instead.")


def _unit(vectors: AnyVectors) -> Float32Array:
    return unit_rows(np.asarray(vectors, dtype=np.float32))


def _decided(
    left: Float32Array, right: Float32Array, scores: Float32Array, threshold: float
) -> Pairs:
    """Decide by one canonical product which proposals of a block of scores count."""
    floor = np.float32(threshold - rounding_margin(left.shape[1]))
    rows, columns = np.divmod(np.flatnonzero(scores >= floor), scores.shape[1])
    exact = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), REFERENCE_ROWS):
        part = slice(start, start + REFERENCE_ROWS)
        exact[part] = np.einsum("ij,ij->i", left[rows[part]], right[columns[part]])
    kept = exact >= np.float32(threshold)
    return rows[kept], columns[kept], exact[kept]


def _every_pair(
    queries: AnyVectors,
    references: AnyVectors,
    threshold: float,
    limit: int,
    *,
    among: bool,
    confirm: Confirm | None = None,
) -> Iterator[Pairs]:
    for first in range(0, len(queries), QUERY_ROWS):
        left = _unit(queries[first : first + QUERY_ROWS])
        n_found = np.zeros(len(left), dtype=np.int64)
        stop = first + len(left) if among else len(references)
        for start in range(0, stop, REFERENCE_ROWS):
            right = _unit(references[start : min(start + REFERENCE_ROWS, stop)])
            scores = left @ right.T
            scores[n_found >= limit] = -2.0
            rows, columns, exact = _decided(left, right, scores, threshold)
            if among:
                earlier = columns + start < rows + first
                rows, columns, exact = rows[earlier], columns[earlier], exact[earlier]
            rows, columns, exact = _confirmed(rows + first, columns + start, exact, confirm)
            rows, columns, exact = _earliest(rows, columns, exact, limit)
            n_found += np.bincount(rows - first, minlength=len(left))
            if len(rows):
                yield rows, columns, exact


def _neighbouring(
    queries: AnyVectors,
    references: AnyVectors,
    threshold: float,
    limit: int,
    *,
    among: bool,
    confirm: Confirm | None = None,
) -> Iterator[Pairs]:
    cells = _train_cells(references)
    probes = nearest_cells(queries, cells, min(PROBES, len(cells)))
    home = probes[:, 0] if among else nearest_cells(references, cells, 1)[:, 0]
    members = np.argsort(home, kind="stable")
    bounds = np.searchsorted(home[members], np.arange(len(cells) + 1))
    askers = np.argsort(probes.ravel(), kind="stable") // probes.shape[1]
    asked = np.searchsorted(np.sort(probes.ravel()), np.arange(len(cells) + 1))
    for cell in range(len(cells)):
        inside = members[bounds[cell] : bounds[cell + 1]]
        asking = askers[asked[cell] : asked[cell + 1]]
        for first in range(0, len(asking) if len(inside) else 0, QUERY_ROWS):
            block = asking[first : first + QUERY_ROWS]
            left = _unit(queries[block])
            for start in range(0, len(inside), REFERENCE_ROWS):
                part = inside[start : start + REFERENCE_ROWS]
                right = _unit(references[part])
                near, other, exact = _decided(left, right, left @ right.T, threshold)
                rows, columns = block[near], part[other]
                apart = rows != columns if among else np.ones(len(rows), dtype=bool)
                rows, columns, exact = _confirmed(
                    rows[apart], columns[apart], exact[apart], confirm
                )
                rows, columns, exact = _earliest(rows, columns, exact, limit)
                if among:
                    rows, columns = np.maximum(rows, columns), np.minimum(rows, columns)
                if len(rows):
                    yield rows, columns, exact


def _confirmed(
    rows: Int64Array, columns: Int64Array, scores: Float32Array, confirm: Confirm | None
) -> Pairs:
    if confirm is None or not len(rows):
        return rows, columns, scores
    kept = confirm(rows, columns)
    return rows[kept], columns[kept], scores[kept]


def _train_cells(vectors: AnyVectors) -> Float32Array:
    """Cut the space by spherical k-means on evenly spaced vectors: no random choice but FAISS's."""
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(FAISS_HINT) from error
    n_cells = max(int(2 * np.sqrt(len(vectors))), 1)
    step = max(len(vectors) // (POINTS_PER_CELL * n_cells), 1)
    sample = _unit(vectors[::step])
    n_cells = min(n_cells, len(sample))
    means = faiss.Kmeans(
        sample.shape[1],
        n_cells,
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
    found = np.empty((len(vectors), n), dtype=np.int32)
    for start in range(0, len(vectors), QUERY_ROWS):
        scores = _unit(vectors[start : start + QUERY_ROWS]) @ cells.T
        if n == 1:
            found[start : start + len(scores), 0] = scores.argmax(axis=1)
            continue
        best = np.argpartition(-scores, n - 1, axis=1)[:, :n]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
        found[start : start + len(scores)] = np.take_along_axis(best, order, axis=1)
    return found


def _joined(blocks: Iterator[Pairs], limit: int, *, approximate: bool) -> Matches:
    """Put blocks together: each pair once, in order, the earliest `limit` of each row."""
    empty: Pairs = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    rows, columns, scores = (np.concatenate(part) for part in zip(empty, *blocks, strict=True))
    order = np.lexsort((columns, rows))
    rows, columns, scores = rows[order], columns[order], scores[order]
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])
    rows, columns, scores = rows[fresh], columns[fresh], scores[fresh]
    rows, columns, scores = _earliest(rows, columns, scores, limit)
    return Matches(rows=rows, columns=columns, scores=scores, approximate=approximate)


def _earliest(rows: Int64Array, columns: Int64Array, scores: Float32Array, limit: int) -> Pairs:
    """Keep the first `limit` pairs of every row; pairs come sorted by row, then column."""
    kept = np.arange(len(rows)) - np.searchsorted(rows, rows) < limit
    return rows[kept], columns[kept], scores[kept]
