"""The published accuracies that the package ships; counts are in `frequency.reference`.

References
----------
Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv 2404.04125; numbers from
bethgelab/frequency_determines_performance (MIT, see ``NOTICE``), packed by
``scripts/package_data/make_reference.py``.
"""

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.errors import ConfigError
from conceptaudit.records import ConceptAccuracies

PACKED = Path(__file__).parent / "data" / "published.parquet"

SCALE = 10_000
"""Accuracies of classes whose number of test images is unknown are kept in these parts."""


@cache
def _packed() -> pd.DataFrame:
    return pd.read_parquet(PACKED)


def reference_accuracies(pretraining: str | None = None) -> ConceptAccuracies:
    """Return the published accuracies (ensemble prompts), of the models of one pretraining set."""
    table, parts = _packed(), []
    known = table["n_images"].to_numpy(np.int64)
    units = np.where(known > 0, known, SCALE)
    for column in table.columns[table.columns.str.startswith("correct ")]:
        origin, model = column.removeprefix("correct ").split("/")
        if pretraining not in {None, origin}:
            continue
        correct = table[column].to_numpy(np.int64)
        parts.append(
            table[["dataset", "concept"]].assign(
                model=model,
                pretraining=origin,
                n_correct=pd.array(correct, dtype="Int64"),
                n_images=pd.array(known, dtype="Int64"),
                accuracy=correct / units,
                metric="accuracy_ensemble",
            )
        )
    if not parts:
        raise ConfigError(
            f"The 'pretraining' parameter must name a set with published models. Got "
            f"{pretraining!r} instead."
        )
    merged = pd.concat(parts, ignore_index=True)
    sized = merged["n_images"] > 0
    merged[["n_correct", "n_images"]] = merged[["n_correct", "n_images"]].where(sized)
    return ConceptAccuracies(merged, ("Published accuracies, arXiv 2404.04125, MIT.",))
