"""Tables behind the figures that judge a prediction: what held-out concepts were predicted as.

Every table is tidy, one row per thing drawn, and comes from concepts that neither the curve nor
its intervals had seen.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from conceptaudit.curves.class_names import ClassNames, class_names
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.folds import concept_folds
from conceptaudit.curves.model_predictor import (
    ModelPredictor,
    Queries,
)
from conceptaudit.curves.predicting import expectations
from conceptaudit.curves.statistics import FloatArray, check_level
from conceptaudit.errors import ConfigError

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
