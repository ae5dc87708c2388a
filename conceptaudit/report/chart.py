"""Charts of the pages: axes, lines, dots and bands as marks, which a template turns into SVG.

A chart is drawn twice, for a wide and for a narrow screen, because text in a scaled drawing would
become too small to read on a phone. Colours are classes of the style sheet, so that a chart
follows the reader's light or dark setting. `print_chart` draws the same marks for a paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from conceptaudit.curves.statistics import FloatArray
from conceptaudit.report.templating import render, shown

KEYS = "Arrow keys go through the points, Enter opens the concept."
WIDE = (760, 440)
NARROW = (360, 330)

Tick = tuple[float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis, in the units that are drawn (decades for counts); minor ticks have no label."""

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


@dataclass(frozen=True, slots=True)
class Stroke:
    """A mark of a chart in SVG units: places joined by lines, or single dots.

    `kind` is its class in the style sheet; `parts` are runs of places, closed where it is filled.
    """

    kind: str
    parts: tuple[tuple[tuple[float, float], ...], ...]
    closed: bool = False

    @property
    def is_dots(self) -> bool:
        """Whether each place is a dot, whose size is the style's line width."""
        return self.kind.startswith("dots")

    @property
    def path(self) -> str:
        """The mark as SVG path data."""
        end = "h0" if self.is_dots else "Z" if self.closed else ""
        return "".join(
            f"M{'L'.join(f'{x:.1f} {y:.1f}' for x, y in part)}{end}" for part in self.parts
        )


@dataclass(frozen=True, slots=True)
class Label:
    """A text of a chart at a place in SVG units; an upright one is turned by 90 degrees."""

    kind: str
    text: str
    x: float
    y: float
    upright: bool = False


