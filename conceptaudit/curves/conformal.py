"""How far held-out accuracies fall from a curve: within a dataset, and for a new one.

A `Scheme` is a line and the two distances from it between which a new accuracy is expected.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import (
    FloatArray,
    IntArray,
    Lines,
    divide,
    group_means,
    within_slope,
)

LineFunction = Callable[[FloatArray, FloatArray, IntArray, IntArray], Lines]
"""(x, y, groups, draws) to one line per row of draws; see `families`."""

N_FOLDS = 10

SHRINKAGE_ROWS = 20.0
"""Concepts of its own at which a dataset's residual quantiles weigh as much as all datasets'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """A line with the distances below (negative) and above it that its interval spans."""

    slope: float
    intercept: float
    low: float
    high: float
    basis: str

    @property
    def numbers(self) -> tuple[float, float, float, float]:
        """``slope, intercept, low, high``."""
        return self.slope, self.intercept, self.low, self.high


def one_dataset(
    rows: Rows, lines: LineFunction, fitted: tuple[float, float], level: float, seed: int
) -> Scheme:
    """Interval about the fitted line from concepts held out in folds."""
    x, y, concept, name = rows.x, rows.y, rows.concept, rows.datasets[0]
    once = np.ones((1, 1), dtype=np.intp)
    residuals = np.full(len(x), np.nan)
    for train, test in _folds(concept, seed):
        held_in = lines(x[train], y[train], np.zeros(len(train), dtype=np.intp), once)
        residuals[test] = y[test] - held_in.intercept[0] - held_in.slope[0] * x[test]
    low, high = _quantiles(residuals, level)
    return Scheme(
        slope=fitted[0],
        intercept=fitted[1],
        low=low,
        high=high,
        basis=f"one dataset ({name}): {len(x)} concepts held out in folds"
        + _unbounded(low, high, level),
    )


def new_dataset(
    rows: Rows, lines: LineFunction, fitted: tuple[float, float], level: float
) -> Scheme:
    """Interval about the pooled line from whole datasets held out, each with the same weight."""
    x, y, dataset = rows.x, rows.y, rows.dataset
    n_datasets = int(dataset.max()) + 1
    others = 1 - np.eye(n_datasets, dtype=np.intp)
    held_in = lines(x, y, dataset, others)
    residuals = y - held_in.intercept[dataset] - held_in.slope[dataset] * x
    usable = np.isfinite(residuals)
    sizes = np.bincount(dataset[usable], minlength=n_datasets).astype(np.float64)
    n_held_out = np.count_nonzero(sizes)
    low, high, remark = -np.inf, np.inf, ", too few for any interval"
    if n_held_out:
        weights = 1.0 / sizes[dataset[usable]]
        # A new dataset is one more draw beside those seen: each of these counts 1 / (g + 1).
        share = (1 - level) / 2 * (1 + 1 / n_held_out) - 1 / n_held_out / 2
        low = _weighted_quantile(residuals[usable], weights, max(share, 0.0))
        high = _weighted_quantile(residuals[usable], weights, min(1 - share, 1.0))
        remark = (
            ""
            if share > 0
            else f", too few for a level of {level:g}: the interval spans their residuals, "
            "and may be too narrow"
        )
    return Scheme(
        slope=fitted[0],
        intercept=fitted[1],
        low=low,
        high=high,
        basis=f"as for a new dataset: {n_held_out} datasets held out one by one{remark}",
    )


