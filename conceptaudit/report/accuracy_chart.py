"""The chart of accuracy against frequency: the fitted line, its band, classes, held-out classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves import Curve, ModelFit
from conceptaudit.display import quantity
from conceptaudit.report.chart import (
    Axis,
    Canvas,
    Chart,
    Point,
    Tick,
    log_minor,
    log_places,
    log_ticks,
    spread_ties,
)
from conceptaudit.report.formatting import level_name

X_TITLES = {
    "n_text": "captions that name the class →",
    "n_image": "images that show the class →",
    "n_joint": "samples with the class on both sides →",
    "n_image_corrected": "images that show the class, corrected →",
    "n_joint_corrected": "samples with the class on both sides, corrected →",
}

STRIP = 0.75
"""Decades between the lowest frequency and the place of zero."""

MOST_WHISKERS = 150
"""With more held-out classes than this their single intervals would be a grey wall."""

Y_TICKS: tuple[Tick, ...] = tuple((q / 4, f"{25 * q} %") for q in range(5))


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """The classes of one chart."""

    fitted: pd.DataFrame  # concept, count, accuracy: what the line was fitted to
    held: pd.DataFrame  # concept, count, accuracy, low, high, observed: what it never saw

    @property
    def counts(self) -> pd.Series[float]:
        """All frequencies."""
        both = [self.fitted["count"].astype("float64"), self.held["count"].astype("float64")]
        return pd.concat(both)


def no_predictions() -> pd.DataFrame:
    """Return a table of held-out classes without a row."""
    columns = ("concept", "count", "accuracy", "low", "high", "observed")
    return pd.DataFrame({name: pd.Series(dtype="float64") for name in columns})


def accuracy_chart(
    identifier: str,
    classes: Classes,
    *,
    column: str,
    curve: Curve | None,
    fit: ModelFit | None,
    held_name: str = "held-out class, never shown to the fit",
) -> Chart:
    """Draw the classes, and the line where there is one."""
    counts = classes.counts
    positive = counts[counts > 0]
    has_zeros = bool((counts == 0).any())
    lowest = math.floor(math.log10(positive.min())) if len(positive) else 0
    lowest = min(lowest, 0) if has_zeros else lowest
    strip = lowest - STRIP
    highest = math.log10(max(float(counts.max()), 10.0)) + 0.1
    x = Axis(
        low=strip - 0.3 if has_zeros else lowest - 0.05,
        high=highest,
        title=X_TITLES[column],
        ticks=(*(((strip, "0"),) if has_zeros else ()), *log_ticks(lowest, highest)),
        minor=log_minor(lowest, highest),
    )
    y = Axis(low=-0.03, high=1.03, title="↑ zero-shot accuracy", ticks=Y_TICKS)
    fitted = _placed(classes.fitted, strip)
    held = _placed(classes.held, strip)

    def draw(canvas: Canvas) -> None:
        if has_zeros:
            _, top, _, bottom = canvas.box
            at = canvas.px((strip + lowest) / 2)
            canvas.stroke("gap", [(at, top), (at, bottom)])
        canvas.dots(fitted["x"].tolist(), fitted["accuracy"].tolist(), "see-through s-fitted")
        if curve is not None and fit is not None:
            _draw_line(canvas, curve, fit, strip if has_zeros else None)
        _draw_held(canvas, held)

    interval = level_name(curve.level) if curve is not None else ""
    legend = [("s-fitted", "class, used for the fit" if fit is not None else "class")]
    if fit is not None:
        legend.append(("s-line", f"fitted line with its {interval}"))
    if len(held):
        legend.append(("s-held", held_name))
    return Chart(
        identifier,
        f"Zero-shot accuracy of {quantity(len(fitted) + len(held), 'class')} against how often "
        "they occur.",
        (x, y),
        draw,
        points=_points(fitted, held),
        legend=legend,
    )


def _placed(table: pd.DataFrame, strip: float) -> pd.DataFrame:
    counts = table["count"].to_numpy(dtype=np.float64)
    x = log_places(counts, strip) + spread_ties(len(counts)) * np.where(counts > 0, 0.05, 0.4)
    return table.assign(x=x).sort_values(["x", "concept"], kind="stable")


def _draw_line(canvas: Canvas, curve: Curve, fit: ModelFit, strip: float | None) -> None:
    line = fit.line
    xs = np.linspace(line.x_min, line.x_max, 240)
    low = np.clip(np.interp(xs, line.band_x, line.band_low), -0.03, 1.03)
    high = np.clip(np.interp(xs, line.band_x, line.band_high), -0.03, 1.03)
    ys = np.clip(line.intercept + line.slope * xs, -0.03, 1.03)
    place = xs
    if curve.zero_policy == "log1p":
        # the fit's axis is log10(1 + count), the chart's is log10(count)
        place = np.full(xs.shape, -np.inf)
        np.log10(10.0**xs - 1.0, out=place, where=xs > 0)
    shown = (place >= canvas.x.low) & (place <= canvas.x.high)
    if strip is not None:
        shown &= place >= strip + STRIP / 2
        ends = [strip - 0.25, strip + 0.25]
        canvas.band(ends, [float(low[0])] * 2, [float(high[0])] * 2, "s-line")
        canvas.line(ends, [float(ys[0])] * 2, "s-line")
    at = place[shown].tolist()
    if at:
        canvas.band(at, low[shown].tolist(), high[shown].tolist(), "s-line")
        canvas.line(at, ys[shown].tolist(), "s-line")


def _draw_held(canvas: Canvas, held: pd.DataFrame) -> None:
    seen = held[held["observed"].notna()]
    xs = seen["x"].tolist()
    if len(seen) <= MOST_WHISKERS:
        canvas.whiskers(xs, seen["low"].tolist(), seen["high"].tolist())
    canvas.diamonds(xs, seen["observed"].tolist())


def _points(fitted: pd.DataFrame, held: pd.DataFrame) -> list[Point]:
    points = [
        Point(
            x=row["x"],
            y=row["accuracy"],
            text=f"{row['concept']}\n{row['count']:,.0f} samples, accuracy {row['accuracy']:.2f}",
            concept=str(row["concept"]),
        )
        for row in fitted.to_dict("records")[:4000]
    ]
    points += [
        Point(
            x=row["x"],
            y=row["observed"],
            text=f"{row['concept']} (held out)\n{row['count']:,.0f} samples, accuracy "
            f"{row['observed']:.2f}; predicted {row['accuracy']:.2f}, "
            f"{row['low']:.2f} to {row['high']:.2f}",
            concept=str(row["concept"]),
        )
        for row in held.to_dict("records")
        if np.isfinite(row["observed"])
    ]
    return sorted(points, key=lambda point: (point.x, point.text))
