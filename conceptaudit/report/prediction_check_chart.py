"""The chart of the tail's classes: the predicted interval of each, and what was measured."""

from __future__ import annotations

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.report.accuracy_chart import Y_TICKS
from conceptaudit.report.chart import Axis, Canvas, Chart, Point, Tick
from conceptaudit.report.formatting import count, level_name, percent

MOST_CLASSES = 80
"""Drawn side by side: with more, single intervals cannot be told apart."""

MOST_TICKS = 8

MOST_NAMES = {False: 48, True: 22}
"""Columns that are wide enough for an upright name, on a wide and on a narrow screen."""


def prediction_check_chart(identifier: str, table: pd.DataFrame, *, level: float) -> Chart:
    """Draw classes side by side, rarest first.

    The table has ``concept, count, predicted, low, high, measured, measured_low, measured_high,
    n_images, inside``, rarest first; `level` is that of the intervals.
    """
    shown = _spread(table)
    n = len(shown)
    x = Axis(
        low=-0.7,
        high=n - 0.3,
        title="classes, by their number of samples →",
        ticks=_ticks(shown),
    )
    y = Axis(low=-0.03, high=1.03, title="↑ zero-shot accuracy", ticks=Y_TICKS)

    def draw(canvas: Canvas) -> None:
        half = min(0.32, 9.0 / max(abs(canvas.px(1) - canvas.px(0)), 1e-9))
        for place, row in enumerate(shown.to_dict("records")):
            ends = [place - half, place + half]
            if np.isfinite(row["low"]) and np.isfinite(row["high"]):
                canvas.band(ends, [row["low"]] * 2, [row["high"]] * 2, "s-line")
            canvas.line(ends, [row["predicted"]] * 2, "s-line")
        _draw_measured(canvas, shown)
        if n <= MOST_NAMES[canvas.narrow]:
            _draw_names(canvas, shown)

    name = level_name(level)
    caption = (
        "Each column is a class. Point at one, or focus the chart and use the arrow keys, to see "
        "which."
    )
    if n < len(table):
        caption += f" {n} of {quantity(len(table), 'class')} are drawn, evenly chosen."
    return Chart(
        identifier,
        f"Predicted and measured zero-shot accuracy of {quantity(n, 'class')}.",
        (x, y),
        draw,
        points=_points(shown),
        legend=[
            ("s-line", f"predicted before, with its {name}"),
            ("s-held", f"measured on the tail, with its {name}"),
        ],
        caption=caption,
    )


def _spread(table: pd.DataFrame) -> pd.DataFrame:
    if len(table) <= MOST_CLASSES:
        return table.reset_index(drop=True)
    places = np.linspace(0, len(table) - 1, MOST_CLASSES).round().astype(np.int64)
    return table.iloc[places].reset_index(drop=True)


def _ticks(table: pd.DataFrame) -> tuple[Tick, ...]:
    """Label the number of samples of some classes."""
    places = np.unique(np.linspace(0, len(table) - 1, MOST_TICKS).round().astype(np.int64))
    return tuple((float(place), count(table["count"].iloc[place])) for place in places)


def _draw_measured(canvas: Canvas, table: pd.DataFrame) -> None:
    xs = list(map(float, range(len(table))))
    canvas.whiskers(xs, table["measured_low"].tolist(), table["measured_high"].tolist())
    size = 4.0 if canvas.narrow or len(table) > 40 else 5.0
    canvas.diamonds(xs, table["measured"].tolist(), size)


def _draw_names(canvas: Canvas, table: pd.DataFrame) -> None:
    """Write each class upright in its column, at the end that has more room."""
    _, top, _, bottom = canvas.box
    for place, row in enumerate(table.to_dict("records")):
        marks = [row[name] for name in ("predicted", "low", "high", "measured")]
        known = [mark for mark in marks if np.isfinite(mark)] or [0.0]
        above = 1.0 - max(known) >= min(known)
        y = top + 4 if above else bottom - 4
        kind = "column-name end" if above else "column-name"
        canvas.label(row["concept"], canvas.px(place), y, kind, upright=True)


def _points(table: pd.DataFrame) -> list[Point]:
    return [
        Point(
            x=float(place),
            y=row["measured"],
            text=f"{row['concept']}\n{quantity(row['count'], 'sample')}; predicted "
            f"{percent(row['predicted'])}, {percent(row['low'])} to {percent(row['high'])}; "
            f"measured {percent(row['measured'])}"
            + (f" of {quantity(row['n_images'], 'image')}" if np.isfinite(row["n_images"]) else ""),
            concept=str(row["concept"]),
        )
        for place, row in enumerate(table.to_dict("records"))
    ]
