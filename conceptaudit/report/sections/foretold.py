"""What the curve had predicted for the tail, beside what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.curves import Curve, LineFit, PredictionCheck, check_predictions
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.report.foretold_chart import foretold_chart
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.markup import Markup, el, join
from conceptaudit.report.sections.base import folded, table
from conceptaudit.report.svg import Chart
from conceptaudit.report.wording import (
    count,
    decimal,
    level_name,
    percent,
    slope_per_decade,
)

MOST_ROWS = 12
"""A longer table of classes is folded."""

MOST_CHECKS = 4
"""Pairs of model and set that are shown."""

LEAST_DECADES = 0.5
"""Spread of the tail's frequencies below which a slope fitted to it means nothing."""

FEWEST_DEGREES = 3.0
"""With fewer degrees of freedom the width of an interval over datasets is a matter of luck."""


def foretold_part(inputs: ReportInputs) -> Markup | None:
    """Build the comparison, where results on the tail were given.

    Raises
    ------
    ConfigError
        There is no curve to compare them with.
    DataError
        The curve has seen these results, or is of other models and classes.
    """
    if inputs.tail_results is None:
        return None
    if inputs.curve is None:
        raise ConfigError(
            "The 'tail_results' parameter of write_report needs 'curve': the one that was fitted "
            "before the tail was evaluated (--curve)."
        )
    found = check_predictions(inputs.curve, inputs.run.frequencies, inputs.tail_results)
    parts: list[Any] = [el("h3", "Predicted before, measured on the tail")]
    for number, one in enumerate(found[:MOST_CHECKS]):
        several_models = len({(o.model, o.pretraining, o.dataset) for o in found}) > 1
        heading = " · ".join(filter(None, (one.model, one.pretraining, one.dataset)))
        parts.append(el("h4", heading) if several_models else None)
        parts += [_sentences(inputs.curve, one), _chart(one, number), _slopes(one), _classes(one)]
    more = len(found) - MOST_CHECKS
    if more > 0:
        parts.append(el("p", f"{quantity(more, 'more pair')} of model and set not shown."))
    return join(parts)


def measured_interval(row: Mapping[Any, Any], level: float) -> tuple[float, float]:
    """Wilson interval of a measured accuracy; NaN where the number of images is unknown."""
    if not np.isfinite(row["n_images"]):
        return float("nan"), float("nan")
    n = round(row["n_images"])
    return wilson_interval(round(row["measured"] * n), n, level)


def with_intervals(one: PredictionCheck) -> pd.DataFrame:
    """Add ``measured_low`` and ``measured_high`` to the table of classes."""
    rows = one.table.to_dict("records")
    ends = np.array([measured_interval(row, one.level) for row in rows]).reshape(-1, 2)
    return one.table.assign(measured_low=ends[:, 0], measured_high=ends[:, 1])


def _sentences(curve: Curve, one: PredictionCheck) -> Markup:
    n, n_in = len(one.table), one.n_inside
    low, high = wilson_interval(n_in, n)
    verdict = "compatible" if low <= one.level <= high else "not compatible"
    error = 100 * one.mean_error
    way = "lower" if error < 0 else "higher"
    return join(
        [
            el(
                "p",
                "The curve was fitted without these results (its digest is ",
                el("code", curve.digest[:16]),
                "). ",
                el("b", f"{count(n_in)} of {quantity(n, 'class')}"),
                f" came out inside the {level_name(one.level)} that it had predicted, "
                f"{percent(n_in / n)} ({level_name(one.level)} of that share: {percent(low)} to "
                f"{percent(high)}): {verdict} with the {percent(one.level)} that they were made to "
                f"hold. On average the tail came out {decimal(abs(error), 1)} percentage points "
                f"{way} than predicted, and single classes were off by "
                f"{decimal(100 * one.mean_absolute_error, 1)} points.",
            ),
            _known(one),
            el(
                "p",
                f"The predictions rest on {one.basis}. They hold for a tail that is classified "
                "among as many class names as the sets of the fit, where fewer make an easier "
                f"test, and with as many images per class{_images(curve, one)}: accuracies over "
                "fewer scatter more than the intervals allow for.",
                class_="notes",
            ),
        ]
    )


