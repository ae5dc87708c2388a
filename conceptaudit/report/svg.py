"""A small chart writer: axes, lines, dots and bands as inline SVG, styled by the page.

A chart is drawn twice, for a wide and for a narrow screen, because text in a scaled drawing would
become too small to read on a phone. Colours are classes of the style sheet, so that a chart
follows the reader's light or dark setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from conceptaudit.report.markup import Markup, data_script, el, shown

KEYS = "Arrow keys go through the points, Enter opens the concept."
WIDE = (760, 440)
NARROW = (360, 330)

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of a chart, in the units that are drawn (decades for counts).

    Parameters
    ----------
    low, high : float
        Ends of the axis.
    title : str
    ticks : tuple of (float, str)
        Labelled places.
    minor : tuple of float
        Places with a short mark.
    """

    low: float
    high: float
    title: str
    ticks: tuple[Tick, ...]
    minor: tuple[float, ...] = ()

    def share(self, value: float) -> float:
        """Place a value between the ends: 0 is low, 1 is high."""
        return (value - self.low) / (self.high - self.low)


def log_ticks(low: float, high: float, most: int = 8) -> tuple[Tick, ...]:
    """Label whole decades between two ends, at most `most` of them.

    Examples
    --------
    >>> log_ticks(0, 3.5)
    ((0.0, '1'), (1.0, '10'), (2.0, '100'), (3.0, '1,000'))
    """
    decades = range(math.ceil(low), math.floor(high) + 1)
    step = max(1, -(-len(decades) // most))
    return tuple((float(d), _decade(d)) for d in list(decades)[::step])


def log_minor(low: float, high: float) -> tuple[float, ...]:
    """Places of 2 to 9 times each decade."""
    places = (
        d + math.log10(k) for d in range(math.floor(low), math.ceil(high)) for k in range(2, 10)
    )
    return tuple(place for place in places if low <= place <= high)


def _decade(d: int) -> str:
    if d < 0:
        return f"{10.0**d:g}"
    for size, unit in ((9, "bn"), (6, "M")):
        if d >= size:
            return f"{10 ** (d - size):,} {unit}"
    return f"{10**d:,}"


@dataclass(slots=True)
class Canvas:
    """Draws one chart at one size; `x` and `y` of every mark are in axis units."""

    size: tuple[int, int]
    x: Axis
    y: Axis
    marks: list[Markup] = field(default_factory=list)

    @property
    def narrow(self) -> bool:
        """Whether this is the drawing for a phone."""
        return self.size[0] < 500

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plot."""
        return (52.0, 26.0, self.size[0] - 12.0, self.size[1] - 44.0)

    def px(self, value: float) -> float:
        """Horizontal place of an x value, in SVG units."""
        left, _, right, _ = self.box
        return left + (right - left) * self.x.share(value)

    def py(self, value: float) -> float:
        """Vertical place of a y value, in SVG units."""
        _, top, _, bottom = self.box
        return bottom - (bottom - top) * self.y.share(value)

    def add(self, name: str, *children: Any, **attributes: Any) -> None:
        """Add any SVG element."""
        self.marks.append(el(name, *children, **attributes))

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Join places by a line."""
        self.add("path", d=self._path(xs, ys), class_=f"line {kind}")

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str
    ) -> None:
        """Fill the space between two lines."""
        there, back = self._path(xs, high), self._path(xs[::-1], low[::-1])
        self.add("path", d=f"{there}L{back[1:]}Z", class_=f"band {kind}")

    def dots(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw all dots as one path; their size is the style's line width."""
        places = (f"M{self.px(x):.1f} {self.py(y):.1f}h0" for x, y in zip(xs, ys, strict=True))
        self.add("path", d="".join(places), class_=f"dots {kind}")

    def text(self, x: float, y: float, text: str, kind: str = "", **attributes: Any) -> None:
        """Write at a place."""
        self.add("text", text, x=self.px(x), y=self.py(y), class_=kind or None, **attributes)

    def _path(self, xs: Sequence[float], ys: Sequence[float]) -> str:
        places = [f"{self.px(x):.1f} {self.py(y):.1f}" for x, y in zip(xs, ys, strict=True)]
        return f"M{'L'.join(places)}"

    def svg(self, label: str) -> Markup:
        """Return the drawing with its axes."""
        width, height = self.size
        left, top, right, bottom = self.box
        kind = "narrow" if self.narrow else "wide"
        return el(
            "svg",
            el("rect", x=left, y=top, width=right - left, height=bottom - top, class_="plot"),
            self._x_axis(),
            self._y_axis(),
            self.marks,
            el("circle", r=6, class_="focus", cx=-20, cy=-20),
            viewBox=f"0 0 {width} {height}",
            role="img",
            aria_label=label,
            class_=kind,
        )

    def _x_axis(self) -> list[Markup]:
        left, _, right, bottom = self.box
        parts = [el("path", d=f"M{left} {bottom}H{right}", class_="axis")]
        minor = "".join(f"M{self.px(place):.1f} {bottom}v3" for place in self.x.minor)
        parts.append(el("path", d=minor, class_="axis"))
        last = -math.inf
        for place, text in self.x.ticks:
            at = self.px(place)
            half = 3.4 * len(text)
            parts.append(el("path", d=f"M{at:.1f} {bottom}v6", class_="axis"))
            if at - half > last + 4:
                parts.append(el("text", text, x=at, y=bottom + 19, class_="tick middle"))
                last = at + half
        title = el("text", self.x.title, x=right, y=bottom + 38, class_="title end")
        return [*parts, title]

    def _y_axis(self) -> list[Markup]:
        left, top, right, _ = self.box
        parts = []
        for place, text in self.y.ticks:
            at = self.py(place)
            parts.append(el("path", d=f"M{left} {at:.1f}H{right}", class_="grid"))
            parts.append(el("text", text, x=left - 6, y=at + 4, class_="tick end"))
        return [*parts, el("text", self.y.title, x=2, y=top - 12, class_="title")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Something that the reader can point at; it leads to its concept, where it has one."""

    x: float
    y: float
    text: str
    concept: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure of a page: two drawings, a legend, a caption and what pointing at it tells.

    Parameters
    ----------
    identifier : str
        Unique in the page.
    label : str
        What the chart shows, for those who cannot see it.
    axes : tuple of Axis
        x and y.
    draw : callable
        Adds the marks to a canvas; called once per size.
    points : sequence of Point
        In reading order: the arrow keys go through them.
    legend : sequence of (str, str)
        Style class and meaning.
    caption : node
        Below the chart.
    """

    identifier: str
    label: str
    axes: tuple[Axis, Axis]
    draw: Callable[[Canvas], None]
    points: Sequence[Point] = ()
    legend: Sequence[tuple[str, str]] = ()
    caption: Any = None

    def drawing(self, size: tuple[int, int]) -> Markup:
        """Draw it at one size, as an SVG element."""
        canvas = Canvas(size, *self.axes)
        self.draw(canvas)
        return canvas.svg(self.label)

    def __html__(self) -> str:
        """Return the figure as a page has it."""
        x, y = self.axes
        places = [
            [round(x.share(p.x), 4), round(y.share(p.y), 4), shown(p.text), p.concept]
            for p in self.points
        ]
        keys = [
            el("li", el("span", class_=f"key {kind}", aria_hidden="true"), text)
            for kind, text in self.legend
        ]
        return el(
            "figure",
            el("ul", keys, class_="legend") if keys else None,
            el(
                "div",
                [self.drawing(size) for size in (WIDE, NARROW)],
                el("output", class_="tip", hidden=True),
                class_="stage",
                id=self.identifier,
                tabindex="0" if places else None,
                role="group",
                aria_label=f"{self.label} {KEYS}" if places else self.label,
            ),
            el("figcaption", self.caption) if self.caption is not None else None,
            data_script(f"{self.identifier}-points", places) if places else None,
            class_="chart",
        )

    def __str__(self) -> str:
        return self.__html__()