def known_datasets(rows: Rows, level: float, seed: int) -> list[Scheme]:
    """Return one scheme per dataset: its own level and spread, each shrunken towards the rest."""
    x, y, dataset, n_datasets = rows.x, rows.y, rows.dataset, len(rows.datasets)
    slope, levels = _levels(x, y, dataset, n_datasets)
    residuals = np.full(len(x), np.nan)
    for train, test in _folds(rows.concept, seed):
        fold_slope, fold_levels = _levels(x[train], y[train], dataset[train], n_datasets)
        residuals[test] = y[test] - fold_levels[dataset[test]] - fold_slope * x[test]
    scale = _shrunken_scale(residuals, dataset, n_datasets)
    common = _quantiles(divide(residuals, scale[dataset]), level)
    schemes = []
    for index, name in enumerate(rows.datasets):
        own = residuals[dataset == index]
        weight = len(own) / (len(own) + SHRINKAGE_ROWS)
        mixed = [
            # With too few concepts of its own a quantile is unbounded, and all datasets decide.
            weight * mine + (1 - weight) * shared if np.isfinite(mine) else shared
            for mine, shared in zip(
                _quantiles(own, level), (q * float(scale[index]) for q in common), strict=True
            )
        ]
        schemes.append(
            Scheme(
                slope=slope,
                intercept=float(levels[index]),
                low=mixed[0],
                high=mixed[1],
                basis=f"known dataset ({name}): {len(own)} of its concepts and {len(x) - len(own)} "
                f"of other datasets held out in folds" + _unbounded(mixed[0], mixed[1], level),
            )
        )
    return schemes


def _levels(
    x: FloatArray, y: FloatArray, dataset: IntArray, n_datasets: int
) -> tuple[float, FloatArray]:
    """Slope within datasets, and an intercept per dataset shrunken towards their mean.

    The shrinkage is that of a random-intercept model, with variances estimated by moments; a
    dataset without rows gets the mean.
    """
    slope = within_slope(x, y, dataset, n_datasets)
    slope = slope if np.isfinite(slope) else 0.0
    offsets = y - slope * x
    sizes = np.bincount(dataset, minlength=n_datasets).astype(np.float64)
    means = group_means(offsets, dataset, n_datasets)
    seen = sizes > 0
    centre = float(means[seen].mean())
    deviations = offsets - means[dataset]
    spread = float(deviations @ deviations) / max(len(x) - int(seen.sum()) - 1, 1)
    noise = float((spread / sizes[seen]).mean())
    between = max(float(means[seen].var(ddof=1)) - noise, 0.0) if seen.sum() > 1 else 0.0
    total = between + divide(np.full(n_datasets, spread), sizes)
    keep = np.where(seen & (total > 0), between / np.where(total > 0, total, 1.0), 0.0)
    if spread == 0.0:
        keep = seen.astype(np.float64)
    return slope, np.where(seen, keep * np.where(seen, means, 0.0), 0.0) + (1 - keep) * centre


def _shrunken_scale(residuals: FloatArray, dataset: IntArray, n_datasets: int) -> FloatArray:
    """Root mean square of held-out residuals per dataset, shrunken towards the pooled one."""
    usable = np.isfinite(residuals)
    squares, members = residuals[usable] ** 2, dataset[usable]
    sums = np.bincount(members, weights=squares, minlength=n_datasets)
    sizes = np.bincount(members, minlength=n_datasets)
    pooled = float(squares.mean()) if len(squares) else 0.0
    scale = np.sqrt((sums + SHRINKAGE_ROWS * pooled) / (sizes + SHRINKAGE_ROWS))
    return np.where(scale > 0, scale, 1.0)


def _folds(concept: IntArray, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (train, test) row positions; all rows of a concept name are in the same fold."""
    n = int(concept.max()) + 1
    n_folds = min(N_FOLDS, n)
    fold = (np.random.default_rng(seed).permutation(n) % n_folds)[concept]
    for index in range(n_folds):
        train = np.flatnonzero(fold != index)
        if len(train):
            yield train, np.flatnonzero(fold == index)


def _quantiles(residuals: FloatArray, level: float) -> tuple[float, float]:
    """Lower and upper conformal quantile; unbounded where there are too few residuals."""
    ordered = np.sort(residuals[np.isfinite(residuals)])
    n = len(ordered)
    rank = int(np.ceil((1 + level) / 2 * (n + 1) - 1e-9))
    if rank > n:
        return -np.inf, np.inf
    return float(ordered[n - rank]), float(ordered[rank - 1])


def _weighted_quantile(values: FloatArray, weights: FloatArray, share: float) -> float:
    """Smallest value below or at which lies `share` of the weight."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    position = int(np.searchsorted(cumulative, share * cumulative[-1] - 1e-12))
    return float(values[order][min(position, len(values) - 1)])


def _unbounded(low: float, high: float, level: float) -> str:
    if np.isfinite(low) and np.isfinite(high):
        return ""
    return f"; too few for an interval of level {level:g}"
