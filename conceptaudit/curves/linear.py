"""The normal equations of the straight-line families, dataset by dataset.

A slope and its cluster-robust interval need no more of a cluster than X'V^-1 X and X'V^-1 (y - Xb);
resampling clusters is a sum of these.
"""

from dataclasses import dataclass, replace

import numpy as np

from conceptaudit.curves.clustered import Robust, cluster_robust
from conceptaudit.curves.pooling import sums_of, weighted
from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import FloatArray, IntArray, group_means


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """Normal equations of a line through (x - centre), summed per cluster.

    Parameters
    ----------
    centre : float
    left : numpy.ndarray of float64, shape (clusters, 2, 2)
        X'V^-1 X.
    right : numpy.ndarray of float64, shape (clusters, 2)
        X'V^-1 y.
    """

    centre: float
    left: FloatArray
    right: FloatArray

    @property
    def solution(self) -> FloatArray:
        """Intercept at the centre, and slope."""
        found: FloatArray = _solve(self.left.sum(axis=0)[None], self.right.sum(axis=0)[None])[0]
        return found

    def robust(self, at: FloatArray) -> Robust:
        """Variance of the slope, first, and of the line at each x of `at`."""
        contrasts = np.stack([np.ones_like(at), at - self.centre], axis=1)
        scores = self.right - np.einsum("gij,j->gi", self.left, self.solution)
        return cluster_robust(self.left, scores, np.concatenate([[[0.0, 1.0]], contrasts]))

    def resampled_slopes(self, draws: IntArray) -> FloatArray:
        """Slope of each replicate, which holds clusters as often as `draws` says."""
        weights = draws.astype(np.float64)
        left = np.einsum("rg,gij->rij", weights, self.left)
        return _solve(left, weights @ self.right)[:, 1]


def equations(rows: Rows, relative: FloatArray | None = None) -> Equations:
    """Sum up the normal equations.

    Parameters
    ----------
    rows : Rows
    relative : numpy.ndarray of float64, shape (2, 2), optional
        Weigh by the covariance of partial pooling, see `pooling.Components`; without it every
        row weighs the same.

    Returns
    -------
    Equations
        The clusters are the datasets, or the concepts where there is one dataset.
    """
    if len(np.unique(rows.dataset)) < 2:
        names = tuple(str(index) for index in range(int(rows.concept.max()) + 1))
        sums = sums_of(replace(rows, dataset=rows.concept, datasets=names))
        return Equations(centre=sums.centre, left=sums.xx, right=sums.xy)
    sums = sums_of(rows)
    if relative is None:
        return Equations(centre=sums.centre, left=sums.xx, right=sums.xy)
    _, left, right = weighted(sums, relative)
    # Symmetric but for rounding.
    return Equations(centre=sums.centre, left=(left + left.transpose(0, 2, 1)) / 2, right=right)


def within_interval(rows: Rows, level: float) -> tuple[float, float]:
    """Interval of the slope with one intercept per dataset, over datasets (or concepts)."""
    n = len(rows.datasets)
    dx = rows.x - group_means(rows.x, rows.dataset, n)[rows.dataset]
    dy = rows.y - group_means(rows.y, rows.dataset, n)[rows.dataset]
    clusters = rows.concept if rows.single else rows.dataset
    size = int(clusters.max()) + 1
    xx = np.bincount(clusters, weights=dx * dx, minlength=size).astype(np.float64)
    xy = np.bincount(clusters, weights=dx * dy, minlength=size).astype(np.float64)
    if xx.sum() <= 0:
        return float("nan"), float("nan")
    slope = float(xy.sum() / xx.sum())
    robust = cluster_robust(xx[:, None, None], (xy - slope * xx)[:, None], np.ones((1, 1)))
    half = float(robust.half_width(level)[0])
    return slope - half, slope + half


def _solve(left: FloatArray, right: FloatArray) -> FloatArray:
    """Solve 2 x 2 systems; NaN where one is singular."""
    det = left[:, 0, 0] * left[:, 1, 1] - left[:, 0, 1] * left[:, 1, 0]
    usable = det > 1e-12 * np.abs(left[:, 0, 0] * left[:, 1, 1])
    safe = np.where(usable, det, 1.0)
    first = (left[:, 1, 1] * right[:, 0] - left[:, 0, 1] * right[:, 1]) / safe
    second = (left[:, 0, 0] * right[:, 1] - left[:, 1, 0] * right[:, 0]) / safe
    return np.where(usable[:, None], np.stack([first, second], axis=1), np.nan)
