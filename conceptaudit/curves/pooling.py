"""Partial pooling: a line per dataset, drawn towards the line of all datasets.

Accuracy = (a + u) + (b + v) x + e, where (u, v) is drawn once per dataset. A dataset with many
concepts keeps its own line, one with few leans on the others. (a, b) is the line of the average
dataset, and b the slope that a fit reports. Where datasets with more frequent concepts also lie
higher, a new dataset is expected on another line: that through all datasets, each with the same
weight, which holds both the effect within datasets and that between them. Estimation is
restricted maximum likelihood, as in statsmodels' ``MixedLM``; it is written out here because
everything follows from six sums per dataset, which makes a fit about ten times faster and so
lets intervals resample it.

A slope and its cluster-robust interval need no more of a dataset than X'V^-1 X and X'V^-1 (y - Xb);
resampling datasets is a sum of these (`Equations`).

References
----------
Laird and Ware, "Random-effects models for longitudinal data", Biometrics 38 (1982);
Pinheiro and Bates, "Mixed-Effects Models in S and S-PLUS" (2000), section 2.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from scipy import optimize

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import FittedLine
from conceptaudit.curves.statistics import (
    FloatArray,
    IntArray,
    Robust,
    cluster_robust,
    group_means,
    line,
)
from conceptaudit.errors import FitError

SMALLEST = 1e-12  # residual variance that counts as none: the rows lie on their lines
_EYE = np.eye(2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Cross products of (1, x - centre) and y, per dataset."""

    centre: float  # mean of x over all rows, which keeps the products well conditioned
    xx: FloatArray  # (d, 2, 2)
    xy: FloatArray  # (d, 2)
    yy: FloatArray  # (d,)
    n: FloatArray  # (d,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Components:
    """Variances of a mixed model."""

    # (2, 2): covariance of (u, v) at the centre of x, in units of the residual variance
    relative: FloatArray
    residual: float  # residual variance


def sums_of(rows: FitData) -> Sums:
    """Sum up the rows of each dataset; a dataset without rows has zeros."""
    centre = float(rows.x.mean())
    dx, n_datasets = rows.x - centre, len(rows.datasets)

    def total(weights: FloatArray) -> FloatArray:
        return np.bincount(rows.dataset, weights=weights, minlength=n_datasets).astype(np.float64)

    n, sx, sxx = total(np.ones_like(dx)), total(dx), total(dx * dx)
    return Sums(
        centre=centre,
        xx=np.stack([np.stack([n, sx], -1), np.stack([sx, sxx], -1)], -1),
        xy=np.stack([total(rows.y), total(dx * rows.y)], -1),
        yy=total(rows.y * rows.y),
        n=n,
    )