@dataclass(slots=True)
class Canvas:
    """Draws one chart at one size; `x` and `y` of every mark are in axis units."""

    size: tuple[int, int]
    x: Axis
    y: Axis
    marks: list[Stroke | Label] = field(default_factory=list)

    @property
    def narrow(self) -> bool:
        """Whether this is the drawing for a phone."""
        return self.size[0] < 500

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of the plot, in SVG units."""
        longest = max((len(text) for _, text in self.y.ticks), default=0)
        left = max(52.0, 8.0 + 6.8 * longest)
        return (left, 26.0, self.size[0] - 12.0, self.size[1] - 44.0)

    def px(self, value: float) -> float:
        """Horizontal place of an x value, in SVG units."""
        left, _, right, _ = self.box
        return left + (right - left) * self.x.share(value)

    def py(self, value: float) -> float:
        """Vertical place of a y value, in SVG units."""
        _, top, _, bottom = self.box
        return bottom - (bottom - top) * self.y.share(value)

    def stroke(
        self, kind: str, *parts: Sequence[tuple[float, float]], closed: bool = False
    ) -> None:
        """Join places, in SVG units."""
        self.marks.append(Stroke(kind, tuple(map(tuple, parts)), closed))

    def label(
        self, text: str, x: float, y: float, kind: str = "", *, upright: bool = False
    ) -> None:
        """Write at a place in SVG units."""
        self.marks.append(Label(kind, text, x, y, upright))

    def name(self, text: str, x: float, y: float, *, left: bool) -> None:
        """Name a place of the chart on one side of it, unless that would hide another name."""
        width = 6.2 * len(text)
        at, height = self.px(x), self.py(y)
        if at - width < self.box[0]:
            left = False
        elif at + width > self.box[2]:
            left = True
        start = at - width - 6 if left else at + 6
        for mark in self.marks:
            if isinstance(mark, Label) and mark.kind.startswith("name"):
                other = mark.x - 6.2 * len(mark.text) if "end" in mark.kind else mark.x
                apart = start + width < other or other + 6.2 * len(mark.text) < start
                if abs(mark.y - height - 4) < 12 and not apart:
                    return
        self.label(text, at - 6 if left else at + 6, height + 4, "name end" if left else "name")

    def line(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Join places by a line."""
        self.stroke(f"line {kind}", self._places(xs, ys))

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], kind: str
    ) -> None:
        """Fill the space between two lines."""
        outline = [*self._places(xs, high), *self._places(xs[::-1], low[::-1])]
        self.stroke(f"band {kind}", outline, closed=True)

    def dots(self, xs: Sequence[float], ys: Sequence[float], kind: str) -> None:
        """Draw all dots as one path: thousands of elements would make the page slow."""
        self.stroke(f"dots {kind}", *([place] for place in self._places(xs, ys)))

    def whiskers(self, xs: Sequence[float], low: Sequence[float], high: Sequence[float]) -> None:
        """Draw upright intervals; those without finite ends are left out."""
        ends = zip(xs, low, high, strict=True)
        known = [(x, a, b) for x, a, b in ends if math.isfinite(a) and math.isfinite(b)]
        parts = ([(self.px(x), self.py(a)), (self.px(x), self.py(b))] for x, a, b in known)
        self.stroke("whiskers", *parts)

    def diamonds(self, xs: Sequence[float], ys: Sequence[float], size: float = 5.0) -> None:
        """Draw a diamond per place, which hides what lies below it."""
        for x, y in self._places(xs, ys):
            corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y)]
            self.stroke("held", corners, closed=True)

    def _places(self, xs: Sequence[float], ys: Sequence[float]) -> list[tuple[float, float]]:
        return [(self.px(x), self.py(y)) for x, y in zip(xs, ys, strict=True)]

    def draw_axes(self) -> None:
        """Add axes, grid, ticks and titles."""
        left, top, right, bottom = self.box
        self.stroke("axis", [(left, bottom), (right, bottom)])
        minor = [self.px(place) for place in self.x.minor]
        self.stroke("axis", *([(at, bottom), (at, bottom + 3)] for at in minor))
        last = -math.inf
        for place, text in self.x.ticks:
            at, half = self.px(place), 3.4 * len(text)
            self.stroke("axis", [(at, bottom), (at, bottom + 6)])
            if at - half > last + 4:  # a label that would touch the last one is left out
                self.label(text, at, bottom + 19, "tick middle")
                last = at + half
        self.label(self.x.title, right, bottom + 38, "title end")
        for place, text in self.y.ticks:
            at = self.py(place)
            self.stroke("grid", [(left, at), (right, at)])
            self.label(text, left - 6, at + 4, "tick end")
        self.label(self.y.title, 2, top - 12, "title")


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

    `label` says what it shows for those who cannot see it; `draw` adds the marks to a canvas and
    is called once per size; the arrow keys go through `points` in their order; `legend` pairs
    style classes with meanings.
    """

    identifier: str
    label: str
    axes: tuple[Axis, Axis]
    draw: Callable[[Canvas], None]
    points: Sequence[Point] = ()
    legend: Sequence[tuple[str, str]] = ()
    caption: str = ""

    def drawing(self, size: tuple[int, int]) -> Canvas:
        """Draw it at one size."""
        canvas = Canvas(size, *self.axes)
        canvas.draw_axes()
        self.draw(canvas)
        return canvas

    def __html__(self) -> str:
        """Return the figure as a page has it."""
        x, y = self.axes
        places = [
            [round(x.share(p.x), 4), round(y.share(p.y), 4), shown(p.text), p.concept]
            for p in self.points
        ]
        return render(
            "_chart.html",
            chart=self,
            drawings=[self.drawing(size) for size in (WIDE, NARROW)],
            places=places,
            label=f"{self.label} {KEYS}" if places else self.label,
        )

    def __str__(self) -> str:
        return self.__html__()


GOLDEN, SECOND = 0.6180339887, 0.4142135624
"""Steps of two patterns that have nothing in common, so that points spread by both fill a plane."""


def spread_ties(n: int, step: float = GOLDEN) -> FloatArray:
    """Offsets in [-0.5, 0.5) that set places that coincide apart, by a fixed pattern.

    Multiples of the golden ratio: neighbours are far from each other, however many there are.
    """
    return np.asarray(np.modf(np.arange(n) * step)[0] - 0.5)


def log_places(counts: FloatArray, zero: float) -> FloatArray:
    """Place counts on an axis of decades, and zeros at a place of their own."""
    places = np.full(len(counts), zero)
    np.log10(counts, out=places, where=counts > 0)
    return places
