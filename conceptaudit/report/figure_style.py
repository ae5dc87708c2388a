"""What all figures for papers share: fonts, colours, markers, and writing them whole.

Datasets differ in marker as well as in colour (Okabe and Ito's palette), so that a figure also
reads in black and white.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from conceptaudit.artifacts import whole_file
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FORMATS = (".png", ".svg", ".pdf")
DPI = 200

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C6D31")
MARKERS: tuple[Any, ...] = (
    *("o", "^", "s", "v", "D", "<", "P", ">", "X", "p", "*", "h", "d"),
    (4, 1, 0),
    (6, 1, 0),
)
"""Seven colours and fifteen markers have no common divisor: 105 pairs before one repeats."""

STRIP = 0.9
"""Distance, in decades, of the strip of zeros from the lowest frequency on the axis."""

Styles = dict[str, tuple[str, Any]]
"""Colour and marker by dataset."""

_SETTINGS: Any = {
    "svg.hashsalt": "conceptaudit",  # the same numbers give the same bytes
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.linewidth": 0.7,
}


def write_figure(
    path: Path | str, size: tuple[float, float], draw: "Callable[[Figure], None]"
) -> Path:
    """Draw a figure and write it whole, in the format that the file's ending names."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    target = Path(path)
    ending = target.suffix.lower()
    if ending not in FORMATS:
        raise ConfigError(
            f"A figure's file must end in one of {list(FORMATS)}. Got {target.name!r} instead."
        )
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        with whole_file(target) as partial:
            figure.savefig(partial, format=ending[1:], dpi=DPI, metadata=dates.get(ending))
    return target


def dataset_styles(datasets: Iterable[object]) -> Styles:
    """Give each dataset a colour and a marker, the same in every panel and figure."""
    names = sorted({str(name) for name in datasets})
    return {
        name: (COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)])
        for index, name in enumerate(names)
    }


def scatter_datasets(
    axis: "Axes",
    x: FloatArray,
    y: FloatArray,
    datasets: "Sequence[object] | pd.Series[Any]",
    styles: Styles,
) -> None:
    """Draw a mark per row, in the colour and shape of its dataset."""
    names = np.asarray(datasets).astype(str)
    for name, (colour, marker) in styles.items():
        rows = names == name
        # rasterized: thousands of marks would make a PDF slow to open
        axis.scatter(
            x[rows], y[rows], s=11, c=colour, marker=marker, alpha=0.5, linewidths=0,
            rasterized=True, zorder=2,
        )  # fmt: skip


def dataset_handles(styles: Styles, unnamed: str) -> "list[Line2D]":
    """Make the legend's entries of datasets; one without a name is called `unnamed`."""
    from matplotlib.lines import Line2D

    return [
        Line2D(
            [], [], linestyle="none", marker=marker, color=colour, markersize=5.5,
            label=plain(name) or unnamed,
        )
        for name, (colour, marker) in styles.items()
    ]  # fmt: skip


def panel_grid(figure: "Figure", n_panels: int, columns: int, **shared: Any) -> "list[Axes]":
    """Return the axes of `n_panels` panels in rows of `columns`; what is left over is hidden."""
    n_rows = -(-n_panels // columns)
    axes = list(np.atleast_1d(figure.subplots(n_rows, columns, squeeze=False, **shared)).ravel())
    for axis in axes[n_panels:]:
        axis.set_visible(False)
    return axes[:n_panels]


def plain(text: str) -> str:
    """Return a name as matplotlib must be given it: no text of a user's is mathematics."""
    return text.replace("$", r"\$")


def shortened(text: str, length: int) -> str:
    """Cut a name to at most `length` characters, the last of them an ellipsis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def tidy_axes(axis: "Axes", *, grid: Literal["x", "y", "both"] = "y") -> None:
    """Take the box away and draw a faint grid behind the marks."""
    axis.grid(axis=grid, color="0.88", linewidth=0.6, zorder=0)
    axis.set_axisbelow(True)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def count_places(counts: FloatArray) -> tuple[FloatArray, float, float | None]:
    """Place counts on a log axis, zeros in a strip of their own at its left."""
    positive = counts > 0
    lowest = np.floor(np.log10(counts[positive].min())) if positive.any() else 0.0
    if positive.all():
        return np.log10(counts), float(lowest), None
    lowest = min(lowest, 0.0)
    strip = lowest - STRIP
    places = np.full(len(counts), strip)
    np.log10(counts, out=places, where=positive)
    # Zeros would all lie on one vertical line: spread them by a fixed pattern, not at random.
    spread = np.modf(np.arange(len(counts)) * 0.6180339887)[0] - 0.5
    return np.where(positive, places, strip + 0.5 * spread), float(lowest), float(strip)


def log_axis(axis: "Axes", lowest: float, highest: float, strip: float | None) -> None:
    """Label decades of a frequency axis, with a strip for zeros at its left where there are any."""
    decades = np.arange(lowest, np.floor(highest) + 1)
    step = max(1, -(-len(decades) // 8))
    ticks = [(float(d), f"$10^{{{int(d)}}}$") for d in decades[::step]]
    if strip is not None:
        ticks.insert(0, (strip, "0"))
        axis.axvline(strip + 0.45, color="0.3", linewidth=0.7, linestyle=(0, (4, 3)), zorder=1)
        axis.axvspan(strip - 0.4, strip + 0.45, color="0.94", linewidth=0, zorder=0)
    left = strip - 0.4 if strip is not None else lowest - 0.15
    axis.set_xlim(left, highest + 0.25)
    axis.set_xticks([place for place, _ in ticks], [text for _, text in ticks])
    minor = (decades[:, None] + np.log10(np.arange(2, 10))).ravel()
    axis.set_xticks(minor[minor < highest + 0.25], minor=True)
