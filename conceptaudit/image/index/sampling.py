"""Which vectors train an index and which test it: by a hash of their ids, not by position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.image.index.records import VectorBlock
from conceptaudit.records import Float32Array, Int64Array

SPARE = 1.1
"""More than wanted is kept at first, because hashes do not spread evenly."""

UInt64Array = npt.NDArray[np.uint64]


def hashed(sample_ids: Int64Array, seed: int) -> UInt64Array:
    """Mix ids and a seed to numbers that look drawn at random (splitmix64, Steele et al. 2014)."""
    step = np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) & 0xFFFFFFFFFFFFFFFF)
    mixed = sample_ids.astype(np.uint64) + step
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Vectors drawn from a source.

    Parameters
    ----------
    n_rows : int
        Usable vectors of the source.
    dimension : int
        Of each of them; 0 for an empty source.
    query_ids : numpy.ndarray of int64, shape (n_queries,)
        Ids of the held-out vectors.
    queries : numpy.ndarray of float32, shape (n_queries, dimension)
        Held out: not in `training`.
    training : numpy.ndarray of float32, shape (n_training, dimension)
        In an order that depends on ids and seed alone.
    """

    n_rows: int
    dimension: int
    query_ids: Int64Array
    queries: Float32Array
    training: Float32Array


def draw(
    blocks: Iterable[VectorBlock], *, expected: int, n_queries: int, n_training: int, seed: int
) -> Sample:
    """Draw queries and, apart from them, training vectors in one pass.

    Parameters
    ----------
    blocks : iterable of VectorBlock
        All vectors.
    expected : int
        About how many vectors there are; only memory depends on it.
    n_queries, n_training : int
        How many to draw; fewer where there are fewer. At most a tenth become queries.
    seed : int
        Decides which.
    """
    n_queries = min(n_queries, max(expected // 10, 1))
    wanted = n_queries + n_training
    limit = min(SPARE * wanted / max(expected, 1) + 64 / max(expected, 1), 1.0) * 2.0**64
    ids: list[Int64Array] = []
    hashes: list[UInt64Array] = []
    vectors: list[Float32Array] = []
    n_rows = dimension = 0
    for block in blocks:
        n_rows += len(block)
        dimension = block.vectors.shape[1]
        drawn = hashed(block.sample_ids, seed)
        kept = np.flatnonzero(drawn.astype(np.float64) < limit)
        ids.append(block.sample_ids[kept])
        hashes.append(drawn[kept])
        vectors.append(block.vectors[kept])
    if not ids:
        empty = np.empty((0, 0), dtype=np.float32)
        none = np.empty(0, dtype=np.int64)
        return Sample(n_rows=0, dimension=0, query_ids=none, queries=empty, training=empty)
    all_ids = np.concatenate(ids)
    order = np.lexsort((all_ids, np.concatenate(hashes)))[:wanted]
    pool = np.concatenate(vectors)
    return Sample(
        n_rows=n_rows,
        dimension=dimension,
        query_ids=all_ids[order[:n_queries]],
        queries=pool[order[:n_queries]],
        training=pool[order[n_queries:]],
    )
