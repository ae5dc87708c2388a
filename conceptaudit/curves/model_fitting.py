"""Fit one model: its curve with intervals, its effects within and between datasets, its bins."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy import stats

from conceptaudit.curves.binned import fit_bins
from conceptaudit.curves.count_errors import calibrated
from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import ZERO_TO_ONE, FitData, fit_data_of
from conceptaudit.curves.fitted import (
    FittedFamily,
    FittedHurdle,
    FittedLine,
    above_zero,
    core,
    without_levels,
)
from conceptaudit.curves.intervals import line_fit
from conceptaudit.curves.pooling import within_interval
from conceptaudit.curves.records import CountError, DatasetEffects, DatasetSlope, ModelFit, Usage
from conceptaudit.curves.statistics import FloatArray, between_slope, permutation_p, within_slope
from conceptaudit.curves.statistics import line as least_squares
from conceptaudit.display import quantity
from conceptaudit.errors import FitError

N_SHUFFLES = 999
MIN_POINTS = 3
MOST_SETS = 4  # evaluation sets named where their concepts are dropped

# No pretraining set has more samples; a count above it is more likely a hash or an id.
LARGEST_COUNT = 1e12


def _usable_rows(
    rows: pd.DataFrame, total: int, policy: str, count: str
) -> tuple[Usage, pd.DataFrame, pd.DataFrame]:
    """Split a model's rows into those the family uses and those that only bins may use."""
    rows = rows.sort_values(["dataset", "concept", "count", "accuracy"], kind="stable")
    counted = rows[rows["count"].notna()]
    zero = counted["counted"] == 0
    used = counted[~zero] if policy == "exclude" else counted
    dropped = {
        "no frequency row": total - len(rows),
        f"{count} missing{_of_sets(rows[rows['count'].isna()])}": len(rows) - len(counted),
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
            "The slope is undefined: all "
            f"{quantity(len(used), 'usable concept has', 'usable concepts have')} the same "
            f"frequency ({used['count'].iloc[0]:,.0f})."
        )
    if policy == "hurdle" and used.loc[used["count"] > 0, "count"].nunique() < 2:
        raise FitError(
            "With zero_policy='hurdle' the slope comes from frequencies above zero, and of "
            f"{quantity(len(used), 'concept')} {int((used['count'] > 0).sum())} have one, all the "
            "same. Use zero_policy='log1p'."
        )
    return usage, used, counted


def _of_sets(rows: pd.DataFrame) -> str:
    """Name the evaluation sets of some rows."""
    names = [str(name) for name in rows["dataset"].unique() if name]
    more = f" and {quantity(len(names) - MOST_SETS, 'set')} more" if len(names) > MOST_SETS else ""
    return f" in {', '.join(names[:MOST_SETS])}{more}" if names else ""


def fit_model(
    rows: pd.DataFrame,
    key: tuple[str, str, str],
    total: int,
    estimator: Estimator,
    *,
    count: str,
    zero_policy: str,
    level: float,
) -> tuple[ModelFit, pd.DataFrame]:
    """Fit one model: its curve, the dataset effects and the paper's bins.

    `rows` are of one model (`key`: model, pretraining, metric), which came with `total` accuracies.
    Returns the fit, and the rows in it; raises `FitError` where there is no curve through them.
    """
    usage, used, counted = _usable_rows(rows, total, zero_policy, count)
    data = fit_data_of(used, zero_policy)
    # the paper's bins include zeros, as ones, under every policy
    everything = fit_data_of(counted, ZERO_TO_ONE)
    rng = np.random.default_rng(estimator.seed)
    fitted = estimator.fit(data)
    line, notes = line_fit(data, fitted, estimator, level, rng)
    binned = fit_bins(everything.x, everything.y, everything.dataset, estimator.recipe, rng)
    dispersion = overdispersion(data, fitted)
    if usage.n_zero:
        notes.append(f"{usage.n_zero / len(counted):.0%} of the concepts have a frequency of zero.")
    if estimator.family.pools and data.single:
        notes.append("There is a single dataset and nothing to pool: its line is least squares.")
    notes.extend(_notes(data, fitted, dispersion))
    huge = int((used["count"] > LARGEST_COUNT).sum())
    if huge:
        subject = quantity(huge, "frequency is", "frequencies are")
        notes.append(f"{subject} above 1e12: are these counts?")
    fit = ModelFit(
        model=key[0],
        pretraining=key[1],
        metric=key[2],
        usage=usage,
        line=line,
        effects=_effects(above_zero(data), level, rng),
        binned=binned,
        overdispersion=dispersion,
        count_error=_count_error(data, estimator, level),
        parameters=fitted.parameters,
        notes=tuple(notes),
    )
    return fit, used


