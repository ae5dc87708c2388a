"""Predictions that were made before, beside what was measured afterwards, class by class.

A curve is fitted, a test set of rare concepts is built and evaluated: this compares the curve's
predictions with the result, and its slope with that of a fit to which the result is added. A curve
that has seen the result already is refused, because what it says of it is no prediction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from conceptaudit.counts import BOTH
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.joining import COUNTED, join
from conceptaudit.curves.model_fitting import fit_model
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import LineFit, ModelFit
from conceptaudit.display import quantity
from conceptaudit.errors import DataError, FitError
from conceptaudit.names import name_keys, normalise_name
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

# Two names of one metric: result files that name none are read as the first.
TOP1 = ("accuracy", "acc1")

# So many equal results under another dataset's name are no accident, if they are all of it.
MIN_SAME = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionCheck:
    """One model on one set that its curve had not seen."""

    model: str
    pretraining: str
    dataset: str
    level: float  # share of classes that the intervals were made to hold
    basis: str  # what the predictions rest on
    # rarest first: ``concept, count, predicted, low, high, measured`` (accuracies in [0, 1]),
    # ``n_images`` (NaN where unknown), ``inside`` (whether the measured accuracy lies in the
    # interval), ``known`` (whether the curve was fitted with this class of another set)
    table: pd.DataFrame = field(repr=False)
    before: LineFit  # slope of the curve, and of the same fit with these results added
    after: LineFit | None
    why_no_after: str = ""  # why there is no second fit; `after` is None then

    @property
    def n_inside(self) -> int:
        """Classes whose measured accuracy lies in the predicted interval."""
        return int(self.table["inside"].sum())

    @property
    def mean_error(self) -> float:
        """Mean of measured minus predicted accuracy; above zero, the curve expected too little."""
        return float((self.table["measured"] - self.table["predicted"]).mean())

    @property
    def mean_absolute_error(self) -> float:
        """Mean distance of measured and predicted accuracy."""
        return float((self.table["measured"] - self.table["predicted"]).abs().mean())


def check_predictions(
    curve: Curve,
    frequencies: ConceptFrequencies,
    measured: ConceptAccuracies,
    *,
    level: float = 0.9,
) -> tuple[PredictionCheck, ...]:
    """Put what a curve predicts for an evaluation set beside what was measured on it.

    One per model of the curve and evaluation set.
    """
    found = [
        _checked(curve, fit, frequencies, rows, level)
        for fit in curve.fits
        for rows in _results_of(fit, measured)
    ]
    if not found:
        known = ", ".join(fit.label for fit in curve.fits[:5])
        theirs = measured.table[["model", "pretraining", "metric"]].drop_duplicates()
        told = ", ".join("/".join(filter(None, row)) for row in theirs.head(5).to_numpy(str))
        raise DataError(
            f"The curve predicts nothing about these results: it is of {known}, they are of "
            f"{told or 'no model'}. Evaluate a model of the curve, under the same --pretraining."
        )
    return tuple(found)


def _results_of(fit: ModelFit, measured: ConceptAccuracies) -> Iterator[ConceptAccuracies]:
    """Yield the results of a fit's model, one evaluation set after the other."""
    table = measured.table.fillna({"model": "", "pretraining": "", "metric": ""})
    metrics = TOP1 if fit.metric in TOP1 else (fit.metric,)
    table = table[(table["model"] == fit.model) & table["metric"].isin(metrics)]
    named = table["pretraining"].drop_duplicates().tolist()
    if fit.pretraining in named:
        table = table[table["pretraining"] == fit.pretraining]
    elif len(named) != 1 or (fit.pretraining and named[0]):
        return
    for _, rows in table.groupby("dataset", sort=True):
        yield ConceptAccuracies(rows.reset_index(drop=True))


