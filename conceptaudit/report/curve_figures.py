"""Draw accuracy against frequency: every concept, the fitted line, and the published bins.

Concepts never seen stand in a strip of their own at the left, because a
log axis has no place for zero.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.counts import BOTH
from conceptaudit.curves import Curve, LineFit, ModelFit
from conceptaudit.curves.plain_words import has_interval
from conceptaudit.curves.statistics import FloatArray
from conceptaudit.display import quantity
from conceptaudit.report.figure_style import (
    Styles,
    count_places,
    dataset_handles,
    dataset_styles,
    log_axis,
    panel_grid,
    plain,
    scatter_datasets,
    shortened,
    tidy_axes,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12

TITLE_LENGTH = 46

COUNT_NAMES = {
    "n_text": "captions that name the concept",
    "n_image": "images that show the concept",
    "n_joint": "samples with the concept in caption and image",
    "n_image_corrected": "images that show the concept, corrected for errors of tags",
    "n_joint_corrected": "samples with the concept in caption and image, corrected",
    "n_image_unique": "different images that show the concept",
    "n_joint_unique": "different images that show the concept and have it in a caption",
}


def count_name(count: str) -> str:
    """Name a count for the axis of a figure; two counts at once are their geometric mean."""
    if BOTH in count:
        return f"geometric mean of {count.replace(BOTH, ' and ')}"
    return COUNT_NAMES.get(count, count)


def draw_curve(curve: Curve, path: Path | str) -> Path:
    """Draw a curve, one panel per model."""
    fits = curve.fits[:MAX_PANELS]
    columns = {1: 1, 2: 2, 4: 2}.get(len(fits), 3)
    styles = dataset_styles(curve.points["dataset"])

    def draw(figure: "Figure") -> None:
        for axis, fit in zip(panel_grid(figure, len(fits), columns), fits, strict=True):
            _panel(axis, curve, fit, styles)
        _legend(figure, curve, styles)
        if len(curve.fits) > MAX_PANELS:
            figure.suptitle(
                f"{MAX_PANELS} of {quantity(len(curve.fits), 'model')} shown", fontsize=9
            )

    size = (4.6 * columns + 0.8, 4.5 * -(-len(fits) // columns) + 1.3)
    return write_figure(path, size, draw)


def _panel(axis: "Axes", curve: Curve, fit: ModelFit, styles: Styles) -> None:
    rows = curve.points_of(fit)
    x, lowest, strip = count_places(rows["count"].to_numpy(np.float64))
    accuracy = rows["accuracy"].to_numpy(np.float64)
    scatter_datasets(axis, x, accuracy, rows["dataset"], styles)
    draw_population(axis, curve, fit, strip)
    _draw_bins(axis, fit)
    _dress(axis, curve, fit, lowest=lowest, strip=strip)


def _positions(curve: Curve, x: FloatArray) -> FloatArray:
    """Place decades of the fit's x axis on the figure's axis, which is log10 of the count."""
    if curve.zero_policy != "log1p":
        return x
    result = np.full(x.shape, -np.inf)
    np.log10(10.0**x - 1.0, out=result, where=x > 0)
    return result


def draw_population(axis: "Axes", curve: Curve, fit: ModelFit, strip: float | None) -> None:
    """Draw the population curve with its interval; at zero it stands in the strip."""
    line = fit.line
    x = np.linspace(line.x_min, line.x_max, 400)
    place = _positions(curve, x)
    low = np.interp(x, line.band_x, line.band_low)
    high = np.interp(x, line.band_x, line.band_high)
    y = np.interp(x, line.band_x, line.band_mid)
    # Under log1p the left end runs off to minus infinity: the strip shows its value at zero.
    shown = place >= (strip + 0.45 if strip is not None else -np.inf)
    axis.fill_between(
        place[shown], low[shown], high[shown], color="0.45", alpha=0.4, linewidth=0, zorder=3
    )
    for width, colour, layer in ((4.0, "white", 3.5), (1.9, "black", 4.0)):
        axis.plot(place[shown], y[shown], color=colour, linewidth=width, zorder=layer)
        if strip is not None:
            ends = [strip - 0.3, strip + 0.3]
            axis.plot(ends, [y[0]] * 2, color=colour, linewidth=width, zorder=layer)
    if strip is not None:
        axis.fill_between(
            [strip - 0.3, strip + 0.3],
            low[0],
            high[0],
            color="0.45",
            alpha=0.4,
            linewidth=0,
            zorder=3,
        )


def _draw_bins(axis: "Axes", fit: ModelFit) -> None:
    """Overlay the paper's bin means; the bins that its correlation leaves out stay hollow."""
    binned = fit.binned
    x, y = np.log10(binned.frequencies), np.array(binned.accuracies)
    kept = np.isin(np.arange(len(x)), list(binned.kept))
    for members, face in ((kept, "black"), (~kept, "white")):
        axis.plot(
            x[members],
            y[members],
            linestyle="none",
            marker="s",
            markersize=6,
            markerfacecolor=face,
            markeredgecolor="black" if face == "white" else "white",
            markeredgewidth=0.9,
            zorder=5,
        )
    halo = _halo()
    for position, value, count in zip(x, y, binned.counts, strict=True):
        if np.isfinite(value):
            axis.annotate(
                f"{count:,}",
                (position, value),
                xytext=(0, 6),
                textcoords="offset points",
                ha="center",
                fontsize=6.5,
                path_effects=halo,
                zorder=6,
            )


