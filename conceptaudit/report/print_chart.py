"""The charts of the pages as PDF, SVG or PNG: the same marks, drawn by matplotlib.

So a figure in a paper is the figure of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.report.chart import NARROW, WIDE, Chart, Label, Stroke
from conceptaudit.report.figure_style import plain, write_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, FULL = 84.0, 174.0
"""Widths in millimetres of one column and of two, as most journals have them."""

WIDE_FROM = 120.0
"""Width in millimetres from which the wide drawing is taken."""

MM = 25.4
INK, MUTED, RULE = "#1b1d20", "#5a6068", "#dcdcd6"
BLUE, ORANGE = "#0a5ea8", "#b8500a"
SIDES = {"s-text": BLUE, "s-image": ORANGE, "s-joint": INK, "s-fitted": BLUE}
"""Colours of the style sheet on white paper."""

STYLES: dict[str, dict[str, Any]] = {
    "band": {"facecolor": INK, "alpha": 0.13, "linewidth": 0},
    "held": {"facecolor": "white", "edgecolor": ORANGE, "zorder": 3},
    "whiskers": {"edgecolor": ORANGE, "alpha": 0.4, "linewidth": 1},
    "axis": {"edgecolor": MUTED, "linewidth": 1},
    "grid": {"edgecolor": RULE, "linewidth": 1, "zorder": 0},
    "gap": {"edgecolor": MUTED, "linewidth": 1, "linestyle": (0, (1, 4))},
    "factor": {"edgecolor": MUTED, "linewidth": 1, "linestyle": (0, (2, 3))},
}
"""Outlines that differ from a line in the colour of its side."""

LEGEND_ROW = 16.0
"""SVG units that a row of the legend takes."""


def write_chart(chart: Chart, path: Path | str, *, width: float = COLUMN) -> Path:
    """Draw a chart to a file of a width in millimetres; its ending names the format."""
    return write_charts([chart], path, width=width)


def write_charts(
    charts: Sequence[Chart], path: Path | str, *, width: float = COLUMN, columns: int = 1
) -> Path:
    """Draw charts side by side, each as wide as `width` (in millimetres) says."""
    size = WIDE if width >= WIDE_FROM else NARROW
    heads = [LEGEND_ROW * len(chart.legend) + (6 if chart.legend else 0) for chart in charts]
    rows = -(-len(charts) // columns)
    tall = size[1] + max(heads)
    inches = width / MM

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        for number, (chart, head) in enumerate(zip(charts, heads, strict=True)):
            row, column = divmod(number, columns)
            place = (column / columns, 1 - (row + 1) / rows, 1 / columns, 1 / rows)
            axes = figure.add_axes(place)
            axes.set_xlim(0, size[0])
            axes.set_ylim(size[1], size[1] - tall)
            axes.axis("off")
            pen = _Pen(axes, points=inches * 72 / size[0])
            for line, (kind, text) in enumerate(chart.legend):
                pen.key(kind, text, 8 - head + LEGEND_ROW * line)
            for mark in chart.drawing(size).marks:
                pen.draw(mark)

    return write_figure(path, (columns * inches, rows * inches * tall / size[0]), draw)


class _Pen:
    """Draws marks on axes in SVG units; `points` is how many points such a unit has."""

    def __init__(self, axes: Axes, points: float) -> None:
        self.axes, self.points = axes, points

    def draw(self, mark: Stroke | Label) -> None:
        if isinstance(mark, Label):
            self._label(mark)
        elif mark.is_dots:
            self._dots(mark)
        elif mark.parts:
            self._outline(mark)

    def key(self, kind: str, text: str, y: float) -> None:
        """Draw a row of the legend."""
        if kind == "s-held":
            self._outline(Stroke("held", (((18, y - 5), (23, y), (18, y + 5), (13, y)),), True))
        elif kind.startswith(("s-fitted", "s-dot")):
            self._dots(Stroke(f"dots {kind}", (((18, y),),)))
        else:
            self._outline(Stroke(f"line {kind}", (((6, y), (30, y)),)))
        self.axes.text(38, y, plain(text), size=11 * self.points, color=INK, va="center")

    def _label(self, label: Label) -> None:
        kinds = label.kind.split()
        self.axes.text(
            label.x,
            label.y,
            plain(label.text),
            size=(9.5 if "column-name" in kinds else 11.5) * self.points,
            color=INK if "title" in kinds else MUTED,
            weight="bold" if "title" in kinds else "normal",
            ha="right" if "end" in kinds else "center" if "middle" in kinds else "left",
            va="center" if label.upright else "baseline",
            rotation=90 if label.upright else 0,
            rotation_mode="anchor",
        )

    def _dots(self, mark: Stroke) -> None:
        kinds = mark.kind.split()
        radius = (4.5 if "small" in kinds else 7.0) * self.points
        alpha = 0.45 if "see-through" in kinds else 1.0
        xs, ys = ([part[0][axis] for part in mark.parts] for axis in (0, 1))
        self.axes.scatter(xs, ys, s=radius**2, color=_side(kinds), linewidths=0, alpha=alpha)

    def _outline(self, mark: Stroke) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Outline

        kinds = mark.kind.split()
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": _side(kinds), "linewidth": 1.6}
        if own := next((STYLES[kind] for kind in STYLES if kind in kinds), None):
            style |= own
        elif "s-image" in kinds and "zeros" not in kinds:
            style["linestyle"] = (0, (4, 2))
        style["linewidth"] *= self.points * 1.2
        parts = [Outline(part, closed=False) for part in mark.parts]
        if mark.closed:
            parts = [Outline([*part, part[0]], closed=True) for part in mark.parts]
        self.axes.add_patch(PathPatch(Outline.make_compound_path(*parts), **style))


def _side(kinds: Sequence[str]) -> str:
    """Colour of the side of the data that a mark is about."""
    return next((colour for kind, colour in SIDES.items() if kind in kinds), INK)
