"""Tell per cent from fractions, and refuse to guess."""

from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.errors import DataError

WITHIN_ROUNDING = 1e-9
"""A computed fraction or percentage may exceed its bound by this much."""


def as_fractions(
    path: Path,
    values: "pd.Series[float]",
    concept: "pd.Series[str]",
    *,
    percent: bool | None,
) -> tuple["pd.Series[float]", str]:
    """Bring the accuracies of one file to [0, 1].

    Parameters
    ----------
    path : Path
        For messages.
    values : pandas.Series of float, shape (n,)
        All fractions or all per cent.
    concept : pandas.Series of str, shape (n,)
        For messages.
    percent : bool or None
        None: any value above 1 means per cent, unless most values lie strictly between 0 and 1,
        which percentages of whole images hardly do.

    Returns
    -------
    fractions : pandas.Series of float
    note : str
        What was decided.

    Raises
    ------
    DataError
        A value is out of range, or the file could be either.
    """
    highest = float(values.max())
    bound = 1.0 if percent is False else 100.0
    outside = (values < 0) | (values > bound * (1 + WITHIN_ROUNDING))
    if bool(outside.any()):
        row = int(np.flatnonzero(outside.to_numpy(dtype=bool))[0])
        raise DataError(
            f"{path}, row {row + 1}: accuracies must lie in [0, 1], or in [0, 100] as per cent. "
            f"Got {values.iloc[row]:g} for concept {concept.iloc[row]!r} instead."
        )
    inside = int(((values > 0) & (values < 1)).sum())
    if percent is None and highest > 1 and inside > len(values) / 2:
        raise DataError(
            f"{path} mixes fractions and per cent, or it cannot be told which they are: "
            f"{inside:,} of {len(values):,} accuracies lie between 0 and 1, but the highest is "
            f"{highest:g} (concept {concept.iloc[int(values.to_numpy().argmax())]!r}). Correct "
            "it, or say which with percent=True or percent=False."
        )
    if percent or (percent is None and highest > 1):
        return (values / 100.0).clip(0.0, 1.0), "accuracies were read as per cent."
    return values.clip(0.0, 1.0), "accuracies were read as fractions."
