"""Order of spending: classes by accuracy per example, examples one doubling at a time."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.curves.fit_data import count_at
from conceptaudit.curves.statistics import FloatArray

# A class that is accurate and was never counted: its name was more likely missed than unused.
CHECK_COUNT = "check the count"
REACHABLE = "reachable"

# Columns that say which class of which model a row is about, where there are such.
NAMED = ("model", "pretraining", "metric", "dataset", "concept")
STEP = float(np.log10(2.0))  # a step of spending doubles the examples of a class


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

    Shapes: `shape`, `grid` (k,); `x`, `accuracy`, `ends` (n,).
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


def spending(steps: pd.DataFrame, cost_per_example: float | None) -> pd.DataFrame:
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