def weighted(sums: Sums, relative: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Weigh each dataset's products by the inverse of its covariance.

    Returns `shrink` (d, 2, 2): (I + X'X T)^-1, with T the relative covariance; `left` (d, 2, 2):
    x'V^-1 X in units of the residual variance; `right` (d, 2): x'V^-1 y, likewise.
    """
    shrink, _ = _inverse(_EYE + sums.xx @ relative)
    return shrink, shrink @ sums.xx, (shrink @ sums.xy[:, :, None])[:, :, 0]


def _inverse(matrices: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Inverses and determinants of 2 x 2 matrices: written out, several times faster than LAPACK.

    Shapes: `matrices` (d, 2, 2).
    """
    a, b, c, d = matrices[:, 0, 0], matrices[:, 0, 1], matrices[:, 1, 0], matrices[:, 1, 1]
    determinants = a * d - b * c
    inverses = np.empty_like(matrices)
    inverses[:, 0, 0], inverses[:, 0, 1] = d, -b
    inverses[:, 1, 0], inverses[:, 1, 1] = -c, a
    inverses /= determinants[:, None, None]
    return inverses, determinants


def relative_of(details: Mapping[str, float]) -> FloatArray | None:
    """Return the relative covariance that a fit found; None where nothing was pooled."""
    if "slope_variance" not in details:
        return None
    mixed = details["intercept_slope_covariance"]
    covariance = [[details["intercept_variance"], mixed], [mixed, details["slope_variance"]]]
    return np.asarray(covariance, dtype=np.float64) / float(details["residual_variance"])


def _relative(root: FloatArray) -> FloatArray:
    lower: FloatArray = np.array([[root[0], 0.0], [root[1], root[2]]])
    return lower @ lower.T


def _criterion(root: FloatArray, sums: Sums) -> float:
    """Minus twice the restricted log likelihood, up to a constant."""
    relative = _relative(root)
    shrink, determinants = _inverse(_EYE + sums.xx @ relative)
    total = (shrink @ sums.xx).sum(axis=0)
    of_total = float(total[0, 0] * total[1, 1] - total[0, 1] * total[1, 0])
    if of_total <= 0:
        return np.inf
    right = (shrink @ sums.xy[:, :, None])[:, :, 0]
    residual = _residual(sums, relative, total, right)
    spread = np.log(determinants).sum() + np.log(of_total)
    return float((sums.n.sum() - 2) * np.log(max(residual, SMALLEST)) + spread)


def _residual(sums: Sums, relative: FloatArray, total: FloatArray, right: FloatArray) -> float:
    explained = ((sums.xy @ relative) * right).sum()
    fixed = right.sum(axis=0)
    beta = np.linalg.solve(total, fixed)
    return float((sums.yy.sum() - explained - fixed @ beta) / max(sums.n.sum() - 2, 1.0))


def estimate(sums: Sums) -> Components:
    """Estimate the variances by restricted maximum likelihood."""
    start = np.array([0.5, 0.0, 0.2])
    found = optimize.minimize(
        _criterion,
        start,
        args=(sums,),
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-7, "maxiter": 1_000},
    )
    relative = _relative(np.asarray(found.x, dtype=np.float64))
    _, left, right = weighted(sums, relative)
    return Components(
        relative=relative,
        residual=max(_residual(sums, relative, left.sum(axis=0), right), SMALLEST),
    )


def line_through_datasets(rows: FitData) -> tuple[float, float] | None:
    """Intercept and slope of least squares in which each dataset has the same weight."""
    weight = 1.0 / np.bincount(rows.dataset)[rows.dataset]
    weight /= weight.sum()
    x, y = float(weight @ rows.x), float(weight @ rows.y)
    dx = rows.x - x
    spread = float((weight * dx) @ dx)
    if spread <= 1e-12 * max(x * x, 1.0):
        return None
    slope = float((weight * dx) @ (rows.y - y)) / spread
    return y - slope * x, slope


def fit_partial_pooling(rows: FitData) -> FittedLine:
    """Fit a random intercept and slope per dataset, Gaussian on accuracy.

    With a single dataset there is nothing to pool, and the line is that of least squares.
    """
    if len(np.unique(rows.dataset)) < 2:
        slope, intercept, _ = line(rows.x, rows.y)
        if not np.isfinite(slope):
            raise FitError("The slope is undefined: all concepts have the same frequency.")
        residuals = rows.y - intercept - slope * rows.x
        spread = float(residuals @ residuals / max(len(rows) - 2, 1))
        return FittedLine(intercept=intercept, slope=slope, details={"residual_variance": spread})
    sums = sums_of(rows)
    components = estimate(sums)
    shrink, left, right = weighted(sums, components.relative)
    beta = np.linalg.solve(left.sum(axis=0), right.sum(axis=0))
    offsets = np.einsum(
        "ij,djk,dk->di",
        components.relative,
        shrink,
        sums.xy - np.einsum("dij,j->di", sums.xx, beta),
    )
    lines = beta + offsets
    covariance = components.relative * components.residual
    return FittedLine(
        intercept=float(beta[0] - beta[1] * sums.centre),
        slope=float(beta[1]),
        intercepts=tuple(float(a - b * sums.centre) for a, b in lines),
        slopes=tuple(float(b) for _, b in lines),
        new=line_through_datasets(rows),
        details={
            "x_centre": sums.centre,
            "residual_variance": components.residual,
            "intercept_variance": float(covariance[0, 0]),
            "slope_variance": float(covariance[1, 1]),
            "intercept_slope_covariance": float(covariance[0, 1]),
        },
    )


def slope_errors(rows: FitData) -> tuple[FloatArray, FloatArray]:
    """Estimate each dataset's slope, drawn towards the others, and how uncertain it is.

    Returns `slope, error` (d + 1,): with posterior standard deviations; the last is that of a
    dataset that is not in the fit, whose own slope is as uncertain as datasets differ.
    """
    fitted = fit_partial_pooling(rows)
    sums = sums_of(rows)
    n, relative = len(rows.datasets), relative_of(fitted.details)
    residual = fitted.details["residual_variance"]
    slopes = np.array([*(fitted.slopes or [fitted.slope] * n), fitted.slope])
    if relative is None:
        spread = max(float(sums.xx[:, 1, 1].sum()), SMALLEST)
        return slopes, np.full(n + 1, np.sqrt(residual / spread))
    shrink, left, _ = weighted(sums, relative)
    common = np.linalg.inv(left.sum(axis=0))
    own = relative @ shrink
    rest = _EYE - own @ sums.xx
    variance = own + rest @ common @ rest.transpose(0, 2, 1)
    new = float(relative[1, 1] + common[1, 1])
    squares = residual * np.maximum(np.append(variance[:, 1, 1], new), 0.0)
    return slopes, np.sqrt(squares)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equations:
    """Normal equations of a line through (x - centre), summed per cluster."""

    centre: float
    left: FloatArray  # (clusters, 2, 2): x'V^-1 X
    right: FloatArray  # (clusters, 2): x'V^-1 y
    # residual variance that V is in units of; 0 where V is no model of the rows
    residual: float = 0.0

    @property
    def solution(self) -> FloatArray:
        """Intercept at the centre, and slope."""
        found: FloatArray = _solve(self.left.sum(axis=0)[None], self.right.sum(axis=0)[None])[0]
        return found

    def robust(self, at: FloatArray) -> Robust:
        """Variance of the slope, first, and of the line at each x of `at`.

        The robust variance of a few clusters assumes nothing, and is small by chance where the
        slope is off by the same chance; that of the mixed model is steady. The mean of both is
        taken: 90 % intervals over 16 simulated sets hold 1 to 2 points more often than by the
        former alone (``scripts/benchmarks/simulate_sampled.py``).
        """
        contrasts = np.stack([np.ones_like(at), at - self.centre], axis=1)
        contrasts = np.concatenate([[[0.0, 1.0]], contrasts])
        scores = self.right - np.einsum("gij,j->gi", self.left, self.solution)
        robust = cluster_robust(self.left, scores, contrasts)
        if not self.residual:
            return robust
        covariance = np.linalg.pinv(self.left.sum(axis=0), hermitian=True)
        model = self.residual * np.einsum("ci,ij,cj->c", contrasts, covariance, contrasts)
        error = np.sqrt((robust.standard_error**2 + np.maximum(model, 0.0)) / 2)
        return replace(robust, standard_error=error)

    def resampled_slopes(self, draws: IntArray) -> FloatArray:
        """Slope of each replicate, which holds clusters as often as `draws` says."""
        weights = draws.astype(np.float64)
        left = np.einsum("rg,gij->rij", weights, self.left)
        return _solve(left, weights @ self.right)[:, 1]


def equations(rows: FitData, details: Mapping[str, float] = MappingProxyType({})) -> Equations:
    """Sum up the normal equations.

    The clusters are the datasets, or the concepts where there is one dataset.
    """
    if len(np.unique(rows.dataset)) < 2:
        names = tuple(str(index) for index in range(int(rows.concept.max()) + 1))
        sums = sums_of(replace(rows, dataset=rows.concept, datasets=names))
        return Equations(centre=sums.centre, left=sums.xx, right=sums.xy)
    sums, relative = sums_of(rows), relative_of(details)
    if relative is None:
        return Equations(centre=sums.centre, left=sums.xx, right=sums.xy)
    _, left, right = weighted(sums, relative)
    return Equations(
        centre=sums.centre,
        left=(left + left.transpose(0, 2, 1)) / 2,  # symmetric but for rounding
        right=right,
        residual=float(details["residual_variance"]),
    )


def within_interval(rows: FitData, level: float) -> tuple[float, float]:
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
