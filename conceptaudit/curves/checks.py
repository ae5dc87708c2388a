"""What has to hold before anything is computed: levels, counts, accuracies."""

from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.curves.statistics import FloatArray
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies

KEY_COLUMNS = ("model", "pretraining", "metric")
"""Columns that tell one fit from another."""


def check_level(level: float) -> None:
    """Refuse an interval level outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ConfigError(
            f"The 'level' parameter must be between 0 and 1, such as 0.9. Got {level!r} instead."
        )


def check_accuracies(accuracies: ConceptAccuracies) -> None:
    """Refuse rows that contradict themselves or each other.

    Raises
    ------
    DataError
        Naming the first such row.
    """
    table = accuracies.table
    correct = pd.to_numeric(table["n_correct"]).astype("Float64")
    images = pd.to_numeric(table["n_images"]).astype("Float64")
    impossible = ((correct > images) | (correct < 0) | (images < 0)).fillna(value=False)
    if bool(impossible.any()):
        row = table[impossible.to_numpy(dtype=bool)].iloc[0]
        raise DataError(
            f"n_correct must lie between 0 and n_images. Got n_correct = {row['n_correct']} and "
            f"n_images = {row['n_images']} for concept {row['concept']!r} of {row['dataset']!r}, "
            f"model {row['model']!r} instead."
        )
    repeated = table.duplicated([*KEY_COLUMNS, "dataset", "concept"])
    if bool(repeated.any()):
        row = table[repeated].iloc[0]
        raise DataError(
            f"Each concept must have one accuracy per model, pretraining, dataset and metric. Got "
            f"{row['concept']!r} of {row['dataset']!r} twice for model {row['model']!r} "
            f"({int(repeated.sum()):,} repeated rows). Were the same results read twice?"
        )


def numbers(values: "pd.Series[Any]") -> FloatArray:
    """Turn a column of counts into float64, NaN where it is NA."""
    floats = pd.to_numeric(values).astype("Float64").to_numpy(np.float64, na_value=np.nan)
    return floats.astype(np.float64)
