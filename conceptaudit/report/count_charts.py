"""Charts of counts: by rank, against the truth, and in one dataset against another."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.longtail import LongTailSet
from conceptaudit.report.chart import (
    GOLDEN,
    SECOND,
    Axis,
    Canvas,
    Chart,
    Point,
    log_minor,
    log_places,
    log_ticks,
    spread_ties,
)
from conceptaudit.report.figure_style import shortened
from conceptaudit.report.formatting import SIDES, count
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.truth import TruthComparison

STYLES = {"n_text": "s-text", "n_image": "s-image", "n_joint": "s-joint"}
ZERO = -0.9
"""Where zero stands on an axis of decades: below one, behind a gap."""

ZERO_GAP = -0.35
"""Where the line stands that parts zeros from counts."""

ZERO_LINE = 14
"""SVG units between the zero bars of two counts: a line of text."""

MOST_MARKS = 4_000
"""Concepts of a comparison that can be pointed at, the largest differences first."""

NAME_LENGTH = 20
NAMED = 3
"""Concepts named on either side of the diagonal."""

COUNT_TITLES = {
    "n_text": "in captions",
    "n_image": "in images",
    "n_joint": "in caption and image",
    "n_image_corrected": "in images, corrected",
    "n_joint_corrected": "in caption and image, corrected",
}

MOST_NAMES, MOST_NAMES_NARROW = 48, 22
"""Columns that are wide enough for an upright name, on a wide and on a narrow screen."""

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
            gap = canvas.py(ZERO_GAP)
            canvas.stroke("gap", [(left, gap), (right, gap)])
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
        y = canvas.py(ZERO) + (order - 1) * ZERO_LINE
        canvas.stroke(f"line zeros {kind}", [(left, y), (right, y)])
        text = f"{len(counts) - found:,} never"
        # a long bar leaves no room on its left: the number then stands on the bar's start
        end = left - 8 if left > 140 else right
        lift = 4 if left > 140 else -5
        canvas.label(text, end, y + lift, "end")


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


def truth_chart(measured: TruthComparison) -> Chart:
    """Draw counted against true counts; the diagonal is perfection."""
    table = measured.table
    top = math.log10(max(int(table["true"].max()), int(table["counted"].max()), 2)) + 0.1
    ticks = ((ZERO, "0"), *log_ticks(0, top))

    def axis(title: str) -> Axis:
        return Axis(low=ZERO - 0.3, high=top, title=title, ticks=ticks)

    xs, ys = (log_places(table[name].to_numpy(np.float64), ZERO) for name in ("true", "counted"))
    xs += 0.06 * spread_ties(len(xs))
    names = table["concept"].tolist()

    def draw(canvas: Canvas) -> None:
        canvas.line([0, top], [0, top], "ideal")
        for factor in (-math.log10(2), math.log10(2)):
            canvas.line(
                [max(0, -factor), min(top, top - factor)],
                [max(0, factor), min(top, top + factor)],
                "factor",
            )
        canvas.dots(xs.tolist(), ys.tolist(), f"see-through {STYLES[measured.column]}")

    short, what = SIDES[measured.column]
    order = sorted(range(len(names)), key=lambda i: (-table["true"].iloc[i], names[i]))[:2000]
    points = [
        Point(
            x=float(xs[i]),
            y=float(ys[i]),
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


def largest_differences(rows: pd.DataFrame, *, above: bool, most: int) -> pd.DataFrame:
    """Concepts more frequent in one dataset (`above`) or in the other: surest first, then most."""
    ratio = _log_ratio(rows)
    keep = ratio > 0 if above else ratio < 0
    q = rows["q"].to_numpy(np.float64)
    unsure = np.where(np.isfinite(q), q > 0.05, False)
    order = np.lexsort((-np.abs(ratio), unsure))
    return rows.iloc[order[keep[order]][:most]]


def _log_ratio(rows: pd.DataFrame) -> np.ndarray:
    """Compare the rates, or the ranks where a total is unknown and there are no rates."""
    rates = [rows[name].to_numpy(np.float64) for name in ("per_million", "per_million_baseline")]
    if not all(np.isfinite(rate).all() for rate in rates):
        ranks = [rows[name].to_numpy(np.float64) for name in ("rank", "rank_baseline")]
        return np.asarray(ranks[0] - ranks[1])
    # a thousandth per million keeps zeros finite, and in the order of the other side
    return np.asarray(np.log((rates[0] + 1e-3) / (rates[1] + 1e-3)))


def comparison_chart(rows: pd.DataFrame, a: str, b: str, identifier: str = "compared") -> Chart:
    """Draw a mark per concept: its rate in one dataset against that in the other."""
    rows = rows.reset_index(drop=True)
    ends = [largest_differences(rows, above=above, most=NAMED) for above in (True, False)]
    known = bool(rows[["per_million", "per_million_baseline"]].notna().all().all())
    names = ("per_million_baseline", "per_million") if known else ("n_baseline", "n")
    count_name = COUNT_TITLES.get(str(rows["count"].iloc[0]), str(rows["count"].iloc[0]))
    unit = "per million samples" if known else "samples"
    values = [rows[name].to_numpy(np.float64) for name in names]
    positive = np.concatenate(values)
    positive = positive[positive > 0]
    low = math.floor(math.log10(positive.min())) if len(positive) else 0
    high = (math.log10(positive.max()) if len(positive) else 1.0) + 0.15
    zero = low + ZERO
    # zeros would lie on two lines, and those of both on one point
    x, y = (
        np.where(value > 0, log_places(value, zero), zero + 0.4 * spread_ties(len(rows), step))
        for value, step in zip(values, (GOLDEN, SECOND), strict=True)
    )
    ticks = ((zero, "0"), *log_ticks(low, high))

    def draw(canvas: Canvas) -> None:
        canvas.line([low, high], [low, high], "ideal")
        canvas.dots(x.tolist(), y.tolist(), "see-through small s-text")
        for end, left in zip(ends, (True, False), strict=True):
            for i, name in zip(end.index.tolist(), end["concept"].astype("str"), strict=True):
                canvas.name(shortened(name, NAME_LENGTH), float(x[i]), float(y[i]), left=left)

    texts = zip(rows["concept"].astype("str"), *values, strict=True)
    points = [
        Point(
            x=float(x[i]),
            y=float(y[i]),
            text=f"{name}\n{first:,.3g} and {second:,.3g} {unit}",
            concept=name,
        )
        for i, (name, first, second) in enumerate(texts)
    ]
    points = sorted(points, key=lambda point: -abs(point.y - point.x))[:MOST_MARKS]
    return Chart(
        identifier,
        f"{quantity(len(rows), 'concept')}: how often each is in {b} and in {a}.",
        (
            Axis(low=zero - 0.35, high=high, title=f"{b}: {unit} →", ticks=ticks),
            Axis(low=zero - 0.35, high=high, title=f"↑ {a}: {unit}", ticks=ticks),
        ),
        draw,
        points=points,
        legend=[("s-dot s-text", f"{quantity(len(rows), 'concept')} {count_name}")],
        caption="On the line a concept is as frequent in both. Above it, it is more frequent in "
        f"{a}. Point at a mark, or use the arrow keys: they begin with the largest differences.",
    )


def tail_chart(made: LongTailSet) -> Chart:
    """Draw the classes of a long-tail set side by side, rarest first, at their audited counts."""
    table = made.classes[made.classes["included"].astype(bool)]
    sides = [name for name in SIDES if bool(table[name].notna().any())]
    table = table.sort_values([*reversed(sides), "concept"], kind="stable").reset_index(drop=True)
    names = table["concept"].astype("str").tolist()
    counts = {name: pd.to_numeric(table[name]).to_numpy(np.float64) for name in sides}
    highest = max((float(np.nanmax(values)) for values in counts.values()), default=1.0)
    top = math.log10(max(highest, 10.0)) + 0.1
    places = list(map(float, range(len(names))))

    def draw(canvas: Canvas) -> None:
        gap, (left, _, right, bottom) = canvas.py(ZERO_GAP), canvas.box
        canvas.stroke("gap", [(left, gap), (right, gap)])
        for name, values in counts.items():
            known = np.flatnonzero(np.isfinite(values))
            ys = log_places(values[known], ZERO)
            # beside each other, because counts of the tail are often equal
            xs = known + 0.15 * (list(counts).index(name) - 1)
            canvas.dots(xs.tolist(), ys.tolist(), STYLES[name])
        if len(names) <= (MOST_NAMES_NARROW if canvas.narrow else MOST_NAMES):
            for place, name in zip(places, names, strict=True):
                canvas.label(name, canvas.px(place), bottom - 4, "column-name", upright=True)

    points = [
        Point(
            x=place,
            y=math.log10(values[i]) if values[i] > 0 else ZERO,
            text=f"{names[i]}\n{count(values[i])} {SIDES[side][1]}",
            concept=names[i],
        )
        for i, place in enumerate(places)
        for side, values in counts.items()
        if np.isfinite(values[i])
    ]
    return Chart(
        "tail-classes",
        f"Counts of the {quantity(len(names), 'class')} of a long-tail set in the audited data.",
        (
            Axis(low=-0.7, high=len(names) - 0.3, title="classes, rarest first →", ticks=()),
            Axis(
                low=ZERO - 0.5,
                high=top,
                title="↑ samples in which the class occurs",
                ticks=((ZERO, "0"), *log_ticks(0, top)),
            ),
        ),
        draw,
        points=points,
        legend=[(f"s-dot {STYLES[name]}", SIDES[name][1]) for name in sides],
    )
