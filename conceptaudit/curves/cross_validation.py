"""Families and predictions judged on concepts and datasets that a fit has not seen.

Never by how well a family fits the rows it was fitted to, which only rewards freedom. Families are
compared on the same rows, and their difference is averaged over datasets, because that is what was
sampled; most differences between families are smaller than those between datasets, and then the
verdict is that they cannot be told apart. Tables behind figures are tidy, a row per thing drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from conceptaudit.counts import BOTH
from conceptaudit.curves.class_names import ClassNames, class_names
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import (
    DEFAULT_FAMILY,
    Estimator,
    Family,
    family_named,
    known_families,
)
from conceptaudit.curves.fit_data import FitData, fit_data_of
from conceptaudit.curves.folds import SCHEMES, concept_folds, held_out
from conceptaudit.curves.intervals import units_of
from conceptaudit.curves.joining import join
from conceptaudit.curves.model_predictor import (
    ModelPredictor,
    Queries,
)
from conceptaudit.curves.predicting import expectations
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray, check_level, group_means
from conceptaudit.errors import ConfigError
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

# Gain in R² from which a second count is said to help; seeds of the folds move it by as much.
EARNED = 0.002
APART, BETTER, WORSE = "cannot be told apart", "better", "worse"


# Of a comparison: one family on held-out rows beside the reference.
#
# ``held_out`` is one of `SCHEMES`; ``n`` and ``n_datasets`` are rows predicted by both families,
# and their datasets; ``r2`` is negative where the mean of all accuracies would have predicted
# better. ``difference`` is the mean over datasets of this family's mean absolute error minus the
# reference's, with its interval over datasets; NaN for the reference itself.
COMPARED_COLUMNS = (
    *("model", "family", "held_out", "n", "n_datasets", "mae", "rmse", "r2"),
    *("difference", "difference_low", "difference_high", "verdict"),
)


def compare_families(
    curve: Curve,
    *,
    families: Sequence[str] | None = None,
    reference: str = DEFAULT_FAMILY,
    model: str | None = None,
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare families by grouped cross-validation, on the rows of a curve.

    `COMPARED_COLUMNS`, a row per model, scheme and family. A family that these rows do not
    allow has NaN, and the reason as its verdict. With one dataset only concepts are held out, and
    differences are averaged over groups of concepts.
    """
    check_level(level)
    base = family_named(reference)
    others = [
        family_named(name) for name in (families if families is not None else known_families())
    ]
    chosen = [base, *(family for family in others if family.name != reference)]
    found: list[dict[str, Any]] = []
    tasks = [
        (fit, scheme)
        for fit in curve.select(model)
        for scheme in (SCHEMES[:1] if len(fit.effects.slopes) == 1 else SCHEMES)
    ]
    told = progress or SilentProgress()
    told.start("compare", len(tasks) * len(chosen), unit="families")
    for fit, scheme in tasks:
        found.extend(_compared(curve, fit, chosen, scheme, level, seed, told))
    told.finish()
    return pd.DataFrame(found, columns=list(COMPARED_COLUMNS))


def compare_counts(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, curve: Curve
) -> str:
    """Judge whether two counts together predict classes held out better than either alone.

    R² of classes held out by name, mean over the curve's models, and the verdict.
    """
    found = {}
    key = ["dataset", "concept"]
    every = curve.points[key].drop_duplicates()
    for count in (curve.count, *curve.count.split(BOTH)):
        # the same classes for all, of which some counts may be had for more
        table = join(frequencies, accuracies, count=count).table.merge(every, on=key)
        scores = []
        for fit in curve.fits:
            mine = (table["model"] == fit.model) & (table["pretraining"] == fit.pretraining)
            rows = table[mine & (table["metric"] == fit.metric) & table["count"].notna()]
            data = fit_data_of(rows.reset_index(drop=True), curve.zero_policy)
            # the same folds for every count; the family needs no bins
            estimator = Estimator(family=family_named(curve.family), seed=curve.seed)
            error = held_out(data, estimator, "concepts") - data.y
            scores.append(1 - float(np.nanmean(error**2)) / float(data.y.var()))
        found[count] = float(np.mean(scores))
    best = max(found[one] for one in curve.count.split(BOTH))
    verdict = "earns its place" if found[curve.count] > best + EARNED else "does not help"
    shown = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"Two counts at once: R² of classes held out by name {shown}: {curve.count} {verdict}."


def _compared(
    curve: Curve,
    fit: ModelFit,
    families: list[Family],
    scheme: str,
    level: float,
    seed: int,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    points, own = curve.points_of(fit), curve.estimator(fit)
    errors: dict[str, FloatArray] = {}
    for family in families:
        rows = fit_data_of(points, family.zero_policy or curve.zero_policy)
        estimator = replace(own, family=family, seed=seed)
        errors[family.name] = held_out(rows, estimator, scheme) - rows.y
        progress.advance()
    units, n_units = units_of(rows, seed)
    reference = errors[families[0].name]
    for family in families:
        both = np.isfinite(errors[family.name]) & np.isfinite(reference)
        mine, y = errors[family.name][both], rows.y[both]
        difference = (float("nan"),) * 3
        if family is not families[0]:
            gap = np.abs(mine) - np.abs(reference[both])
            difference = _over_units(gap, units[both], n_units, level)
        square = float((mine**2).mean()) if len(mine) else float("nan")
        spread = float(y.var()) if len(y) else 0.0
        yield {
            "model": fit.label,
            "family": family.name,
            "held_out": scheme,
            "n": len(mine),
            "n_datasets": len(np.unique(rows.dataset[both])),
            "mae": float(np.abs(mine).mean()) if len(mine) else float("nan"),
            "rmse": float(np.sqrt(square)),
            "r2": 1 - square / spread if spread > 0 else float("nan"),
            "difference": difference[0],
            "difference_low": difference[1],
            "difference_high": difference[2],
            "verdict": _verdict(*difference) if len(mine) else "these rows do not allow it",
        }


def _over_units(
    gap: FloatArray, units: IntArray, n_units: int, level: float
) -> tuple[float, float, float]:
    """Mean over units of a difference of errors, with Student's interval."""
    means = group_means(gap, units, n_units)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return (float("nan"),) * 3
    centre = float(means.mean())
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1) * stats.sem(means))
    return centre, centre - half, centre + half


