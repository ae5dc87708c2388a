"""The expected accuracy of a concept, and how far off it is for concepts that were held out.

A `PointModel` is a fitted family plus what class names add: how a name stands among its rivals
(`features`) and what it means (`meaning`). Each is used only where it lowers the squared error of
concepts, or datasets, held out in the same fit.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from conceptaudit.curves.class_names import ClassNames
from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import NEW_DATASET, FittedFamily
from conceptaudit.curves.folds import Fold, concept_folds, dataset_folds
from conceptaudit.curves.meaning import Meaning, held_out_meaning
from conceptaudit.curves.statistics import FeatureEffects, FloatArray, IntArray, fit_effects
from conceptaudit.errors import FitError

MIN_NAMED_ROWS = 60  # fewer rows than this cannot show that names help, and are fitted without


SURE_GAIN = 2.0  # standard errors that the gain of meaning must lie above zero for it to be used


@dataclass(frozen=True, slots=True, kw_only=True)
class PointModel:
    """Expected accuracy of a concept."""

    fitted: FittedFamily
    effects: FeatureEffects | None  # None where names are not used

    def at(self, x: FloatArray, dataset: IntArray, names: ClassNames) -> FloatArray:
        """Return the expected accuracy in [0, 1], shape (n,); NaN where x is.

        `dataset` is a position in the fitted rows' datasets, -1 for a new one.
        """
        value = self.fitted.predict(x, dataset)
        if self.effects is not None:
            value = np.clip(value + self.effects.at(names.rivals, dataset), 0.0, 1.0)
        return value


def fit_point_model(estimator: Estimator, rows: FitData, names: ClassNames) -> PointModel:
    """Fit the rows without the meaning of their names."""
    fitted = estimator.fit(rows)
    if not estimator.use_names or len(rows) < MIN_NAMED_ROWS:
        return PointModel(fitted=fitted, effects=None)
    residuals = rows.y - fitted.predict(rows.x, rows.dataset)
    effects = fit_effects(names.rivals, residuals, rows.dataset, len(rows.datasets))
    return PointModel(fitted=fitted, effects=effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Expectations of rows that a fit had not seen, and their errors."""

    centre: FloatArray  # (n,): the expectation, and accuracy minus it
    residual: FloatArray
    dataset: IntArray  # (n,)
    # whether class names among their rivals lowered the squared error, and are in `centre`; and
    # whether their meaning lowered it further, and is
    names_help: bool
    meaning_helps: bool = False
    # (n,): standard deviation of each outcome in the units of `meaning.Meaning.spread`; where there
    # is none, all have the same
    spread: FloatArray | None = None
    # r² of held-out rows, of all their variance: the family alone, with names among their rivals,
    # with their meaning as well (NaN where that was not tried)
    explained: tuple[float, float, float] = (np.nan, np.nan, np.nan)

    @property
    def outcome(self) -> FloatArray:
        """The accuracies of the rows, shape (n,)."""
        return self.centre + self.residual


def held_out_by_concept(
    rows: FitData, names: ClassNames, estimator: Estimator, meaning: Meaning | None = None
) -> HeldOut:
    """Hold concepts out in folds; all rows of a concept's name are in the same fold."""
    splits = concept_folds(rows.concept, estimator.seed)
    return _held_out(rows, names, estimator, splits, rows.dataset, meaning)


def held_out_by_dataset(
    rows: FitData, names: ClassNames, estimator: Estimator, meaning: Meaning | None = None
) -> HeldOut:
    """Hold whole datasets out, one by one, and expect of them what is expected of a new one."""
    new = np.full_like(rows.dataset, NEW_DATASET)
    return _held_out(rows, names, estimator, dataset_folds(rows.dataset), new, meaning)


def _held_out(
    rows: FitData,
    names: ClassNames,
    estimator: Estimator,
    splits: Iterable[Fold],
    expected_in: IntArray,
    meaning: Meaning | None,
) -> HeldOut:
    plain, named = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    fitted, residuals = [], []
    for train, test in splits:
        try:
            model = fit_point_model(estimator, rows.take(train), names.take(train))
        except FitError:  # too little is left: these rows have no held-out residual
            continue
        where = rows.dataset.copy()
        where[test] = expected_in[test]
        plain[test] = model.fitted.predict(rows.x[test], where[test])
        # what is expected of the rows in the fit as well, which meaning learns from
        every = model.at(rows.x, where, names)
        named[test] = every[test]
        fitted.append((train, test))
        residuals.append(rows.y - every)
    usable = np.isfinite(plain)
    meant, spread = np.full(len(rows), np.nan), None
    if meaning is not None:
        added, spread = held_out_meaning(meaning, fitted, residuals)
        meant, spread = np.clip(named + added, 0.0, 1.0), spread[usable]
    guesses = (plain, named, meant)
    squares = [(rows.y - guess)[usable] ** 2 for guess in guesses]
    errors = [float(values.sum()) for values in squares]
    total = float(np.sum((rows.y[usable] - rows.y[usable].mean()) ** 2)) if usable.any() else 0.0
    better = errors[1] < errors[0]
    gain = squares[int(better)] - squares[2]
    # A smoother over names follows chance as well: its gain has to stand out of its own noise.
    # NaN stands out of nothing, so what was not tried is never chosen.
    means = bool(gain.sum() > SURE_GAIN * np.sqrt(len(gain)) * gain.std()) if len(gain) else False
    chosen = guesses[2 if means else int(better)][usable]
    first, second, third = (1.0 - error / total if total > 0 else np.nan for error in errors)
    return HeldOut(
        centre=chosen,
        residual=rows.y[usable] - chosen,
        dataset=rows.dataset[usable],
        names_help=better or means,
        meaning_helps=means,
        spread=spread if means else None,
        explained=(first, second, third),
    )
