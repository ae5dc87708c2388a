"""The population curve of one fit with its intervals: the `LineFit`.

Straight lines have an analytic small-sample variance; every other family is fitted again without
each dataset in turn. What is resampled is the dataset, because that is what was sampled; with one
dataset it is the concept name.
"""

from dataclasses import dataclass

import numpy as np

from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import FittedFamily, FittedLine, above_zero, core, population
from conceptaudit.curves.pooling import Equations, equations
from conceptaudit.curves.records import LineFit
from conceptaudit.curves.statistics import (
    FloatArray,
    IntArray,
    draw_groups,
    interval,
    jackknife_half_width,
    resampled_lines,
    spearman,
)
from conceptaudit.curves.statistics import line as least_squares
from conceptaudit.display import quantity
from conceptaudit.errors import FitError

N_RESAMPLES = 2_000
N_REFITS = 100  # resamples of a family that has to be fitted again for each
N_BAND = 41
# Groups of concept names that are left out one by one where there is a single dataset.
N_GROUPS = 20
FEW_DATASETS = 8  # below this many datasets an interval is called rough in the notes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spread:
    """Half widths of the intervals of the slope and the band, and how they came about."""

    slope: float
    band: FloatArray
    df: float
    method: str
    resampled: FloatArray


def straight_part(fitted: FittedFamily, x: FloatArray) -> tuple[float, float]:
    """Slope and intercept of a fit's population curve.

    Shapes: `x` (n,).
    """
    shape = core(fitted)
    if isinstance(shape, FittedLine) and shape.link == "identity":
        return shape.slope, shape.intercept
    return least_squares(x, population(fitted, x))[:2]


def line_fit(
    rows: FitData,
    fitted: FittedFamily,
    estimator: Estimator,
    level: float,
    rng: np.random.Generator,
) -> tuple[LineFit, list[str]]:
    """Sum a fit up as a line with intervals.

    Returns `line`; `notes`.
    """
    curve_rows = above_zero(rows)
    slope, intercept = straight_part(fitted, curve_rows.x)
    grid = np.linspace(curve_rows.x.min(), curve_rows.x.max(), N_BAND)
    middle = _band(fitted, grid)
    straight = core(fitted)
    spread = (
        _analytic(equations(curve_rows, straight.details), grid, level, rng)
        if estimator.family.straight and isinstance(straight, FittedLine)
        else _refitted(rows, grid, estimator, level, rng)
    )
    r = least_squares(rows.x, rows.y)[2]
    r_low, r_high = _r_interval(rows, r, level)
    boot_low, boot_high = interval(spread.resampled, level)
    residuals = rows.y - fitted.predict(rows.x, rows.dataset)
    found = LineFit(
        slope=slope,
        slope_low=slope - spread.slope,
        slope_high=slope + spread.slope,
        intercept=intercept,
        residual_sd=float(np.sqrt(residuals @ residuals / max(len(rows) - 2, 1))),
        r=r,
        r_low=r_low,
        r_high=r_high,
        rho=spearman(rows.x, rows.y),
        resampled="concept" if rows.single else "dataset",
        method=spread.method,
        df=spread.df,
        boot_low=boot_low,
        boot_high=boot_high,
        x_min=float(grid[0]),
        x_max=float(grid[-1]),
        band_x=tuple(grid.tolist()),
        band_mid=tuple(middle.tolist()),
        band_low=tuple((middle - spread.band).tolist()),
        band_high=tuple((middle + spread.band).tolist()),
    )
    return found, _remarks(rows, r, spread.slope)


def _band(fitted: FittedFamily, grid: FloatArray) -> FloatArray:
    """Return the population curve, not cut at 0 and 1 where it is a line."""
    above = core(fitted)
    if isinstance(above, FittedLine) and above.link == "identity":
        return above.intercept + above.slope * grid
    return population(above, grid)


def _analytic(
    system: Equations, grid: FloatArray, level: float, rng: np.random.Generator
) -> _Spread:
    robust = system.robust(grid)
    half = robust.half_width(level)
    draws = draw_groups(len(system.left), N_RESAMPLES, rng)
    return _Spread(
        slope=float(half[0]),
        band=half[1:],
        df=float(robust.df[0]),
        method="CR2",
        resampled=np.concatenate([system.resampled_slopes(chunk) for chunk in draws]),
    )


def _refitted(
    rows: FitData, grid: FloatArray, estimator: Estimator, level: float, rng: np.random.Generator
) -> _Spread:
    units, n_units = units_of(rows, estimator.seed)
    x = above_zero(rows).x

    def estimates(chosen: FitData) -> FloatArray:
        try:
            fitted = estimator.fit(chosen)
        except FitError:
            return np.full(N_BAND + 1, np.nan)
        return np.concatenate([[straight_part(fitted, x)[0]], _band(fitted, grid)])

    without = np.array([estimates(rows.take(units != unit)) for unit in range(n_units)])
    half = jackknife_half_width(without, level)
    usable = int(np.isfinite(without).all(axis=1).sum())
    everything = np.arange(len(rows))
    resamples = (draw for draws in draw_groups(n_units, N_REFITS, rng) for draw in draws)
    slopes = [estimates(rows.take(np.repeat(everything, draw[units])))[0] for draw in resamples]
    return _Spread(
        slope=float(half[0]),
        band=half[1:],
        df=float(max(usable - 1, 0)),
        method="jackknife",
        resampled=np.array(slopes),
    )


def units_of(rows: FitData, seed: int) -> tuple[IntArray, int]:
    """Return what is left out together: a dataset, or one of `N_GROUPS` groups of names."""
    if not rows.single:
        return rows.dataset, len(rows.datasets)
    n_concepts = int(rows.concept.max()) + 1
    n_groups = min(N_GROUPS, n_concepts)
    order = np.random.default_rng(seed).permutation(n_concepts)
    return (order % n_groups)[rows.concept], n_groups


def _r_interval(rows: FitData, r: float, level: float) -> tuple[float, float]:
    """Jackknife over datasets (or groups of concepts) on Fisher's scale."""
    if not np.isfinite(r):
        return float("nan"), float("nan")
    units, n_units = units_of(rows, 0)
    others = 1 - np.eye(n_units, dtype=np.intp)
    edge = 1 - 1e-12
    without = np.arctanh(np.clip(resampled_lines(rows.x, rows.y, units, others).r, -edge, edge))
    half = float(jackknife_half_width(without[:, None], level)[0])
    centre = float(np.arctanh(np.clip(r, -edge, edge)))
    return float(np.tanh(centre - half)), float(np.tanh(centre + half))


def _remarks(rows: FitData, r: float, half: float) -> list[str]:
    notes = []
    n_datasets = len(np.unique(rows.dataset))
    if rows.single:
        notes.append("Intervals resample concepts: there is a single dataset.")
    elif n_datasets < FEW_DATASETS:
        notes.append(f"Intervals rest on only {quantity(n_datasets, 'dataset')} and are rough.")
    if not np.isfinite(half):
        notes.append("The slope has no interval: too few datasets or concepts.")
    if not np.isfinite(r):
        notes.append("Accuracy is the same for every concept: correlations are undefined.")
    return notes
