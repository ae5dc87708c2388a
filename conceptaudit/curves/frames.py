"""Tables of a Python program as the records that fits take."""

from __future__ import annotations

import pandas as pd

from conceptaudit.errors import DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


def frequencies_of(source: ConceptFrequencies | pd.DataFrame) -> ConceptFrequencies:
    """Take frequencies as they are, or a table with ``concept`` and counts."""
    return ConceptFrequencies(source) if isinstance(source, pd.DataFrame) else source


def accuracies_of(source: ConceptAccuracies | pd.DataFrame) -> ConceptAccuracies:
    """Take accuracies as they are, or a table with ``concept`` and a score in [0, 1].

    A table may leave out ``model``, ``pretraining``, ``dataset`` and ``metric``, and may have
    ``acc1``, or ``n_correct`` and ``n_images``, in place of ``accuracy``.
    """
    if not isinstance(source, pd.DataFrame):
        return source
    table = source.rename(columns={} if "accuracy" in source else {"acc1": "accuracy"})
    if "concept" not in table:
        raise DataError(
            f"An accuracy table must have a column 'concept'. Got {list(source)} instead."
        )
    if "accuracy" not in table:
        if not {"n_correct", "n_images"} <= set(table):
            raise DataError(
                "An accuracy table must have 'accuracy', 'acc1', or 'n_correct' and 'n_images'. "
                f"Got {list(source)} instead."
            )
        table = table.assign(accuracy=table["n_correct"] / table["n_images"])
    table = table.copy()
    absent = {"model": "model", "pretraining": "", "dataset": "", "metric": "accuracy"}
    for column, value in absent.items():
        if column not in table:
            table[column] = value
    for column in ("n_correct", "n_images"):
        if column not in table:
            table[column] = pd.array([pd.NA] * len(table), dtype="Int64")
    return ConceptAccuracies(table.astype({"n_correct": "Int64", "n_images": "Int64"}))
