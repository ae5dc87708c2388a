"""Plans: from a wanted accuracy to the examples that a class needs for it, cheapest gains first.

The answer assumes that a class with more examples moves along the curve of its dataset, at its own
distance from it. Curves are fitted across classes, not by adding examples to one: a plan is a
ranking with orders of magnitude, not a promise. No answer lies outside the fitted frequencies; a
class that the curve does not bring to the target there is called not reachable.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import ndtri

from conceptaudit.counts import counts_of
from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fit_data import count_at, log_frequency
from conceptaudit.curves.fitted import above_zero
from conceptaudit.curves.joining import KEY_COLUMNS
from conceptaudit.curves.model_predictor import prepare, queries_of
from conceptaudit.curves.needed_gain import (
    AccuracyLaw,
    concept_correlation,
    expected_law,
    measured_law,
    needed_gain,
    relative_error,
)
from conceptaudit.curves.pooling import slope_errors
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import ModelFit
from conceptaudit.curves.statistics import FloatArray, check_level
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.names import class_keys
from conceptaudit.records import ConceptFrequencies

ALREADY, NOT_REACHABLE, UNKNOWN = "reached", "not reachable by frequency alone", "no prediction"
NEAR = "within test noise of the target"
# Fewer more examples than this are within the error of any curve, whatever a formula says.
LEAST_EXAMPLES = 10.0

# With fewer evaluation sets, if more than one, nothing tells how much their slopes differ.
FEW_DATASETS = 3

ASSUMPTION = (
    "This assumes that a class with more examples moves along the curve of its set. Curves are "
    "fitted across classes, not by adding examples to one: take orders of magnitude and ranks."
)

N_GRID = 401
MEDIAN = 0.5  # the examples of a plan are enough with this chance

# A class that is accurate and was never counted: its name was more likely missed than unused.
CHECK_COUNT = "check the count"
REACHABLE = "reachable"

# Columns that say which class of which model a row is about, where there are such.
NAMED = ("model", "pretraining", "metric", "dataset", "concept")
STEP = float(np.log10(2.0))  # a step of spending doubles the examples of a class


def _doublings(
    rows: pd.DataFrame,
    members: npt.NDArray[np.intp],
    shape: FloatArray,
    grid: FloatArray,
    x: FloatArray,
    accuracy: FloatArray,
    ends: FloatArray,
    *,
    zero_policy: str,
) -> pd.DataFrame:
    """Cut the way of each class, to its target or the end of the curve, into doublings.

    `members` are the classes of one dataset, whose curve has the values `shape` at `grid`, in
    decades; `ends` say where each of all classes reaches the target.
    """
    last = np.where(np.isfinite(ends[members]), ends[members], grid[-1])
    length = np.maximum(last - x[members], 0.0)
    n_steps = np.ceil(length / STEP - 1e-9).astype(np.intp)
    who = np.repeat(members, n_steps)
    number = np.arange(len(who)) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    start = x[who] + number * STEP
    stop = np.minimum(start + STEP, np.repeat(last, n_steps))
    # a class keeps its own distance from the curve of its set
    offset = accuracy[who] - np.interp(x[who], grid, shape)
    gain = np.clip(np.interp(stop, grid, shape) + offset, 0, 1) - np.clip(
        np.interp(start, grid, shape) + offset, 0, 1
    )
    head = rows.iloc[who][[c for c in NAMED if c in rows]]
    return head.assign(
        from_count=np.round(count_at(start, zero_policy)),
        to_count=np.round(count_at(stop, zero_policy)),
        examples=np.round(10.0**stop - 10.0**start),
        gain=gain,
    )


def _ordered(table: pd.DataFrame, cost_per_example: float | None) -> pd.DataFrame:
    """Put reachable classes first, the cheapest gain at the head, and add up what they take.

    Classes whose count is to be checked come last.
    """
    price = np.nan if cost_per_example is None else cost_per_example
    last = (table["status"] == CHECK_COUNT).to_numpy()
    ranked = (
        table.assign(last=last)
        .sort_values(["last", "gain_per_1000"], ascending=[True, False], kind="stable")
        .drop(columns="last")
    )
    reachable = (ranked["status"] == REACHABLE).to_numpy()
    order = np.where(reachable, np.cumsum(reachable), 0)
    total = ranked["examples"].where(reachable).cumsum()
    return ranked.assign(
        cost=ranked["examples"] * price,
        order=pd.array(np.where(reachable, order, 0), dtype="Int64"),
        cumulative_examples=total,
        cumulative_cost=total * price,
    )


def _spending(steps: pd.DataFrame, cost_per_example: float | None) -> pd.DataFrame:
    """Put doublings in the order of gain per example, and add up what they take and give."""
    if steps.empty:
        return steps
    price = np.nan if cost_per_example is None else cost_per_example
    useful = steps[(steps["gain"] > 1e-12) & (steps["examples"] > 0)]
    rate = useful["gain"] / useful["examples"]
    ranked = useful.iloc[np.argsort(-rate.to_numpy(), kind="stable")]
    total = ranked["examples"].cumsum()
    return ranked.assign(
        cumulative_examples=total,
        cumulative_cost=total * price,
        cumulative_gain=ranked["gain"].cumsum(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The examples that a target would take, class by class.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per model and class: ``model, pretraining, metric, dataset`` (where given),
        ``concept, count, accuracy, measured`` (whether that is the class's own accuracy or the
        expected one), ``status``,
        ``examples, examples_low, examples_high`` (more examples: enough with a chance of one half,
        and the interval of what it takes, which spans test noise, how classes differ and the slope
        of the class's own set; infinite where the curve may not get there, NaN where two sets do
        not tell how much slopes differ), ``cost, gain_per_1000`` (accuracy per thousand
        examples on the way to the target), ``order`` (cheapest gain first, from 1),
        ``cumulative_examples, cumulative_cost``.
    steps : pandas.DataFrame
        Doublings of classes, cheapest gain first: the same names, ``from_count,
        to_count, examples, gain, cumulative_examples, cumulative_cost, cumulative_gain``. Where
        the accuracy is concave in log frequency no other spending of the same number of
        examples gains more.
    target, level : float
    """

    table: pd.DataFrame
    steps: pd.DataFrame
    target: float
    level: float

    @property
    def summary(self) -> pd.DataFrame:
        """Per model: classes by status, examples and cost of all that are reachable."""
        groups = self.table.groupby(list(KEY_COLUMNS), sort=True)
        counts = groups["status"].value_counts().unstack(fill_value=0)  # noqa: PD010 -- of counts
        wanted = [ALREADY, NEAR, REACHABLE, NOT_REACHABLE, CHECK_COUNT, UNKNOWN]
        totals = groups[["examples", "cost"]].sum(min_count=1)
        return counts.reindex(columns=wanted, fill_value=0).join(totals).reset_index()