def _verdict(_: float, low: float, high: float) -> str:
    if np.isnan(low):
        return ""
    if low <= 0 <= high:
        return APART
    return BETTER if high < 0 else WORSE


LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
N_FOLDS = 5


def held_out_predictions(
    curve: Curve, *, model: str | None = None, level: float = 0.9, n_folds: int = N_FOLDS
) -> pd.DataFrame:
    """Predict every concept of a curve from the others: for predicted against observed.

    ``model`` (the label of the fit), ``dataset, concept, count, x`` (decades), ``accuracy``
    (observed), ``predicted, low, high, level, covered, residual`` (observed minus predicted).
    """
    check_level(level)
    return _all_models(curve, model, (level,), n_folds)


def calibration_table(
    curve: Curve,
    *,
    model: str | None = None,
    levels: Sequence[float] = LEVELS,
    n_folds: int = N_FOLDS,
) -> pd.DataFrame:
    """Measure how often intervals of several levels hold: for the calibration plot.

    ``model, dataset`` (empty for all together), ``level, n, coverage, mean_width``.
    """
    for level in levels:
        check_level(level)
    held = _all_models(curve, model, tuple(levels), n_folds)
    held["width"] = held["high"] - held["low"]
    every = held.assign(dataset="")
    groups = pd.concat([every, held]).groupby(["model", "dataset", "level"], sort=True)
    return groups.agg(
        n=("covered", "size"), coverage=("covered", "mean"), mean_width=("width", "mean")
    ).reset_index()


def residual_table(held: pd.DataFrame, *, bins_per_decade: float = 2.0) -> pd.DataFrame:
    """Sum residuals up by frequency: for the plot of residuals against frequency.

    ``model, x_low, x_high, n, mean, low, high``: mean residual, and the interval that holds 90 % of
    the residuals.
    """
    if bins_per_decade <= 0:
        raise ConfigError(
            "The 'bins_per_decade' parameter of residual_table must be above 0. Got "
            f"{bins_per_decade} instead."
        )
    bins = np.where(held["x"] == 0, -1, np.floor(held["x"] * bins_per_decade))
    groups = held.assign(bin=bins).groupby(["model", "bin"], sort=True)["residual"]
    table = groups.agg(
        n="size",
        mean="mean",
        low=lambda values: values.quantile(0.05),
        high=lambda values: values.quantile(0.95),
    ).reset_index()
    zero = table["bin"] < 0
    table["x_low"] = np.where(zero, 0.0, table["bin"] / bins_per_decade)
    table["x_high"] = np.where(zero, 0.0, (table["bin"] + 1) / bins_per_decade)
    return table[["model", "x_low", "x_high", "n", "mean", "low", "high"]]


def _all_models(
    curve: Curve, model: str | None, levels: tuple[float, ...], n_folds: int
) -> pd.DataFrame:
    if n_folds < 2:
        raise ConfigError(f"The 'n_folds' parameter must be at least 2. Got {n_folds} instead.")
    parts = []
    for fit in curve.select(model):
        rows, concepts = curve.rows(fit), curve.names(fit)
        points = curve.points_of(fit)[["dataset", "concept", "count"]].reset_index(drop=True)
        names = class_names(concepts, rows.dataset)
        found = cross_predict(rows, names, curve.estimator(fit), levels, n_folds=n_folds)
        for level, (predicted, low, high) in zip(levels, found, strict=True):
            parts.append(
                points.assign(
                    model=fit.label,
                    x=rows.x,
                    accuracy=rows.y,
                    predicted=predicted,
                    low=low,
                    high=high,
                    level=level,
                    covered=(low <= rows.y) & (rows.y <= high),
                    residual=rows.y - predicted,
                )
            )
    return pd.concat(parts, ignore_index=True)


def cross_predict(
    rows: FitData,
    names: ClassNames,
    estimator: Estimator,
    levels: Sequence[float],
    *,
    n_folds: int = N_FOLDS,
    seed: int = 0,
) -> list[tuple[FloatArray, FloatArray, FloatArray]]:
    """Predict each row from the rows of other folds, its interval included.

    For each level; arrays of float64, shape (n,).
    """
    found = [tuple(np.full(len(rows), np.nan) for _ in range(3)) for _ in levels]
    for train, test in concept_folds(rows.concept, seed, n_folds):
        prepared = ModelPredictor(
            rows=rows.take(train),
            names=names.take(train),
            queried=names.take(test),
            estimator=estimator,
        )
        queries = Queries(
            counts=rows.x[test],
            x=rows.x[test],
            concepts=[""] * len(test),
            dataset=rows.dataset[test],
            group=rows.dataset[test],
            names={},
        )
        for position in np.unique(queries.group):
            members = np.flatnonzero(queries.group == position)
            for (predicted, low, high), level in zip(found, levels, strict=True):
                rows_of_set = test[members]
                predicted[rows_of_set], low[rows_of_set], high[rows_of_set], _ = expectations(
                    prepared, queries, members, level, None
                )
    return [(predicted, low, high) for predicted, low, high in found]
