"""Figures that take a fit apart: every dataset for itself, and the slopes side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.curves import Curve, ModelFit
from conceptaudit.curves.records import DatasetSlope
from conceptaudit.display import quantity
from conceptaudit.report.curve_figures import count_name, draw_population
from conceptaudit.report.figure_style import (
    count_places,
    dataset_styles,
    log_axis,
    panel_grid,
    plain,
    shortened,
    tidy_axes,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
NAME_LENGTH = 26
MAX_MODELS = 12


def draw_datasets(curve: Curve, path: Path | str, *, model: str | None = None) -> Path:
    """Draw one panel per dataset: its concepts, its own line, and the curve of all datasets."""
    fit = curve.select(model)[0]
    rows = curve.points_of(fit)
    slopes = fit.effects.slopes
    styles = dataset_styles(one.dataset for one in slopes)
    columns = min(COLUMNS, len(slopes))
    _, lowest, strip = count_places(rows["count"].to_numpy(np.float64))
    highest = float(np.log10(max(rows["count"].max(), 10.0)))

    def draw(figure: "Figure") -> None:
        panels = panel_grid(figure, len(slopes), columns, sharex=True, sharey=True)
        for number, (axis, one) in enumerate(zip(panels, slopes, strict=True)):
            axis.set_ylim(-0.03, 1.03)
            log_axis(axis, lowest, highest, strip)
            tidy_axes(axis)
            _draw_dataset(axis, curve, fit, one, styles[one.dataset], strip)
            if number % columns == 0:
                axis.set_ylabel(plain(fit.metric))
            # shared axes label only the last row, which need not be full
            axis.tick_params(labelbottom=number + columns >= len(slopes))
        # one panel is narrower than the title
        pause = "\n" if columns == 1 else " "
        figure.suptitle(
            plain(f"{fit.label}:{pause}each dataset's own line (colour)")
            + f"{pause}and the curve of all (black)",
            fontsize=10,
        )
        figure.supxlabel(plain(count_name(curve.count)), fontsize=9)

    return write_figure(path, (3.0 * columns + 0.4, 2.6 * -(-len(slopes) // columns) + 0.8), draw)


def _draw_dataset(
    axis: "Axes",
    curve: Curve,
    fit: ModelFit,
    one: DatasetSlope,
    style: tuple[str, Any],
    strip: float | None,
) -> None:
    rows = curve.points_of(fit)
    rows = rows[rows["dataset"] == one.dataset]
    counts = rows["count"].to_numpy(np.float64)
    accuracy = rows["accuracy"].to_numpy(np.float64)
    x, _, own_strip = count_places(counts)
    if own_strip is not None and strip is not None:
        x = np.where(counts > 0, x, x - own_strip + strip)
    colour, marker = style
    axis.scatter(
        x, accuracy, s=12, c=colour, marker=marker, alpha=0.55, linewidths=0, rasterized=True
    )
    draw_population(axis, curve, fit, strip)
    if np.isfinite(one.slope) and bool((counts > 0).any()):
        # The dataset's line passes through its means, in decades of the fit's own x axis.
        shift = 1.0 if curve.zero_policy == "log1p" else 0.0
        decades = np.log10(np.maximum(counts + shift, 1.0))
        ends = np.linspace(np.log10(counts[counts > 0].min()), np.log10(counts.max()), 60)
        at = np.log10(10.0**ends + shift)
        axis.plot(
            ends,
            one.mean_accuracy + one.slope * (at - decades.mean()),
            color=colour,
            linewidth=2.2,
            zorder=5,
        )
    slope = f"{one.slope:+.3f} per decade" if np.isfinite(one.slope) else "no slope"
    axis.set_title(
        f"{plain(shortened(one.dataset or 'one dataset', NAME_LENGTH))}\nn {one.n:,}, {slope}",
        fontsize=8,
        loc="left",
    )


def draw_slopes(curve: Curve, path: Path | str) -> Path:
    """Draw a forest plot: the slope of every dataset, within datasets, between them, and pooled."""
    fits = curve.fits[:MAX_MODELS]
    columns = min(3, len(fits))
    n_lines = max(len(fit.effects.slopes) for fit in fits) + 4

    def draw(figure: "Figure") -> None:
        for axis, fit in zip(panel_grid(figure, len(fits), columns), fits, strict=True):
            _draw_forest(axis, fit)
        told = (
            f"{MAX_MODELS} of {quantity(len(curve.fits), 'model')} shown; "
            if len(curve.fits) > len(fits)
            else ""
        )
        figure.suptitle(
            f"{told}accuracy per decade of frequency, {curve.level:.0%} intervals", fontsize=10
        )

    return write_figure(
        path, (4.6 * columns, (0.21 * n_lines + 0.9) * -(-len(fits) // columns) + 0.5), draw
    )


def _draw_forest(axis: "Axes", fit: ModelFit) -> None:
    effects, line = fit.effects, fit.line
    styles = dataset_styles(one.dataset for one in effects.slopes)
    known = [one for one in effects.slopes if np.isfinite(one.slope)]
    ordered = sorted(known, key=lambda one: one.slope)
    labels: list[str] = []
    for place, one in enumerate(ordered):
        colour, marker = styles[one.dataset]
        axis.plot([one.slope_low, one.slope_high], [place] * 2, color=colour, linewidth=1.3)
        # the area of a mark is proportional to the concepts behind it
        area = 14 + 60 * one.n / max(other.n for other in ordered)
        axis.scatter([one.slope], [place], s=area, c=colour, marker=marker, zorder=3, linewidths=0)
        labels.append(plain(shortened(f"{one.dataset or 'one dataset'} ({one.n:,})", NAME_LENGTH)))
    summaries = [
        (
            "within datasets",
            effects.slope_within,
            effects.slope_within_low,
            effects.slope_within_high,
        ),
        ("between datasets", effects.slope_between, np.nan, np.nan),
        ("curve of all", line.slope, line.slope_low, line.slope_high),
    ]
    start = len(ordered) + 0.6
    axis.axhline(len(ordered) - 0.2, color="0.7", linewidth=0.7)
    places = list(range(len(ordered)))
    heights: list[float] = [float(place) for place in places]
    for number, (name, value, low, high) in enumerate(summaries):
        if not np.isfinite(value):
            continue
        height = start + number
        axis.plot([low, high], [height] * 2, color="black", linewidth=2.0)
        axis.plot([value], [height], marker="D", color="black", markersize=6)
        heights.append(height)
        labels.append(name)
    axis.axvline(0.0, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axis.set_yticks(heights, labels, fontsize=7.5)
    axis.set_ylim(-0.7, max(heights) + 0.7)
    tidy_axes(axis, grid="x")
    told = (
        f"{effects.n_negative} of {effects.n_sloped} negative; "
        f"within datasets p = {effects.p_within:.3g}"
    )
    axis.set_title(
        f"{plain(shortened(fit.label, 44))}\n{told}",
        fontsize=8.5,
        loc="left",
    )
