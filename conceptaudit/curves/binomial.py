"""Logit curves for counts of correct images: binomial, and beta-binomial.

Concepts differ for reasons other than frequency, by much more than their numbers of images allow.
The beta-binomial says how much; the binomial does not, and its fit is a quasi-likelihood whose
dispersion is estimated apart. A weak normal prior keeps the slope finite where frequency separates
right from wrong perfectly; elsewhere it is not felt.

References
----------
McCullagh and Nelder, "Generalized Linear Models", 2nd edition (1989); Papke and Wooldridge,
"Econometric methods for fractional response variables", Journal of Applied Econometrics 11 (1996).
"""

import numpy as np
from scipy import optimize, special

from conceptaudit.curves.fitted import FittedLine
from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.errors import FitError

PRIOR_SD = 10.0
"""Of intercept and slope, in logits, with x in standard deviations."""

SIZES = (-4.0, 12.0)
"""Bounds of the logarithm of the beta-binomial's size: correlations from 0.98 down to 6e-6."""

SEPARATED = 8.0
"""Logits per standard deviation of x above which only the prior holds the slope."""


def fit_binomial(rows: Rows) -> FittedLine:
    """Fit logit accuracy = a + b x by binomial quasi-likelihood.

    Rows with a known number of images weigh by it; where no row has one, each weighs the same.

    Raises
    ------
    FitError
        Some rows have a number of images and some have none.
    """
    n = _weights(rows)
    z, centre, scale = _standardised(rows.x)
    k = rows.y * n

    def criterion(beta: FloatArray) -> tuple[float, FloatArray]:
        eta = beta[0] + beta[1] * z
        value = float((n * np.logaddexp(0.0, eta) - k * eta).sum())
        pull = n * special.expit(eta) - k
        return value + _penalty(beta), np.array([pull.sum(), pull @ z]) + beta / PRIOR_SD**2

    start = np.array([special.logit(np.clip(k.sum() / n.sum(), 1e-3, 1 - 1e-3)), 0.0])
    found = optimize.minimize(criterion, start, jac=True, method="BFGS", options={"gtol": 1e-6})
    beta = np.asarray(found.x, dtype=np.float64)
    p = special.expit(beta[0] + beta[1] * z)
    variance = np.maximum(p * (1 - p), 1e-9)
    dispersion = float((n * (rows.y - p) ** 2 / variance).sum() / max(len(rows) - 2, 1))
    return _line(rows, beta, centre, scale, {"dispersion": dispersion})


def fit_beta_binomial(rows: Rows) -> FittedLine:
    """Fit logit accuracy = a + b x where the rates of concepts are beta distributed about it.

    Raises
    ------
    FitError
        A row has no number of images.
    """
    n = _weights(rows)
    if not np.isfinite(rows.n_images).all():
        raise FitError(
            "The 'beta-binomial' family needs n_images for every concept. Got none instead. Use "
            "family='binomial', which weighs concepts alike, or give n_correct and n_images."
        )
    z, centre, scale = _standardised(rows.x)
    k = rows.n_correct

    def criterion(theta: FloatArray) -> tuple[float, FloatArray]:
        size = np.exp(theta[2])
        p = np.clip(special.expit(theta[0] + theta[1] * z), 1e-9, 1 - 1e-9)
        a, b = p * size, (1 - p) * size
        value = -float((special.betaln(k + a, n - k + b) - special.betaln(a, b)).sum())
        da = special.digamma(k + a) - special.digamma(a)
        db = special.digamma(n - k + b) - special.digamma(b)
        both = special.digamma(n + size) - special.digamma(size)
        by_eta = -size * (da - db) * p * (1 - p)
        by_size = -size * float((p * da + (1 - p) * db - both).sum())
        beta = theta[:2]
        pull = np.array([by_eta.sum(), by_eta @ z]) + beta / PRIOR_SD**2
        return value + _penalty(beta), np.append(pull, by_size)

    first = special.logit(np.clip(k.sum() / n.sum(), 1e-3, 1 - 1e-3))
    found = optimize.minimize(
        criterion,
        np.array([first, 0.0, 1.0]),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-50.0, 50.0), (-50.0, 50.0), SIZES],
    )
    theta = np.asarray(found.x, dtype=np.float64)
    details = {"correlation": float(1 / (1 + np.exp(theta[2])))}
    return _line(rows, theta[:2], centre, scale, details)


def _weights(rows: Rows) -> FloatArray:
    known = np.isfinite(rows.n_images) & (rows.n_images > 0)
    if known.all():
        return rows.n_images
    if not known.any():
        return np.ones(len(rows))
    raise FitError(
        f"Binomial families need n_images for all concepts or for none. Got it for "
        f"{int(known.sum())} of {len(rows)} instead."
    )


def _standardised(x: FloatArray) -> tuple[FloatArray, float, float]:
    centre, scale = float(x.mean()), float(x.std())
    if scale <= 1e-12 * max(abs(centre), 1.0):
        raise FitError("The slope is undefined: all concepts have the same frequency.")
    return (x - centre) / scale, centre, scale


def _penalty(beta: FloatArray) -> float:
    return float(beta @ beta) / (2 * PRIOR_SD**2)


def _line(
    rows: Rows, beta: FloatArray, centre: float, scale: float, details: dict[str, float]
) -> FittedLine:
    slope = float(beta[1] / scale)
    separated = float(abs(beta[1]) > SEPARATED or _separated(rows))
    return FittedLine(
        intercept=float(beta[0] - slope * centre),
        slope=slope,
        link="logit",
        details={**details, "separated": separated},
    )


def _separated(rows: Rows) -> bool:
    """Whether everything is wrong on one side of some frequency, and right on the other."""
    wrong, right = rows.x[rows.y == 0], rows.x[rows.y == 1]
    if len(wrong) + len(right) < len(rows) or not len(wrong) or not len(right):
        return False
    return bool(wrong.max() < right.min() or right.max() < wrong.min())
