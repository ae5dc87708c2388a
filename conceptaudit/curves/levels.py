"""The level of each dataset, on top of a curve that all datasets share.

Datasets differ more in level than frequency explains. A family with one curve for all adds to it,
for a dataset of the fit, how far that dataset's concepts lie from the curve on average, drawn
towards 0 the more the fewer they are. What a new dataset gets is the curve itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from conceptaudit.curves.fitted import FittedFamily
from conceptaudit.curves.hurdle import FittedHurdle
from conceptaudit.curves.rows import Rows
from conceptaudit.curves.statistics import FloatArray, IntArray, group_means


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLevels:
    """A curve for all datasets, and the distance of each dataset from it.

    Parameters
    ----------
    shape : FittedFamily
        The curve; its predictions for `fitted.NEW_DATASET` are those of this family.
    levels : tuple of float
        What each dataset adds to it, in accuracy.
    """

    shape: FittedFamily
    levels: tuple[float, ...]

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        # A dataset that is not among them adds nothing; it stands last, where -1 finds it.
        known = np.where(dataset < len(self.levels), dataset, -1)
        value: FloatArray = self.shape.predict(x, dataset) + np.array([*self.levels, 0.0])[known]
        return np.clip(value, 0.0, 1.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {"shape": self.shape.parameters, "levels": list(self.levels)}


def add_levels(shape: FittedFamily, rows: Rows) -> FittedFamily:
    """Measure how far each dataset lies from the curve; a single one is the curve.

    The shrinkage is that of a random intercept, its variances estimated by moments.
    """
    if len(np.unique(rows.dataset)) < 2:
        return shape
    n_datasets = len(rows.datasets)
    residuals = rows.y - shape.predict(rows.x, rows.dataset)
    sizes = np.bincount(rows.dataset, minlength=n_datasets).astype(np.float64)
    means = group_means(residuals, rows.dataset, n_datasets)
    seen = sizes > 0
    inside = residuals - means[rows.dataset]
    spread = float(inside @ inside) / max(len(rows) - int(seen.sum()), 1)
    between = max(float((means[seen] ** 2).mean() - (spread / sizes[seen]).mean()), 0.0)
    error = spread / np.where(seen, sizes, 1.0)
    keep = np.where(
        between + error > 0, between / np.where(between + error > 0, between + error, 1), 0
    )
    levels = np.where(seen, keep * np.where(seen, means, 0.0), 0.0)
    return FittedLevels(shape=shape, levels=tuple(float(value) for value in levels))


def without_levels(fitted: FittedFamily) -> FittedFamily:
    """Return the curve that all datasets share, with its hurdle if it has one."""
    return fitted.shape if isinstance(fitted, FittedLevels) else fitted


def core(fitted: FittedFamily) -> FittedFamily:
    """Return the curve for counts above zero, without levels."""
    shared = without_levels(fitted)
    return shared.above if isinstance(shared, FittedHurdle) else shared
