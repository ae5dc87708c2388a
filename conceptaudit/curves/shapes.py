"""Curves other than a straight line: logit, monotone, and saturating.

A straight line in log frequency has no end; these say whether the data ask for one.

References
----------
Papke and Wooldridge, "Econometric methods for fractional response variables", Journal of Applied
Econometrics 11 (1996), for the binomial quasi-likelihood;
Gadre et al., "Language models scale reliably with over-training and on downstream tasks", arXiv
2403.08540, for an error that falls exponentially with a loss that is a power of the data.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import FittedLine, Stored
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import FitError

# Rates of decay per decade that a saturating curve is tried with.
RATES = np.exp(np.linspace(np.log(0.02), np.log(3.0), 20))

# Steepnesses that it is tried with; 0 is a power of 1 + count.
STEEPNESS = (0.0, *np.exp(np.linspace(np.log(0.2), np.log(20.0), 6)))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedKnots(Stored):
    """A curve given by points, straight between them and level beyond."""

    knots: tuple[float, ...]  # ascending x, and the accuracy there
    values: tuple[float, ...]

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        del dataset  # one curve for all
        return np.asarray(np.clip(np.interp(x, self.knots, self.values), 0.0, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAsymptote(Stored):
    """Accuracy = ceiling - gap * decay(x).

    With `steepness` 0 the decay is 10^(-rate x): a power of 1 + count. Otherwise it is
    1 - exp(-steepness 10^(-rate x)), relative: an error that falls exponentially with a loss that
    is a power of 1 + count, and so levels off at both ends.
    """

    ceiling: float  # accuracy that no frequency exceeds
    gap: float  # at least 0
    rate: float  # above 0, per decade
    steepness: float  # at least 0

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        del dataset  # one curve for all
        return np.clip(self.ceiling - self.gap * _decay(x, self.rate, self.steepness), 0.0, 1.0)


def fit_isotonic(rows: FitData) -> FittedKnots:
    """Fit the non-decreasing curve nearest to the accuracies, a step function."""
    order = np.argsort(rows.x, kind="stable")
    x, first, sizes = np.unique(rows.x[order], return_index=True, return_counts=True)
    means = np.add.reduceat(rows.y[order], first) / sizes
    found = optimize.isotonic_regression(means, weights=sizes)
    # A block is level: its two ends say all.
    starts = np.asarray(found.blocks[:-1])
    ends = np.asarray(found.blocks[1:]) - 1
    kept = np.unique(np.concatenate([starts, ends]))
    values = np.asarray(found.x)[kept]
    return FittedKnots(knots=tuple(x[kept].tolist()), values=tuple(values.tolist()))


def fit_saturating(rows: FitData) -> FittedAsymptote:
    """Fit an error that falls towards an asymptote: as a power of 1 + count, or exponentially.

    Ceiling and gap follow by least squares from a rate and a steepness; these are found on a grid,
    of which the best point is refined.
    """
    grid = ((rate, steepness) for steepness in STEEPNESS for rate in RATES)
    start = min((_profiled(rows, *at) for at in grid), key=lambda pair: pair[0])
    steep = start[1].steepness > 0
    limits = [(float(np.log(RATES[0])), float(np.log(RATES[-1])))]
    if steep:
        limits.append((float(np.log(STEEPNESS[1])), float(np.log(STEEPNESS[-1]))))

    def at(logs: FloatArray) -> tuple[float, FittedAsymptote]:
        return _profiled(rows, float(np.exp(logs[0])), float(np.exp(logs[1])) if steep else 0.0)

    def squares(logs: FloatArray) -> float:
        return at(logs)[0]

    found = optimize.minimize(
        squares,
        np.log(np.array([start[1].rate, start[1].steepness][: len(limits)])),
        method="Nelder-Mead",
        bounds=limits,
        options={"xatol": 0.01, "fatol": 1e-9, "maxfev": 60},
    )
    return min(start, at(np.asarray(found.x)), key=lambda pair: pair[0])[1]


def _decay(x: FloatArray, rate: float, steepness: float) -> FloatArray:
    power = 10.0 ** (-rate * x)
    if steepness == 0:
        return np.asarray(power)
    return np.asarray(np.expm1(-steepness * power) / np.expm1(-steepness))


def _profiled(rows: FitData, rate: float, steepness: float) -> tuple[float, FittedAsymptote]:
    """Least squares of ceiling and gap for one shape of decay, ceiling at most 1."""
    decay, y = _decay(rows.x, rate, steepness), rows.y
    dd = decay - decay.mean()
    spread = float(dd @ dd)
    gap = -float(dd @ y) / spread if spread > 1e-15 else 0.0
    ceiling = float(y.mean()) + gap * float(decay.mean())
    if gap < 0:
        gap, ceiling = 0.0, float(y.mean())
    elif ceiling > 1:
        ceiling = 1.0
        gap = max(float(decay @ (1 - y)) / float(decay @ decay), 0.0)
    residuals = y - ceiling + gap * decay
    fitted = FittedAsymptote(ceiling=ceiling, gap=gap, rate=float(rate), steepness=float(steepness))
    return float(residuals @ residuals), fitted


PRIOR_SD = 10.0  # of intercept and slope, in logits, with x in standard deviations
SEPARATED = 8.0  # logits per standard deviation of x above which only the prior holds the slope


def fit_binomial(rows: FitData) -> FittedLine:
    """Fit logit accuracy = a + b x by binomial quasi-likelihood.

    Rows with a known number of images weigh by it; where no row has one, each weighs the same.
    """
    n = _weights(rows)
    centre, scale = float(rows.x.mean()), float(rows.x.std())
    if scale <= 1e-12 * max(abs(centre), 1.0):
        raise FitError("The slope is undefined: all concepts have the same frequency.")
    z, k = (rows.x - centre) / scale, rows.y * n

    def criterion(beta: FloatArray) -> tuple[float, FloatArray]:
        eta = beta[0] + beta[1] * z
        value = float((n * np.logaddexp(0.0, eta) - k * eta).sum())
        pull = n * special.expit(eta) - k
        # without a prior, the slope of accuracies that are separated by frequency has no end
        prior = float(beta @ beta) / (2 * PRIOR_SD**2)
        return value + prior, np.array([pull.sum(), pull @ z]) + beta / PRIOR_SD**2

    start = np.array([special.logit(np.clip(k.sum() / n.sum(), 1e-3, 1 - 1e-3)), 0.0])
    found = optimize.minimize(criterion, start, jac=True, method="BFGS", options={"gtol": 1e-6})
    beta = np.asarray(found.x, dtype=np.float64)
    p = special.expit(beta[0] + beta[1] * z)
    variance = np.maximum(p * (1 - p), 1e-9)
    dispersion = float((n * (rows.y - p) ** 2 / variance).sum() / max(len(rows) - 2, 1))
    slope = float(beta[1] / scale)
    separated = float(abs(beta[1]) > SEPARATED or _separated(rows))
    return FittedLine(
        intercept=float(beta[0] - slope * centre),
        slope=slope,
        link="logit",
        details={"dispersion": dispersion, "separated": separated},
    )


def _weights(rows: FitData) -> FloatArray:
    known = np.isfinite(rows.n_images) & (rows.n_images > 0)
    if known.all():
        return rows.n_images
    if not known.any():
        return np.ones(len(rows))
    raise FitError(
        f"The 'binomial' family needs n_images for all concepts or for none. Got it for "
        f"{int(known.sum())} of {len(rows)} instead."
    )


def _separated(rows: FitData) -> bool:
    """Whether everything is wrong on one side of some frequency, and right on the other."""
    wrong, right = rows.x[rows.y == 0], rows.x[rows.y == 1]
    if len(wrong) + len(right) < len(rows) or not len(wrong) or not len(right):
        return False
    return bool(wrong.max() < right.min() or right.max() < wrong.min())
