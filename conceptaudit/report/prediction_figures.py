"""Figures that judge predictions: on concepts that neither curve nor intervals had seen."""

from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.curves.cross_validation import residual_table
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.frequency.intervals import wilson_interval
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

MAX_MODELS = 6
NAME_LENGTH = 26


def draw_predicted(held: pd.DataFrame, path: Path | str) -> Path:
    """Draw predicted against observed accuracy, a panel per model."""

    def panel(axis: "Axes", rows: pd.DataFrame, styles: Styles) -> None:
        _points(axis, rows["predicted"], rows, "accuracy", styles)
        axis.plot([0, 1], [0, 1], color="black", linewidth=1.2, zorder=4)
        error = rows["residual"].abs().mean()
        total = ((rows["accuracy"] - rows["accuracy"].mean()) ** 2).sum()
        explained = 1.0 - (rows["residual"] ** 2).sum() / total if total > 0 else np.nan
        _title(axis, rows, f"mean error {100 * error:.1f} points, R² {explained:.2f}")
        axis.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="predicted accuracy")
        axis.set_aspect("equal")
        tidy_axes(axis, grid="both")

    return _draw(held, path, panel, "observed accuracy, held-out concepts")


def draw_residuals(held: pd.DataFrame, path: Path | str) -> Path:
    """Draw residuals against frequency, with their mean and the band that holds nine in ten."""

    def panel(axis: "Axes", rows: pd.DataFrame, styles: Styles) -> None:
        counts = rows["count"].to_numpy(np.float64)
        places, lowest, strip = count_places(counts)
        _points(axis, pd.Series(places, index=rows.index), rows, "residual", styles)
        summed = residual_table(rows)
        for row in summed.to_dict("records"):
            middle, half = _bin_place(rows, row, strip)
            ends, mean = [middle - half, middle + half], float(row["mean"])
            axis.plot(ends, [mean, mean], color="black", linewidth=2.0)
            axis.plot([middle] * 2, [row["low"], row["high"]], color="black", linewidth=1.0)
        axis.axhline(0.0, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        log_axis(axis, lowest, float(np.log10(max(counts.max(), 10.0))), strip)
        _title(axis, rows, "bars: mean and 90 % of the residuals")
        axis.set(ylim=(-1.03, 1.03), xlabel="frequency")
        tidy_axes(axis)

    return _draw(held, path, panel, "observed minus predicted, held-out concepts")


def _bin_place(
    rows: pd.DataFrame, row: dict[Hashable, Any], strip: float | None
) -> tuple[float, float]:
    """Middle and half width of a bin of residuals on the count's log axis."""
    if strip is not None and row["x_low"] == row["x_high"] == 0.0:
        return strip, 0.25
    inside = rows["x"].between(row["x_low"], row["x_high"]) & (rows["count"] > 0)
    places = np.log10(rows.loc[inside, "count"].to_numpy(np.float64))
    if not len(places):
        return float(row["x_low"] + row["x_high"]) / 2.0, 0.2
    return float(places.mean()), 0.2


def draw_calibration(coverage: pd.DataFrame, path: Path | str, *, level: float = 0.9) -> Path:
    """Draw how often intervals hold: over levels, and dataset by dataset at one level."""
    models = list(dict.fromkeys(coverage["model"]))[:MAX_MODELS]
    single = coverage[(coverage["dataset"] != "") & np.isclose(coverage["level"], level)]
    if single.empty:
        raise DataError(
            f"The coverage table must hold rows by dataset at level {level:g}. It has the levels "
            f"{sorted(set(coverage['level']))}."
        )
    styles = dataset_styles(single["dataset"])
    height = max(3.4, 0.2 * len(styles) + 1.2)

    def draw(figure: "Figure") -> None:
        axes = panel_grid(figure, 2 * len(models), 2)
        for number, model in enumerate(models):
            _draw_levels(axes[2 * number], coverage[coverage["model"] == model], model)
            _draw_by_dataset(axes[2 * number + 1], single[single["model"] == model], level, styles)
        figure.suptitle("how often prediction intervals hold, held-out concepts", fontsize=10)

    return write_figure(path, (9.2, height * len(models) + 0.3), draw)


def _draw_levels(axis: "Axes", rows: pd.DataFrame, model: str) -> None:
    for name, part in rows[rows["dataset"] != ""].groupby("dataset"):
        del name  # a faint line each; the right panel names them
        axis.plot(part["level"], part["coverage"], color="0.75", linewidth=0.8)
    every = rows[rows["dataset"] == ""].sort_values("level")
    axis.plot([0, 1], [0, 1], color="black", linewidth=0.9, linestyle=(0, (4, 3)))
    axis.plot(every["level"], every["coverage"], color="#0072B2", linewidth=2.2, marker="o")
    lowest = max(float(every["level"].min()) - 0.1, 0.0)
    axis.set(xlim=(lowest, 1.0), ylim=(lowest, 1.0), xlabel="level", ylabel="share that holds")
    axis.set_title(
        f"{plain(shortened(model, 40))}\nall (blue) and each dataset (grey)",
        fontsize=8.5,
        loc="left",
    )
    tidy_axes(axis, grid="both")


def _draw_by_dataset(axis: "Axes", rows: pd.DataFrame, level: float, styles: Styles) -> None:
    ordered = rows.sort_values("coverage").reset_index(drop=True)
    for place, row in enumerate(ordered.to_dict("records")):
        colour, marker = styles[row["dataset"]]
        low, high = wilson_interval(round(row["coverage"] * row["n"]), row["n"])
        axis.plot([low, high], [place] * 2, color=colour, linewidth=1.3)
        axis.plot([row["coverage"]], [place], marker=marker, color=colour, markersize=6)
    names = [
        plain(shortened(f"{row['dataset']} ({row['n']:,})", NAME_LENGTH))
        for row in ordered.to_dict("records")
    ]
    axis.axvline(level, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), zorder=0)
    axis.set_yticks(range(len(names)), names, fontsize=7.5)
    axis.set_xlim(right=1.0)
    axis.set_title(
        f"intervals of {level:.0%} by dataset (concepts)\nlines: 90 % interval of the share",
        fontsize=8.5,
        loc="left",
    )
    tidy_axes(axis, grid="x")


