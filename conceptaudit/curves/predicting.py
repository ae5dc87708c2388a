"""Predict the accuracy of concepts from their frequency, with an interval that holds.

Intervals come from residuals of rows that a fit had not seen (folds share no concept name), never
from the normal theory of least squares: accuracies are skewed, bounded and clustered by dataset.

Three cases, told apart per row and written in the ``basis`` column:

* the curve was fitted on one dataset: its curve, and residuals of concepts held out in folds;
* the row's dataset is one of several in the fit: what the family expects in that dataset, and
  residuals of concepts held out in folds, its own first;
* the row's dataset is new or not named: what the family expects of a new dataset, and residuals
  of whole datasets held out. `Anchors` say more about such a dataset, and narrow it.

References
----------
Vovk, "Cross-conformal predictors", Annals of Mathematics and Artificial Intelligence 74 (2015);
Dunn, Wasserman and Ramdas, "Distribution-free prediction sets for two-layer hierarchical models",
Journal of the American Statistical Association 118 (2023).
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.counts import available_counts, counts_of, holds_count
from conceptaudit.curves.class_names import Encode, near_classes
from conceptaudit.curves.count_errors import expected_counts
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fit_data import log_frequency
from conceptaudit.curves.known_results import Anchors, Known, anchored
from conceptaudit.curves.model_predictor import (
    ModelPredictor,
    Queries,
    prepare,
    queries_of,
)
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, check_level
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptFrequencies

EXTRAPOLATED = "; outside the fitted range of frequencies: interval widened, its level not assured"
NO_COUNT = "no prediction: the frequency is missing"
ZERO_EXCLUDED = "no prediction: the frequency is zero and zeros were left out of the fit"


def predict(
    curve: Curve,
    frequencies: ConceptFrequencies,
    *,
    level: float = 0.9,
    model: str | None = None,
    anchors: Anchors | None = None,
    same_model: bool = True,
    encode: Encode | None = None,
    covariate: float | None = None,
) -> pd.DataFrame:
    """Predict zero-shot accuracy, concept by concept, and its mean over each dataset.

    Parameters
    ----------
    curve : Curve
    frequencies : ConceptFrequencies
        Must hold the count that the curve was fitted on. A ``dataset`` column, where present,
        tells which evaluation set a concept is from; all classes of a set should be there,
        because a class name is judged among its rivals.
    level : float
        Share of concepts whose accuracy the interval is meant to hold, in (0, 1).
    model : str, optional
        A model's name or its label ``model/pretraining/metric``; all models by default.
    anchors : Anchors, optional
        What is known of the evaluation sets or the model beside frequencies.
    same_model : bool
        False where the model to be evaluated is not one that the curve was fitted on, as with
        published curves: the levels of known datasets then are as uncertain as those of new
        ones, and intervals are those of left-out datasets.
    encode : callable, optional
        Text vectors of class names by the model whose accuracy is predicted, see
        `class_names.class_names`.
    covariate : float, optional
        Scale of the model that is predicted, where the curve was fitted with one: the model of
        nearest scale (or `model`) is moved to it, see `scale.ScaleEffect`; intervals are those of
        another model's.

    Returns
    -------
    pandas.DataFrame
        A row per model and frequency row: ``model, pretraining, metric, dataset`` (where given),
        ``concept, count, accuracy, low, high`` (all in [0, 1]), ``level``, ``extrapolated`` (the
        frequency lies outside the fitted range) and ``basis`` (what the prediction rests on, or
        why there is none and the numbers are NaN); and, the same in all rows of a dataset,
        ``set_accuracy, set_low, set_high``: the mean over its classes, with an interval (NaN
        where something is known of it already).

    Raises
    ------
    ConfigError
        The level is not in (0, 1), or the curve has no such model.
    DataError
        The frequencies do not hold the curve's count, or an anchor does not fit them.

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
    available = available_counts(frequencies)
    if not holds_count(frequencies, curve.count):
        raise DataError(
            f"The curve was fitted on {curve.count}: the frequencies must hold it. Got the counts "
            f"{list(available)} instead. Audit what is missing, or fit the curve on a count that "
            "both have (fit --count "
            f"{'|'.join(name.removeprefix('n_') for name in available)})."
        )
    counted = counts_of(frequencies, curve.count)
    counts = whole_counts(frequencies, counted)
    x = log_frequency(counts, curve.zero_policy, never=counted == 0)
    head = {"dataset": table["dataset"].to_numpy()} if "dataset" in table else {}
    head["concept"] = table["concept"].to_numpy()
    given = anchors or Anchors()
    if covariate is not None:
        if curve.scale is None:
            raise ConfigError(
                "--covariate needs a curve that was fitted with one: `conceptaudit fit "
                "--covariate parameters`, or a column of the accuracies."
            )
        model = model or curve.scale.nearest(covariate)
        same_model = same_model and covariate in curve.scale.scales
    parts = []
    for fit in curve.select(model):
        queries = queries_of(fit, table, counted, x, same_model=same_model)
        given.check(queries)
        parts.append(
            pd.DataFrame(
                {
                    "model": fit.model,
                    "pretraining": fit.pretraining,
                    "metric": fit.metric,
                    **head,
                    "count": counts,
                    **_predicted(curve, fit, queries, level, given, encode),
                }
            )
        )
        if covariate is not None and curve.scale is not None:
            parts[-1] = curve.scale.moved(parts[-1], x, fit.label, covariate)
    return pd.concat(parts, ignore_index=True)


