"""Which family predicts better: on concepts it has not seen, and on datasets it has not seen.

Never by how well a family fits the rows it was fitted to, which only rewards freedom. Families are
compared on the same rows, and their difference is averaged over datasets, because that is what was
sampled; most differences between families are smaller than those between datasets, and then the
verdict is that they cannot be told apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from scipy import stats

from conceptaudit.counts import BOTH
from conceptaudit.curves.binned import BinRecipe
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.families import DEFAULT_FAMILY, Family, family_named, known_families
from conceptaudit.curves.fit_data import FitData, fit_data_of
from conceptaudit.curves.intervals import units_of
from conceptaudit.curves.joining import join
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, IntArray, check_level, group_means
from conceptaudit.errors import FitError
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

N_FOLDS = 10

SCHEMES = ("concepts", "datasets")
"""Held out: concept names in folds, from all datasets at once; or one dataset at a time."""

EARNED = 0.002
"""Gain in R² from which a second count is said to help; seeds of the folds move it by as much."""

APART, BETTER, WORSE = "cannot be told apart", "better", "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One family on held-out rows, beside the family it is compared with."""

    model: str  # `held_out` is one of `SCHEMES`
    family: str
    held_out: str
    n: int  # held-out rows predicted by both families, and their datasets
    n_datasets: int
    mae: float  # mean absolute and root mean square error of accuracy, in [0, 1], over rows
    rmse: float
    # share of the variance of accuracy over rows that the predictions explain; it is negative where
    # the mean of all accuracies would have predicted better
    r2: float
    # mean over datasets of this family's mean absolute error minus the reference's, with its
    # interval over datasets; NaN for the reference itself
    difference: float
    difference_low: float
    difference_high: float
    verdict: str  # ``"better"``, ``"worse"`` or ``"cannot be told apart"``; or why there is none


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

    The fields of `Compared`, a row per model, scheme and family. A family that these rows do not
    allow has NaN, and the reason as its verdict. With one dataset only concepts are held out, and
    differences are averaged over groups of concepts.
    """
    check_level(level)
    base = family_named(reference)
    others = [
        family_named(name) for name in (families if families is not None else known_families())
    ]
    chosen = [base, *(family for family in others if family.name != reference)]
    found: list[Compared] = []
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
    return pd.DataFrame([asdict(row) for row in found])


def compare_counts(
    frequencies: ConceptFrequencies, accuracies: ConceptAccuracies, curve: Curve
) -> str:
    """Say whether two counts together predict classes held out better than either alone.

    R² of classes held out by name, mean over the curve's models, and the verdict.
    """
    family, found = family_named(curve.family), {}
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
            error = held_out(data, family, "concepts", seed=curve.seed) - data.y
            scores.append(1 - float(np.nanmean(error**2)) / float(data.y.var()))
        found[count] = float(np.mean(scores))
    best = max(found[one] for one in curve.count.split(BOTH))
    verdict = "earns its place" if found[curve.count] > best + EARNED else "does not help"
    shown = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
    return f"Two counts at once: R² of classes held out by name {shown}: {curve.count} {verdict}."


def held_out(
    rows: FitData, family: Family, scheme: str, *, seed: int = 0, recipe: BinRecipe | None = None
) -> FloatArray:
    """Predict each row from a fit that has not seen it.

    Returns (n,) naN where the family has no curve without the row.
    """
    expected = np.full(len(rows), np.nan)
    options = {} if recipe is None else {"recipe": recipe}
    for train, test in folds(rows, scheme, seed):
        unseen = scheme == "datasets"
        try:
            fitted = family.fit(rows.take(train), seed=seed, **options)
        except FitError:
            continue
        dataset = np.full(len(test), -1, dtype=np.intp) if unseen else rows.dataset[test]
        expected[test] = fitted.predict(rows.x[test], dataset)
    return expected


def folds(rows: FitData, scheme: str, seed: int) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (train, test) positions: whole concept names, or whole datasets.

    A dataset that is left out takes its concept names with it: rows of other datasets with one of
    its names are not trained on.
    """
    if scheme == "datasets":
        for index in np.unique(rows.dataset):
            test = rows.dataset == index
            train = ~test & ~np.isin(rows.concept, rows.concept[test])
            if train.any():
                yield np.flatnonzero(train), np.flatnonzero(test)
        return
    n = int(rows.concept.max()) + 1
    n_folds = min(N_FOLDS, n)
    fold = (np.random.default_rng(seed).permutation(n) % n_folds)[rows.concept]
    for index in range(n_folds):
        train = np.flatnonzero(fold != index)
        if len(train):
            yield train, np.flatnonzero(fold == index)


def _compared(
    curve: Curve,
    fit: ModelFit,
    families: list[Family],
    scheme: str,
    level: float,
    seed: int,
    progress: Progress,
) -> Iterator[Compared]:
    points = curve.points_of(fit)
    binned = fit.binned
    recipe = BinRecipe(n_edges=len(binned.counts), first=binned.first, last=binned.last)
    errors: dict[str, FloatArray] = {}
    for family in families:
        rows = fit_data_of(points, family.zero_policy or curve.zero_policy)
        errors[family.name] = held_out(rows, family, scheme, seed=seed, recipe=recipe) - rows.y
        progress.advance()
    units, n_units = units_of(rows, seed)
    reference = errors[families[0].name]
    for family in families:
        mine = errors[family.name]
        both = np.isfinite(mine) & np.isfinite(reference)
        difference = (float("nan"),) * 3
        if family is not families[0]:
            gap = np.abs(mine[both]) - np.abs(reference[both])
            difference = _over_units(gap, units[both], n_units, level)
        yield _row(fit, family, scheme, mine[both], rows.take(both), difference)


def _over_units(
    gap: FloatArray, units: IntArray, n_units: int, level: float
) -> tuple[float, float, float]:
    means = group_means(gap, units, n_units)
    means = means[np.isfinite(means)]
    if len(means) < 2:
        return (float("nan"),) * 3
    centre = float(means.mean())
    error = float(means.std(ddof=1)) / np.sqrt(len(means))
    half = float(stats.t.ppf((1 + level) / 2, len(means) - 1)) * error
    return centre, centre - half, centre + half


def _row(
    fit: ModelFit,
    family: Family,
    scheme: str,
    errors: FloatArray,
    rows: FitData,
    difference: tuple[float, float, float],
) -> Compared:
    some = len(errors) > 0
    spread = float(((rows.y - rows.y.mean()) ** 2).mean()) if some else 0.0
    square = float((errors**2).mean()) if some else float("nan")
    return Compared(
        model=fit.label,
        family=family.name,
        held_out=scheme,
        n=len(errors),
        n_datasets=len(np.unique(rows.dataset)),
        mae=float(np.abs(errors).mean()) if some else float("nan"),
        rmse=float(np.sqrt(square)),
        r2=1 - square / spread if spread > 0 else float("nan"),
        difference=difference[0],
        difference_low=difference[1],
        difference_high=difference[2],
        verdict=_verdict(difference, some=some),
    )


def _verdict(difference: tuple[float, float, float], *, some: bool) -> str:
    _, low, high = difference
    if not some:
        return "these rows do not allow it"
    if np.isnan(low):
        return ""
    if low <= 0 <= high:
        return APART
    return BETTER if high < 0 else WORSE
