"""Intervals that know how few datasets there are.

Concepts of one evaluation set share its level and its slope, so the set, not the concept, is what
was sampled. Resampling 15 sets understates how much a 16th could differ. Two remedies that hold
with few clusters stand here: for anything linear, a variance whose bias is removed (CR2) with
Satterthwaite's degrees of freedom; for anything else, the jackknife that leaves one set out.

References
----------
Bell and McCaffrey, "Bias reduction in standard errors for linear regression with multi-stage
samples", Survey Methodology 28 (2002); Pustejovsky and Tipton, "Small-sample methods for
cluster-robust variance estimation", Journal of Business & Economic Statistics 36 (2018);
MacKinnon, Nielsen and Webb, "Fast and reliable jackknife and bootstrap methods for cluster-robust
inference", Journal of Applied Econometrics 38 (2023).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from conceptaudit.curves.statistics import FloatArray

TINY = 1e-10
"""Eigenvalues below this share of the largest are zero: a direction that a cluster lacks."""

MOST_CLUSTERS = 1_500
"""With more clusters than this Satterthwaite's correction is nil and its matrix large."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Robust:
    """Cluster-robust variance of linear combinations of coefficients."""

    standard_error: FloatArray  # (contrasts,)
    df: FloatArray  # (contrasts,): Satterthwaite's degrees of freedom

    def half_width(self, level: float) -> FloatArray:
        """Half of the interval of each contrast, NaN where it is undefined."""
        usable = np.isfinite(self.df) & (self.df > 0)
        quantile = stats.t.ppf((1 + level) / 2, np.where(usable, self.df, 1.0))
        return np.where(usable, quantile * self.standard_error, np.nan)


def cluster_robust(information: FloatArray, scores: FloatArray, contrasts: FloatArray) -> Robust:
    """CR2 standard errors with Satterthwaite's degrees of freedom.

    Shapes: `information` (clusters, k, k); `scores` (clusters, k); `contrasts` (contrasts, k). NaN
    where a contrast cannot be estimated, or rests on a single cluster.
    """
    # Only clusters that carry information count.
    information, scores = _informative(information, scores)
    k = information.shape[1]
    bread = np.linalg.pinv(information.sum(axis=0), hermitian=True)
    values, vectors = np.linalg.eigh(information)
    values = np.where(values > TINY * values.max(initial=0.0), values, 0.0)
    root = vectors * np.sqrt(values)[:, None, :] @ vectors.transpose(0, 2, 1)
    inverse = vectors * _power(values, -0.5)[:, None, :] @ vectors.transpose(0, 2, 1)
    leverage, turn = np.linalg.eigh(np.eye(k) - root @ bread @ root)
    spread = turn * _power(np.where(leverage > TINY, leverage, 0.0), -0.5)[:, None, :]
    adjust = root @ (spread @ turn.transpose(0, 2, 1)) @ inverse
    adjusted = np.einsum("gij,gj->gi", adjust, scores)
    arms = np.einsum("gji,jk,ck->cgi", adjust, bread, contrasts)
    terms = np.einsum("ck,kj,gj->cg", contrasts, bread, adjusted)
    return Robust(
        standard_error=np.sqrt((terms**2).sum(axis=1)),
        df=np.array([_satterthwaite(information, arm, bread) for arm in arms]),
    )


def _informative(information: FloatArray, scores: FloatArray) -> tuple[FloatArray, FloatArray]:
    kept = np.trace(information, axis1=1, axis2=2) > 0
    return information[kept], scores[kept]


def _power(values: FloatArray, exponent: float) -> FloatArray:
    result = np.zeros_like(values)
    np.power(values, exponent, out=result, where=values > 0)
    return result


def _satterthwaite(information: FloatArray, arm: FloatArray, bread: FloatArray) -> float:
    """Degrees of freedom of a sum of squares whose terms have a known working covariance."""
    n = len(information)
    if n < 2:
        return float("nan")
    if n > MOST_CLUSTERS:
        return float(n - bread.shape[0])
    lifted = np.einsum("gij,gj->gi", information, arm)
    covariance = -lifted @ bread @ lifted.T
    covariance[np.diag_indices(n)] += np.einsum("gi,gi->g", arm, lifted)
    total = float((covariance**2).sum())
    trace = float(np.trace(covariance))
    return trace**2 / total if total > 0 and trace > 0 else float("nan")


def jackknife_half_width(without: FloatArray, level: float) -> FloatArray:
    """Half width of an interval from estimates that each leave one cluster out.

    Shapes: `without` (clusters, ...). Student's t with one degree of freedom less than there are
    clusters; NaN below two.
    """
    flat = without.reshape(len(without), int(np.prod(without.shape[1:])))
    usable = np.isfinite(flat).all(axis=1)
    n = int(usable.sum())
    if n < 2:
        return np.full(without.shape[1:], np.nan)
    deviations = flat[usable] - flat[usable].mean(axis=0)
    error = np.sqrt((n - 1) / n * (deviations**2).sum(axis=0))
    half: FloatArray = stats.t.ppf((1 + level) / 2, n - 1) * error
    return half.reshape(without.shape[1:])
