"""Gains that classes need for a target accuracy, with what is unsure about them.

A class that is measured on n test images has an accuracy that its images tell of only so far: among
classes that look nearly there, those with a lucky test are too many. Its true accuracy is beta
distributed about what the curve expects, as classes of its set are, and binomial noise lies on top:
the posterior is a beta distribution again. The gain along the curve that takes it to the target is
what is lacking over r, the set's own slope relative to the fitted one, which is normal about 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import FittedFamily
from conceptaudit.curves.statistics import FloatArray, IntArray

N_NODES = 15
# Of the search for a gain, whose error they bring below a thousandth of the curve's rise.
N_STEPS = 12
LEAST_CORRELATION = 1e-6  # of images within a class: below it classes lie on the curve
EDGE = 1e-3  # expectations are kept this far from 0 and 1, where a beta distribution has no spread


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyLaw:
    """Beta distributions of the true accuracies of classes; where `exact`, a point."""

    right: FloatArray  # (n,): parameters of the distributions, above 0
    wrong: FloatArray
    exact: FloatArray  # (n,): the accuracy, where it is taken as known; NaN elsewhere

    @staticmethod
    def where(
        chosen: npt.NDArray[np.bool_], one: "AccuracyLaw", other: "AccuracyLaw"
    ) -> "AccuracyLaw":
        """Take one law where a class is chosen, and the other elsewhere."""
        return AccuracyLaw(
            right=np.where(chosen, one.right, other.right),
            wrong=np.where(chosen, one.wrong, other.wrong),
            exact=np.where(chosen, one.exact, other.exact),
        )

    def at_least(self, accuracy: FloatArray) -> FloatArray:
        """Return the probability that each class is at least this accurate, shape (k, n)."""
        inside = np.clip(accuracy, 0.0, 1.0)
        beta = special.betainc(self.wrong, self.right, 1.0 - inside)
        beta = np.where(accuracy > 1.0, 0.0, beta)
        return np.where(np.isnan(self.exact), beta, (self.exact >= accuracy).astype(np.float64))


def concept_correlation(rows: FitData, fitted: FittedFamily) -> float:
    """Estimate how alike the images of a class are, from accuracies about a fit, by moments.

    The variance of an accuracy about its expectation e is e (1 - e) (c + (1 - c) / n): c is 0 where
    test images are the only noise, and 1 where a class is all right or all wrong.
    """
    expected = np.clip(fitted.predict(rows.x, rows.dataset), EDGE, 1.0 - EDGE)
    known = np.isfinite(rows.n_images) & (rows.n_images > 0)
    share = np.where(known, 1.0 / np.where(known, rows.n_images, 1.0), 0.0)
    bound = expected * (1.0 - expected)
    excess = float(((rows.y - expected) ** 2 - bound * share).sum())
    return float(np.clip(excess / float((bound * (1.0 - share)).sum()), LEAST_CORRELATION, 0.95))


def measured_law(
    accuracy: FloatArray, n_images: FloatArray, expected: FloatArray, correlation: float
) -> AccuracyLaw:
    """Law of the true accuracy of classes that were measured, shape (n,) each.

    Where the number of test images is not known (NaN), the measured accuracy is taken as the true.
    """
    centre = np.clip(expected, EDGE, 1.0 - EDGE)
    size = (1.0 - correlation) / correlation
    images = np.where(np.isfinite(n_images), n_images, 0.0)
    return AccuracyLaw(
        right=centre * size + accuracy * images,
        wrong=(1.0 - centre) * size + (1.0 - accuracy) * images,
        exact=np.where(np.isfinite(n_images), np.nan, accuracy),
    )


def expected_law(expected: FloatArray, error: FloatArray) -> AccuracyLaw:
    """Law of the accuracy of classes without a measurement, from their predicted intervals.

    Shapes: `expected`, `error` (n,).
    """
    centre = np.clip(expected, EDGE, 1.0 - EDGE)
    share = np.clip(error**2 / (centre * (1.0 - centre)), LEAST_CORRELATION, 0.95)
    size = (1.0 - share) / share
    exact = np.where(error <= EDGE, expected, np.nan)
    return AccuracyLaw(right=centre * size, wrong=(1.0 - centre) * size, exact=exact)


def needed_gain(
    law: AccuracyLaw, target: float, slope_cv: FloatArray, most: FloatArray, chance: float
) -> FloatArray:
    """Gain along the curve that suffices with a chance.

    Shapes: `slope_cv`, `most` (n,). Returns (n,) 0 where the class is there already with that
    chance, infinite where the curve ends before.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(N_NODES)
    weights = weights / weights.sum()
    certain = np.where(np.isinf(slope_cv), 0.0, slope_cv)
    ratio = 1.0 + nodes[:, None] * certain

    def excess(gain: FloatArray) -> FloatArray:
        return np.asarray(weights @ law.at_least(target - gain * ratio) - chance)

    # of an accuracy that is known, the slope alone decides
    slowest = 1.0 + certain * float(special.ndtri(1.0 - chance))
    lacking = np.maximum(target - law.exact, 0.0)
    known = np.where(slowest > 0, lacking / np.where(slowest > 0, slowest, 1.0), np.inf)
    known = np.where(lacking <= 0, 0.0, np.where(known > most + 1e-9, np.inf, known))
    low, high = np.zeros(len(most)), np.maximum(most, 0.0)
    at_low, at_high = excess(low), excess(high + 1e-9)
    found = np.where(at_low >= 0, 0.0, np.where(at_high < 0, np.inf, _root(excess, low, high)))
    found = np.where(np.isnan(law.exact), found, known)
    # A slope that is not above zero brings a class nowhere, or says nothing.
    unknown = np.isinf(slope_cv)
    return np.where(unknown, 0.0 if chance < 0.5 else np.inf, found)


def _root(
    excess: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray
) -> FloatArray:
    """Find where a function that rises crosses 0, between points on both sides (Illinois)."""
    at_low, at_high = excess(low), excess(high)
    for _ in range(N_STEPS):
        rise = at_high - at_low
        share = np.divide(-at_low, rise, out=np.full_like(rise, 0.5), where=rise > 0)
        middle = low + np.clip(share, 0.0, 1.0) * (high - low)
        at_middle = excess(middle)
        above = at_middle >= 0
        # An end that stays counts half, so that the other side moves as well.
        at_low = np.where(above, at_low / 2, at_middle)
        at_high = np.where(above, at_middle, at_high / 2)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return high


def relative_error(slope: FloatArray, error: FloatArray, dataset: IntArray) -> FloatArray:
    """Error of each row's slope over the slope; infinite where that is not above 0."""
    chosen = slope[dataset]
    ratio = np.divide(error[dataset], chosen, out=np.full(len(dataset), np.inf), where=chosen > 0)
    return np.asarray(ratio, dtype=np.float64)
