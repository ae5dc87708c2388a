"""Fits and predictions in sentences that a practitioner understands, before any statistic."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import above_zero
from conceptaudit.curves.folds import SCHEMES, held_out
from conceptaudit.curves.records import LineFit, ModelFit
from conceptaudit.curves.statistics import group_means
from conceptaudit.display import quantity

FEW_FREEDOM = 2.0  # degrees of freedom below which an interval over datasets says nothing

# Share of classes with a count of zero from which it is said that names alone tell them apart.
RANKED = 0.2


def has_interval(line: LineFit) -> bool:
    """Whether the interval of a slope means anything: two datasets do not make one."""
    finite = math.isfinite(line.slope_low) and math.isfinite(line.slope_high)
    return finite and not (line.resampled == "dataset" and line.df < FEW_FREEDOM)


def fit_sentences(curve: Curve, fit: ModelFit) -> tuple[str, ...]:
    """Write what a fit means: its slope in points, how far off it is, and what it explains.

    Errors are mean absolute errors on classes, and on whole sets, that the fit had not seen.
    """
    estimator, rows = curve.estimator(fit), curve.rows(fit)
    line = fit.line
    ends = (
        f" ({100 * line.slope_low:+.1f} to {100 * line.slope_high:+.1f})"
        if has_interval(line)
        else " (no interval: two datasets)"
        if line.resampled == "dataset"
        else " (no interval)"
    )
    said = [f"Ten times more examples go with {100 * line.slope:+.1f} points of accuracy{ends}."]
    missed = {
        scheme: np.nanmean(np.abs(held_out(rows, estimator, scheme) - rows.y))
        for scheme in (SCHEMES[:1] if rows.single else SCHEMES)
    }
    known = f"A class of a known set is typically missed by {100 * missed['concepts']:.0f} points"
    new = f", of a new set by {100 * missed['datasets']:.0f}" if "datasets" in missed else ""
    said.append(f"{known}{new}.")
    said.extend(_explained(rows))
    return tuple(said)


def _explained(rows: FitData) -> Iterator[str]:
    """Write which share of the variance of accuracy is the set's, and which is frequency's."""
    chosen = above_zero(rows)
    n = len(chosen.datasets)
    level = group_means(chosen.y, chosen.dataset, n)[chosen.dataset]
    dx = chosen.x - group_means(chosen.x, chosen.dataset, n)[chosen.dataset]
    dy = chosen.y - level
    inside, total = float(dy @ dy), float(((chosen.y - chosen.y.mean()) ** 2).sum())
    spread = float(dx @ dx)
    if inside <= 0 or spread <= 0 or total <= 0:
        return
    share = float(dx @ dy) ** 2 / spread / inside
    own = f"; the set itself {1 - inside / total:.0%} of all that differs" if n > 1 else ""
    yield f"Frequency explains {share:.0%} of what differs between classes of one set{own}."


def prediction_sentences(table: pd.DataFrame) -> tuple[str, ...]:
    """Sum predictions up, a line per model and dataset."""
    named = table if "dataset" in table else table.assign(dataset="")
    several = named[["model", "pretraining", "metric"]].drop_duplicates().shape[0] > 1
    return tuple(
        _dataset_line(str(model) if several else "", str(dataset), rows)
        for (model, _, _, dataset), rows in named.groupby(
            ["model", "pretraining", "metric", "dataset"], sort=False, dropna=False
        )
    )


def _dataset_line(model: str, dataset: str, rows: pd.DataFrame) -> str:
    head = " ".join(part for part in (model, dataset) if part and part != "nan") or "all classes"
    told = rows[rows["accuracy"].notna()]
    if told.empty:
        return f"{head}: {quantity(len(rows), 'class')}, no prediction ({rows['basis'].iloc[0]})"
    width = 100 * float((told["high"] - told["low"]).mean())
    lost = f", {len(rows) - len(told):,} without a prediction" if len(told) < len(rows) else ""
    return (
        f"{head}: {quantity(len(rows), 'class')}{lost}, mean {100 * told['accuracy'].mean():.0f} %"
        f"{_mean_interval(told)}, from "
        f"{100 * told['accuracy'].min():.0f} to {100 * told['accuracy'].max():.0f} %; a class's "
        f"interval is {width:.0f} points wide on average{_zeros(told)}"
    )


def _mean_interval(rows: pd.DataFrame) -> str:
    """Write how sure the mean over the classes is."""
    if "set_low" not in rows or not np.isfinite(rows["set_low"].iloc[0]):
        return ""
    low, high, level = (float(rows[name].iloc[0]) for name in ("set_low", "set_high", "level"))
    return f" ({100 * low:.0f} to {100 * high:.0f} at {level:.0%})"


def _zeros(rows: pd.DataFrame) -> str:
    """Write where most classes have no count, and nothing but names tells them apart."""
    share = float((rows["count"] == 0).mean())
    if share < RANKED:
        return ""
    return f". {share:.0%} of these classes have count 0: only their names tell them apart"