def _halo() -> Sequence[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=2.0, foreground="white")]


def _dress(
    axis: "Axes", curve: Curve, fit: ModelFit, *, lowest: float, strip: float | None
) -> None:
    """Set limits, ticks, labels and the numbers above a panel."""
    highest = max(
        np.log10(float(curve.points_of(fit)["count"].max())), np.log10(fit.binned.frequencies[-1])
    )
    log_axis(axis, lowest, float(highest), strip)
    axis.set_ylim(-0.03, 1.03)
    tidy_axes(axis)
    source = f" in {curve.source}" if curve.source else ""
    axis.set_xlabel(plain(f"{count_name(curve.count)}{source}"), fontsize=8.5)
    axis.set_ylabel(_metric_name(fit.metric))
    axis.set_title(_title(fit), fontsize=10, fontweight="bold", loc="left", pad=53)
    axis.text(
        0.0,
        1.02,
        _numbers(fit),
        transform=axis.transAxes,
        fontsize=7.6,
        va="bottom",
        linespacing=1.35,
    )


def _numbers(fit: ModelFit) -> str:
    line, usage, binned = fit.line, fit.usage, fit.binned
    dropped = f", {sum(usage.dropped.values()):,} dropped" if usage.dropped else ""
    return (
        f"{quantity(usage.n_used, 'concept')} used, {usage.n_zero:,} with frequency zero{dropped}\n"
        f"slope {line.slope:+.3f} per decade{_interval(line)}, "
        f"within datasets {fit.effects.slope_within:+.3f}\n"
        f"r per concept {_r(line.r)} [{_r(line.r_low)}, {_r(line.r_high)}]\n"
        f"r of bin means {_r(binned.r)}; accuracies shuffled within datasets: "
        f"{_r(binned.r_shuffled)} [{_r(binned.r_shuffled_low)}, {_r(binned.r_shuffled_high)}]"
    )


def _interval(line: LineFit) -> str:
    if not has_interval(line):
        return " (no interval)"
    return f" [{line.slope_low:+.3f}, {line.slope_high:+.3f}]"


def _r(value: float) -> str:
    return f"{value:.2f}".replace("-0.00", "0.00") if np.isfinite(value) else "undefined"


def _title(fit: ModelFit) -> str:
    """Name the model and its training data, short enough for a panel; no text is mathematics."""
    name = " · ".join(part for part in (fit.model, fit.pretraining) if part) or "model"
    return plain(shortened(name, TITLE_LENGTH))


def _metric_name(metric: str) -> str:
    """Name the y axis; readers put the prompts behind ``accuracy_``."""
    kind, _, prompts = metric.partition("_")
    if kind == "accuracy":
        return f"zero-shot accuracy ({prompts} prompts)" if prompts else "zero-shot accuracy"
    return plain(metric.replace("_", " "))


def _legend(figure: "Figure", curve: Curve, styles: Styles) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [*dataset_handles(styles, "one dataset")]
    black: dict[str, Any] = {
        "linestyle": "none",
        "marker": "s",
        "markersize": 5.5,
        "markeredgecolor": "black",
    }
    handles += [
        Line2D([], [], color="black", linewidth=1.9, label="fitted line"),
        Patch(facecolor="0.45", alpha=0.4, label=f"{curve.level:.0%} interval of the line"),
        Line2D(
            [], [], markerfacecolor="black", label="bin mean as published, with its count", **black
        ),
        Line2D([], [], markerfacecolor="white", label="bin left out as published", **black),
    ]
    width = figure.get_figwidth()
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=max(2, int(width / 2.3)),
        fontsize=7.5,
        frameon=False,
        handletextpad=0.4,
        columnspacing=1.2,
    )