def whole_counts(frequencies: ConceptFrequencies, counted: FloatArray) -> FloatArray:
    """Return counts of the whole: as they are, or expected from those of a sample."""
    if frequencies.share == 1.0:
        return counted
    table = frequencies.table
    groups = np.zeros(len(table), dtype=np.intp)
    if "dataset" in table:
        groups = pd.factorize(table["dataset"], use_na_sentinel=False)[0].astype(np.intp)
    return expected_counts(counted, groups, frequencies.share).count


def near(curve: Curve, rows: pd.DataFrame, *, encode: Encode | None = None) -> list[str]:
    """Name classes of the fit that are near in meaning to predicted ones, and what they score.

    One per row, such as ``"Siberian husky 0.31, malamute 0.35"``; empty where none is near.
    """
    result = dict.fromkeys(rows.index, "")
    for fit in curve.fits:
        of_fit = (rows["model"] == fit.model) & (rows["pretraining"] == fit.pretraining)
        asked = rows[of_fit & (rows["metric"] == fit.metric)]
        if asked.empty:
            continue
        counts = asked["count"].to_numpy(np.float64)
        prepared = prepare(curve, fit, queries_of(fit, asked, counts, counts), encode)
        classes = near_classes(prepared.names, prepared.rows.y, prepared.queried)
        result.update(zip(asked.index, classes, strict=True))
    return list(result.values())


def _predicted(
    curve: Curve,
    fit: ModelFit,
    queries: Queries,
    level: float,
    anchors: Anchors,
    encode: Encode | None,
) -> dict[str, npt.NDArray[np.generic]]:
    prepared = prepare(curve, fit, queries, encode)
    centre, low, high = (np.full(len(queries), np.nan) for _ in range(3))
    of_set = np.full((3, len(queries)), np.nan)
    basis = np.empty(len(queries), dtype=object)
    for position in np.unique(queries.group):
        members = np.flatnonzero(queries.group == position)
        known = anchors.of(queries, members, fit)
        found = expectations(prepared, queries, members, level, known)
        centre[members], low[members], high[members], basis[members] = found
        anchored_here = known is not None
        mean = prepared.set_mean(queries, members, found[0], level, anchored=anchored_here)
        of_set[:, members] = np.array(mean)[:, None]
    return _widened(fit, queries, (centre, low, high), basis) | {
        "level": np.full(len(queries), level),
        "set_accuracy": of_set[0],
        "set_low": of_set[1],
        "set_high": of_set[2],
    }


def expectations(
    prepared: ModelPredictor,
    queries: Queries,
    members: npt.NDArray[np.intp],
    level: float,
    known: Known | None,
) -> tuple[FloatArray, FloatArray, FloatArray, str]:
    """Predict the rows of one dataset, or those that name none, given what is known of it.

    Returns what is expected of them, the ends of its interval, and what that rests on.
    """
    expected, spread = prepared.expected(queries, members)
    if known is not None:
        expected, band = anchored(prepared, known, expected, level)
    else:
        band = prepared.band(queries, members, level)
    if prepared.is_surer(queries, members, anchored=known is not None):
        spread = None  # its rows count as all alike
    low, high = band.at(expected, spread)
    return expected, low, high, band.basis


def _widened(
    fit: ModelFit,
    queries: Queries,
    predicted: tuple[FloatArray, FloatArray, FloatArray],
    basis: npt.NDArray[np.object_],
) -> dict[str, npt.NDArray[np.generic]]:
    """Widen and flag what lies outside the fitted frequencies; say why a row has no numbers."""
    centre, low, high = predicted
    x, line = queries.x, fit.line
    beyond = np.maximum(line.x_min - x, 0.0) + np.maximum(x - line.x_max, 0.0)
    # concepts that never occur were fitted too, though a hurdle's line begins above them
    beyond[(queries.counts == 0) & (fit.usage.n_zero > 0)] = 0.0
    # The slope's own uncertainty is hidden inside the fitted range and grows with distance.
    unsure = max(line.slope_high - line.slope, line.slope - line.slope_low)
    widened = beyond * (unsure if np.isfinite(unsure) else 1.0)
    missing = np.isnan(x)
    extrapolated = ~missing & (beyond > 0)
    basis[extrapolated] += EXTRAPOLATED
    basis[missing] = ZERO_EXCLUDED
    basis[np.isnan(queries.counts)] = NO_COUNT
    return {
        "accuracy": np.clip(centre, 0.0, 1.0),
        "low": np.clip(low - widened, 0.0, 1.0),
        "high": np.clip(high + widened, 0.0, 1.0),
        "extrapolated": extrapolated,
        "basis": basis,
    }
