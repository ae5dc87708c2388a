"""Ratios of two rates: whether one count is higher than another, and which of many differ.

Given their sum, two Poisson counts are binomial. p values and intervals come from that one test, so
a p value is below 1 - level exactly where the interval of that level leaves out 1, at any sizes of
the two datasets. Mid-p halves the probability of the observed outcome: the plain exact test rejects
far less often than it says where counts are small.

Counts vary by more than Poisson's law where samples come in clusters (five captions of an image) or
where a count is an estimate. A count whose variance is d times its mean tells as much as a Poisson
count of its d-th part out of a d-th part of the samples, and that is what is tested.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from conceptaudit.frequency.intervals import FloatArray

# Halvings of the bracket of an interval's end, on the logit scale: to about 13 digits.
N_HALVINGS = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Counts of some concepts in one dataset."""

    count: FloatArray  # (n_concepts,): the counts and the ends of their intervals
    low: FloatArray
    high: FloatArray
    n_samples: int  # samples counted, positive
    level: float  # coverage of the intervals, in (0, 1)
    # (n_concepts,): variance of each count over its mean, at least 1; 1 (the default) is Poisson's
    dispersion: FloatArray = field(default_factory=lambda: np.ones(1))

    @property
    def per_million(self) -> FloatArray:
        """Rates in counts per million samples."""
        return self.count * (1e6 / self.n_samples)

    @property
    def effective(self) -> tuple[FloatArray, FloatArray]:
        """Poisson counts that tell as much as these, and the samples that they are out of."""
        dispersion = np.maximum(self.dispersion, 1.0)
        return self.count / dispersion, np.broadcast_to(
            self.n_samples / dispersion, self.count.shape
        )


def rate_ratio(over: Counted, under: Counted) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Divide the rates of one dataset by those of another.

    Returns `ratio, low, high` (n_concepts,): infinite over a count of zero; NaN where both are
    zero, whose interval is 0 to infinity. See H. O. Lancaster, "Significance tests in discrete
    distributions", JASA 56 (1961) 223-234; K. Krishnamoorthy and M. Lee, "New approximate
    confidence intervals for the ratio of two Poisson means", Journal of Statistical Computation and
    Simulation 83 (2013).
    """
    (a, a_samples), (b, b_samples) = over.effective, under.effective
    tail = (1.0 - over.level) / 2.0
    scale = b_samples / a_samples
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (over.count / over.n_samples) / (under.count / under.n_samples)
    low, high = (_odds_at(end, a, b) * scale for end in (tail, 1.0 - tail))
    nothing = (over.count == 0) & (under.count == 0)
    return (
        np.where(nothing, np.nan, ratio),
        np.where(a == 0, 0.0, low),
        np.where(b == 0, np.inf, high),
    )


def difference_p(over: Counted, under: Counted) -> FloatArray:
    """Return the mid-p value of the exact conditional test that two rates are the same.

    Returns (n_concepts,) two-sided, in (0, 1]; 1 where both counts are zero.
    """
    (a, a_samples), (b, b_samples) = over.effective, under.effective
    above = _mid_tail(a_samples / (a_samples + b_samples), a, b)
    return np.asarray(np.minimum(2.0 * np.minimum(above, 1.0 - above), 1.0), dtype=np.float64)


def _mid_tail(share: FloatArray, a: FloatArray, b: FloatArray) -> FloatArray:
    """Probability of more than `a` of `a + b` at a binomial share, plus half that of `a` itself."""
    from scipy.special import betainc

    # P(X >= a) and P(X > a), continued to counts that are not whole.
    least = np.where(a > 0, betainc(np.where(a > 0, a, 1.0), b + 1.0, share), 1.0)
    more = np.where(b > 0, betainc(a + 1.0, np.where(b > 0, b, 1.0), share), 0.0)
    return np.asarray((least + more) / 2.0, dtype=np.float64)


def _odds_at(tail: float, a: FloatArray, b: FloatArray) -> FloatArray:
    """Odds of the binomial share at which `_mid_tail`, which rises with it, comes to `tail`."""
    from scipy.special import betaincinv, expit, logit

    # The ends of the plain exact interval hold that of mid-p between them.
    lower = np.where(a > 0, betaincinv(np.where(a > 0, a, 1.0), b + 1.0, tail), 0.0)
    upper = np.where(b > 0, betaincinv(a + 1.0, np.where(b > 0, b, 1.0), tail), 1.0)
    low, high = (logit(np.clip(end, 1e-300, 1.0 - 1e-16)) for end in (lower, upper))
    for _ in range(N_HALVINGS):
        middle = (low + high) / 2.0
        short = _mid_tail(expit(middle), a, b) < tail
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray(np.exp((low + high) / 2.0), dtype=np.float64)


def false_discovery_rate(p: FloatArray) -> FloatArray:
    """Turn p values of many tests into q values.

    Calling those at most q different makes a share of false calls of at most q, on average
    (Benjamini and Hochberg; holds for tests that are independent or rise together).
    """
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p), dtype=np.float64) if len(p) else p
