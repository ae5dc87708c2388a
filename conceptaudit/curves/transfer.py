"""Predict a model's accuracy on a class from what other models score on the same class.

What is hard for one model is hard for its sibling: per-class results of other models say far more
about a class than its frequency does. They are regressed by ridge, together with the frequency,
with effects common to all datasets and effects of each dataset drawn towards those; the level of
a dataset is its own as far as its number of known classes allows. A dataset of which no class is
known has the level that other models have there, by a regression between datasets; of its classes
those whose name stands in a known dataset too are moved by what the regression missed there.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curves.conformal import Band, known_dataset, mean_of_set, new_dataset
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fit_data import log_frequency
from conceptaudit.curves.folds import Fold, concept_folds, dataset_folds
from conceptaudit.curves.point_model import HeldOut
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import (
    COMMON_PENALTY,
    FeatureEffects,
    FloatArray,
    IntArray,
    check_level,
    fit_effects,
    group_means,
)
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.names import class_keys, name_keys
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

MIN_COMMON = 20  # classes that the model and the others must have in common

# Share of the model's classes that another model must have results for, to be used.
MIN_COVERAGE = 0.5
BETWEEN_ROWS = 100.0  # rows of classes that the mean of one dataset weighs as much as
SMALLEST = 1e-12  # keeps the regression between datasets solvable where all have the same means

# Penalty on what means of datasets add to effects within, as a share of their mean square.
BETWEEN_RIDGE = 0.02

# Known classes at which a dataset's own level weighs as much as what the others say of it.
LEVEL_ROWS = 5.0

# Known classes of the same name, in other datasets, of whose mean residual half is taken over.
NAME_ROWS = 2.0
NOT_WIDENED = "; outside the fitted range of frequencies: the level is not assured"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDataset:
    """Expected accuracies in a dataset of which no class is known."""

    level: float  # mean over datasets of their mean accuracies
    centre: FloatArray  # (k,): the same of the predictors
    # (k,): effects of a class's distance from its dataset's mean, and of that mean's from `centre`
    within: FloatArray
    between: FloatArray

    def at(self, predictors: FloatArray) -> FloatArray:
        """Return the expected accuracies in [0, 1] of all classes of the dataset, shape (n,)."""
        mean = predictors.mean(axis=0)
        level = self.level + (mean - self.centre) @ self.between
        value: FloatArray = level + (predictors - mean) @ self.within
        return np.clip(value, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A ridge regression on other models' accuracies."""

    mean: float  # of the known accuracies
    centre: FloatArray  # (k,): of the predictors
    means: FloatArray  # (d + 1, k): of the predictors in each dataset; the last row is `centre`
    # (d + 1,): level of each dataset about what common effects say; the last, for a new one, is 0
    offsets: FloatArray
    effects: FeatureEffects
    new: "NewDataset"

    def at(self, predictors: FloatArray, dataset: IntArray) -> FloatArray:
        """Return the expected accuracy in [0, 1], shape (n,), in datasets of the fit."""
        scaled = (self.means[dataset] - self.centre) / self.effects.scale
        level = self.mean + scaled @ self.effects.common + self.offsets[dataset]
        within = self.effects.at(predictors - self.means[dataset], dataset)
        return np.clip(level + within, 0.0, 1.0)


def fit_transfer(
    predictors: FloatArray, accuracy: FloatArray, dataset: IntArray, n_datasets: int
) -> Transfer:
    """Fit the regression.

    Shapes: `predictors` (n, k); `accuracy`, `dataset` (n,).
    """
    seen = np.bincount(dataset, minlength=n_datasets)
    centre, mean = predictors.mean(axis=0), float(accuracy.mean())
    means = np.stack([group_means(c, dataset, n_datasets) for c in predictors.T], axis=1)
    means = np.where(seen[:, None] > 0, means, centre)
    own = np.where(seen > 0, group_means(accuracy, dataset, n_datasets), mean)
    effects = fit_effects(predictors - means[dataset], accuracy - own[dataset], dataset, n_datasets)
    expected = mean + (means - centre) / effects.scale @ effects.common
    offsets = (own - expected) * seen / (seen + LEVEL_ROWS)
    middle, level = means[seen > 0].mean(axis=0), float(own[seen > 0].mean())
    between_sets = (means[seen > 0] - middle) / effects.scale
    between_sets[:, -1] = 0.0  # how frequent a set's classes are says less than models' levels
    within, between = _new_effects(
        (predictors - means[dataset]) / effects.scale,
        accuracy - own[dataset],
        between_sets,
        own[seen > 0] - level,
    )
    between[-1] = 0.0
    return Transfer(
        new=NewDataset(
            level=level,
            centre=middle,
            within=within / effects.scale,
            between=between / effects.scale,
        ),
        mean=mean,
        centre=centre,
        means=np.vstack([means, centre]),
        offsets=np.append(offsets, 0.0),
        effects=effects,
    )


