"""Folds that share no concept name, or leave a dataset out, and predictions of what is left out."""

from collections.abc import Iterator

import numpy as np

from conceptaudit.curves.families import Estimator
from conceptaudit.curves.fit_data import FitData
from conceptaudit.curves.fitted import NEW_DATASET
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import FitError

N_FOLDS = 10

# Held out: concept names in folds, from all datasets at once; or one dataset at a time.
SCHEMES = ("concepts", "datasets")

Fold = tuple[IntArray, IntArray]  # positions of the rows to train on, and of those to test on


def concept_folds(concept: IntArray, seed: int, n_folds: int = N_FOLDS) -> Iterator[Fold]:
    """Yield folds in which all rows of a concept name are on the same side."""
    present, position = np.unique(concept, return_inverse=True)
    k = min(n_folds, len(present))
    fold = (np.random.default_rng(seed).permutation(len(present)) % k)[position]
    for index in range(k):
        train = np.flatnonzero(fold != index)
        if len(train):
            yield train, np.flatnonzero(fold == index)


def dataset_folds(dataset: IntArray, concept: IntArray | None = None) -> Iterator[Fold]:
    """Yield folds that leave each dataset out in turn.

    Given the rows' concepts, a dataset takes its names with it: rows of other datasets with one of
    them are not trained on.
    """
    for index in np.unique(dataset):
        test = dataset == index
        train = ~test if concept is None else ~test & ~np.isin(concept, concept[test])
        if train.any() or concept is None:
            yield np.flatnonzero(train), np.flatnonzero(test)


def folds(rows: FitData, scheme: str, seed: int) -> Iterator[Fold]:
    """Yield the folds of one of `SCHEMES`, none of which shares a concept name with its test."""
    if scheme == "datasets":
        return dataset_folds(rows.dataset, rows.concept)
    return concept_folds(rows.concept, seed)


def held_out(rows: FitData, estimator: Estimator, scheme: str) -> FloatArray:
    """Predict each row, (n,), from a fit that has not seen it; NaN where there is none."""
    expected = np.full(len(rows), np.nan)
    for train, test in folds(rows, scheme, estimator.seed):
        try:
            fitted = estimator.fit(rows.take(train))
        except FitError:  # the family has no curve without these rows
            continue
        unseen = np.full(len(test), NEW_DATASET, dtype=np.intp)
        dataset = unseen if scheme == "datasets" else rows.dataset[test]
        expected[test] = fitted.predict(rows.x[test], dataset)
    return expected