def _points(
    axis: "Axes", x: "pd.Series[float]", rows: pd.DataFrame, column: str, styles: Styles
) -> None:
    places, values = np.asarray(x, np.float64), np.asarray(rows[column], np.float64)
    scatter_datasets(axis, places, values, rows["dataset"], styles)


def _title(axis: "Axes", rows: pd.DataFrame, told: str) -> None:
    name = plain(shortened(str(rows["model"].iloc[0]), 44))
    axis.set_title(f"{name}\n{quantity(len(rows), 'concept')}; {told}", fontsize=8.5, loc="left")


def _draw(held: pd.DataFrame, path: Path | str, panel: Any, y_label: str) -> Path:
    """Lay out a panel per model with one legend of the datasets."""
    known = held[held["predicted"].notna()]
    if known.empty:
        raise DataError("There is no held-out prediction to draw.")
    styles = dataset_styles(known["dataset"])
    models = list(dict.fromkeys(known["model"]))
    shown = models[:MAX_MODELS]
    columns = min(3, len(shown))

    def draw(figure: "Figure") -> None:
        for number, (axis, model) in enumerate(
            zip(panel_grid(figure, len(shown), columns), shown, strict=True)
        ):
            panel(axis, known[known["model"] == model], styles)
            if number % columns == 0:
                axis.set_ylabel(y_label)
        figure.legend(
            handles=dataset_handles(styles, "–"),
            loc="outside lower center",
            ncols=max(2, int(1.9 * columns)),
            fontsize=7.5,
            frameon=False,
        )
        if len(models) > len(shown):
            figure.suptitle(f"{len(shown)} of {quantity(len(models), 'model')} shown", fontsize=9)

    n_rows = -(-len(shown) // columns)
    legend = 0.16 * -(-len(styles) // max(2, int(1.9 * columns))) + 0.3
    return write_figure(path, (4.3 * columns + 0.4, 4.7 * n_rows + legend + 0.2), draw)
