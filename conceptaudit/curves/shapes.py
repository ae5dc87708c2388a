"""Curves without a straight line: monotone, and saturating.

A straight line in log frequency has no end; these say whether
the data ask for one.

References
----------
Ramsay, "Monotone regression splines in action", Statistical Science 3 (1988), for the basis;
Gadre et al., "Language models scale reliably with over-training and on downstream tasks", arXiv
2403.08540, for an error that falls exponentially with a loss that is a power of the data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import interpolate, optimize

from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import FitError

N_INTERIOR = 5
N_GRID = 81
PENALTIES = (0.01, 0.1, 1.0, 10.0, 100.0)

RATES = np.exp(np.linspace(np.log(0.02), np.log(3.0), 40))
"""Rates of decay per decade that a saturating curve is tried with."""

STEEPNESS = np.exp(np.linspace(np.log(0.2), np.log(20.0), 10))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedKnots:
    """A curve given by points, straight between them and level beyond.

    Parameters
    ----------
    knots, values : tuple of float
        Ascending x, and the accuracy there.
    """

    knots: tuple[float, ...]
    values: tuple[float, ...]

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        del dataset  # one curve for all
        return np.asarray(np.clip(np.interp(x, self.knots, self.values), 0.0, 1.0))

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {"knots": list(self.knots), "values": list(self.values)}

    @staticmethod
    def restore(parameters: Mapping[str, Any]) -> "FittedKnots":
        """Build a curve from its `parameters`."""
        return FittedKnots(
            knots=tuple(float(value) for value in parameters["knots"]),
            values=tuple(float(value) for value in parameters["values"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedAsymptote:
    """Accuracy = ceiling - gap * decay(x).

    With `steepness` 0 the decay is 10^(-rate x): a power of 1 + count. Otherwise it is
    1 - exp(-steepness 10^(-rate x)), relative: an error that falls exponentially with a loss that
    is a power of 1 + count, and so levels off at both ends.

    Parameters
    ----------
    ceiling : float
        Accuracy that no frequency exceeds.
    gap : float
        At least 0.
    rate : float
        Above 0, per decade.
    steepness : float
        At least 0.
    """

    ceiling: float
    gap: float
    rate: float
    steepness: float

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        del dataset  # one curve for all
        return np.clip(self.ceiling - self.gap * _decay(x, self.rate, self.steepness), 0.0, 1.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {
            "ceiling": self.ceiling,
            "gap": self.gap,
            "rate": self.rate,
            "steepness": self.steepness,
        }

    @staticmethod
    def restore(parameters: Mapping[str, Any]) -> "FittedAsymptote":
        """Build a curve from its `parameters`."""
        names = ("ceiling", "gap", "rate", "steepness")
        return FittedAsymptote(**{name: float(parameters[name]) for name in names})


def fit_isotonic(rows: Rows) -> FittedKnots:
    """Fit the non-decreasing curve nearest to the accuracies, a step function."""
    order = np.argsort(rows.x, kind="stable")
    x, first, sizes = np.unique(rows.x[order], return_index=True, return_counts=True)
    means = np.add.reduceat(rows.y[order], first) / sizes
    found = optimize.isotonic_regression(means, weights=sizes)
    # A block is level: its two ends say all.
    starts = np.asarray(found.blocks[:-1])
    ends = np.asarray(found.blocks[1:]) - 1
    kept = np.unique(np.concatenate([starts, ends]))
    return FittedKnots(knots=_floats(x[kept]), values=_floats(np.asarray(found.x)[kept]))


def fit_spline(rows: Rows) -> FittedKnots:
    """Fit a smooth non-decreasing curve: monotone splines, smoothness by cross-validation.

    Raises
    ------
    FitError
        The frequency is the same in all rows.
    """
    low, high = float(rows.x.min()), float(rows.x.max())
    if high - low <= 0:
        raise FitError("The slope is undefined: all concepts have the same frequency.")
    inner = np.unique(np.quantile(rows.x, np.linspace(0, 1, N_INTERIOR + 2)[1:-1]))
    inner = inner[(inner > low) & (inner < high)]
    knots = np.concatenate([[low] * 3, inner, [high] * 3])

    def basis(at: FloatArray) -> FloatArray:
        dense = interpolate.BSpline.design_matrix(at, knots, 2).toarray()
        # Sums of B-splines from the right rise from 0 to 1: non-negative weights, monotone curve.
        return np.asarray(np.cumsum(dense[:, ::-1], axis=1)[:, ::-1])

    design = basis(rows.x)
    weights = min((_gcv(design, rows.y, penalty) for penalty in PENALTIES), key=lambda r: r[0])[1]
    grid = np.linspace(low, high, N_GRID)
    return FittedKnots(knots=_floats(grid), values=_floats(basis(grid) @ weights))


def _gcv(design: FloatArray, y: FloatArray, penalty: float) -> tuple[float, FloatArray]:
    """Generalised cross-validation of one penalty on the changes of slope, and its weights."""
    n, k = design.shape
    bend = np.diff(np.eye(k)[1:], axis=0)
    gram = design.T @ design + penalty * bend.T @ bend + 1e-9 * n * np.eye(k)
    root = np.linalg.cholesky(gram)
    target = np.linalg.solve(root, design.T @ y)
    # The first weight is the curve's left end, an accuracy: it is not negative either.
    weights, _ = optimize.nnls(root.T, target)
    freedom = float(np.trace(np.linalg.solve(gram, design.T @ design)))
    residuals = y - design @ weights
    return float(residuals @ residuals) / max(n - freedom, 1.0) ** 2, weights


def fit_saturating(rows: Rows) -> FittedAsymptote:
    """Fit an error that falls as a power of 1 + count towards an asymptote."""
    return min((_profiled(rows, rate, 0.0) for rate in RATES), key=lambda pair: pair[0])[1]


def fit_over_training(rows: Rows) -> FittedAsymptote:
    """Fit an error that falls exponentially with a loss that is a power of 1 + count."""
    candidates = (_profiled(rows, rate, steep) for steep in STEEPNESS for rate in RATES[::4])
    start = min(candidates, key=lambda pair: pair[0])[1]
    bounds = [(float(np.log(grid[0])), float(np.log(grid[-1]))) for grid in (RATES, STEEPNESS)]

    def squares(at: FloatArray) -> float:
        return _profiled(rows, float(np.exp(at[0])), float(np.exp(at[1])))[0]

    found = optimize.minimize(
        squares,
        np.log([start.rate, start.steepness]),
        method="Nelder-Mead",
        bounds=bounds,
        options={"xatol": 0.01, "fatol": 1e-9, "maxfev": 60},
    )
    return _profiled(rows, float(np.exp(found.x[0])), float(np.exp(found.x[1])))[1]


def _decay(x: FloatArray, rate: float, steepness: float) -> FloatArray:
    power = 10.0 ** (-rate * x)
    if steepness == 0:
        return np.asarray(power)
    return np.asarray(np.expm1(-steepness * power) / np.expm1(-steepness))


def _profiled(rows: Rows, rate: float, steepness: float) -> tuple[float, FittedAsymptote]:
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


def _floats(values: FloatArray) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
