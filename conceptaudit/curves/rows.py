"""The rows of one model as arrays, which is what fitting and predicting compute on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.curves.families import log_frequency
from conceptaudit.curves.statistics import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Accuracy against log frequency, with the dataset and the concept of each row.

    Parameters
    ----------
    x : numpy.ndarray of float64, shape (n,)
        Frequency in decades, see `families.log_frequency`.
    y : numpy.ndarray of float64, shape (n,)
        Accuracy in [0, 1].
    dataset, concept : numpy.ndarray of int, shape (n,)
        Positions in the sorted names; one concept name is the same in every dataset.
    datasets : tuple of str
        Names of the datasets.
    """

    x: FloatArray
    y: FloatArray
    dataset: IntArray
    concept: IntArray
    datasets: tuple[str, ...]

    @property
    def single(self) -> bool:
        """Whether there is a single dataset."""
        return len(self.datasets) == 1


def rows_of(table: pd.DataFrame, zero_policy: str) -> Rows:
    """Turn ``dataset, concept, count, accuracy`` into arrays, in the order of the table."""
    dataset, names = pd.factorize(table["dataset"], sort=True)
    concept, _ = pd.factorize(table["concept"], sort=True)
    return Rows(
        x=log_frequency(table["count"].to_numpy(np.float64), zero_policy),
        y=table["accuracy"].to_numpy(np.float64),
        dataset=dataset.astype(np.intp),
        concept=concept.astype(np.intp),
        datasets=tuple(str(name) for name in names),
    )