def _new_effects(
    x: FloatArray, y: FloatArray, means: FloatArray, levels: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Effects in a dataset that is not in the fit, within it and of its means.

    Means of datasets are rows of the same ridge; what they have beside it is a ridge of its own,
    since 14 datasets say little of 19 models, but most of what they say is the level.
    """
    k = x.shape[1]
    weighted = BETWEEN_ROWS * means.T
    left = x.T @ x + weighted @ means + COMMON_PENALTY * np.eye(k)
    within = np.asarray(np.linalg.solve(left, x.T @ y + weighted @ levels), dtype=np.float64)
    kernel = means @ means.T
    spread = np.trace(kernel) / max(len(means), 1)
    ridge = (BETWEEN_RIDGE * spread + SMALLEST) * np.eye(len(means))
    return within, within + means.T @ np.linalg.solve(kernel + ridge, levels - means @ within)


def name_effects(
    fitted: Transfer,
    predictors: FloatArray,
    accuracy: FloatArray,
    dataset: IntArray,
    concept: IntArray,
    n_concepts: int,
) -> FloatArray:
    """Estimate how far the classes of each name lie from what is expected, drawn towards 0.

    Shapes: `concept` (n,). Returns (n_concepts + 1,) the last, for any other name, is 0.
    """
    residual = accuracy - fitted.at(predictors, dataset)
    total = np.bincount(concept, weights=residual, minlength=n_concepts + 1)
    return np.asarray(total / (np.bincount(concept, minlength=n_concepts + 1) + NAME_ROWS))


def held_out_transfer(
    predictors: FloatArray,
    accuracy: FloatArray,
    dataset: IntArray,
    concept: IntArray,
    splits: Iterable[Fold],
    *,
    new: bool,
) -> HeldOut:
    """Residuals of rows held out; `new` expects of them what is expected in a new dataset."""
    n_concepts = int(concept.max()) + 1
    n_datasets = int(dataset.max()) + 1
    centre = np.full(len(accuracy), np.nan)
    for train, test in splits:
        known = predictors[train], accuracy[train], dataset[train]
        fitted = fit_transfer(*known, n_datasets)
        if new:
            effects = name_effects(fitted, *known, concept[train], n_concepts)
            expected = fitted.new.at(predictors[test]) + effects[concept[test]]
            centre[test] = np.clip(expected, 0.0, 1.0)
        else:
            centre[test] = fitted.at(predictors[test], dataset[test])
    return HeldOut(centre=centre, residual=accuracy - centre, dataset=dataset, names_help=False)


def transfer(
    curve: Curve,
    frequencies: ConceptFrequencies,
    others: ConceptAccuracies,
    *,
    model: str | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Predict a model of a curve from other models' results on the same classes.

    As of `predict`; ``basis`` says which classes only their frequency predicts.
    """
    check_level(level)
    fits = curve.select(model)
    if len(fits) > 1:
        raise DataError(
            f"Transfer predicts one model at a time. The curve holds {len(fits)}; choose one of "
            f"{', '.join(fit.label for fit in fits[:20])} with the 'model' parameter."
        )
    if "dataset" not in frequencies.table:
        raise DataError("Transfer needs frequencies with a 'dataset' column: each class's set.")
    table = predict(curve, frequencies, level=level, model=fits[0].label)
    return _transferred(curve, fits[0], table, others, level)


def _transferred(
    curve: Curve, fit: ModelFit, table: pd.DataFrame, others: ConceptAccuracies, level: float
) -> pd.DataFrame:
    rows, concepts = curve.rows(fit), curve.names(fit)
    wide = _wide(fit, others)
    asked = class_keys(table["dataset"], table["concept"])
    known = class_keys([rows.datasets[d] for d in rows.dataset], concepts)
    seen, wanted = wide.reindex(known), wide.reindex(asked)
    used = list(seen.columns[(seen.notna().mean() >= MIN_COVERAGE).to_numpy(dtype=bool)])
    train = seen[used].notna().all(axis=1).to_numpy(dtype=bool)
    if not used or int(train.sum()) < MIN_COMMON:
        raise DataError(
            f"Other models must share at least {MIN_COMMON} classes with {fit.label}. Got "
            f"{int(train.sum()) if used else 0} from {wide.shape[1]} instead; are evaluation sets "
            "and classes named alike?"
        )
    x = log_frequency(table["count"].to_numpy(np.float64), curve.zero_policy)
    usable = wanted[used].notna().all(axis=1).to_numpy(dtype=bool) & np.isfinite(x)
    usable &= table["accuracy"].notna().to_numpy(dtype=bool)
    predictors = np.column_stack([seen[used].to_numpy(np.float64), rows.x])[train]
    accuracy, dataset, concept = rows.y[train], rows.dataset[train], rows.concept[train]
    fitted = fit_transfer(predictors, accuracy, dataset, len(rows.datasets))
    positions = {key: index for index, key in enumerate(name_keys(rows.datasets))}
    where = np.array([positions.get(key[0], -1) for key in asked], dtype=np.intp)
    where[~np.isin(where, np.unique(dataset))] = -1
    asked_of = np.column_stack([wanted[used].to_numpy(np.float64), x])
    folds = list(concept_folds(concept, curve.seed))
    by_concept = held_out_transfer(predictors, accuracy, dataset, concept, folds, new=False)
    names = dict(zip(name_keys(concepts), rows.concept, strict=True))
    n_names = len(names)
    effects = name_effects(fitted, predictors, accuracy, dataset, concept, n_names)
    asked_name = np.array([names.get(key[1], n_names) for key in asked], dtype=np.intp)
    result = table.copy()
    named = np.array([key[0] for key in asked], dtype=object)
    for name in sorted(set(named[usable])):
        members = np.flatnonzero(usable & (named == name))
        position = int(where[members[0]])
        held = by_concept
        if position >= 0:
            band = known_dataset(held, position, rows.datasets[position], level)
            expected = fitted.at(asked_of[members], where[members])
        else:
            splits = list(dataset_folds(dataset))
            held = held_out_transfer(predictors, accuracy, dataset, concept, splits, new=True)
            band = new_dataset(held, level)
            expected = fitted.new.at(asked_of[members]) + effects[asked_name[members]]
            expected = np.clip(expected, 0.0, 1.0)
        _fill(result, members, expected, band, used)
        of_set = mean_of_set(held, position, expected, level)
        result.loc[result.index[members], ["set_accuracy", "set_low", "set_high"]] = of_set
    return result


def _fill(
    table: pd.DataFrame,
    members: npt.NDArray[np.intp],
    expected: FloatArray,
    band: Band,
    used: Sequence[str],
) -> None:
    low, high = band.at(expected)
    rows = table.index[members]
    for column, values in (("accuracy", expected), ("low", low), ("high", high)):
        table.loc[rows, column] = values
    models = quantity(len(used), "other model")
    table.loc[rows, "basis"] = f"results of {models} and frequency; {band.basis}"
    table.loc[rows[table.loc[rows, "extrapolated"]], "basis"] += NOT_WIDENED


def _wide(fit: ModelFit, others: ConceptAccuracies) -> pd.DataFrame:
    """Return other models' accuracies of this fit's metric, a column per model."""
    table = others.table
    same = (table["model"] == fit.model) & (table["pretraining"] == fit.pretraining)
    table = table[~same & (table["metric"] == fit.metric)]
    if table.empty:
        raise DataError(
            f"There are no results of other models in the metric {fit.metric!r}. Got the metrics "
            f"{sorted(others.table['metric'].unique())} of "
            f"{len(others.table[['model', 'pretraining']].drop_duplicates())} models instead."
        )
    keys = class_keys(table["dataset"], table["concept"])
    label = table["model"].astype("str") + "/" + table["pretraining"].astype("str")
    named = pd.DataFrame(
        {"key": keys, "label": label.to_numpy(), "accuracy": table["accuracy"].to_numpy()}
    )
    return named.pivot_table(index="key", columns="label", values="accuracy", aggfunc="first")
