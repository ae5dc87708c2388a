"""Scale as a covariate: how slope and level of a curve change with model size, or samples seen.

Models of one curve are fitted one by one. Their slopes within datasets are regressed on the decimal
logarithm of the covariate; models share their classes and so their errors, which is why the
interval leaves out one dataset at a time, of all models at once, and not one model. With the levels
of the datasets, regressed likewise, the curve of one model becomes that of a larger or smaller one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.statistics import (
    FloatArray,
    IntArray,
    divide,
    group_means,
    jackknife_half_width,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.names import normalise_name

MIN_MODELS = 3  # two models lie on any line


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleEffect:
    """How curves change with a covariate of their models."""

    covariate: str
    models: tuple[str, ...]  # labels of the fits, in the order of the curve
    scales: tuple[float, ...]  # the covariate of each, above 0
    slopes: tuple[float, ...]  # slope of each within datasets, in accuracy per decade of frequency
    change: float  # what a slope gains per decade of the covariate, with its interval over datasets
    change_low: float
    change_high: float
    datasets: tuple[str, ...]
    centres: tuple[float, ...]  # mean of x in each dataset, about which its curve turns
    # what the mean accuracy of each dataset gains per decade of the covariate
    level_changes: tuple[float, ...]

    @property
    def sentence(self) -> str:
        """The effect in words, slopes in points of accuracy per tenfold frequency."""
        order = np.argsort(self.scales)
        first, last = int(order[0]), int(order[-1])
        return (
            f"Ten times more {self.covariate} go with {100 * self.change:+.1f} points of slope "
            f"({100 * self.change_low:+.1f} to {100 * self.change_high:+.1f}): from "
            f"{100 * self.slopes[first]:+.1f} ({self.models[first]}) to "
            f"{100 * self.slopes[last]:+.1f} ({self.models[last]}) over "
            f"{quantity(len(self.models), 'model')}."
        )

    def nearest(self, value: float) -> str:
        """Return the label of the model whose covariate is nearest, as a ratio."""
        if not 0 < value < np.inf:
            raise ConfigError(
                f"The covariate of a model must be a number above 0. Got {value!r} instead."
            )
        return self.models[int(np.argmin(np.abs(np.log(np.array(self.scales) / value))))]

    def moved(self, table: pd.DataFrame, x: FloatArray, label: str, value: float) -> pd.DataFrame:
        """Move the predictions of a model to another value of the covariate.

        Shapes: `x` (n,). ``accuracy, low, high`` moved alike within [0, 1], and ``basis`` says so.
        """
        decades = float(np.log10(value / self.scales[self.models.index(label)]))
        known = {normalise_name(name): row for row, name in enumerate(self.datasets)}
        names = table["dataset"] if "dataset" in table else pd.Series([""] * len(table))
        rows = np.array([known.get(normalise_name(str(name)), -1) for name in names], dtype=np.intp)
        centres = np.append(self.centres, float(np.mean(self.centres)))[rows]
        levels = np.append(self.level_changes, float(np.mean(self.level_changes)))[rows]
        shift = decades * (levels + self.change * (x - centres))
        result = table.copy()
        for column in ("accuracy", "low", "high"):
            result[column] = np.clip(table[column] + shift, 0.0, 1.0)
        result[["set_accuracy", "set_low", "set_high"]] = np.nan
        result["basis"] += (
            f"; moved from {self.covariate} {self.scales[self.models.index(label)]:.3g}"
        )
        return result


def fit_scale(
    covariate: str,
    values: Mapping[str, float],
    labels: Sequence[str],
    rows: Sequence[FitData],
    level: float,
) -> ScaleEffect:
    """Regress slopes and levels of models on the logarithm of a covariate."""
    lacking = [label for label in labels if not 0 < values.get(label, np.nan) < np.inf]
    if lacking:
        raise ConfigError(
            f"Every model must have a covariate (--covariate {covariate}) above 0. "
            f"{', '.join(lacking[:5])} {'has' if len(lacking) == 1 else 'have'} none."
        )
    z = np.log10(np.array([values[label] for label in labels]))
    if len(np.unique(z)) < MIN_MODELS:
        raise ConfigError(
            f"A covariate (--covariate {covariate}) must have at least {MIN_MODELS} different "
            f"values among the models. Got {len(np.unique(z))} from "
            f"{quantity(len(labels), 'model')} instead."
        )
    datasets = sorted(set.intersection(*(set(one.datasets) for one in rows)))
    if not datasets:
        raise ConfigError("A covariate needs an evaluation set that all models have in common.")
    sums = np.stack([_sums(one, datasets) for one in rows])  # (models, datasets, [xx, xy, x, y])
    weight = (z - z.mean()) / float(((z - z.mean()) ** 2).sum())

    def change(chosen: IntArray) -> float:
        part = sums[:, chosen].sum(axis=1)
        return float(weight @ divide(part[:, 1], part[:, 0]))

    everything = np.arange(len(datasets))
    without = np.array([[change(everything[everything != one])] for one in everything])
    centre = change(everything)
    half = float(jackknife_half_width(without, level)[0])
    total = sums.sum(axis=1)
    return ScaleEffect(
        covariate=covariate,
        models=tuple(labels),
        scales=tuple(float(values[label]) for label in labels),
        slopes=tuple(float(v) for v in divide(total[:, 1], total[:, 0])),
        change=centre,
        change_low=centre - half,
        change_high=centre + half,
        datasets=tuple(datasets),
        centres=tuple(float(v) for v in sums[:, :, 2].mean(axis=0)),
        level_changes=tuple(float(v) for v in weight @ sums[:, :, 3]),
    )


def _sums(rows: FitData, datasets: Sequence[str]) -> FloatArray:
    """Sum squares and products about the means of each dataset, and return these means."""
    n = len(rows.datasets)
    means = [group_means(values, rows.dataset, n) for values in (rows.x, rows.y)]
    dx, dy = rows.x - means[0][rows.dataset], rows.y - means[1][rows.dataset]
    products = [np.bincount(rows.dataset, weights=dx * d, minlength=n) for d in (dx, dy)]
    place = [rows.datasets.index(name) for name in datasets]
    return np.stack([*products, *means], axis=1)[place]
