"""Accuracy against frequency: the curve, what it rests on, and how its predictions hold up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from conceptaudit.curves import Curve, ModelFit
from conceptaudit.frequency.intervals import LEVEL, wilson_interval
from conceptaudit.records import ConceptAccuracies
from conceptaudit.report.accuracy_chart import Classes, accuracy_chart, no_predictions
from conceptaudit.report.chart import Chart
from conceptaudit.report.formatting import (
    between,
    count,
    decimal,
    level_name,
    percent,
    slope_interval,
    slope_per_decade,
)
from conceptaudit.report.inputs import ReportInputs, RunRecord
from conceptaudit.report.templating import Section, render

MOST_CHARTS = 4
MOST_MISSES = 8

CORRECTED = "_corrected"
"""Ending of the name of a count that a calibrated audit corrected."""


def accuracy_section(inputs: ReportInputs) -> Section:
    """Build the part on accuracy."""
    curve, accuracies = inputs.curve, inputs.accuracies
    why = ""
    values: dict[str, Any] = {"curve": curve}
    if curve is not None:
        values |= {
            "fits": [_fit(inputs, curve, fit, i) for i, fit in enumerate(curve.fits[:MOST_CHARTS])],
            "all_fits": [
                [
                    fit.label,
                    count(fit.usage.n_used),
                    slope_per_decade(fit.line),
                    decimal(fit.line.r),
                ]
                for fit in curve.fits
            ],
            "has_predictions": inputs.predictions is not None,
            "fit_sentence": fit_sentence,
        }
    elif accuracies is not None:
        values["charts"] = _without_curve(inputs.run, accuracies)
    else:
        why = (
            "Neither a curve nor per-class accuracies were given, so nothing is said about how "
            "well a model does on these concepts; `--curve` and `--accuracies` add that."
        )
    return Section(
        identifier="accuracy",
        title="Accuracy against frequency",
        short="Accuracy",
        missing=why,
        values=values,
    )


def _without_curve(run: RunRecord, accuracies: ConceptAccuracies) -> list[tuple[str, Chart | None]]:
    """Draw the classes of each model; None where no class of it is an audited concept."""
    column = run.strictest
    counts = run.table.drop_duplicates("concept").set_index("concept")[column]
    models = accuracies.table.groupby(["model", "pretraining", "metric"], sort=True)
    charts: list[tuple[str, Chart | None]] = []
    for i, (names, rows) in enumerate(list(models)[:MOST_CHARTS]):
        known = rows.assign(count=rows["concept"].map(counts).astype("Float64"))
        known = known[known["count"].notna()].astype({"count": "float64"})
        chart = None
        if not known.empty:
            classes = Classes(fitted=known, held=no_predictions())
            chart = accuracy_chart(f"accuracy-{i}", classes, column=column, curve=None, fit=None)
        charts.append((" · ".join(str(name) for name in names if name), chart))
    return charts


def held_out(inputs: ReportInputs, fit: ModelFit, column: str) -> pd.DataFrame:
    """Return the held-out predictions of a fit, with counts and what was observed.

    What was observed comes from the predictions, else from the accuracies.
    """
    table = inputs.predictions
    if table is None:
        return no_predictions()
    rows = table[table["held_out"]]
    for name in ("model", "pretraining", "metric"):
        if name in rows:
            rows = rows[rows[name].fillna("").astype("str") == getattr(fit, name)]
    if inputs.accuracies is not None and bool(rows["observed"].isna().any()):
        known = inputs.accuracies.table
        known = known[(known["model"] == fit.model) & (known["metric"] == fit.metric)]
        observed = known.groupby("concept")["accuracy"].mean()
        rows = rows.assign(observed=rows["observed"].fillna(rows["concept"].map(observed)))
    if "count" not in rows:
        counts = inputs.run.table.drop_duplicates("concept").set_index("concept")[column]
        rows = rows.assign(count=rows["concept"].map(counts))
    counted = pd.to_numeric(rows["count"], errors="coerce").astype("float64")
    return rows.assign(count=counted)[counted.notna()]


def _fit(
    inputs: ReportInputs, curve: Curve, fit: ModelFit, number: int
) -> tuple[ModelFit, Chart, dict[str, Any] | None]:
    held = held_out(inputs, fit, curve.count)
    chart = accuracy_chart(
        f"accuracy-{number}",
        Classes(fitted=curve.points_of(fit), held=held),
        column=curve.count,
        curve=curve,
        fit=fit,
    )
    return fit, chart, _coverage(held)


def fit_sentence(curve: Curve, fit: ModelFit) -> Markup:
    """Say in a paragraph what a fit found, and what it rests on."""
    return render(
        "_fit_sentence.html",
        curve=curve,
        fit=fit,
        interval=slope_interval(fit.line, level_name(curve.level)),
        counted=curve.count.removesuffix(CORRECTED),
    )


def _coverage(held: pd.DataFrame) -> dict[str, Any] | None:
    """Count how many held-out classes lie inside their intervals; None where none is known."""
    known = held[held["observed"].notna() & held["low"].notna() & held["high"].notna()]
    if known.empty:
        return None
    inside = known["observed"].between(known["low"], known["high"])
    error = known["observed"] - known["accuracy"]
    n_in, n = int(inside.sum()), len(known)
    low, high = wilson_interval(n_in, n)
    level = float(known["level"].iloc[0]) if "level" in known else float("nan")
    worst = known.assign(size=error.abs(), inside=inside)
    worst = worst.sort_values(["size", "concept"], ascending=[False, True]).head(MOST_MISSES)
    return {
        "n": n,
        "n_in": n_in,
        "share": n_in / n,
        "share_level": LEVEL,
        "low": low,
        "high": high,
        # only tables that say it can be held against the share they were made to hold
        "level": level if np.isfinite(level) else None,
        "error": float(error.abs().mean()),
        "width": float((known["high"] - known["low"]).mean()),
        "worst": [
            [
                row["concept"],
                count(row["count"]),
                percent(row["accuracy"]),
                between(row["low"], row["high"]),
                percent(row["observed"]),
                "inside" if row["inside"] else "outside",
            ]
            for row in worst.to_dict("records")
        ],
    }
