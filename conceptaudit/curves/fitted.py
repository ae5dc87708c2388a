"""Fitted families: curves that predict, and their numbers.

`FittedFamily` is the seam between fitting and predicting. Everything a fitted family knows is in
its ``parameters``, plain JSON values from which `families.Family.restore` builds it again.

Two things may be added to a curve. Under the ``hurdle`` policy it is fitted to concepts with a
count above zero, and those with a count of zero are expected a constant distance from where it
begins: a count of zero is often a name that the counter missed, and has no place on the line. And
because datasets differ more in level than frequency explains, a family with one curve for all adds,
for a dataset of the fit, how far its concepts lie from the curve on average, drawn towards 0 the
more the fewer they are. What a new dataset gets is the curve itself.
"""

import math
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any, Protocol, Self, get_args, get_origin, get_type_hints

import numpy as np
from scipy.special import expit

from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.statistics import FloatArray, IntArray, group_means


class Stored:
    """Mixin of a fitted family whose fields are all that it has learned."""

    __slots__ = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        values: dict[str, Any] = plain(self)
        return values

    @classmethod
    def restore(cls, parameters: Mapping[str, Any]) -> Self:
        """Build the fitted family again from its `parameters`."""
        restored: Self = built(cls, parameters)
        return restored


def plain(value: Any) -> Any:
    """Turn records into JSON values; NaN, which JSON has not, becomes null."""
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def built(kind: Any, value: Any) -> Any:
    """Build a value of a type from what `plain` made of it, and check it on the way."""
    if isinstance(kind, types.UnionType) and value is not None:
        kind = get_args(kind)[0]
    if kind is Any or isinstance(kind, types.UnionType):
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        hints = get_type_hints(kind)
        # a field with a default may be younger than the file
        absent = {f.name for f in fields(kind) if f.default is not MISSING} - set(value)
        given = hints.keys() - absent
        return kind(**{name: built(hints[name], value[name]) for name in given})
    if get_origin(kind) is tuple:
        return tuple(built(get_args(kind)[0], item) for item in value)
    if get_origin(kind) is dict:
        return {str(key): built(get_args(kind)[1], item) for key, item in value.items()}
    if kind is float:
        if value is not None and not isinstance(value, int | float):
            raise TypeError(f"expected a number, found {value!r}")
        return math.nan if value is None else float(value)
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind):
        raise TypeError(f"expected {kind}, found {value!r}")
    return value


NEW_DATASET = -1  # stands for a dataset that the fit has not seen: the population curve


class FittedFamily(Protocol):
    """Expected accuracy at a frequency, in a dataset of the fit or in a new one."""

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row.

        Parameters
        ----------
        x : numpy.ndarray of float64, shape (n,)
            Frequency in decades, on the scale of the rows that were fitted; NaN gives NaN.
        dataset : numpy.ndarray of int, shape (n,)
            Positions in `FitData.datasets`; `NEW_DATASET` for a dataset not among them.

        Returns
        -------
        numpy.ndarray of float64, shape (n,)
            In [0, 1].
        """

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything the fit has learned, as JSON values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLine(Stored):
    """A straight line, on the scale of accuracy or of its logit, for all or for each dataset."""

    intercept: float  # the population line
    slope: float
    # the line of each dataset of the fit; empty where all share one line
    intercepts: tuple[float, ...] = ()
    slopes: tuple[float, ...] = ()
    # intercept and slope of what is expected in a dataset that the fit has not seen, where that is
    # not the population line: there, how frequent its concepts are also tells what kind of dataset
    # it is
    new: tuple[float, float] | None = None
    link: str = "identity"  # {"identity", "logit"}
    details: dict[str, float]  # what else was estimated: variances, dispersion

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        # The line of a new dataset stands last, where position -1 finds it.
        last = self.new if self.new is not None else (self.intercept, self.slope)
        known = np.where(dataset < len(self.intercepts), dataset, NEW_DATASET)
        intercept = np.array([*self.intercepts, last[0]])[known]
        slope = np.array([*self.slopes, last[1]])[known]
        value = intercept + slope * x
        return expit(value) if self.link == "logit" else np.clip(value, 0.0, 1.0)


def population(fitted: FittedFamily, x: FloatArray) -> FloatArray:
    """Return what a fit expects in a dataset it has not seen at each x, shape (n,)."""
    return fitted.predict(x, np.full(len(x), NEW_DATASET, dtype=np.intp))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedHurdle:
    """A curve for counts above zero, and its distance to concepts with a count of zero."""

    above: FittedFamily  # the curve of concepts with a count above zero
    # mean accuracy of the concepts without, minus the curve at x = 0 in their datasets
    zero_shift: float
    n_zero: int  # rows behind `zero_shift`

    def predict(self, x: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy of each row, see `FittedFamily.predict`."""
        shifted = self.above.predict(x, dataset) + np.where(x == 0, self.zero_shift, 0.0)
        return np.clip(shifted, 0.0, 1.0)

    @property
    def parameters(self) -> dict[str, Any]:
        """See `FittedFamily.parameters`."""
        return {
            "above": self.above.parameters,
            "zero_shift": self.zero_shift,
            "n_zero": self.n_zero,
        }


def above_zero(rows: FitData) -> FitData:
    """Return the rows that the curve itself is fitted to: under ``hurdle`` those above zero."""
    return rows.take(rows.x > 0) if rows.zero_policy == "hurdle" else rows


def add_hurdle(above: FittedFamily, rows: FitData) -> FittedHurdle:
    """Measure how far the concepts with a count of zero lie from where the curve begins."""
    zeros = rows.take(rows.x == 0)
    shift = float((zeros.y - above.predict(zeros.x, zeros.dataset)).mean()) if len(zeros) else 0.0
    return FittedHurdle(above=above, zero_shift=shift, n_zero=len(zeros))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedLevels:
    """A curve for all datasets, and the distance of each dataset from it."""

    # the curve; its predictions for `NEW_DATASET` are those of this family
    shape: FittedFamily
    levels: tuple[float, ...]  # what each dataset adds to it, in accuracy

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


def add_levels(shape: FittedFamily, rows: FitData) -> FittedFamily:
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
