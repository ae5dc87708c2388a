"""How near unrelated pictures come to each other under a model: the null of near duplicates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import DataError
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

NULL_SAMPLE = 2_000
"""Pictures whose nearest neighbour is looked for: evenly spaced, so that no dice are needed."""

NULL_SHARE = 0.01
"""Share of unrelated pictures that may be taken for a copy of another one."""

LOWEST, HIGHEST = 0.9, 0.9999
LEAST = 20
"""Pictures below which no distribution can be told."""


def null_threshold(
    vectors: npt.NDArray[np.float16] | Float32Array, share: float = NULL_SHARE
) -> float:
    """Choose a threshold for near duplicates from the distances to nearest neighbours.

    The smallest of many distances follows a Weibull law near zero. Its two parameters are taken
    from the 10 % and 50 % quantiles, which real duplicates, being few, move little, and the
    distance is extrapolated at which `share` of unrelated pictures would have a neighbour.
    Where a model sees little difference between scenes, that is close to 1 and finds few copies:
    the model cannot tell better.

    Parameters
    ----------
    vectors : numpy.ndarray of float, shape (n, dimension)
        Distinct pictures (exact duplicates removed), at least `LEAST`; not zero.
    share : float
        In (0, 0.1).

    Returns
    -------
    float
        Cosine similarity in [0.9, 0.9999].

    Raises
    ------
    DataError
        There are too few pictures.

    References
    ----------
    S. Coles, "An Introduction to Statistical Modeling of Extreme Values" (2001), chapter 3.
    """
    if len(vectors) < LEAST:
        raise DataError(
            f"A threshold for near duplicates cannot be chosen from {len(vectors):,} distinct "
            f"pictures; at least {LEAST} are needed. Name it: --near-duplicates 0.95."
        )
    distances = np.sqrt(np.maximum(2.0 - 2.0 * _nearest(vectors), 1e-9))
    low, middle = np.quantile(distances, [0.1, 0.5])
    # F(d) = 1 - exp(-(d/scale)^shape): straight in these coordinates
    x = np.log([low, middle])
    y = np.log(-np.log1p(-np.array([0.1, 0.5])))
    shape = (y[1] - y[0]) / max(x[1] - x[0], 1e-6)
    distance = np.exp(x[0] + (np.log(-np.log1p(-share)) - y[0]) / shape)
    return float(np.round(np.clip(1.0 - distance**2 / 2.0, LOWEST, HIGHEST), 4))


def _nearest(vectors: npt.NDArray[np.float16] | Float32Array) -> npt.NDArray[np.float64]:
    """Similarity of sampled pictures to their nearest neighbour among all."""
    step = max(len(vectors) // NULL_SAMPLE, 1)
    rows = np.arange(0, len(vectors), step)
    sample = unit_rows(np.asarray(vectors[rows], dtype=np.float32))
    best = np.full(len(rows), -1.0, dtype=np.float32)
    for start in range(0, len(vectors), 8192):
        block = unit_rows(np.asarray(vectors[start : start + 8192], dtype=np.float32))
        scores = sample @ block.T
        own = (rows >= start) & (rows < start + len(block))
        scores[np.flatnonzero(own), rows[own] - start] = -1.0
        np.maximum(best, scores.max(axis=1), out=best)
    return best.astype(np.float64)
