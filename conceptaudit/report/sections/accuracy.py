"""Accuracy against frequency: the curve, what it rests on, and how its predictions hold up."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.curves import Curve, ModelFit
from conceptaudit.display import quantity
from conceptaudit.frequency.intervals import LEVEL, wilson_interval
from conceptaudit.records import ConceptAccuracies
from conceptaudit.report.accuracy_chart import Classes, accuracy_chart, no_predictions
from conceptaudit.report.inputs import ReportInputs, RunRecord
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.sections.base import Section, absent, folded, table
from conceptaudit.report.sections.overview import name_of
from conceptaudit.report.wording import (
    SIDES,
    count,
    decimal,
    level_name,
    percent,
    slope_interval,
    slope_per_decade,
)

MOST_CHARTS = 4
MOST_MISSES = 8
TITLE = "Accuracy against frequency"

CORRECTED = "_corrected"
"""Ending of the name of a count that a calibrated audit corrected."""


def accuracy_section(inputs: ReportInputs) -> Section:
    """Build the part on accuracy."""
    if inputs.curve is None and inputs.accuracies is None:
        return absent(
            "accuracy",
            TITLE,
            "Accuracy",
            "Neither a curve nor per-class accuracies were given, so nothing is said about how "
            "well a model does on these concepts; `--curve` and `--accuracies` add that.",
        )
    intro = el(
        "p",
        "Zero-shot accuracy is how often a model picks the right class among all classes, from "
        "the class's name alone. Each dot is a class: to the right where the data hold more of "
        "it, higher where the model knows it better.",
    )
    if inputs.curve is None and inputs.accuracies is not None:
        body: list[Any] = [intro, _without_curve(inputs.run, inputs.accuracies)]
    elif inputs.curve is not None:
        fits = inputs.curve.fits
        drawn = enumerate(fits[:MOST_CHARTS])
        body = [intro, [_fit(inputs, inputs.curve, fit, i) for i, fit in drawn]]
        if len(fits) > MOST_CHARTS:
            body.append(_all_fits(inputs.curve))
        if inputs.curve.notes:
            notes = [el("li", note) for note in inputs.curve.notes]
            body.append(folded("Notes on the fit", el("ul", notes)))
    return Section(identifier="accuracy", title=TITLE, short="Accuracy", body=join(body))


def _without_curve(run: RunRecord, accuracies: ConceptAccuracies) -> Markup:
    column = run.strictest
    counts = run.table.drop_duplicates("concept").set_index("concept")[column]
    charts = []
    models = accuracies.table.groupby(["model", "pretraining", "metric"], sort=True)
    for i, ((model, pretraining, metric), rows) in enumerate(models):
        if i == MOST_CHARTS:
            break
        known = rows.assign(count=rows["concept"].map(counts).astype("Float64"))
        known = known[known["count"].notna()].astype({"count": "float64"})
        label = " · ".join(str(part) for part in (model, pretraining, metric) if part)
        if known.empty:
            charts.append(el("p", f"{label}: no class of it is an audited concept."))
            continue
        held = no_predictions()
        chart = accuracy_chart(
            f"accuracy-{i}", Classes(fitted=known, held=held), column=column, curve=None, fit=None
        )
        charts.append(join([el("h3", label), chart]))
    note = el("p", "No curve was given, so no line is drawn: `conceptaudit fit` makes one.")
    return join([charts, note])


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


def _fit(inputs: ReportInputs, curve: Curve, fit: ModelFit, number: int) -> Markup:
    held = held_out(inputs, fit, curve.count)
    fitted = curve.points_of(fit)
    chart = accuracy_chart(
        f"accuracy-{number}",
        Classes(fitted=fitted, held=held),
        column=curve.count,
        curve=curve,
        fit=fit,
    )
    notes = [el("li", note) for note in fit.notes]
    return join(
        [
            el("h3", fit.label or "model"),
            _sentences(curve, fit),
            chart,
            el("ul", notes, class_="notes") if notes else None,
            _coverage(inputs, held),
        ]
    )


def _sentences(curve: Curve, fit: ModelFit) -> Markup:
    line, usage = fit.line, fit.usage
    level = level_name(curve.level)
    unseen = f", {quantity(usage.n_zero, 'of which was', 'of which were')} never counted"
    dropped = "; ".join(f"{reason}: {n:,}" for reason, n in usage.dropped.items())
    raw = curve.count.removesuffix(CORRECTED)
    corrected = "" if raw == curve.count else ", corrected for errors of tags and captions"
    return el(
        "p",
        "Ten times as many samples go with ",
        el("b", f"{decimal(100 * line.slope, 1)} percentage points"),
        f" of accuracy {slope_interval(line, level)}. The correlation over single classes is r = ",
        el("b", decimal(line.r)),
        f" ({decimal(line.r_low)} to {decimal(line.r_high)}); 1 would be a perfect line, 0 none. "
        f"Frequency here is the number of samples with the class {SIDES[raw][1]}{corrected}"
        f"{f', counted in {name_of(curve.source)}' if curve.source else ''}. The fit "
        f"uses {count(usage.n_used)} of {quantity(usage.n_concepts, 'class')}"
        f"{unseen if usage.n_zero else ''}"
        f"{f' (left out: {dropped})' if dropped else ''}.",
    )


def _coverage(inputs: ReportInputs, held: pd.DataFrame) -> Markup:
    if inputs.predictions is None:
        return el(
            "p",
            "No predictions were given, so nothing is said here about classes that the fit has "
            "not seen.",
        )
    known = held[held["observed"].notna() & held["low"].notna() & held["high"].notna()]
    if known.empty:
        return el(
            "p",
            "The predictions mark no held-out class whose accuracy is known, so the intervals "
            "cannot be checked.",
        )
    inside = known["observed"].between(known["low"], known["high"])
    n_in, n = int(inside.sum()), len(known)
    low, high = wilson_interval(n_in, n)
    error = known["observed"] - known["accuracy"]
    width = float((known["high"] - known["low"]).mean())
    sentences = el(
        "p",
        el("b", f"{count(n_in)} of {quantity(n, 'held-out class')}"),
        f" lie inside their predicted interval: {percent(n_in / n)} "
        f"({level_name(LEVEL)} of that share: "
        f"{percent(low)} to {percent(high)}). ",
        _nominal(known, n_in, n),
        f"Predictions are off by {decimal(100 * float(error.abs().mean()), 1)} percentage points "
        f"on average, and the intervals are {decimal(100 * width, 0)} points wide.",
    )
    worst = known.assign(error=error, size=error.abs(), inside=inside)
    worst = worst.sort_values(["size", "concept"], ascending=[False, True]).head(MOST_MISSES)
    rows = [
        [
            row["concept"],
            count(row["count"]),
            percent(row["accuracy"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
            percent(row["observed"]),
            "inside" if row["inside"] else "outside",
        ]
        for row in worst.to_dict("records")
    ]
    misses = table(
        ["class", "samples", "predicted", "interval", "observed", ""],
        rows,
        caption="Held-out classes with the largest error",
        numeric=(1, 2, 3, 4),
    )
    return join([sentences, folded("Where the prediction was most wrong", misses)])


def _nominal(known: pd.DataFrame, n_in: int, n: int) -> str:
    """Compare with the share that the intervals were made to hold, where the table says it."""
    if "level" not in known or not np.isfinite(level := float(known["level"].iloc[0])):
        return ""
    low, high = wilson_interval(n_in, n)
    verdict = "That is compatible" if low <= level <= high else "That is not compatible"
    return f"{verdict} with the {percent(level)} they were made to hold. "


def _all_fits(curve: Curve) -> Markup:
    rows = [
        [
            fit.label,
            count(fit.usage.n_used),
            slope_per_decade(fit.line),
            decimal(fit.line.r),
        ]
        for fit in curve.fits
    ]
    return table(
        ["model", "classes", "points per decade", "r"],
        rows,
        caption=f"All {quantity(len(curve.fits), 'model')} of the curve; the first {MOST_CHARTS} "
        "are drawn",
        numeric=(1, 2, 3),
    )
