"""The figure of a comparison: how often each concept is in one dataset, against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.frequency.comparing import Comparison
from conceptaudit.report.figure_style import (
    count_places,
    dataset_styles,
    panel_grid,
    plain,
    shortened,
    tidy_axes,
    write_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMED = 3
"""Concepts named per panel on either side of the diagonal."""

SIZE = 4.6
TITLES = {
    "n_text": "in captions",
    "n_image": "in images",
    "n_joint": "in caption and image",
    "n_image_corrected": "in images, corrected",
    "n_joint_corrected": "in caption and image, corrected",
}


def draw_comparison(found: Comparison, path: Path | str) -> Path:
    """Draw a panel per count and dataset: rates against those of the baseline, on log axes.

    Zeros stand in strips of their own. On the diagonal a concept is as frequent in both.

    Raises
    ------
    ConfigError, DataError
        The ending names no format, or the file cannot be written.
    """
    panels = [
        (key, _places(rows))
        for key, rows in found.concepts.groupby(["dataset", "count"], sort=False)
    ]
    styles = dataset_styles(found.concepts["dataset"])
    columns = min(len(panels), 3)

    def draw(figure: Figure) -> None:
        axes = panel_grid(figure, len(panels), columns)
        for axis, ((dataset, count), rows) in zip(axes, panels, strict=True):
            _panel(axis, rows, str(dataset), str(count), styles[str(dataset)][0])

    return write_figure(path, (SIZE * columns, SIZE * -(-len(panels) // columns)), draw)


def _panel(axis: Axes, rows: pd.DataFrame, dataset: str, count: str, colour: str) -> None:
    rates = [rows[name].to_numpy(np.float64) for name in ("at_baseline", "at")]
    positive = np.concatenate(rates)[np.concatenate(rates) > 0]
    least = np.floor(np.log10(positive.min())) if len(positive) else 0.0
    x, lowest_x, strip_x = count_places(rates[0] / 10.0**least)
    # in another order, so that zeros of both do not lie on one line
    order = np.random.default_rng(0).permutation(len(rows))
    places, lowest_y, strip_y = count_places(rates[1][order] / 10.0**least)
    y = places[np.argsort(order)]
    lowest, highest = min(lowest_x, lowest_y), float(max(x.max(), y.max()))
    axis.axline((0, 0), slope=1, color="0.3", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    axis.scatter(x, y, s=12, c=colour, alpha=0.5, linewidths=0, rasterized=True, zorder=2)
    tidy_axes(axis, grid="both")
    decades = np.arange(np.ceil(lowest), np.floor(highest) + 1)
    for which, strip in (("x", strip_x), ("y", strip_y)):
        shown = decades[:: max(1, len(decades) // 6)]
        ticks = [(float(d), f"$10^{{{int(d + least)}}}$") for d in shown]
        if strip is not None:
            ticks.insert(0, (strip, "0"))
            span = axis.axvspan if which == "x" else axis.axhspan
            span(strip - 0.4, strip + 0.45, color="0.94", linewidth=0, zorder=0)
        place = axis.set_xticks if which == "x" else axis.set_yticks
        place([at for at, _ in ticks], [text for _, text in ticks])
        limit = axis.set_xlim if which == "x" else axis.set_ylim
        limit((lowest - 0.15) if strip is None else strip - 0.4, highest + 0.35)
    _name_ends(axis, rows, x, y)
    baseline = shortened(str(rows["baseline"].iloc[0]), 30)
    unit = "samples" if rows["per_million"].isna().any() else "per million samples"
    axis.set_xlabel(plain(f"{baseline}: {unit}"))
    axis.set_ylabel(plain(f"{shortened(dataset, 30)}: {unit}"))
    axis.set_title(f"{quantity(len(rows), 'concept')} {TITLES.get(count, count)}", fontsize=9)


def _places(rows: pd.DataFrame) -> pd.DataFrame:
    """Add where each concept is drawn: at its rates, or its counts where a total is unknown."""
    known = rows["per_million"].notna().all() and rows["per_million_baseline"].notna().all()
    names = ("per_million", "per_million_baseline") if known else ("n", "n_baseline")
    return rows.assign(at=rows[names[0]], at_baseline=rows[names[1]])


def _name_ends(axis: Axes, rows: pd.DataFrame, x: np.ndarray, y: np.ndarray) -> None:
    """Name the concepts that differ most: most surely, or in rank where there is no test."""
    apart = (rows["rank"] - rows["rank_baseline"]).to_numpy(np.float64)
    if tested := bool(rows["p"].notna().all()):
        # a thousandth per million keeps zeros finite, and in the order of the other side
        rates = (rows[["per_million", "per_million_baseline"]] + 1e-3).to_numpy(np.float64)
        apart = np.log(rates[:, 0] / rates[:, 1])
    above = apart > 0
    # of concepts that are as sure, as in tables of millions most are, the furthest apart
    order = np.lexsort((-np.abs(apart), rows["p"].to_numpy(np.float64)))
    sure = rows["q"].to_numpy(np.float64) <= 0.05 if tested else np.ones(len(rows), dtype=bool)
    for side, anchor, shift in ((above, "right", (-4, 2)), (~above, "left", (4, -6))):
        for place in [i for i in order if side[i] and sure[i]][:NAMED]:
            axis.annotate(
                plain(shortened(str(rows["concept"].iloc[place]), 20)),
                (x[place], y[place]),
                xytext=shift,
                textcoords="offset points",
                ha=anchor,
                fontsize=7,
                zorder=4,
            )
