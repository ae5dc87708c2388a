"""The expected accuracy of a concept, and how far off it is for concepts that were held out.

A `PointModel` is a fitted family plus what the class names add (`features`). The names are used
only where they lower the squared error of concepts held out in folds, by name, in the same fit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from conceptaudit.curves.binned import BinRecipe
from conceptaudit.curves.families import Family
from conceptaudit.curves.features import FeatureEffects, fit_effects
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import NEW_DATASET, FittedFamily
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import FitError

N_FOLDS = 10

MIN_NAMED_ROWS = 60
"""Fewer rows than this cannot show that names help, and are fitted without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """How a centre is fitted: the family and what it needs beside rows."""

    family: Family
    recipe: BinRecipe
    seed: int
    use_names: bool = True

    def fit(self, rows: FitData, features: FloatArray) -> "PointModel":
        """Fit the rows; `features` has a row for each, see `features.name_features`."""
        fitted = self.family.fit(rows, seed=self.seed, recipe=self.recipe)
        if not self.use_names or len(rows) < MIN_NAMED_ROWS:
            return PointModel(fitted=fitted, effects=None)
        residuals = rows.y - fitted.predict(rows.x, rows.dataset)
        effects = fit_effects(features, residuals, rows.dataset, len(rows.datasets))
        return PointModel(fitted=fitted, effects=effects)


@dataclass(frozen=True, slots=True, kw_only=True)
class PointModel:
    """What is expected of a concept.

    Parameters
    ----------
    fitted : FittedFamily
    effects : FeatureEffects or None
        None where names are not used.
    """

    fitted: FittedFamily
    effects: FeatureEffects | None

    def at(self, x: FloatArray, dataset: IntArray, features: FloatArray) -> FloatArray:
        """Return the expected accuracy in [0, 1], shape (n,); NaN where x is.

        Parameters
        ----------
        x : numpy.ndarray of float64, shape (n,)
        dataset : numpy.ndarray of int, shape (n,)
            Position in the fitted rows' datasets, -1 for a new one.
        features : numpy.ndarray of float64, shape (n, k)
        """
        value = self.fitted.predict(x, dataset)
        if self.effects is not None:
            value = np.clip(value + self.effects.at(features, dataset), 0.0, 1.0)
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """What was expected of rows that a fit had not seen, and what they came to.

    Parameters
    ----------
    centre, residual : numpy.ndarray of float64, shape (n,)
        The expectation, and accuracy minus it.
    dataset : numpy.ndarray of int, shape (n,)
    names_help : bool
        Whether class names lowered the squared error, and are in `centre`.
    """

    centre: FloatArray
    residual: FloatArray
    dataset: IntArray
    names_help: bool


def held_out_by_concept(rows: FitData, features: FloatArray, estimator: Estimator) -> HeldOut:
    """Hold concepts out in folds; all rows of a concept's name are in the same fold."""
    splits = list(concept_folds(rows.concept, estimator.seed))
    return _held_out(rows, features, estimator, splits, rows.dataset)


def held_out_by_dataset(rows: FitData, features: FloatArray, estimator: Estimator) -> HeldOut:
    """Hold whole datasets out, one by one, and expect of them what is expected of a new one."""
    present = np.unique(rows.dataset)
    splits = [
        (np.flatnonzero(rows.dataset != one), np.flatnonzero(rows.dataset == one))
        for one in present
    ]
    return _held_out(rows, features, estimator, splits, np.full_like(rows.dataset, NEW_DATASET))


def _held_out(
    rows: FitData,
    features: FloatArray,
    estimator: Estimator,
    splits: list[tuple[IntArray, IntArray]],
    expected_in: IntArray,
) -> HeldOut:
    plain = np.full(len(rows), np.nan)
    named = np.full(len(rows), np.nan)
    for train, test in splits:
        try:
            centre = estimator.fit(rows.take(train), features[train])
        except FitError:  # too little is left: these rows have no held-out residual
            continue
        where = (rows.x[test], expected_in[test])
        plain[test] = centre.fitted.predict(*where)
        named[test] = centre.at(*where, features[test])
    usable = np.isfinite(plain)
    better = bool(np.sum((rows.y - named)[usable] ** 2) < np.sum((rows.y - plain)[usable] ** 2))
    chosen = (named if better else plain)[usable]
    return HeldOut(
        centre=chosen,
        residual=rows.y[usable] - chosen,
        dataset=rows.dataset[usable],
        names_help=better,
    )


def concept_folds(
    concept: IntArray, seed: int, n_folds: int = N_FOLDS
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield (train, test) row positions; all rows of a concept name are in the same fold.

    Examples
    --------
    >>> [test.tolist() for _, test in concept_folds(np.array([0, 0, 1]), seed=0)]
    [[0, 1], [2]]
    """
    present, position = np.unique(concept, return_inverse=True)
    k = min(n_folds, len(present))
    fold = (np.random.default_rng(seed).permutation(len(present)) % k)[position]
    for index in range(k):
        train = np.flatnonzero(fold != index)
        if len(train):
            yield train, np.flatnonzero(fold == index)
