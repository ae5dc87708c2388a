"""Images that lie far from the rest of their class, and classes that fall into two parts.

Both look at the embeddings of a class's best images alone and need no name, so they see what
ranking by the name cannot: all of these images fit the name.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from conceptaudit.records import Float32Array

LEAST = 8
"""Images of a class below which nothing is said: a spread of fewer is mostly chance."""

DEVIATIONS = 4.0
"""Robust standard deviations from the class's median distance; see docs/benchmarks-longtail.md."""

SEPARATION = 0.85
"""Share of the variance along its main axis that splitting a class in two must explain: 0.64 for a
normal, 0.75 for a uniform distribution, 1 for two points; see docs/benchmarks-longtail.md."""

SMALLEST_PART = 0.1
"""Share of a class that counts as a part of it; fewer images are outliers."""

NORMAL = 1.4826
"""Median absolute deviations per standard deviation of a normal distribution, inverted."""

FLAT = 1e-6
"""Distances below this are rounding."""

FloatArray = npt.NDArray[np.float64]


def deviations(vectors: Float32Array, n_core: int) -> FloatArray:
    """Say how far each image lies from the core of its class, in robust standard deviations.

    The distance of an image is that of unit vectors, to the direction of the core's mean (without
    the image itself); it is less skewed than one minus the cosine. It is compared with the median
    distance of the core's own images, in units of their median absolute deviation, so that a few
    strangers in the core do not hide themselves.

    Parameters
    ----------
    vectors : numpy.ndarray of float32, shape (n, dimension)
        Unit vectors of one class, best first.
    n_core : int
        So many of them, from the first, are the core.

    Returns
    -------
    numpy.ndarray of float64, shape (n,)
        Positive for images that lie further out than the median; all zero where the core has fewer
        than `LEAST` images.

    References
    ----------
    B. Iglewicz and D. Hoaglin, "How to Detect and Handle Outliers" (1993).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> around = np.eye(1, 9) + 0.05 * rng.standard_normal((20, 9))
    >>> around[7] = np.eye(9)[4]
    >>> vectors = (around / np.linalg.norm(around, axis=1)[:, None]).astype(np.float32)
    >>> np.flatnonzero(deviations(vectors, 20) > DEVIATIONS).tolist()
    [7]
    """
    core = vectors[:n_core].astype(np.float64)
    if len(core) < LEAST:
        return np.zeros(len(vectors))
    total = core.sum(axis=0)
    centres = np.tile(total, (len(vectors), 1))
    centres[: len(core)] -= core
    lengths = np.maximum(np.linalg.norm(centres, axis=1), FLAT)
    cosines = np.einsum("ij,ij->i", vectors.astype(np.float64), centres) / lengths
    distances = np.sqrt(np.maximum(2.0 - 2.0 * cosines, 0.0))
    median = np.median(distances[: len(core)])
    spread = NORMAL * np.median(np.abs(distances[: len(core)] - median))
    return np.asarray((distances - median) / max(spread, FLAT))


def split(vectors: Float32Array, n_core: int) -> tuple[npt.NDArray[np.bool_], float]:
    """Cut a class in two along the main axis of its core, at the best place.

    Parameters
    ----------
    vectors, n_core
        As for `deviations`.

    Returns
    -------
    smaller : numpy.ndarray of bool, shape (n,)
        Which images lie on the side where fewer of the core's do (of two equal halves the one
        without the best image).
    separation : float
        Share of the variance along the axis that lies between the parts, in [0, 1]; 0 where the
        core is too small, or its smaller part holds less than `SMALLEST_PART` of it or one image.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> two = np.repeat(np.eye(2, 9), (12, 6), axis=0) + 0.05 * rng.standard_normal((18, 9))
    >>> vectors = (two / np.linalg.norm(two, axis=1)[:, None]).astype(np.float32)
    >>> smaller, separation = split(vectors, 18)
    >>> np.flatnonzero(smaller).tolist(), separation > 0.9
    ([12, 13, 14, 15, 16, 17], True)
    """
    core = vectors[:n_core].astype(np.float64)
    nothing = np.zeros(len(vectors), dtype=bool)
    if len(core) < LEAST:
        return nothing, 0.0
    mean = core.mean(axis=0)
    _, _, axes = np.linalg.svd(core - mean, full_matrices=False)
    places = (vectors.astype(np.float64) - mean) @ axes[0]
    ordered = np.sort(places[: len(core)])
    within = ordered.var() * len(core)
    if within < FLAT**2:
        return nothing, 0.0
    left = np.arange(1, len(core))
    sums = np.cumsum(ordered)[:-1]
    between = sums**2 / left + sums**2 / (len(core) - left)  # the places' mean is zero
    least = max(2, int(np.ceil(SMALLEST_PART * len(core))))
    valid = (left >= least) & (len(core) - left >= least)
    if not valid.any():
        return nothing, 0.0
    cut = int(np.flatnonzero(valid)[between[valid].argmax()])
    above = places > (ordered[cut] + ordered[cut + 1]) / 2.0
    n_above = int(above[: len(core)].sum())
    halves = 2 * n_above == len(core)
    smaller = ~above if 2 * n_above > len(core) or (halves and above[0]) else above
    return smaller, float(between[cut] / within)
