"""Counts with an error: what it does to a slope, and counts of a whole expected from a sample.

A count with an interval is the true one times an error, and error in x flattens a line. Regression
calibration replaces each x by what is to be expected of the true x given the one observed. What
this assumes: errors on the log scale are independent of the true frequency, of accuracy and of each
other, with the standard deviation that the interval tells (a 90 % interval is 3.29 of them wide);
true frequencies are spread normally within each dataset. An error that all concepts share, such as
a counter that finds half of everything, shifts the curve and leaves its slope; an error that grows
with rarity breaks the first assumption.

Of a concept that is in N samples of the whole, an audit of a share s of them counts about s N, by
Poisson thinning. Dividing the count by s keeps its error, and a zero at zero; both bend a curve.
What a curve needs is the expectation of its own axis, log10(1 + N), given the count: regression on
that expectation has the slope of the whole (Berkson's case of errors in variables). It rests on how
the rates of concepts are spread, which is learned from all of them, zeros included: the log density
of log rates is a polynomial that few concepts leave nearly flat and many bend, beside a share of
concepts that do not occur at all (Efron's g-modelling). Each evaluation set has a density of its
own, drawn towards that of all.

References
----------
Efron, "Empirical Bayes deconvolution estimates", Biometrika 103 (2016); Carroll, Ruppert, Stefanski
and Crainiceanu, "Measurement Error in Nonlinear Models", 2nd edition (2006), chapters 1 and 4.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.statistics import FloatArray, IntArray

# Below this share of real variance a dataset's x is all error, and no correction is possible.
LEAST_RELIABILITY = 0.05


def calibrated(rows: FitData) -> tuple[FitData, float]:
    """Replace each x by its expectation given the observed one.

    Within each dataset, E[true | x] = m + r (x - m), where r is the share of the variance of x that
    is not error, row by row. Rows of few concepts share a pooled variance.

    Returns `rows`: with `x` calibrated; unchanged where no row has an error; `reliability`: share
    of the variance within datasets that is not error, in (0, 1].
    """
    variance = rows.x_sd**2
    if not variance.any():
        return rows, 1.0
    n_datasets = len(rows.datasets)

    def total(values: FloatArray) -> FloatArray:
        sums = np.bincount(rows.dataset, weights=values, minlength=n_datasets)
        return sums.astype(np.float64)

    n = total(np.ones_like(rows.x))
    mean = total(rows.x) / np.maximum(n, 1.0)
    deviation = rows.x - mean[rows.dataset]
    squares, noise = total(deviation**2), total(variance)
    freedom = np.maximum(n - 1, 0.0)
    pooled = max(float(squares.sum() - (noise * freedom / np.maximum(n, 1)).sum()), 0.0)
    pooled /= max(float(freedom.sum()), 1.0)
    # A dataset's own variance of true x leans on the pooled one as on ten further concepts.
    own = squares - noise * freedom / np.maximum(n, 1.0)
    true = np.maximum((own + 10.0 * pooled) / (freedom + 10.0), 0.0)[rows.dataset]
    observed = np.where(true + variance > 0, true + variance, 1.0)
    share = np.where(variance > 0, np.maximum(true / observed, LEAST_RELIABILITY), 1.0)
    spread = float((deviation**2).sum())
    reliability = 1.0 - float(variance.sum()) / spread if spread > 0 else 1.0
    return (
        replace(rows, x=mean[rows.dataset] + share * deviation, x_sd=np.zeros_like(rows.x_sd)),
        float(np.clip(reliability, LEAST_RELIABILITY, 1.0)),
    )


# Grid of log10 rates in the whole; a rate below a tenth of a sample is as good as none.
STEP, LOWEST = 0.05, -1.0

# Spread of the polynomial's coefficients: place and width of the density are free, what else it
# does is not.
PRIOR_SD = np.array([20.0, 20.0, 1.0, 1.0, 0.5, 0.5])

# Mean and spread, in logits, of the share of concepts that do not occur at all.
ABSENT, ABSENT_SD = -5.0, 2.0
OWN_SD = 0.5  # spread of a dataset's coefficients about those of all
PLENTY = 400  # counts above this say all there is to say: count / share, give or take 5 %

# Expectations of log10(1 + n + Poisson(m)) are summed for m below this, and expanded above.
SUMMED = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDensity:
    """Density of the rates of concepts in the whole."""

    # (7,): of the polynomial, and the logit of the share of concepts that do not occur
    coefficients: FloatArray
    # (n_grid,): probability of each rate of the grid, given that the concept occurs
    weights: FloatArray
    absent: float  # share of concepts that do not occur


@dataclass(frozen=True, slots=True, kw_only=True)
class FullCounts:
    """Counts of the whole, expected from those of a sample."""

    count: FloatArray  # (n,): where log10(1 + count) is expected to be; NaN where there is no count
    low: FloatArray  # (n,): the same, 1.645 posterior standard deviations below and above
    high: FloatArray


def expected_counts(counts: FloatArray, dataset: IntArray, share: float) -> FullCounts:
    """Expect the counts of a whole dataset.

    Shapes: `counts`, `dataset` (n,).
    """
    known = np.isfinite(counts)
    log = np.full(len(counts), np.nan)
    error = np.full(len(counts), np.nan)
    if known.any():
        values = np.log10(np.maximum(counts[known].max(), 1.0) / share) + 0.5
        grid = np.arange(LOWEST, values + STEP, STEP)
        common = _density(counts[known], share, grid, None)
        for index in np.unique(dataset[known]):
            members = known & (dataset == index)
            own = _density(counts[members], share, grid, common)
            log[members], error[members] = _posterior(counts[members], share, grid, own)
    return FullCounts(
        count=10.0**log - 1.0,
        low=np.maximum(10.0 ** (log - 1.645 * error) - 1.0, 0.0),
        high=10.0 ** (log + 1.645 * error) - 1.0,
    )


def _density(
    counts: FloatArray, share: float, grid: FloatArray, common: RateDensity | None
) -> RateDensity:
    """Maximise the penalised likelihood of the density, from scratch or about a common one."""
    basis = _basis(grid)
    values, times = np.unique(counts, return_counts=True)
    likelihood, none = _likelihood(values, share, grid)
    if common is None:
        centre, spread = np.append(np.zeros(len(PRIOR_SD)), ABSENT), np.append(PRIOR_SD, ABSENT_SD)
    else:
        centre, spread = common.coefficients, np.full(len(PRIOR_SD) + 1, OWN_SD)

    def criterion(at: FloatArray) -> tuple[float, FloatArray]:
        weights, absent = _weights(basis, at), float(special.expit(at[-1]))
        occurs = likelihood @ weights
        total = np.maximum((1 - absent) * occurs + absent * none, 1e-300)
        pull = times / total
        by_weight = (1 - absent) * (pull @ likelihood)
        by_log = weights * (by_weight - weights @ by_weight)
        by_absent = float(pull @ (none - occurs)) * absent * (1 - absent)
        away = (at - centre) / spread
        value = -float(times @ np.log(total)) + 0.5 * float(away @ away)
        return value, -np.append(basis.T @ by_log, by_absent) + away / spread

    found = optimize.minimize(criterion, centre, jac=True, method="L-BFGS-B")
    at = np.asarray(found.x, dtype=np.float64)
    return RateDensity(
        coefficients=at, weights=_weights(basis, at), absent=float(special.expit(at[-1]))
    )


def _posterior(
    counts: FloatArray, share: float, grid: FloatArray, density: RateDensity
) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of log10(1 + N) given each count."""
    values, inverse = np.unique(counts, return_inverse=True)
    likelihood, none = _likelihood(values, share, grid)
    occurs = (1 - density.absent) * likelihood * density.weights
    # What does not occur has N = 0, and adds nothing to either moment.
    total = occurs.sum(axis=1) + density.absent * none
    logs = _expected_logs(values, share, grid)
    mean = (occurs * logs).sum(axis=1) / total
    variance = (occurs * logs**2).sum(axis=1) / total - mean**2
    plenty = values > PLENTY
    mean = np.where(plenty, np.log10(1.0 + values / share), mean)
    poisson = (1 - share) / np.maximum(values, 1.0) / np.log(10.0) ** 2
    error = np.sqrt(np.where(plenty, poisson, np.maximum(variance, 0.0)))
    return mean[inverse], error[inverse]