def _notes(rows: FitData, fitted: FittedFamily, dispersion: float) -> Iterator[str]:
    pairs = np.unique(np.stack([rows.concept, rows.dataset]), axis=1)
    shared = int((np.bincount(pairs[0]) > 1).sum())
    if shared:
        yield (
            f"{quantity(shared, 'concept name is', 'concept names are')} in several datasets; "
            "wherever concepts are held out, all their rows are."
        )
    curve, above = without_levels(fitted), core(fitted)
    if isinstance(curve, FittedHurdle) and curve.n_zero:
        yield (
            f"The slope is that of counts above zero; the {quantity(curve.n_zero, 'concept')} "
            f"with a count of zero lie {curve.zero_shift:+.3f} from where its line begins."
        )
    if isinstance(above, FittedLine) and above.details.get("separated"):
        yield (
            "Frequency separates right from wrong perfectly, or nearly: the slope of the logit is "
            "held by its prior alone."
        )
    if dispersion > 1:
        yield (
            f"Accuracies vary {dispersion:,.1f} times as much as their numbers of test images "
            f"alone would make them: binomial standard errors are {np.sqrt(dispersion):.1f} times "
            "too small."
        )


def overdispersion(rows: FitData, fitted: FittedFamily) -> float:
    """Pearson's chi-square of accuracies about a fit, per degree of freedom.

    1 is what numbers of test images alone would give; NaN where too few are known.
    """
    known = np.isfinite(rows.n_images) & (rows.n_images > 0)
    expected = fitted.predict(rows.x, rows.dataset)
    # An expectation of exactly 0 or 1 has no binomial variance; half an image is its margin.
    margin = 0.5 / np.where(known, rows.n_images, 1.0)
    expected = np.clip(expected, margin, 1 - margin)
    terms = ((rows.y - expected) ** 2 * rows.n_images / (expected * (1 - expected)))[known]
    return float(terms.sum() / (len(terms) - 2)) if len(terms) > 2 else float("nan")


def _count_error(rows: FitData, estimator: Estimator, level: float) -> CountError | None:
    chosen = above_zero(rows)
    n = int((chosen.x_sd > 0).sum())
    if not n or estimator.family.zero_policy is not None:
        return None
    corrected, reliability = calibrated(chosen)
    rng = np.random.default_rng(estimator.seed)
    line, _ = line_fit(corrected, estimator.fit(corrected), estimator, level, rng)
    return CountError(
        reliability=reliability,
        n_with_interval=n,
        slope=line.slope,
        slope_low=line.slope_low,
        slope_high=line.slope_high,
    )


def _effects(rows: FitData, level: float, rng: np.random.Generator) -> DatasetEffects:
    n = len(rows.datasets)
    within = within_interval(rows, level)
    return DatasetEffects(
        slope_within=within_slope(rows.x, rows.y, rows.dataset, n),
        slope_within_low=within[0],
        slope_within_high=within[1],
        slope_between=between_slope(rows.x, rows.y, rows.dataset, n) if n > 1 else float("nan"),
        p_within=permutation_p(rows.x, rows.y, rows.dataset, N_SHUFFLES, rng),
        n_shuffles=N_SHUFFLES,
        slopes=tuple(_dataset_slope(rows, index, level) for index in range(n)),
    )


def _dataset_slope(rows: FitData, index: int, level: float) -> DatasetSlope:
    members = rows.dataset == index
    x, y = rows.x[members], rows.y[members]
    n = len(x)
    slope, intercept, r = least_squares(x, y) if n >= MIN_POINTS else (np.nan,) * 3
    half = _half_width(x, y - intercept - slope * x, level) if np.isfinite(slope) else np.nan
    return DatasetSlope(
        dataset=rows.datasets[index],
        n=n,
        slope=slope,
        slope_low=slope - half,
        slope_high=slope + half,
        r=r,
        mean_accuracy=float(y.mean()) if n else np.nan,
    )


def _half_width(x: FloatArray, residuals: FloatArray, level: float) -> float:
    """Half of the interval of a slope over concepts that differ in variance (HC3)."""
    dx = x - x.mean()
    total = float(dx @ dx)
    leverage = np.minimum(1 / len(x) + dx**2 / total, 1 - 1e-9)
    error = np.sqrt(float(((dx * residuals / (1 - leverage)) ** 2).sum())) / total
    return float(stats.t.ppf((1 + level) / 2, len(x) - 2) * error)
