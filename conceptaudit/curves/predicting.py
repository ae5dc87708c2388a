"""Predict the accuracy of concepts from their frequency, with an interval that holds.

Intervals come from residuals of rows that a fit had not seen (folds share no concept name), never
from the normal theory of least squares: accuracies are skewed, bounded and clustered by dataset.

Three cases, told apart per row and written in the ``basis`` column:

* the curve was fitted on one dataset: its line, and residuals of concepts held out in folds;
* the row's dataset is one of several in the fit: the slope within datasets, that dataset's own
  level (shrunken towards the others), and the spread of its own held-out concepts (likewise);
* the row's dataset is new or not named, or the family has one line for all datasets (``paper``):
  the pooled line, and residuals of whole datasets held out.

References
----------
Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74 (2015);
Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer hierarchical models",
Journal of the American Statistical Association 118 (2023).
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curves.binned import BinRecipe
from conceptaudit.curves.checks import check_level, numbers
from conceptaudit.curves.conformal import Scheme, known_datasets, new_dataset, one_dataset
from conceptaudit.curves.families import family_named, log_frequency
from conceptaudit.curves.joining import normalise_name
from conceptaudit.curves.records import Curve, ModelFit
from conceptaudit.curves.rows import rows_of
from conceptaudit.curves.statistics import FloatArray, IntArray
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptFrequencies

EXTRAPOLATED = "; outside the fitted range of frequencies, interval widened"
NO_COUNT = "no prediction: the frequency is missing"
ZERO_EXCLUDED = "no prediction: the frequency is zero and zeros were left out of the fit"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Queries:
    """The rows to predict: counts, x, and the position of each row's dataset in the fit."""

    counts: FloatArray
    x: FloatArray
    dataset: IntArray


def predict(
    curve: Curve, frequencies: ConceptFrequencies, *, level: float = 0.9, model: str | None = None
) -> pd.DataFrame:
    """Predict zero-shot accuracy, concept by concept.

    Parameters
    ----------
    curve : Curve
    frequencies : ConceptFrequencies
        Must hold the count that the curve was fitted on. A ``dataset`` column, where present,
        tells which evaluation set a concept is from.
    level : float
        Share of concepts whose accuracy the interval is meant to hold, in (0, 1).
    model : str, optional
        A model's name or its label ``model/pretraining/metric``; all models by default.

    Returns
    -------
    pandas.DataFrame
        A row per model and frequency row: ``model, pretraining, metric, dataset`` (where given),
        ``concept, count, accuracy, low, high`` (all in [0, 1]), ``extrapolated`` (the frequency
        lies outside the fitted range) and ``basis`` (what the interval rests on, or why there is
        no prediction and the numbers are NaN).

    Raises
    ------
    ConfigError
        The level is not in (0, 1), or the curve has no such model.
    DataError
        The frequencies do not hold the curve's count.

    Examples
    --------
    >>> from conceptaudit.curves import fit_curve
    >>> from conceptaudit.records import ConceptAccuracies
    >>> names = [f"class {i}" for i in range(40)]
    >>> counts = ConceptFrequencies(
    ...     pd.DataFrame({"concept": names, "n_text": [10 ** (i % 5) - 1 for i in range(40)]}))
    >>> scores = ConceptAccuracies(pd.DataFrame({
    ...     "model": "RN50", "pretraining": "", "dataset": "zoo", "metric": "accuracy",
    ...     "concept": names, "n_correct": pd.NA, "n_images": pd.NA,
    ...     "accuracy": [0.1 + 0.1 * (i % 5) for i in range(40)]}))
    >>> rows = predict(fit_curve(counts, scores), ConceptFrequencies(
    ...     pd.DataFrame({"concept": ["yak"], "n_text": [99]})))
    >>> rows[["concept", "accuracy", "low", "high"]].round(3).values.tolist()
    [['yak', 0.3, 0.3, 0.3]]
    """
    check_level(level)
    table = frequencies.table
    if curve.count not in frequencies.counted:
        raise DataError(
            f"The curve was fitted on {curve.count}: the frequencies must hold it. Got the counts "
            f"{list(frequencies.counted)} instead."
        )
    counts = numbers(table[curve.count])
    x = log_frequency(counts, curve.zero_policy)
    head = {"dataset": table["dataset"].to_numpy()} if "dataset" in table else {}
    head["concept"] = table["concept"].to_numpy()
    parts = []
    for fit in curve.select(model):
        queries = _Queries(counts=counts, x=x, dataset=_positions(fit, table))
        parts.append(
            pd.DataFrame(
                {
                    "model": fit.model,
                    "pretraining": fit.pretraining,
                    "metric": fit.metric,
                    **head,
                    "count": counts,
                    **_predicted(curve, fit, queries, level),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _positions(fit: ModelFit, table: pd.DataFrame) -> IntArray:
    """Position of each row's dataset in the fit; -1 where it is new or not named."""
    if "dataset" not in table:
        return np.full(len(table), -1, dtype=np.intp)
    known = {normalise_name(s.dataset): index for index, s in enumerate(fit.effects.slopes)}
    codes, names = pd.factorize(table["dataset"])
    positions = np.array([known.get(normalise_name(str(name)), -1) for name in names] + [-1])
    return positions[codes].astype(np.intp)


def _predicted(
    curve: Curve, fit: ModelFit, queries: _Queries, level: float
) -> dict[str, npt.NDArray[np.generic]]:
    rows = rows_of(curve.points_of(fit), curve.zero_policy)
    line = (fit.line.slope, fit.line.intercept)
    family, binned = family_named(curve.family), fit.binned
    recipe = BinRecipe(n_edges=len(binned.counts), first=binned.first, last=binned.last)
    lines = partial(family.lines, recipe=recipe)
    chosen = np.zeros(len(queries.x), dtype=np.intp)
    if rows.single:
        schemes = [one_dataset(rows, lines, line, level, curve.seed)]
    else:
        schemes = [new_dataset(rows, lines, line, level)]
        if family.has_levels:
            schemes.extend(known_datasets(rows, level, curve.seed))
            chosen = queries.dataset + 1
    return _apply(schemes, chosen, queries, fit)


def _apply(
    schemes: list[Scheme], chosen: IntArray, queries: _Queries, fit: ModelFit
) -> dict[str, npt.NDArray[np.generic]]:
    """Evaluate for each row the scheme chosen for it."""
    slope, intercept, low, high = np.array([s.numbers for s in schemes])[chosen].T
    x, line = queries.x, fit.line
    beyond = np.maximum(line.x_min - x, 0.0) + np.maximum(x - line.x_max, 0.0)
    # The slope's own uncertainty is hidden inside the fitted range and grows with distance.
    unsure = max(line.slope_high - line.slope, line.slope - line.slope_low)
    widened = beyond * (unsure if np.isfinite(unsure) else 1.0)
    centre = intercept + slope * x
    missing = np.isnan(x)
    extrapolated = ~missing & (beyond > 0)
    basis = np.array([s.basis for s in schemes], dtype=object)[chosen]
    basis[extrapolated] += EXTRAPOLATED
    basis[missing] = ZERO_EXCLUDED
    basis[np.isnan(queries.counts)] = NO_COUNT
    return {
        "accuracy": np.clip(centre, 0.0, 1.0),
        "low": np.clip(centre + low - widened, 0.0, 1.0),
        "high": np.clip(centre + high + widened, 0.0, 1.0),
        "extrapolated": extrapolated,
        "basis": basis,
    }
