"""Whether one count is higher than another: ratios of rates, and which of many differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.frequency.intervals import normal_reach

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Counts of some concepts in one dataset.

    Parameters
    ----------
    count, low, high : numpy.ndarray of float64, shape (n_concepts,)
        The counts and the ends of their intervals.
    n_samples : int
        Samples counted, positive.
    level : float
        Coverage of the intervals, in (0, 1).
    """

    count: FloatArray
    low: FloatArray
    high: FloatArray
    n_samples: int
    level: float

    @property
    def per_million(self) -> FloatArray:
        """Rates in counts per million samples."""
        return self.count * (1e6 / self.n_samples)


def rate_ratio(over: Counted, under: Counted) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Divide the rates of one dataset by those of another.

    The interval is made of the two counts' intervals (the method of variance estimates recovery,
    MOVER-R), so it takes the counts as independent and serves whatever made their intervals.

    Parameters
    ----------
    over, under : Counted
        With intervals of the same level.

    Returns
    -------
    ratio, low, high : numpy.ndarray of float64, shape (n_concepts,)
        Infinite over a count of zero; NaN where both are zero.

    References
    ----------
    A. Donner and G. Y. Zou, "Closed-form confidence intervals for functions of the normal mean and
    standard deviation", Statistical Methods in Medical Research 21 (2012) 347-359.

    Examples
    --------
    >>> ends = {"low": np.array([30.2]), "high": np.array([52.1])}
    >>> over = Counted(count=np.array([40.0]), **ends, n_samples=1_000, level=0.9)
    >>> ends = {"low": np.array([5.4]), "high": np.array([17.0])}
    >>> under = Counted(count=np.array([10.0]), **ends, n_samples=1_000, level=0.9)
    >>> [round(float(part[0]), 2) for part in rate_ratio(over, under)]
    [4.0, 2.18, 7.78]
    """
    ratio, low, high = (np.full(len(over.count), np.nan) for _ in range(3))
    a, a_low, a_high = (x / over.n_samples for x in (over.count, over.low, over.high))
    b, b_low, b_high = (x / under.n_samples for x in (under.count, under.low, under.high))
    with np.errstate(divide="ignore", invalid="ignore"):
        product = a * b
        lower = a_low * (2 * a - a_low)
        low = lower / (product + np.sqrt(product**2 - b_high * (2 * b - b_high) * lower))
        below = b_low * (2 * b - b_low)
        high = (product + np.sqrt(product**2 - a_high * (2 * a - a_high) * below)) / below
        ratio = a / b
    nothing = (a == 0) & (b == 0)
    low = np.where(a_low <= 0, 0.0, low)
    high = np.where(b_low <= 0, np.inf, high)
    return (
        np.where(nothing, np.nan, ratio),
        np.where(nothing, 0.0, low),
        np.where(nothing, np.inf, high),
    )


def difference_p(over: Counted, under: Counted) -> FloatArray:
    """Say how surprising a difference is if both rates are the same.

    An approximation: log(count + 1/2) is taken as normal, with the standard error that the end of
    its interval towards the other count implies.

    Returns
    -------
    numpy.ndarray of float64, shape (n_concepts,)
        Two-sided p values in (0, 1].
    """
    from scipy.special import ndtr

    def log(counts: FloatArray) -> FloatArray:
        return np.log(np.maximum(counts, 0.0) + 0.5)

    a, b = log(over.count), log(under.count)
    apart = (a - np.log(over.n_samples)) - (b - np.log(under.n_samples))
    more = apart > 0
    a_error = np.where(more, a - log(over.low), log(over.high) - a) / normal_reach(over.level)
    b_error = np.where(more, log(under.high) - b, b - log(under.low)) / normal_reach(under.level)
    error = np.hypot(a_error, b_error)
    z = np.divide(np.abs(apart), error, out=np.zeros_like(apart), where=error > 0)
    return np.asarray(2.0 * ndtr(-z), dtype=np.float64)


def false_discovery_rate(p: FloatArray) -> FloatArray:
    """Turn p values of many tests into q values.

    Calling those at most q different makes a share of false calls of at most q, on average
    (Benjamini and Hochberg; holds for tests that are independent or rise together).

    Examples
    --------
    >>> false_discovery_rate(np.array([0.01, 0.5, 0.02])).round(3).tolist()
    [0.03, 0.5, 0.03]
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p), dtype=np.float64) if len(p) else p
