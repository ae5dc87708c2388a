"""What the curve had predicted for the tail, beside what was measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.curves import Curve, LineFit, PredictionCheck, check_predictions
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.report.formatting import between, count, decimal, percent, slope_per_decade
from conceptaudit.report.inputs import ReportInputs
from conceptaudit.report.prediction_check_chart import prediction_check_chart

MOST_CHECKS = 4
"""Pairs of model and set that are shown."""

LEAST_DECADES = 0.5
"""Spread of the tail's frequencies below which a slope fitted to it means nothing."""

FEWEST_DEGREES = 3.0
"""With fewer degrees of freedom the width of an interval over datasets is a matter of luck."""


def prediction_checks(inputs: ReportInputs) -> dict[str, Any]:
    """Lay out the comparison for its template; no checks where no results were given."""
    checks: tuple[PredictionCheck, ...] = ()
    if inputs.tail_results is not None:
        if inputs.curve is None:
            raise ConfigError(
                "The 'tail_results' parameter of write_report needs 'curve': the one that was "
                "fitted before the tail was evaluated (--curve)."
            )
        checks = check_predictions(inputs.curve, inputs.run.frequencies, inputs.tail_results)
    several = len({(one.model, one.pretraining, one.dataset) for one in checks}) > 1
    return {
        "curve": inputs.curve,
        "checks": [
            _check(inputs.curve, one, number, named=several)
            for number, one in enumerate(checks[:MOST_CHECKS])
            if inputs.curve is not None
        ],
        "n_more_checks": len(checks) - MOST_CHECKS,
        "least_decades": LEAST_DECADES,
    }


def _check(curve: Curve, one: PredictionCheck, number: int, *, named: bool) -> dict[str, Any]:
    low, high = wilson_interval(one.n_inside, len(one.table))
    known = one.table["known"].to_numpy(bool)
    inside = one.table["inside"].to_numpy(bool)
    table = with_intervals(one)
    names = (one.model, one.pretraining, one.dataset)
    return {
        "check": one,
        "heading": " · ".join(filter(None, names)) if named else "",
        "share": one.n_inside / len(one.table),
        "low": low,
        "high": high,
        "n_known": int(known.sum()),
        "known_inside": int((known & inside).sum()),
        "n_new": int((~known).sum()),
        "new_inside": int((~known & inside).sum()),
        "images": _images(curve, one),
        "chart": prediction_check_chart(f"predicted-{number}", table, level=one.level),
        "decades": float(np.ptp(np.log10(1.0 + one.table["count"].to_numpy(dtype=np.float64)))),
        "before": slope_per_decade(one.before),
        "after": None if one.after is None else slope_per_decade(one.after),
        "warning": "" if one.after is None else interval_warning(one.after),
        "rows": [_row(row) for row in table.to_dict("records")],
    }


def _images(curve: Curve, one: PredictionCheck) -> tuple[float, float] | None:
    """Usual number of images per class, here and in the fit, where both are known."""
    here, fitted = (
        pd.to_numeric(table["n_images"], errors="coerce").dropna()
        for table in (one.table, curve.points)
    )
    if here.empty or fitted.empty:
        return None
    return float(here.median()), float(fitted.median())


def interval_warning(line: LineFit) -> str:
    """Warn of an interval over so few datasets that its width is a matter of luck."""
    if line.resampled != "dataset" or not 2.0 <= line.df < FEWEST_DEGREES:
        return ""
    return (
        f" That interval takes the datasets as what was sampled, with {decimal(line.df, 1)} "
        "degrees of freedom: right as often as it says over many such fits, but each may be far "
        "too wide, or too narrow where two datasets happen to agree."
    )


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


def _row(row: Mapping[Any, Any]) -> list[str]:
    has_images = np.isfinite(row["n_images"])
    return [
        row["concept"],
        count(row["count"]),
        percent(row["predicted"]),
        between(row["low"], row["high"]),
        percent(row["measured"]),
        between(row["measured_low"], row["measured_high"]) if has_images else "unknown",
        count(row["n_images"]) if has_images else "–",
        "inside" if row["inside"] else "outside",
    ]