def _basis(grid: FloatArray) -> FloatArray:
    """Legendre polynomials over the grid, each of mean square 1."""
    place = (grid - grid.mean()) / (grid[-1] - grid[0]) * 2
    found = np.polynomial.legendre.legvander(place, len(PRIOR_SD))[:, 1:]
    return np.asarray(found / np.sqrt((found**2).mean(axis=0)), dtype=np.float64)


def _weights(basis: FloatArray, at: FloatArray) -> FloatArray:
    return np.asarray(special.softmax(basis @ at[:-1]), dtype=np.float64)


def _likelihood(
    values: FloatArray, share: float, grid: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Likelihood of each count at each rate, and where the concept does not occur, up to a factor.

    The factor of a count is the largest of its likelihoods, so that none vanishes.
    """
    logs = special.xlogy(values[:, None], share * 10.0**grid) - share * 10.0**grid
    top = logs.max(axis=1)
    return np.exp(logs - top[:, None]), np.where(values == 0, np.exp(-top), 0.0)


def _expected_logs(values: FloatArray, share: float, grid: FloatArray) -> FloatArray:
    """Expect log10(1 + n + M), M the Poisson number of samples that were not read."""
    rest = (1 - share) * 10.0**grid
    total = 1.0 + values[:, None] + rest
    found = np.log10(total) - rest / (2 * total**2 * np.log(10.0))
    few, small = np.flatnonzero(values < SUMMED), np.flatnonzero(rest < SUMMED)
    numbers = np.arange(int(SUMMED + 12 * np.sqrt(SUMMED)))
    logs = special.xlogy(numbers, rest[small, None]) - rest[small, None]
    law = np.exp(logs - special.gammaln(numbers + 1.0))
    for row in few:
        found[row, small] = law @ np.log10(1.0 + values[row] + numbers)
    return np.asarray(found, dtype=np.float64)
