"""What a curve says of the counts before and after: predictions, and no experiment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curate.expected import GROUPS
from conceptaudit.curves import Curve, predict
from conceptaudit.curves.fit_data import log_frequency
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptFrequencies

FloatArray = npt.NDArray[np.float64]

CAVEAT = (
    "A curve is not an experiment: it was fitted over concepts whose frequencies were what they "
    "were, and says what frequency alone would do if the slope over concepts held for a change of "
    "the data. In a smaller set every concept also loses what it learned from the others."
)

KINDS = ("before", "after", "random")


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """Predicted accuracies of the set before, after, and of a random subset of that size.

    Parameters
    ----------
    classes : pandas.DataFrame
        ``model, concept, group``, and per kind ``accuracy_*, low_*, high_*``.
    means : pandas.DataFrame
        Per model and group (head, middle, tail, all): mean accuracy per kind with the interval of a
        mean over such classes; ``change, change_low, change_high``: after less before, with the
        interval of the curve's slope alone, which is what a change rests on.
    """

    classes: pd.DataFrame
    means: pd.DataFrame


def what_if(curve: Curve, table: pd.DataFrame, *, level: float) -> WhatIf:
    """Predict from counts before and after.

    Parameters
    ----------
    curve : Curve
    table : pandas.DataFrame
        ``concept, group, n_before, n_after, n_random`` in the curve's count, and perhaps
        ``dataset``.
    level : float
    """
    if table.empty:
        raise DataError("There is no concept to predict the accuracy of.")
    predicted = {kind: _predicted(curve, table, kind, level) for kind in KINDS}
    first = predicted["before"]
    groups = np.tile(table["group"].to_numpy(), len(first) // len(table))
    classes = first[["model", "pretraining", "concept"]].assign(group=groups)
    for kind, rows in predicted.items():
        for name in ("count", "accuracy", "low", "high"):
            classes[f"{name}_{kind}"] = rows[name].to_numpy()
    means = [
        _mean(curve, table, classes, model, group, level)
        for model in dict.fromkeys(classes["model"])
        for group in (*GROUPS, "all")
    ]
    return WhatIf(classes=classes, means=pd.DataFrame([row for row in means if row is not None]))


def _predicted(curve: Curve, table: pd.DataFrame, kind: str, level: float) -> pd.DataFrame:
    kept = [name for name in ("concept", "dataset") if name in table]
    counts = table[kept].assign(**{_raw(curve): table[f"n_{kind}"].astype("float64")})
    if curve.count != _raw(curve):
        counts[curve.count] = counts[_raw(curve)]
    return predict(curve, ConceptFrequencies(counts), level=level)


def _raw(curve: Curve) -> str:
    return curve.count.removesuffix("_corrected")


def _mean(
    curve: Curve, table: pd.DataFrame, classes: pd.DataFrame, model: str, group: str, level: float
) -> dict[str, Any] | None:
    """Average one model's predictions over one group."""
    own = classes[classes["model"] == model]
    member = np.ones(len(own), dtype=bool) if group == "all" else (own["group"] == group).to_numpy()
    member = member & own[[f"accuracy_{kind}" for kind in KINDS]].notna().all(axis=1).to_numpy()
    if not member.any():
        return None
    row: dict[str, Any] = {"model": model, "group": group, "n_classes": int(member.sum())}
    part = table[member[: len(table)]]
    for kind in KINDS:
        mean = float(own.loc[member, f"accuracy_{kind}"].mean())
        # the interval of a mean over such classes, about the mean that rivals have a say in
        sets = _predicted(curve, part, kind, level)
        sets = sets[sets["model"] == model]
        middle = float(sets["set_accuracy"].iloc[0])
        low, high = (float(sets[f"set_{end}"].iloc[0]) - middle for end in ("low", "high"))
        row |= {kind: mean, f"{kind}_low": max(mean + low, 0.0), f"{kind}_high": mean + high}
    fit = next(one for one in curve.fits if one.model == model)
    steps = [_decades(curve, part, kind) for kind in ("after", "before")]
    step = float(np.nanmean(steps[0] - steps[1]))
    ends = sorted((fit.line.slope_low * step, fit.line.slope_high * step))
    row["change"] = row["after"] - row["before"]
    row["change_low"], row["change_high"] = ends
    row["decades"] = step
    return row


def _decades(curve: Curve, table: pd.DataFrame, kind: str) -> FloatArray:
    counts = table[f"n_{kind}"].to_numpy(np.float64)
    return np.asarray(log_frequency(counts, curve.zero_policy, never=counts == 0))
