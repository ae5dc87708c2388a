"""The report's charts of counts: the frequency curve, and counts against truth."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.measured import Measured
from conceptaudit.report.svg import Axis, Canvas, Chart, Point, log_minor, log_ticks
from conceptaudit.report.wording import SIDES, count

STYLES = {"n_text": "s-text", "n_image": "s-image", "n_joint": "s-joint"}
ZERO = -0.9
"""Where zero stands on an axis of decades: below one, behind a gap."""

ZERO_GAP = 14
"""SVG units between the zero bars of two counts: a line of text."""

MOST_POINTS = 700
"""Places drawn per curve: more than a screen has columns."""


def frequency_chart(run: RunRecord) -> Chart:
    """Draw counts by rank on two logarithmic axes, zeros at the lower edge."""
    ranked = {
        column: run.table[["concept", column]]
        .astype({column: "int64"})
        .sort_values([column, "concept"], ascending=[False, True], kind="stable")
        for column in run.counted
    }
    n = len(run.table)
    highest = max(int(table[column].max()) for column, table in ranked.items())
    has_zeros = any(bool((table[c] == 0).any()) for c, table in ranked.items())
    x = Axis(
        low=-0.02,
        high=max(math.log10(n), 0.3) + 0.02,
        title="rank of the concept →",
        ticks=log_ticks(0, math.log10(n) + 0.02),
        minor=log_minor(0, math.log10(n)),
    )
    top = max(math.log10(max(highest, 1)), 0.3) + 0.1
    y = Axis(
        low=ZERO - 0.5 if has_zeros else -0.1,
        high=top,
        title="↑ samples in which the concept occurs",
        ticks=(*(((ZERO, "0"),) if has_zeros else ()), *log_ticks(0, top)),
    )

    def draw(canvas: Canvas) -> None:
        if has_zeros:
            left, _, right, _ = canvas.box
            canvas.add("path", d=f"M{left} {canvas.py(-0.35):.1f}H{right}", class_="gap")
        for order, (column, table) in enumerate(ranked.items()):
            _draw_ranks(canvas, table[column].to_numpy(), STYLES[column], order)

    points = [p for column, table in ranked.items() for p in _rank_points(column, table)]
    zeros = "; ".join(
        f"{count(int((table[c] == 0).sum()))} ({SIDES[c][0]})" for c, table in ranked.items()
    )
    return Chart(
        "frequency",
        f"Counts of {quantity(n, 'concept')} by rank, both axes logarithmic.",
        (x, y),
        draw,
        points=points,
        legend=[(STYLES[column], SIDES[column][1]) for column in ranked],
        caption=(
            "Each line ranks the concepts from most to least frequent. Both axes are logarithmic: "
            f"every labelled step is ten times the one before. Never found: {zeros}; "
            "they lie on the zero line at the bottom. Point at a line, or focus the chart and use "
            "the arrow keys, to see which concept is where."
        ),
    )


def _draw_ranks(canvas: Canvas, counts: np.ndarray, kind: str, order: int) -> None:
    found = int((counts > 0).sum())
    at = _thinned(found)
    if found:
        xs, ys = np.log10(at + 1.0), np.log10(counts[at])
        canvas.line(xs.tolist(), ys.tolist(), kind)
        if found <= 150:
            canvas.dots(xs.tolist(), ys.tolist(), f"small {kind}")
    if found < len(counts):
        left, right = canvas.px(math.log10(found + 1)), canvas.px(math.log10(len(counts)))
        left = min(left, right - 3)
        y = canvas.py(ZERO) + (order - 1) * ZERO_GAP
        canvas.add("path", d=f"M{left:.1f} {y:.1f}H{right:.1f}", class_=f"line zeros {kind}")
        text = f"{len(counts) - found:,} never"
        # a long bar leaves no room on its left: the number then stands on the bar's start
        end = left - 8 if left > 140 else right
        lift = 4 if left > 140 else -5
        canvas.add("text", text, x=end, y=y + lift, class_="end")


def _thinned(n: int) -> np.ndarray:
    """Return the ranks to draw, from 0: all of them, or so many evenly on a log axis."""
    if n <= MOST_POINTS:
        return np.arange(n)
    places = np.geomspace(1, n, MOST_POINTS).round().astype(np.int64) - 1
    return np.unique(places)


def _rank_points(column: str, table: pd.DataFrame) -> list[Point]:
    counts, names = table[column].to_numpy(), table["concept"].to_numpy()
    found = int((counts > 0).sum())
    what = SIDES[column][1]
    points = [
        Point(
            x=math.log10(rank + 1),
            y=math.log10(counts[rank]),
            text=f"{names[rank]}\nrank {rank + 1:,}: {counts[rank]:,} {what}",
            concept=str(names[rank]),
        )
        for rank in _thinned(found).tolist()
    ]
    if found < len(counts):
        missing = len(counts) - found
        points.append(
            Point(
                x=(math.log10(found + 1) + math.log10(len(counts))) / 2,
                y=ZERO,
                text=f"{quantity(missing, 'concept')} never {what}\nsuch as {names[found]}",
                concept=str(names[found]),
            )
        )
    return points


def truth_chart(measured: Measured) -> Chart:
    """Draw counted against true counts; the diagonal is perfection."""
    table = measured.table
    top = math.log10(max(int(table["true"].max()), int(table["counted"].max()), 2)) + 0.1
    ticks = ((ZERO, "0"), *log_ticks(0, top))

    def axis(title: str) -> Axis:
        return Axis(low=ZERO - 0.3, high=top, title=title, ticks=ticks)

    xs, ys = _decades(table["true"]), _decades(table["counted"])
    names = table["concept"].tolist()

    def draw(canvas: Canvas) -> None:
        canvas.line([0, top], [0, top], "ideal")
        for factor in (-math.log10(2), math.log10(2)):
            canvas.line(
                [max(0, -factor), min(top, top - factor)],
                [max(0, factor), min(top, top + factor)],
                "factor",
            )
        canvas.dots(_spread(xs), ys, f"see-through {STYLES[measured.column]}")

    short, what = SIDES[measured.column]
    order = sorted(range(len(names)), key=lambda i: (-table["true"].iloc[i], names[i]))[:2000]
    spread = _spread(xs)
    points = [
        Point(
            x=spread[i],
            y=ys[i],
            text=f"{names[i]}\ntrue {table['true'].iloc[i]:,}, counted "
            f"{table['counted'].iloc[i]:,}",
            concept=str(names[i]),
        )
        for i in order
    ]
    return Chart(
        f"truth-{short}",
        f"Counted against true number of samples, {what}.",
        (axis("true number →"), axis("↑ counted")),
        draw,
        points=points,
        caption="Solid line: count and truth agree. Dotted lines: twice and half the truth.",
    )


def _decades(values: pd.Series[int]) -> list[float]:
    return [math.log10(value) if value > 0 else ZERO for value in values.tolist()]


def _spread(xs: Sequence[float]) -> list[float]:
    """Spread places that coincide a little, by a fixed pattern, so that none hides another."""
    return [x + 0.06 * (math.modf(i * 0.6180339887)[0] - 0.5) for i, x in enumerate(xs)]
