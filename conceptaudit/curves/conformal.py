"""Intervals from the residuals of held-out concepts: local, shortest, and per dataset.

For a given expectation c the interval is a short one in [0, 1] that holds the wanted share of
weighted outcomes, one outcome being c plus a held-out residual. Residuals weigh by how close their
own expectation was to c, because accuracies near 0 and 1 scatter less and lean to one side; and by
whose they are: all those of the row's dataset count in full, those of the others count as much as
`SHARED_ROWS` concepts together. The concept that is predicted counts as one more row, of unknown
outcome, which is what makes the share hold for few rows too.

For a new dataset every dataset held out weighs the same, and the new one counts as half of one
more. Counting it in full is what proves the share, but takes its outcome to lie outside every time,
and so held 96 % in place of 90 % on the published data (``docs/benchmarks-curves.md``).

References
----------
Lei et al., "Distribution-free predictive inference for regression", JASA 113 (2018);
Tibshirani et al., "Conformal prediction under covariate shift", NeurIPS 2019 (weighted quantiles);
Guan, "Localized conformal prediction", Biometrika 110 (2023); Dunn, Wasserman and Ramdas,
"Distribution-free prediction sets for two-layer hierarchical models", JASA 118 (2023).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from conceptaudit.curves.point_model import HeldOut
from conceptaudit.curves.statistics import FloatArray, group_means
from conceptaudit.display import quantity

# Expectations at which intervals are computed; between them they are interpolated.
GRID = np.linspace(0.0, 1.0, 41)

# Standard deviation of the weights about an expectation: the first that sees enough rows.
BANDWIDTHS = (0.08, 0.16, 0.32, np.inf)
ENOUGH_ROWS = 40.0
AT_BOUND = 0.02  # distance from 0 or 1 within which an end of an interval counts as there

# What a row weighs however far its expectation is, so that no place is without rows.
FAR_WEIGHT = 1e-3
SHARED_ROWS = 8.0
ATOM = 1e-9  # an accuracy this near 0 or 1 is that

# How much of what an interval leaves out may lie below it. Few choices, because the shortest of
# many intervals is shortest partly by chance, and then holds too little.
TAIL_SPLITS = np.array([0.0, 0.25, 0.5, 0.75, 1.0])

# What the concept, or the dataset, that is predicted weighs beside those held out.
UNKNOWN_ROW, UNKNOWN_DATASET = 1.0, 0.5

# Nearness of each held-out row to an expectation, shape (n,), to the weight of the row.
Weights = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """An interval for every expectation."""

    low: FloatArray  # (41,): at each expectation of `GRID`, in [0, 1]
    high: FloatArray
    basis: str  # what the interval rests on
    # the `HeldOut.spread` that these ends are for; None where outcomes scatter alike
    spread: float | None = None

    def at(
        self, centre: FloatArray, spread: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the intervals about these expectations, which they contain.

        Shapes: `centre`, `spread` (n,).
        """
        scale = 1.0 if spread is None or self.spread is None else spread / self.spread
        low = np.minimum(np.interp(centre, GRID, self.low), centre)
        high = np.maximum(np.interp(centre, GRID, self.high), centre)
        # Many accuracies are exactly 0 or 1: an end that reaches there is not drawn back.
        below = np.where(low < AT_BOUND, 1.0, scale)
        above = np.where(high > 1.0 - AT_BOUND, 1.0, scale)
        return (
            np.maximum(centre - below * (centre - low), 0.0),
            np.minimum(centre + above * (high - centre), 1.0),
        )


def known_dataset(held: HeldOut, position: int, name: str, level: float) -> Band:
    """Interval for concepts of a dataset of the fit, from concepts held out in folds."""
    own = held.dataset == position
    n_own, n_other = int(own.sum()), int((~own).sum())

    def weights(near: FloatArray) -> FloatArray:
        shared = float(near[~own].sum())
        return np.where(own, near, near * (SHARED_ROWS / shared) if shared > 0 else 0.0)

    low, high, full = _over_grid(held, own if n_own else ~own, weights, UNKNOWN_ROW, level)
    remark = "" if full else f"; too few for an interval of level {level:g}"
    basis = (
        f"known dataset ({name}): {n_own} of its concepts and {n_other} of other datasets held "
        "out in folds"
        if n_other
        else f"one dataset ({name}): {quantity(n_own, 'concept')} held out in folds"
    )
    return Band(low=low, high=high, basis=basis + remark, spread=_typical(held))


def new_dataset(held: HeldOut, level: float, anchor: str = "") -> Band:
    """Interval for concepts of a new dataset, from whole datasets held out."""
    n_datasets = len(np.unique(held.dataset))
    attainable = n_datasets / (n_datasets + UNKNOWN_DATASET)

    def weights(near: FloatArray) -> FloatArray:
        totals = np.bincount(held.dataset, weights=near)
        return near / totals[held.dataset]

    share = min(level, attainable)
    low, high, _ = _over_grid(
        held, np.ones(len(held.dataset), dtype=bool), weights, UNKNOWN_DATASET, share
    )
    remark = ""
    if not n_datasets:
        remark = ", too few for any interval"
    elif level > n_datasets / (n_datasets + 1):
        remark = (
            f", too few for a level of {level:g}: the interval spans their residuals, and may be "
            "too narrow"
        )
    basis = (
        f"as for a new dataset{anchor}: {quantity(n_datasets, 'dataset')} held out one by "
        f"one{remark}"
    )
    return Band(low=low, high=high, basis=basis, spread=_typical(held))


