"""Figures for notebooks: what the page draws, as matplotlib shows it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conceptaudit.curves import Curve
from conceptaudit.frequency.comparing import Comparison
from conceptaudit.report.comparison_figure import draw_comparison
from conceptaudit.report.curve_figures import draw_curve
from conceptaudit.report.figures import frequency_chart
from conceptaudit.report.inputs import read_run
from conceptaudit.report.print_chart import write_chart


class Plot:
    """A figure, shown by a notebook as SVG and written by `save`.

    Parameters
    ----------
    draw : callable
        Draws it to a file whose ending names the format.
    """

    def __init__(self, draw: Callable[[Path], Any]) -> None:
        self._draw = draw

    def save(self, path: str | Path) -> Path:
        """Write it to a file ending in ``.pdf``, ``.svg`` or ``.png``."""
        self._draw(Path(path))
        return Path(path)

    def _repr_svg_(self) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "figure.svg"
            self._draw(path)
            return path.read_text(encoding="utf-8")


def plot_frequencies(folder: str | Path, *, width: float = 174.0) -> Plot:
    """Draw the counts of an audit by rank."""
    chart = frequency_chart(read_run(folder))
    return Plot(lambda path: write_chart(chart, path, width=width))


def plot_comparison(found: Comparison) -> Plot:
    """Draw rates in one dataset against those in another."""
    return Plot(lambda path: draw_comparison(found, path))


def plot_curve(curve: Curve) -> Plot:
    """Draw accuracy against frequency."""
    return Plot(lambda path: draw_curve(curve, path))
