"""Unit vectors: reading, normalising, and the one product that says what reaches a similarity."""

from __future__ import annotations

import os
import tokenize
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from conceptaudit.display import quantity
from conceptaudit.engine.base import available_cpus
from conceptaudit.errors import DataError
from conceptaudit.records import Float32Array, Int64Array


def unit_rows(vectors: Float32Array) -> Float32Array:
    """Scale rows, shape (n, dimension), to length one; those of length zero stay zero."""
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    squares = np.einsum("ij,ij->i", rows, rows)
    # squares of very short or long vectors leave float32's range
    extreme = ~((squares > 1e-20) & (squares < 1e20))
    lengths = np.sqrt(squares)
    if extreme.any():
        wide = np.asarray(vectors[extreme], dtype=np.float64)
        lengths[extreme] = np.sqrt(np.einsum("ij,ij->i", wide, wide))
        lengths[lengths == 0.0] = 1.0
    return np.asarray(rows / lengths[:, None], dtype=np.float32)


_BAD_ARRAY = (
    OSError, ValueError, EOFError, LookupError, TypeError, SyntaxError, RecursionError,
    MemoryError, tokenize.TokenError, zipfile.BadZipFile, NotImplementedError,
)  # fmt: skip
"""What numpy raises for a damaged file: it parses the header as a Python literal."""


def read_array(path: str | Path, what: str) -> Any:
    """Read an ``.npy`` file, never unpickling."""
    try:
        return np.load(path, allow_pickle=False)
    except _BAD_ARRAY as error:
        why = str(error) or type(error).__name__
        raise DataError(f"Cannot read {what} from {path}: {why}.") from error


def read_unit_vectors(path: str | Path, what: str) -> Float32Array:
    """Read rows of an ``.npy`` file, and scale them to length one: published ones often are not."""
    vectors = read_array(path, what)
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = getattr(vectors, "shape", type(vectors).__name__)
        raise DataError(
            f"{what.capitalize()} must be one float array of shape (concepts, dimension). "
            f"Got {found} of {getattr(vectors, 'dtype', 'no dtype')} in {path} instead."
        )
    finite = np.isfinite(vectors).all(axis=1)
    empty = finite & ~np.any(vectors, axis=1)
    for name, rows in (("is not finite", ~finite), ("has length zero", empty)):
        if rows.any():
            raise DataError(f"Row {int(np.flatnonzero(rows)[0])} of {path} {name}.")
    return unit_rows(vectors)


def read_concept_vectors(path: str | Path, n_concepts: int) -> Float32Array:
    """Read the vectors of a concept list, one row per concept, in its order."""
    vectors = read_unit_vectors(path, "concept vectors")
    if len(vectors) != n_concepts:
        raise DataError(
            f"{path} holds {quantity(len(vectors), 'vector')} for "
            f"{quantity(n_concepts, 'concept')}; row i must belong to concept i of the list."
        )
    return vectors


Result = TypeVar("Result")

MIN_ITEMS = 256  # fewer than this per thread are not worth waking it


def thread_count() -> int:
    """Return the number of threads that numpy, torch and FAISS are told to use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(min(int(asked), available_cpus()), 1) if asked.isdigit() else available_cpus()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="conceptaudit-search")


def in_parts(n: int, work: Callable[[int, int], Result]) -> list[Result]:
    """Apply `work` to consecutive ranges that cover ``range(n)``; return results in order.

    numpy lets go of the interpreter while it compares, gathers and multiplies, so the threads do
    run side by side.
    """
    threads = max(min(thread_count(), n // MIN_ITEMS), 1)
    edges = [n * i // threads for i in range(threads + 1)]
    if threads == 1:
        return [work(0, n)]
    return list(_pool(threads).map(work, edges[:-1], edges[1:]))


DECISION_CHUNK = 256
"""Pairs decided at once: their gathered vectors stay in a processor's own cache."""


def row_products(left: Float32Array, right: Float32Array) -> Float32Array:
    """Multiply row by row, shape (n,): float32, in one fixed order of additions."""
    products: Float32Array = np.einsum("ij,ij->i", left, right)
    return products


def pair_scores(
    left: Float32Array, rows: Int64Array, right: Float32Array, columns: Int64Array
) -> Float32Array:
    """Score pairs of rows of two tables of unit vectors as `row_products` does, shape (n_pairs,).

    A matrix product adds up in an order that depends on its shape, so it may only propose pairs.
    """
    scores = np.empty(len(rows), dtype=np.float32)

    def decide(first: int, last: int) -> None:
        size = min(DECISION_CHUNK, last - first)
        buffers = np.empty((2, size, left.shape[1]), dtype=np.float32)
        for start in range(first, last, DECISION_CHUNK):
            stop = min(start + DECISION_CHUNK, last)
            a, b = buffers[0, : stop - start], buffers[1, : stop - start]
            # "clip" lets numpy write straight into the buffer
            np.take(left, rows[start:stop], axis=0, out=a, mode="clip")
            np.take(right, columns[start:stop], axis=0, out=b, mode="clip")
            scores[start:stop] = row_products(a, b)

    in_parts(len(rows), decide)
    return scores


def reaches(
    scores: Float32Array, threshold: float | npt.NDArray[np.floating]
) -> npt.NDArray[np.bool_]:
    """Say which scores of `row_products` reach a threshold (or each its own), in float32."""
    above: npt.NDArray[np.bool_] = scores >= np.asarray(threshold, dtype=np.float32)
    return above


def rounding_margin(dimension: int) -> float:
    """Bound on how far the float32 inner products of two unit vectors may lie apart.

    The classical bound n·u / (1 − n·u) with unit roundoff u = 2⁻²⁴ (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2nd ed., section 3.1), twice: for the product that proposes
    and for the one that decides; n counts the threshold too, which may be carried as one more
    component. Holds for any order of additions.
    """
    roundoff = (dimension + 2) * 2.0**-24
    return 2.0 * roundoff / (1.0 - roundoff)