def _images(curve: Curve, one: PredictionCheck) -> str:
    """Tell the usual number of images per class, here and in the fit, where both are known."""
    columns = (one.table["n_images"], curve.points["n_images"])
    known = [pd.to_numeric(column, errors="coerce").dropna() for column in columns]
    if any(found.empty for found in known):
        return ""
    here, fitted = (count(float(found.median())) for found in known)
    return f" (in the median {here} here, {fitted} in the fit)"


def _known(one: PredictionCheck) -> Markup | None:
    """Tell which classes the fit had met in another set: those are easier to check_predictions."""
    known = one.table[one.table["known"]]
    if known.empty:
        return el("p", "The fit had met none of these classes, in no test set.")
    rest = one.table[~one.table["known"]]
    told = (
        f"{quantity(len(known), 'class')} of the tail had been in the fit with images "
        f"of another test set ({count(known['inside'].sum())} of them inside)"
    )
    if rest.empty:
        return el("p", f"{told}: all of them, so this says nothing about classes new to the fit.")
    return el(
        "p", f"{told}; of the {len(rest):,} that are new to it, {count(rest['inside'].sum())} are."
    )


def _chart(one: PredictionCheck, number: int) -> Chart:
    return foretold_chart(f"foretold-{number}", with_intervals(one), level=one.level)


def _slopes(one: PredictionCheck) -> Markup:
    if one.after is None:
        return el(
            "p",
            f"A fit with these results added cannot be made: {one.why_no_after}",
            class_="notes",
        )
    spread = float(np.ptp(np.log10(1.0 + one.table["count"].to_numpy(dtype=np.float64))))
    if spread < LEAST_DECADES:
        return el(
            "p",
            f"The classes of the tail span {decimal(spread, 1)} decades of frequency, too few to "
            "say what adding them does to the slope.",
            class_="notes",
        )
    return el(
        "p",
        "The slope of accuracy, in percentage points per decade, was ",
        el("b", slope_per_decade(one.before)),
        ". With the tail added to the fit it is ",
        el("b", slope_per_decade(one.after)),
        f".{_rough(one.after)}",
    )


def _rough(line: LineFit) -> str:
    """Warn of an interval over so few datasets that its width is a matter of luck."""
    if line.resampled != "dataset" or not 2.0 <= line.df < FEWEST_DEGREES:
        return ""
    return (
        f" That interval takes the datasets as what was sampled, with {decimal(line.df, 1)} "
        "degrees of freedom: right as often as it says over many such fits, but each may be far "
        "too wide, or too narrow where two datasets happen to agree."
    )


def _classes(one: PredictionCheck) -> Markup:
    rows = [
        [
            row["concept"],
            count(row["count"]),
            percent(row["predicted"]),
            f"{percent(row['low'])} to {percent(row['high'])}",
            percent(row["measured"]),
            "unknown"
            if np.isnan(row["measured_low"])
            else f"{percent(row['measured_low'])} to {percent(row['measured_high'])}",
            "–" if np.isnan(row["n_images"]) else count(row["n_images"]),
            "inside" if row["inside"] else "outside",
        ]
        for row in with_intervals(one).to_dict("records")
    ]
    whole = table(
        ["class", "samples", "predicted", "interval", "measured", "interval", "images", ""],
        rows,
        caption=f"Classes of the tail, rarest first; {level_name(one.level)}s",
        numeric=(1, 2, 3, 4, 5, 6),
    )
    return whole if len(rows) <= MOST_ROWS else folded(f"All {quantity(len(rows), 'class')}", whole)