def plan(
    curve: Curve,
    frequencies: ConceptFrequencies,
    *,
    target: float,
    cost_per_example: float | None = None,
    level: float = 0.9,
    model: str | None = None,
) -> Plan:
    """Work out how many more examples each class needs for a target accuracy.

    Parameters
    ----------
    curve : Curve
    frequencies : ConceptFrequencies
        As for `predict`.
    target : float
        Accuracy in (0, 1].
    cost_per_example : float, optional
        At least 0; costs are NaN without it.
    level : float
        Of the intervals, in (0, 1).
    model : str, optional
        As for `predict`.

    Returns
    -------
    Plan

    Raises
    ------
    ConfigError
        The target, the cost or the level is out of range, or the curve has no such model.
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
    >>> found = plan(fit_curve(counts, scores), ConceptFrequencies(
    ...     pd.DataFrame({"concept": ["yak"], "n_text": [99]})), target=0.4)
    >>> found.table[["concept", "status", "examples"]].values.tolist()
    [['yak', 'reachable', 900.0]]
    """
    check_level(level)
    if not 0.0 < target <= 1.0:
        raise ConfigError(
            f"The 'target' parameter must be an accuracy in (0, 1]. Got {target!r} instead"
            f"{'; divide per cent by 100.' if target > 1 else '.'}"
        )
    if cost_per_example is not None and not 0.0 <= cost_per_example < np.inf:
        raise ConfigError(
            "The 'cost_per_example' parameter must be a number of at least 0. Got "
            f"{cost_per_example!r} instead."
        )
    predicted = predict(curve, frequencies, level=level, model=model)
    n = len(frequencies.table)
    if not n:
        raise DataError("There are no classes to plan for: the frequency table is empty.")
    tables, steps = [], []
    for index, fit in enumerate(curve.select(model)):
        rows = predicted.iloc[index * n : (index + 1) * n].reset_index(drop=True)
        one, spent = _of_model(curve, fit, frequencies.table, rows, target)
        tables.append(_ordered(one, cost_per_example))
        steps.append(_spending(spent, cost_per_example))
    return Plan(
        table=pd.concat(tables, ignore_index=True),
        steps=pd.concat(steps, ignore_index=True),
        target=target,
        level=level,
    )


