"""Unit vectors: checking, normalising, reading."""

import tokenize
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.records import Float32Array


def unit_rows(vectors: Float32Array) -> Float32Array:
    """Scale each row to length one; rows of length zero stay zero.

    Parameters
    ----------
    vectors : numpy.ndarray of float, shape (n, dimension)
        Finite vectors of any length.

    Returns
    -------
    numpy.ndarray of float32, shape (n, dimension)
    """
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
    """Read an ``.npy`` file, never unpickling.

    Parameters
    ----------
    path : str or Path
    what : str
        What it should hold, for the message.

    Raises
    ------
    DataError
        It is missing, damaged, or holds objects.
    """
    try:
        return np.load(path, allow_pickle=False)
    except _BAD_ARRAY as error:
        why = str(error) or type(error).__name__
        raise DataError(f"Cannot read {what} from {path}: {why}.") from error


def read_concept_vectors(path: str | Path, n_concepts: int) -> Float32Array:
    """Read the vectors of a concept list: an ``.npy`` with one row per concept, in its order.

    Returns
    -------
    numpy.ndarray of float32, shape (n_concepts, dimension)
        Scaled to length one (published text vectors often are not).

    Raises
    ------
    DataError
        The file is missing, damaged, holds objects, has another number of rows, or a row that
        is not finite or has length zero.
    """
    vectors = read_array(path, "concept vectors")
    if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = getattr(vectors, "shape", type(vectors).__name__)
        raise DataError(
            "Concept vectors must be one float array of shape (concepts, dimension). "
            f"Got {found} of {getattr(vectors, 'dtype', 'no dtype')} in {path} instead."
        )
    if len(vectors) != n_concepts:
        raise DataError(
            f"{path} holds {quantity(len(vectors), 'vector')} for "
            f"{quantity(n_concepts, 'concept')}; row i must belong to concept i of the list."
        )
    finite = np.isfinite(vectors).all(axis=1)
    empty = finite & ~np.any(vectors, axis=1)
    for name, rows in (("is not finite", ~finite), ("has length zero", empty)):
        if rows.any():
            raise DataError(f"Row {int(np.flatnonzero(rows)[0])} of {path} {name}.")
    return unit_rows(vectors)
