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

from conceptaudit.curves.curve import Curve
from conceptaudit.curves.fit_data import count_at, log_frequency
from conceptaudit.curves.joining import KEY_COLUMNS, normalise_name
from conceptaudit.curves.model_predictor import prepare, queries_of
from conceptaudit.curves.predicting import predict
from conceptaudit.curves.records import LineFit, ModelFit
from conceptaudit.curves.statistics import FloatArray, check_level
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptFrequencies

REACHABLE = "reachable"

NAMED = ("model", "pretraining", "metric", "dataset", "concept")
"""Columns that say which class of which model a row is about, where there are such."""

STEP = float(np.log10(2.0))
"""A step of spending doubles the examples of a class."""


def doublings(
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

    Parameters
    ----------
    rows : pandas.DataFrame
        Predictions of all classes, shape (n, ...).
    members : numpy.ndarray of int
        Positions of the classes of one dataset.
    shape, grid : numpy.ndarray of float64, shape (k,)
        The dataset's curve, never falling, and where it was evaluated, in decades.
    x, accuracy, ends : numpy.ndarray of float64, shape (n,)
        Where the classes are, in decades and accuracy, and where they reach the target.
    zero_policy : str
        How decades were made of counts, see `log_frequency`.
    """
    last = np.where(np.isfinite(ends[members]), ends[members], grid[-1])
    length = np.maximum(last - x[members], 0.0)
    n_steps = np.ceil(length / STEP - 1e-9).astype(np.intp)
    who = np.repeat(members, n_steps)
    number = np.arange(len(who)) - np.repeat(np.cumsum(n_steps) - n_steps, n_steps)
    start = x[who] + number * STEP
    stop = np.minimum(start + STEP, np.repeat(last, n_steps))
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


def ordered(table: pd.DataFrame, cost_per_example: float | None) -> pd.DataFrame:
    """Put reachable classes first, the cheapest gain at the head, and add up what they take.

    Parameters
    ----------
    table : pandas.DataFrame
        ``status, examples, gain_per_1000``.
    cost_per_example : float or None
    """
    price = np.nan if cost_per_example is None else cost_per_example
    ranked = table.sort_values("gain_per_1000", ascending=False, kind="stable", na_position="last")
    reachable = (ranked["status"] == REACHABLE).to_numpy()
    order = np.where(reachable, np.cumsum(reachable), 0)
    total = ranked["examples"].where(reachable).cumsum()
    return ranked.assign(
        cost=ranked["examples"] * price,
        order=pd.array(np.where(reachable, order, 0), dtype="Int64"),
        cumulative_examples=total,
        cumulative_cost=total * price,
    )


def spending(steps: pd.DataFrame, cost_per_example: float | None) -> pd.DataFrame:
    """Put doublings in the order of gain per example, and add up what they take and give.

    Parameters
    ----------
    steps : pandas.DataFrame
        From `doublings`.
    cost_per_example : float or None
    """
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


ALREADY, NOT_REACHABLE, UNKNOWN = "reached", "not reachable by frequency alone", "no prediction"

N_GRID = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a target would take.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per model and class: ``model, pretraining, metric, dataset`` (where given),
        ``concept, count, accuracy, measured`` (whether that is the class's own accuracy or the
        expected one), ``status``,
        ``examples, examples_low, examples_high`` (more examples; infinite where the interval
        reaches classes that cannot get there, 0 to infinite where the slope has no interval or
        is not positive), ``cost, gain_per_1000`` (accuracy per thousand
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
        wanted = [ALREADY, REACHABLE, NOT_REACHABLE, UNKNOWN]
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
        Of the intervals, in (0, 1). For a class whose accuracy the curve holds it spans the
        interval of the slope, for any other the accuracies that such a class may have.
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
        tables.append(ordered(one, cost_per_example))
        steps.append(spending(spent, cost_per_example))
    return Plan(
        table=pd.concat(tables, ignore_index=True),
        steps=pd.concat(steps, ignore_index=True),
        target=target,
        level=level,
    )


def _of_model(
    curve: Curve, fit: ModelFit, table: pd.DataFrame, rows: pd.DataFrame, target: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    measured = _measured(curve, fit, rows)
    counts, expected = (rows[name].to_numpy(np.float64) for name in ("count", "accuracy"))
    own = ~np.isnan(measured)
    accuracy = np.where(own, measured, expected)
    x = log_frequency(counts, curve.zero_policy)
    usable = ~np.isnan(accuracy) & ~np.isnan(x)
    queries = queries_of(fit, table, counts, x)
    prepared = prepare(curve, fit, queries)
    ratios = dict(zip(("best", "low", "high"), (1.0, *_ratios(fit.line)), strict=True))
    found = {name: np.full(len(rows), np.nan) for name in ratios}
    steps: list[pd.DataFrame] = []
    for group in np.unique(queries.group[usable]):
        members = np.flatnonzero((queries.group == group) & usable)
        here, mine = x[members], own[members]
        # from where the classes are, which may be below the fitted frequencies
        grid = np.linspace(min(fit.line.x_min, here.min()), fit.line.x_max, N_GRID)
        shape = prepared.shape(queries, members, grid)
        start = np.interp(here, grid, shape)
        for name, end in (("best", "accuracy"), ("low", "high"), ("high", "low")):
            now = np.where(mine, accuracy[members], rows[end].to_numpy(np.float64)[members])
            ratio = np.where(mine, ratios[name], 1.0)
            at = _position(shape, grid, start, now, target, ratio, here)
            found[name][members] = np.where(now >= target, at, np.maximum(at, fit.line.x_min))
        ends = (grid, x, accuracy, found["best"])
        steps.append(doublings(rows, members, shape, *ends, zero_policy=curve.zero_policy))
    result = rows[[c for c in (*NAMED, "count") if c in rows]].copy()
    result["accuracy"], result["measured"] = accuracy, own
    reached = accuracy >= target
    result["status"] = np.select(
        [~usable, reached, np.isfinite(found["best"])],
        [UNKNOWN, ALREADY, REACHABLE],
        NOT_REACHABLE,
    )
    for column, name in (("examples", "best"), ("examples_low", "low"), ("examples_high", "high")):
        more = np.ceil(np.round(count_at(found[name], curve.zero_policy) - counts, 6))
        # under a policy that takes 0 for 1 the curve begins above a count of 0
        more = np.where(found[name] <= x, 0.0, more)
        result[column] = np.where(usable, np.where(reached, 0.0, more), np.nan)
    unreachable = (result["status"] == NOT_REACHABLE).to_numpy()
    result.loc[unreachable, "examples"] = np.nan
    result["gain_per_1000"] = np.where(
        result["status"] == REACHABLE, 1000 * (target - accuracy) / result["examples"], np.nan
    )
    return result, pd.concat(steps, ignore_index=True) if steps else pd.DataFrame()


def _measured(curve: Curve, fit: ModelFit, rows: pd.DataFrame) -> FloatArray:
    """Return the accuracy that the curve holds of each class, NaN where it holds none."""
    points = curve.points_of(fit)
    known = {
        (normalise_name(str(d)), normalise_name(str(c))): a
        for d, c, a in zip(points["dataset"], points["concept"], points["accuracy"], strict=True)
    }
    if "dataset" in rows:
        datasets = rows["dataset"]
    else:
        only = {d for d, _ in known}
        datasets = pd.Series([only.pop() if len(only) == 1 else ""] * len(rows))
    keys = [
        (normalise_name(str(d)), normalise_name(str(c)))
        for d, c in zip(datasets, rows["concept"], strict=True)
    ]
    return np.array([known.get(key, np.nan) for key in keys], dtype=np.float64)


def _ratios(line: LineFit) -> tuple[float, float]:
    """Return what the ends of the slope's interval are, steep and flat, as shares of the slope.

    Without an interval, or without a slope upwards, nothing is known: from 0 to infinitely many.
    """
    ends = (line.slope_high, line.slope_low)
    if not np.isfinite(ends).all() or line.slope <= 0:
        return float("inf"), 0.0
    return max(ends[0] / line.slope, 0.0), max(ends[1] / line.slope, 0.0)


def _position(
    shape: FloatArray,
    grid: FloatArray,
    start: FloatArray,
    now: FloatArray,
    target: float,
    ratio: FloatArray,
    x: FloatArray,
) -> FloatArray:
    """Return where on the grid each class reaches the target; infinite where it does not."""
    with np.errstate(divide="ignore", invalid="ignore"):
        wanted = start + np.where(ratio > 0, (target - now) / ratio, np.inf)
    wanted = np.where(now >= target, start, wanted)
    # Rounding must not make a target that is the curve's own end unreachable.
    at = _first_at(shape, grid, np.minimum(wanted, shape[-1]))
    there = (now >= target) | np.isinf(ratio)
    return np.where(there, x, np.where(wanted <= shape[-1] + 1e-9, np.maximum(at, x), np.inf))


def _first_at(shape: FloatArray, grid: FloatArray, value: FloatArray) -> FloatArray:
    """Return where a curve that never falls first comes to a value, at its level parts too."""
    after = np.clip(np.searchsorted(shape, value - 1e-12), 1, len(shape) - 1)
    rise = shape[after] - shape[after - 1]
    part = np.divide(value - shape[after - 1], rise, out=np.zeros_like(value), where=rise > 0)
    return grid[after - 1] + np.clip(part, 0.0, 1.0) * (grid[after] - grid[after - 1])