def _of_model(
    curve: Curve, fit: ModelFit, table: pd.DataFrame, rows: pd.DataFrame, target: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    level = float(rows["level"].iloc[0])
    measured, n_images, never = _known(curve, fit, rows, table)
    counts, expected = (rows[name].to_numpy(np.float64) for name in ("count", "accuracy"))
    own = ~np.isnan(measured)
    accuracy = np.where(own, measured, expected)
    x = log_frequency(counts, curve.zero_policy, never=never)
    usable = ~np.isnan(accuracy) & ~np.isnan(x)
    queries = queries_of(fit, table, counts, x)
    predictor = prepare(curve, fit, queries)
    predicted = (rows[end].to_numpy(np.float64) for end in ("high", "low"))
    width = np.subtract(*predicted) / (2 * float(ndtri((1 + level) / 2)))
    correlation = concept_correlation(predictor.rows, predictor.centre.fitted)
    slopes, errors = slope_errors(above_zero(predictor.rows))
    chances = (MEDIAN, (1 - level) / 2, (1 + level) / 2, 1 - level, level)
    at = np.full((len(chances), len(rows)), np.nan)
    steps: list[pd.DataFrame] = []
    for group in np.unique(queries.group[usable]):
        members = np.flatnonzero((queries.group == group) & usable)
        here = x[members]
        # from where the classes are, which may be below the fitted frequencies
        grid = np.linspace(min(fit.line.x_min, here.min()), fit.line.x_max, N_GRID)
        shape = predictor.shape(queries, members, grid)
        start = np.interp(here, grid, shape)
        law = AccuracyLaw.where(
            own[members],
            measured_law(accuracy[members], n_images[members], start, correlation),
            expected_law(expected[members], width[members]),
        )
        dataset = queries.dataset[members] if not predictor.rows.single else 0 * members
        error = relative_error(slopes, errors, dataset)
        for ends, chance in zip(at, chances, strict=True):
            gain = needed_gain(law, target, error, shape[-1] - start, chance)
            ends[members] = _position(shape, grid, start, gain, here, fit.line.x_min)
        lacking = np.where(accuracy >= target, x, at[0])
        steps.append(
            _doublings(
                rows, members, shape, grid, x, accuracy, lacking, zero_policy=curve.zero_policy
            )
        )
    result = rows[[c for c in (*NAMED, "count") if c in rows]].copy()
    result["accuracy"], result["measured"] = accuracy, own
    reached = accuracy >= target
    strange = own & never & (accuracy >= _usual(curve, fit))
    result["status"] = np.select(
        [~usable, reached, strange, at[0] <= x, np.isfinite(at[0])],
        [UNKNOWN, ALREADY, CHECK_COUNT, NEAR, REACHABLE],
        NOT_REACHABLE,
    )
    best, low, high, lowest, highest = at
    # Where a class may need nothing, or the curve may end before, nothing lies beyond that end, and
    # the other leaves out all that the interval may.
    low, high = (
        np.where(np.isinf(high) & (low > x), lowest, low),
        np.where(low <= x, highest, high),
    )
    for column, found in (("examples_low", low), ("examples", best), ("examples_high", high)):
        more = np.ceil(np.round(count_at(found, curve.zero_policy) - counts, 6))
        least = LEAST_EXAMPLES if column == "examples" else 0.0
        more = np.where(found <= x, 0.0, np.maximum(more, least))
        result[column] = np.where(usable, np.where(reached, 0.0, more), np.nan)
    result["examples_high"] = result[["examples", "examples_high"]].max(axis=1, skipna=False)
    if 1 < len(predictor.rows.datasets) < FEW_DATASETS:
        result[["examples_low", "examples_high"]] = np.nan
    unplanned = result["status"].isin([NOT_REACHABLE, CHECK_COUNT]).to_numpy()
    result.loc[unplanned, "examples"] = np.nan
    result["gain_per_1000"] = np.where(
        result["status"] == REACHABLE, 1000 * (target - accuracy) / result["examples"], np.nan
    )
    return result, pd.concat(steps, ignore_index=True) if steps else pd.DataFrame()


def _known(
    curve: Curve, fit: ModelFit, rows: pd.DataFrame, table: pd.DataFrame
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]:
    """Return the measured accuracy and test images of each class, NaN where there are none.

    Also whether it was never counted, in the table of frequencies that is planned for.
    """
    points = curve.points_of(fit)
    values = zip(points["accuracy"], points["n_images"], strict=True)
    known = dict(zip(class_keys(points["dataset"], points["concept"]), values, strict=True))
    only = {dataset for dataset, _ in known}
    nameless = [only.pop() if len(only) == 1 else ""] * len(rows)
    asked = class_keys(rows.get("dataset", nameless), rows["concept"])
    found = np.array([known.get(key, (np.nan, np.nan)) for key in asked], dtype=np.float64)
    found = found.reshape(len(rows), 2)
    counted = counts_of(ConceptFrequencies(table), curve.count)
    return found[:, 0], found[:, 1], counted == 0


def _usual(curve: Curve, fit: ModelFit) -> FloatArray | float:
    """Mean accuracy of the classes that were counted: one that never was should lie below."""
    points = curve.points_of(fit)
    counted = points.loc[points["counted"] > 0, "accuracy"]
    return float(counted.mean()) if len(counted) else np.inf


def _position(
    shape: FloatArray,
    grid: FloatArray,
    start: FloatArray,
    gain: FloatArray,
    x: FloatArray,
    x_min: float,
) -> FloatArray:
    """Return where on the grid each class has gained so much; infinite where it never does."""
    finite = np.isfinite(gain)
    # Rounding must not make a target that is the curve's own end unreachable.
    wanted = np.minimum(start + np.where(finite, gain, 0.0), shape[-1])
    at = np.where(gain > 0, np.maximum(_first_at(shape, grid, wanted), x), x)
    # below the fitted frequencies the curve is only extended, and nothing ends there
    at = np.where(gain > 0, np.maximum(at, x_min), at)
    return np.where(finite, at, np.inf)


def _first_at(shape: FloatArray, grid: FloatArray, value: FloatArray) -> FloatArray:
    """Return where a curve that never falls first comes to a value, at its level parts too."""
    after = np.clip(np.searchsorted(shape, value - 1e-12), 1, len(shape) - 1)
    rise = shape[after] - shape[after - 1]
    part = np.divide(value - shape[after - 1], rise, out=np.zeros_like(value), where=rise > 0)
    return grid[after - 1] + np.clip(part, 0.0, 1.0) * (grid[after] - grid[after - 1])
