"""Columns of numbers that grow, and runs of places in them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


class Column:
    """A growing column of int32."""

    def __init__(self) -> None:
        self._array = np.zeros(1024, dtype=np.int32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> Int32:
        """What was appended; a view that the next `append` may leave behind."""
        return self._array[: self._n]

    def append(self, value: int) -> None:
        """Add a number at the end."""
        if self._n == len(self._array):
            self._array = np.concatenate([self._array, np.zeros_like(self._array)])
        self._array[self._n] = value
        self._n += 1


def ragged(first: npt.NDArray[np.integer], n: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Expand runs of consecutive places.

    Parameters
    ----------
    first, n : numpy.ndarray of int, shape (n_runs,)
        First place and number of places of each run.

    Returns
    -------
    places, runs : numpy.ndarray of int64, shape (n.sum(),)
        All places, and the run that each belongs to.

    Examples
    --------
    >>> places, runs = ragged(np.array([5, 9]), np.array([2, 1]))
    >>> places.tolist(), runs.tolist()
    ([5, 6, 9], [0, 0, 1])
    """
    n = n.astype(np.int64)
    runs = np.repeat(np.arange(len(n)), n)
    places = np.arange(len(runs)) + (first - (np.cumsum(n) - n))[runs]
    return places, runs