def _checked(
    curve: Curve,
    fit: ModelFit,
    frequencies: ConceptFrequencies,
    measured: ConceptAccuracies,
    level: float,
) -> PredictionCheck:
    dataset = str(measured.table["dataset"].iloc[0])
    points = curve.points_of(fit)
    _refuse_seen(curve, points, dataset, measured.table)
    rows = join(frequencies, measured, count=curve.count).table
    rows = rows[rows["count"].notna()].sort_values(["count", "concept"], kind="stable")
    if rows.empty:
        raise DataError(
            f"None of the {quantity(len(measured.table), 'class')} of {dataset!r} has a count in "
            f"the audit, such as {measured.table['concept'].iloc[0]!r}. Audit these concepts."
        )
    asked = rows[["dataset", "concept"]].copy()
    for name in curve.count.split(BOTH):
        # a table has the count that another one corrects, or takes without copies
        for column in (name, name.removesuffix("_corrected").removesuffix("_unique")):
            asked[column] = rows["counted"]
    predicted = predict(
        curve,
        replace(frequencies, table=asked.reset_index(drop=True)),
        level=level,
        model=fit.label,
    )
    names = name_keys(points["concept"])
    table = pd.DataFrame(
        {
            "concept": rows["concept"].to_numpy(),
            "count": predicted["count"].to_numpy(np.float64),
            "predicted": predicted["accuracy"].to_numpy(),
            "low": predicted["low"].to_numpy(),
            "high": predicted["high"].to_numpy(),
            "measured": rows["accuracy"].to_numpy(np.float64),
            "n_images": rows["n_images"].to_numpy(np.float64),
            "known": pd.Series(name_keys(rows["concept"])).isin(names),
        }
    )
    table["inside"] = table["measured"].between(table["low"], table["high"])
    told = predicted["accuracy"].notna().to_numpy(bool)
    if not told.any():
        raise DataError(
            f"The curve predicts no class of {dataset!r}: {predicted['basis'].iloc[0]}."
        )
    after, why = _fit_with(curve, fit, points, rows)
    return PredictionCheck(
        model=fit.model,
        pretraining=fit.pretraining,
        dataset=dataset,
        level=level,
        basis=str(predicted["basis"].mode().iloc[0]),
        table=table[told].reset_index(drop=True),
        before=fit.line,
        after=after,
        why_no_after=why,
    )


def _refuse_seen(curve: Curve, points: pd.DataFrame, dataset: str, measured: pd.DataFrame) -> None:
    """Refuse a curve whose rows hold these results, under their dataset's name or another."""
    theirs = _keyed(measured)
    for name, rows in _keyed(points).groupby("dataset", sort=True):
        met = rows.merge(theirs, on="key", suffixes=("", "_measured"))
        same_name = normalise_name(str(name)) == normalise_name(dataset)
        equal = np.isclose(met["accuracy"], met["accuracy_measured"], rtol=0, atol=1e-12) & (
            (met["n_images"] == met["n_images_measured"]) | met["n_images"].isna()
        )
        renamed = len(met) == len(rows) >= MIN_SAME and bool(equal.all())
        if not met.empty and (same_name or renamed):
            raise DataError(
                f"The curve (digest {curve.digest[:12]}) was fitted with the results on "
                f"{str(name)!r} that it is to check_predictions: {quantity(len(met), 'class')}, "
                f"such as {met['concept'].iloc[0]!r}. "
                "Name the curve that was fitted before; where another set merely has the same "
                "name, evaluate again with a --name of its own."
            )


def _keyed(table: pd.DataFrame) -> pd.DataFrame:
    n_images = pd.to_numeric(table["n_images"], errors="coerce").astype("Float64")
    return pd.DataFrame(
        {
            "dataset": table["dataset"].astype("str"),
            "concept": table["concept"].astype("str"),
            "key": name_keys(table["concept"]),
            "accuracy": table["accuracy"].astype("float64"),
            "n_images": n_images.to_numpy(np.float64, na_value=np.nan),
        }
    )


def _fit_with(
    curve: Curve, fit: ModelFit, points: pd.DataFrame, rows: pd.DataFrame
) -> tuple[LineFit | None, str]:
    """Fit the curve's rows again with these added, as it was fitted."""
    columns = ["dataset", "concept", "accuracy", "n_images", *COUNTED]
    together = pd.concat(
        [points[columns].astype({"n_images": "float64"}), rows[columns]], ignore_index=True
    )
    try:
        again, _ = fit_model(
            together,
            (fit.model, fit.pretraining, fit.metric),
            len(together),
            curve.estimator(fit),
            count=curve.count,
            zero_policy=curve.zero_policy,
            level=curve.level,
        )
    except FitError as error:
        return None, str(error)
    return again.line, ""
