"""Fit one model: its line with intervals, its effects within and between datasets, its bins."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves.binned import BinnedFit, BinRecipe, fit_bins
from conceptaudit.curves.families import ZERO_TO_ONE, Family
from conceptaudit.curves.records import DatasetEffects, DatasetSlope, LineFit, Usage
from conceptaudit.curves.rows import Rows, rows_of
from conceptaudit.curves.statistics import (
    between_slope,
    draw_groups,
    interval,
    permutation_p,
    resampled_lines,
    spearman,
    within_slope,
)
from conceptaudit.curves.statistics import line as least_squares
from conceptaudit.errors import FitError

N_RESAMPLES = 2_000
N_SHUFFLES = 999
N_BAND = 41
MIN_POINTS = 3

FEW_DATASETS = 8
"""Below this many resampled datasets an interval is called rough in the notes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """How to fit one model.

    Parameters
    ----------
    family : Family
    zero_policy : str
        See `families.log_frequency`.
    recipe : BinRecipe
        Edges and trim of the paper's bins.
    level : float
        Level of intervals, in (0, 1).
    seed : int
    """

    family: Family
    zero_policy: str
    recipe: BinRecipe
    level: float
    seed: int


def usable_rows(
    rows: pd.DataFrame, total: int, policy: str, count: str
) -> tuple[Usage, pd.DataFrame, pd.DataFrame]:
    """Split a model's rows into those the family uses and those that only bins may use."""
    rows = rows.sort_values(["dataset", "concept", "count", "accuracy"], kind="stable")
    counted = rows[rows["count"].notna()]
    zero = counted["count"] == 0
    used = counted[~zero] if policy == "exclude" else counted
    dropped = {
        "no frequency row": total - len(rows),
        f"{count} missing": len(rows) - len(counted),
        "zero frequency excluded": len(counted) - len(used),
    }
    usage = Usage(
        n_concepts=total,
        n_used=len(used),
        n_zero=int(zero.sum()),
        dropped={reason: n for reason, n in dropped.items() if n},
    )
    if len(used) < MIN_POINTS:
        raise FitError(
            f"A curve needs at least {MIN_POINTS} concepts with an accuracy and a frequency. "
            f"Got {len(used)} of {total} instead"
            f"{''.join(f'; {n} {reason}' for reason, n in usage.dropped.items())}."
        )
    if used["count"].nunique() < 2:
        raise FitError(
            f"The slope is undefined: all {len(used)} usable concepts have the same frequency "
            f"({used['count'].iloc[0]:,.0f})."
        )
    return usage, used, counted


def fit_model(
    used: pd.DataFrame, counted: pd.DataFrame, settings: ModelSettings
) -> tuple[LineFit, DatasetEffects, BinnedFit, tuple[str, ...]]:
    """Compute the line, the dataset effects and the paper's bins of one model.

    Parameters
    ----------
    used : pandas.DataFrame
        Rows of the line: ``dataset, concept, count, accuracy``, sorted by dataset.
    counted : pandas.DataFrame
        All rows with a frequency: the bins include zeros under every policy.
    settings : ModelSettings

    Raises
    ------
    FitError
        The family has no line through these rows.
    """
    rows = rows_of(used, settings.zero_policy)
    everything = rows_of(counted, ZERO_TO_ONE)
    rng = np.random.default_rng(settings.seed)
    line, notes = _line(rows, settings, rng)
    binned = fit_bins(everything.x, everything.y, everything.dataset, settings.recipe, rng)
    zeros = int((counted["count"] == 0).sum())
    if zeros:
        notes.append(f"{zeros / len(counted):.0%} of the concepts have a frequency of zero.")
    return line, _effects(rows, rng), binned, tuple(notes)


def _line(
    rows: Rows, settings: ModelSettings, rng: np.random.Generator
) -> tuple[LineFit, list[str]]:
    x, y, family, recipe = rows.x, rows.y, settings.family, settings.recipe
    once = np.ones((1, 1), dtype=np.intp)
    whole = family.lines(x, y, np.zeros(len(x), dtype=np.intp), once, recipe)
    slope, intercept, r = float(whole.slope[0]), float(whole.intercept[0]), least_squares(x, y)[2]
    if not np.isfinite(slope):
        raise FitError(
            f"The {family.name!r} family has no line here: fewer than {MIN_POINTS} of its bins "
            "hold concepts. Use family='loglinear', which needs no bins."
        )
    clusters = rows.concept if rows.single else rows.dataset
    n_clusters = int(clusters.max()) + 1
    slopes, correlations, bands = [], [], []
    grid = np.linspace(x.min(), x.max(), N_BAND)
    for draws in draw_groups(n_clusters, N_RESAMPLES, rng):
        lines = family.lines(x, y, clusters, draws, recipe)
        slopes.append(lines.slope)
        correlations.append(resampled_lines(x, y, clusters, draws).r)
        bands.append(lines.intercept[:, None] + lines.slope[:, None] * grid)
    slope_interval = interval(np.concatenate(slopes), settings.level)
    r_interval = (
        interval(np.concatenate(correlations), settings.level) if np.isfinite(r) else (np.nan,) * 2
    )
    band = [interval(column, settings.level) for column in np.concatenate(bands).T]
    residuals = y - intercept - slope * x
    notes = []
    if rows.single:
        notes.append("Intervals resample concepts: there is a single dataset.")
    elif n_clusters < FEW_DATASETS:
        notes.append(f"Intervals resample only {n_clusters} datasets and are rough.")
    if not np.isfinite(r):
        notes.append("Accuracy is the same for every concept: correlations are undefined.")
    fitted = LineFit(
        slope=slope,
        slope_low=slope_interval[0],
        slope_high=slope_interval[1],
        intercept=intercept,
        residual_sd=float(np.sqrt(residuals @ residuals / (len(x) - 2))),
        r=r,
        r_low=r_interval[0],
        r_high=r_interval[1],
        rho=spearman(x, y),
        resampled="concept" if rows.single else "dataset",
        x_min=float(x.min()),
        x_max=float(x.max()),
        band_x=tuple(float(value) for value in grid),
        band_low=tuple(low for low, _ in band),
        band_high=tuple(high for _, high in band),
    )
    return fitted, notes


def _effects(rows: Rows, rng: np.random.Generator) -> DatasetEffects:
    n = len(rows.datasets)
    slopes = []
    for index, name in enumerate(rows.datasets):
        members = rows.dataset == index
        slope, _, r = least_squares(rows.x[members], rows.y[members])
        enough = bool(members.sum() >= MIN_POINTS)
        slopes.append(
            DatasetSlope(
                dataset=name,
                n=int(members.sum()),
                slope=slope if enough else float("nan"),
                r=r if enough else float("nan"),
                mean_accuracy=float(rows.y[members].mean()),
            )
        )
    return DatasetEffects(
        slope_within=within_slope(rows.x, rows.y, rows.dataset, n),
        slope_between=between_slope(rows.x, rows.y, rows.dataset, n) if n > 1 else float("nan"),
        p_within=permutation_p(rows.x, rows.y, rows.dataset, N_SHUFFLES, rng),
        n_shuffles=N_SHUFFLES,
        slopes=tuple(slopes),
    )
