"""Which family predicts better: on concepts it has not seen, and on datasets it has not seen.

Never by how well a family fits the rows it was fitted to, which only rewards freedom. Families are
compared on the same rows, and their difference is averaged over datasets, because that is what was
sampled; most differences between families are smaller than those between datasets, and then the
verdict is that they cannot be told apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from conceptaudit.counts import BOTH
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import (
    DEFAULT_FAMILY,
    Estimator,
    Family,
    family_named,
    known_families,
)
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.folds import SCHEMES, held_out
from conceptaudit.curves.intervals import units_of
from conceptaudit.curves.joining import join
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray, check_level, group_means
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

EARNED = 0.002
"""Gain in R² from which a second count is said to help; seeds of the folds move it by as much."""

APART, BETTER, WORSE = "cannot be told apart", "better", "worse"


COMPARED_COLUMNS = (
    *("model", "family", "held_out", "n", "n_datasets", "mae", "rmse", "r2"),
    *("difference", "difference_low", "difference_high", "verdict"),
)
"""Of a comparison: one family on held-out rows beside the reference.

``held_out`` is one of `SCHEMES`; ``n`` and ``n_datasets`` are rows predicted by both families, and
their datasets; ``r2`` is negative where the mean of all accuracies would have predicted better.
``difference`` is the mean over datasets of this family's mean absolute error minus the reference's,
with its interval over datasets; NaN for the reference itself.
"""


def compare_families(
    curve: Curve,
    *,
    families: Sequence[str] | None = None,
    reference: str = DEFAULT_FAMILY,
    model: str | None = None,
    level: float = 0.9,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare families by grouped cross-validation, on the rows of a curve.

    `COMPARED_COLUMNS`, a row per model, scheme and family. A family that these rows do not
    allow has NaN, and the reason as its verdict. With one dataset only concepts are held out, and
    differences are averaged over groups of concepts.
    """
    check_level(level)
    base = family_named(reference)
    others = [
        family_named(name) for name in (families if families is not None else known_families())
    ]
    chosen = [base, *(family for family in others if family.name != reference)]
    found: list[dict[str, Any]] = []
    tasks = [
        (fit, scheme)
        for fit in curve.select(model)
        for scheme in (SCHEMES[:1] if len(fit.effects.slopes) == 1 else SCHEMES)
    ]
    told = progress or SilentProgress()
    told.start("compare", len(tasks) * len(chosen), unit="families")
    for fit, scheme in tasks:
        found.extend(_compared(curve, fit, chosen, scheme, level, seed, told))
    told.finish()
    return pd.DataFrame(found, columns=list(COMPARED_COLUMNS))


def compare_counts(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, curve: Curve
) -> str:
    """Say whether two counts together predict classes held out better than either alone.

    R² of classes held out by name, mean over the curve's models, and the verdict.
    """
    found = {}
    key = ["dataset", "concept"]
    every = curve.points[key].drop_duplicates()
    for count in (curve.count, *curve.count.split(BOTH)):
        # the same classes for all, of which some counts may be had for more
        table = join(frequencies, accuracies, count=count).table.merge(every, on=key)
        scores = []
        for fit in curve.fits:
            mine = (table["model"] == fit.model) & (table["pretraining"] == fit.pretraining)
            rows = table[mine & (table["metric"] == fit.metric) & table["count"].notna()]
            data = fit_data_of(rows.reset_index(drop=True), curve.zero_policy)
            # the same folds for every count; the family needs no bins
            estimator = Estimator(family=family_named(curve.family), seed=curve.seed)
            error = held_out(data, estimator, "concepts") - data.y
            scores.append(1 - float(np.nanmean(error**2)) / float(data.y.var()))
        found[count] = float(np.mean(scores))
    best = max(found[one] for one in curve.count.split(BOTH))
    verdict = "earns its place" if found[curve.count] > best + EARNED else "does not help"
    shown = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"Two counts at once: R² of classes held out by name {shown}: {curve.count} {verdict}."


def _compared(
    curve: Curve,
    fit: ModelFit,
    families: list[Family],
    scheme: str,
    level: float,
    seed: int,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    points, own = curve.points_of(fit), curve.estimator(fit)
    errors: dict[str, FloatArray] = {}
    for family in families:
        rows = fit_data_of(points, family.zero_policy or curve.zero_policy)
        estimator = replace(own, family=family, seed=seed)
        errors[family.name] = held_out(rows, estimator, scheme) - rows.y
        progress.advance()
    units, n_units = units_of(rows, seed)
    reference = errors[families[0].name]
    for family in families:
        both = np.isfinite(errors[family.name]) & np.isfinite(reference)
        mine, y = errors[family.name][both], rows.y[both]
        difference = (float("nan"),) * 3
        if family is not families[0]:
            gap = np.abs(mine) - np.abs(reference[both])
            difference = _over_units(gap, units[both], n_units, level)
        square = float((mine**2).mean()) if len(mine) else float("nan")
        spread = float(y.var()) if len(y) else 0.0
        yield {
            "model": fit.label,
            "family": family.name,
            "held_out": scheme,
            "n": len(mine),
            "n_datasets": len(np.unique(rows.dataset[both])),
            "mae": float(np.abs(mine).mean()) if len(mine) else float("nan"),
            "rmse": float(np.sqrt(square)),
            "r2": 1 - square / spread if spread > 0 else float("nan"),
            "difference": difference[0],
            "difference_low": difference[1],
            "difference_high": difference[2],
            "verdict": _verdict(*difference) if len(mine) else "these rows do not allow it",
        }


def _over_units(
    gap: FloatArray, units: IntArray, n_units: int, level: float
) -> tuple[float, float, float]:
    """Mean over units of a difference of errors, with Student's interval."""
    means = group_means(gap, units, n_units)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return (float("nan"),) * 3
    centre = float(means.mean())
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1) * stats.sem(means))
    return centre, centre - half, centre + half


def _verdict(_: float, low: float, high: float) -> str:
    if np.isnan(low):
        return ""
    if low <= 0 <= high:
        return APART
    return BETTER if high < 0 else WORSE