def mean_of_set(
    held: HeldOut, position: int, expected: FloatArray, level: float
) -> tuple[float, float, float]:
    """Expect the mean accuracy of a dataset's classes, with its interval.

    Shapes: `expected` (n,). Returns `mean, low, high`: of a new dataset the interval is that of
    mean errors of datasets held out: Student's, or the conformal one where that is wider (sets fall
    far off more often than normal errors do). Of a known dataset it is that of as many of its
    classes held out. NaN where there are too few.
    """
    usable = expected[np.isfinite(expected)]
    if not len(usable):
        return np.nan, np.nan, np.nan
    mean = float(usable.mean())
    least = 0.0
    if position < 0:
        errors = group_means(held.residual, held.dataset, int(held.dataset.max(initial=0)) + 1)
        errors = errors[np.isfinite(errors)]
        # About zero: that new datasets are expected too high or too low counts as error as well.
        freedom, variance = len(errors), float(np.mean(errors**2)) if len(errors) else np.nan
        variance *= 1 + 1 / max(freedom, 1)
        rank = int(np.ceil((freedom + 1) * level - 1e-9))
        least = float(np.sort(np.abs(errors))[rank - 1]) if rank <= freedom else 0.0
    else:
        residual = held.residual[held.dataset == position]
        freedom = len(residual) - 1
        variance = float(residual.var(ddof=1)) if freedom > 0 else np.nan
        variance *= 1 / len(usable) + 1 / max(len(residual), 1)
    if freedom < 2:
        return mean, np.nan, np.nan
    reach = max(float(stats.t.ppf((1 + level) / 2, freedom)) * np.sqrt(variance), least)
    return mean, max(mean - reach, 0.0), min(mean + reach, 1.0)


def _over_grid(
    held: HeldOut, judged: npt.NDArray[np.bool_], weights: Weights, unknown: float, level: float
) -> tuple[FloatArray, FloatArray, bool]:
    """Compute the shortest interval at each expectation; also whether all are bounded."""
    typical = _typical(held)
    residual = held.residual
    if held.spread is not None and typical is not None:
        residual = residual * (typical / held.spread)
    # A class that is all wrong (or all right) is so wherever it was expected: moving it with its
    # residual would smear what is a mass at 0, and low levels would step over it.
    none, every = held.outcome <= ATOM, held.outcome >= 1.0 - ATOM
    low, high, full = np.zeros(len(GRID)), np.ones(len(GRID)), True
    for index, centre in enumerate(GRID):
        outcomes = np.clip(centre + residual, 0.0, 1.0)
        outcomes = np.where(none, 0.0, np.where(every, 1.0, outcomes))
        order = np.argsort(outcomes, kind="stable")
        weight = weights(_near(held.centre, centre, judged))
        ends = _shortest(outcomes[order], weight[order], unknown, level)
        if ends is None:
            full = False
        else:
            low[index], high[index] = ends
    return low, high, full


def _typical(held: HeldOut) -> float | None:
    """Spread that the residuals are brought to before intervals are taken of them."""
    return None if held.spread is None or not len(held.spread) else float(np.median(held.spread))


def _near(centres: FloatArray, centre: float, judged: npt.NDArray[np.bool_]) -> FloatArray:
    """Weigh rows by distance, so wide that enough of the rows of interest are near."""
    near = np.ones(len(centres))
    for bandwidth in BANDWIDTHS:
        near = np.exp(-0.5 * ((centres - centre) / bandwidth) ** 2)
        if near[judged].sum() >= ENOUGH_ROWS:
            break
    return (near + FAR_WEIGHT) / (1.0 + FAR_WEIGHT)


def _shortest(
    outcomes: FloatArray, weight: FloatArray, unknown: float, level: float
) -> tuple[float, float] | None:
    """Return the shortest of the intervals that leave out a part of `TAIL_SPLITS` below.

    Shapes: `outcomes`, `weight` (n,). None where all rows together do not have the share.
    """
    below = np.concatenate([[0.0], np.cumsum(weight)])
    need = level * (below[-1] + unknown) * (1.0 - 1e-12)
    spare = below[-1] - need
    if spare < 0 or not len(outcomes):
        return None
    first = np.searchsorted(below, spare * TAIL_SPLITS * (1.0 + 1e-12), side="right") - 1
    first = np.minimum(first, len(outcomes) - 1)
    last = np.minimum(np.searchsorted(below, below[first] + need) - 1, len(outcomes) - 1)
    best = int(np.argmin(outcomes[last] - outcomes[first]))
    return float(outcomes[first[best]]), float(outcomes[last[best]])
