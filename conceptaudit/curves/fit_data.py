"""Rows of one fit as arrays, and the x axis: how counts, zeros among them, become decades."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.names import name_keys

# What a user can ask for.
#
# ``log1p``: log10(1 + count), so that zero is a frequency like any other. ``exclude``: log10(count)
# without the concepts whose count is zero. ``hurdle``: log10(1 + count), and concepts whose count
# is zero have an accuracy of their own that the slope knows nothing of.
ZERO_POLICIES = ("log1p", "exclude", "hurdle")
ZERO_TO_ONE = "one"  # the paper's own policy: a count of zero is taken as one


def log_frequency(
    counts: FloatArray, zero_policy: str, *, never: npt.NDArray[np.bool_] | None = None
) -> FloatArray:
    """Turn counts into the x axis of a curve, in decades.

    Shapes: `counts`, `never` (n,). Returns (n,) log10(1 + count) for ``log1p`` and ``hurdle``,
    which is 0 only where the count is; log10(count) with NaN for zero; or log10(max(count, 1)).
    """
    if zero_policy == "hurdle" and never is not None:
        counts = np.where(never, 0.0, counts)
    if zero_policy in {"log1p", "hurdle"}:
        return np.log10(1.0 + counts)
    if zero_policy == ZERO_TO_ONE:
        return np.log10(np.maximum(counts, 1.0))
    result = np.full(counts.shape, np.nan)
    np.log10(counts, out=result, where=counts > 0)
    return result


def count_at(x: FloatArray, zero_policy: str) -> FloatArray:
    """Turn places on the x axis of a curve back into counts: the inverse of `log_frequency`.

    Shapes: `x` (n,).
    """
    return 10.0**x - (1.0 if zero_policy in {"log1p", "hurdle"} else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitData:
    """Accuracy against log frequency, with the dataset and the concept of each row.

    Parameters
    ----------
    x : numpy.ndarray of float64, shape (n,)
        Frequency in decades, see `log_frequency`.
    y : numpy.ndarray of float64, shape (n,)
        Accuracy in [0, 1].
    n_images, n_correct : numpy.ndarray of float64, shape (n,)
        Test images of the concept and those classified correctly; NaN where unknown.
    x_sd : numpy.ndarray of float64, shape (n,)
        Standard error of `x` from the interval of the count, in decades; 0 where it has none.
    dataset, concept, model : numpy.ndarray of int, shape (n,)
        Positions in the sorted names; one concept name, however spelt, is the same in every
        dataset. A subset keeps the positions of the whole, so a dataset may have no rows.
    datasets, models : tuple of str
        Names of the datasets and of the models.
    zero_policy : str
        How `x` was made of counts.
    """

    x: FloatArray
    y: FloatArray
    n_images: FloatArray
    n_correct: FloatArray
    x_sd: FloatArray
    dataset: IntArray
    concept: IntArray
    model: IntArray
    datasets: tuple[str, ...]
    models: tuple[str, ...]
    zero_policy: str

    def __len__(self) -> int:
        return len(self.x)

    @property
    def single(self) -> bool:
        """Whether there is a single dataset."""
        return len(self.datasets) == 1

    def take(self, index: IntArray | npt.NDArray[np.bool_]) -> "FitData":
        """Return the rows at these positions, or where the mask holds; names stay whole."""
        return replace(self, **{name: getattr(self, name)[index] for name in _BY_ROW})


_BY_ROW = ("x", "y", "n_images", "n_correct", "x_sd", "dataset", "concept", "model")


def fit_data_of(table: pd.DataFrame, zero_policy: str) -> FitData:
    """Turn a table into arrays, in the order of the table."""
    dataset, datasets = pd.factorize(table["dataset"], sort=True)
    model, models = (
        pd.factorize(table["model"], sort=True)
        if "model" in table
        else (np.zeros(len(table), dtype=np.intp), [""])
    )
    accuracy = table["accuracy"].to_numpy(np.float64)
    n_images = _column(table, "n_images")
    counts = table["count"].to_numpy(np.float64)
    counted = table["counted"].to_numpy(np.float64) if "counted" in table else counts
    return FitData(
        x=log_frequency(counts, zero_policy, never=counted == 0),
        y=accuracy,
        n_images=n_images,
        n_correct=np.round(accuracy * n_images),
        x_sd=_standard_error(table, zero_policy),
        dataset=dataset.astype(np.intp),
        concept=_concepts(table["concept"]),
        model=model.astype(np.intp),
        datasets=tuple(str(name) for name in datasets),
        models=tuple(str(name) for name in models),
        zero_policy=zero_policy,
    )


def _column(table: pd.DataFrame, name: str) -> FloatArray:
    if name not in table:
        return np.full(len(table), np.nan)
    return table[name].astype("Float64").to_numpy(np.float64, na_value=np.nan).astype(np.float64)


def _concepts(names: "pd.Series[str]") -> IntArray:
    spelt, spellings = pd.factorize(names, sort=True)
    folded, _ = pd.factorize(np.array(name_keys(spellings), dtype=object))
    return folded[spelt].astype(np.intp)


# Half-width of a normal 90 % interval in standard errors; counts carry 90 % intervals.
Z90 = 1.6448536269514722


def _standard_error(table: pd.DataFrame, zero_policy: str) -> FloatArray:
    low, high = _column(table, "count_low"), _column(table, "count_high")
    width = log_frequency(high, zero_policy) - log_frequency(np.maximum(low, 0.0), zero_policy)
    return np.where(np.isfinite(width), np.maximum(width, 0.0) / (2 * Z90), 0.0)
