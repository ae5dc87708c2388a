"""The charts of the page, drawn for print: what the page draws, as PDF, SVG or PNG.

A chart is drawn once, as SVG; here its marks are taken over by matplotlib, so that a figure in a
paper is the figure of the page.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from conceptaudit.report.figure_style import plain, write_figure
from conceptaudit.report.svg import NARROW, WIDE, Chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN, FULL = 84.0, 174.0
"""Widths in millimetres of one column and of two, as most journals have them."""

MM = 25.4
INK, MUTED, RULE = "#1b1d20", "#5a6068", "#dcdcd6"
SIDES = {"s-text": "#0a5ea8", "s-image": "#b8500a", "s-joint": INK, "s-fitted": "#0a5ea8"}
HELD = SIDES["s-image"]

_PATH = re.compile(r"([MLHVhvlZ])([^MLHVhvlZ]*)")
_ROTATED = re.compile(r"rotate\((-?[\d.]+)")

LEGEND_ROW = 16.0
"""SVG units that a row of the legend takes."""


def write_chart(chart: Chart, path: Path | str, *, width: float = COLUMN) -> Path:
    """Draw a chart of the page as a file.

    Parameters
    ----------
    chart : Chart
    path : Path or str
        Ends in ``.pdf``, ``.svg`` or ``.png``.
    width : float, default 84
        In millimetres; from 120 on the wide drawing is taken.

    Raises
    ------
    ConfigError, DataError
        The ending names no format, or the file cannot be written.
    """
    size = WIDE if width >= 120 else NARROW
    head = LEGEND_ROW * len(chart.legend) + (6 if chart.legend else 0)
    inches = width / MM
    drawing = ET.fromstring(str(chart.drawing(size)))  # noqa: S314 -- drawn here

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, size[0])
        axes.set_ylim(size[1], -head)
        axes.axis("off")
        pen = _Pen(axes, points=inches * 72 / size[0])
        for row, (kind, text) in enumerate(chart.legend):
            pen.key(kind, text, 8 - head + LEGEND_ROW * row)
        for element in drawing:
            pen.take(element)

    return write_figure(path, (inches, inches * (size[1] + head) / size[0]), draw)


class _Pen:
    """Takes marks over; `points` is how many points an SVG unit has."""

    def __init__(self, axes: Axes, points: float) -> None:
        self.axes, self.points = axes, points

    def take(self, element: ET.Element) -> None:
        kinds = set((element.get("class") or "").split())
        if element.tag == "text":
            self._text(element, kinds)
        elif element.tag == "path" and element.get("d") and "focus" not in kinds:
            self._path(element.get("d") or "", kinds)

    def key(self, kind: str, text: str, y: float) -> None:
        """Draw a row of the legend."""
        if kind == "s-held":
            self._path(f"M18 {y - 5}l5 5l-5 5l-5 -5Z", {"held"})
        elif kind == "s-fitted":
            self._path(f"M18 {y}h0", {"dots", kind})
        else:
            self._path(f"M6 {y}H30", {"line", kind})
        self.axes.text(38, y, plain(text), size=11 * self.points, color=INK, va="center")

    def _text(self, element: ET.Element, kinds: set[str]) -> None:
        turned = _ROTATED.match(element.get("transform") or "")
        anchor = "right" if "end" in kinds else "center" if "middle" in kinds else "left"
        self.axes.text(
            float(element.get("x") or 0),
            float(element.get("y") or 0),
            plain("".join(element.itertext())),
            size=(9.5 if "column-name" in kinds else 11.5) * self.points,
            color=INK if "title" in kinds else MUTED,
            weight="bold" if "title" in kinds else "normal",
            ha=anchor,
            va="center" if turned else "baseline",
            rotation=-float(turned[1]) if turned else 0,
            rotation_mode="anchor",
        )

    def _path(self, d: str, kinds: set[str]) -> None:
        from matplotlib.patches import PathPatch
        from matplotlib.path import Path as Outline

        places, codes = _outline(d, Outline)
        if not places:
            return
        side = next((SIDES[kind] for kind in SIDES if kind in kinds), INK)
        style: dict[str, Any] = {"facecolor": "none", "edgecolor": side, "linewidth": 1.6}
        if "dots" in kinds:
            radius = 4.5 if "small" in kinds else 7.0
            points = places[::2]
            self.axes.scatter(
                [x for x, _ in points], [y for _, y in points], color=side, linewidths=0,
                s=(radius * self.points) ** 2, alpha=0.45 if "see-through" in kinds else 1.0,
            )  # fmt: skip
            return
        if "band" in kinds:
            style = {"facecolor": INK, "alpha": 0.13, "linewidth": 0}
        elif "held" in kinds:
            style |= {"facecolor": "white", "edgecolor": HELD, "zorder": 3}
        elif "whiskers" in kinds:
            style |= {"edgecolor": HELD, "alpha": 0.4, "linewidth": 1}
        elif "axis" in kinds:
            style |= {"edgecolor": MUTED, "linewidth": 1}
        elif "grid" in kinds:
            style |= {"edgecolor": RULE, "linewidth": 1, "zorder": 0}
        elif "gap" in kinds:
            style |= {"edgecolor": MUTED, "linewidth": 1, "linestyle": (0, (1, 4))}
        elif "factor" in kinds:
            style |= {"edgecolor": MUTED, "linewidth": 1, "linestyle": (0, (2, 3))}
        elif "s-image" in kinds and "zeros" not in kinds:
            style["linestyle"] = (0, (4, 2))
        style["linewidth"] *= self.points * 1.2
        self.axes.add_patch(PathPatch(Outline(places, codes), **style))


def _outline(d: str, outline: Any) -> tuple[list[tuple[float, float]], list[int]]:
    """Read the few commands that the page's charts use."""
    places: list[tuple[float, float]] = []
    codes: list[int] = []
    x = y = 0.0
    start = (0.0, 0.0)
    for command, text in _PATH.findall(d):
        numbers = [float(one) for one in text.replace(",", " ").split()]
        if command == "Z":
            places.append(start)
            codes.append(outline.CLOSEPOLY)
            continue
        if command in "Hh":
            x = numbers[0] + (x if command == "h" else 0.0)
        elif command in "Vv":
            y = numbers[0] + (y if command == "v" else 0.0)
        elif command == "l":
            x, y = x + numbers[0], y + numbers[1]
        else:
            x, y = numbers[0], numbers[1]
        if command == "M":
            start = (x, y)
        places.append((x, y))
        codes.append(outline.MOVETO if command == "M" else outline.LINETO)
    return places, codes
