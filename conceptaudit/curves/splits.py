"""Head, middle and tail of a fit, each with statistics of its own."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from conceptaudit.curves.checks import check_level
from conceptaudit.curves.linear import within_interval
from conceptaudit.curves.records import Curve, ModelFit
from conceptaudit.curves.rows import Rows, rows_of
from conceptaudit.curves.statistics import line, spearman, within_slope
from conceptaudit.curves.zeros import ZERO_TO_ONE
from conceptaudit.errors import ConfigError

NAMES = ("tail", "middle", "head")


def split_by_frequency(
    curve: Curve,
    *,
    edges: Sequence[float] | None = None,
    model: str | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Cut the concepts of each fit into tail, middle and head.

    Parameters
    ----------
    curve : Curve
    edges : sequence of two floats, optional
        The lowest count of the middle and of the head, such as ``(100, 10_000)``. Without it each
        part holds a third of the concepts whose count is above zero, and the tail the zeros too.
    model : str, optional
        See `Curve.select`; every model by default.
    level : float
        Level of the slope's interval, in (0, 1).

    Returns
    -------
    pandas.DataFrame
        A row per model and part: ``model, part, n, n_zero, count_min, count_max, mean_accuracy,
        slope_within, slope_low, slope_high`` (per decade, with one intercept per dataset), ``r``
        and ``rho`` per concept. NaN where a part is empty or its frequencies are all the same.

    Raises
    ------
    ConfigError
        The edges are not two ascending counts, or the level is not in (0, 1).

    Examples
    --------
    >>> from conceptaudit.curves import fit_curve
    >>> from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
    >>> names = list("abcdef")
    >>> table = pd.DataFrame({"concept": names, "n_text": [0, 1, 5, 9, 50, 99]})
    >>> counts = ConceptFrequencies(table)
    >>> scores = ConceptAccuracies(pd.DataFrame({
    ...     "model": "m", "pretraining": "", "dataset": "zoo", "concept": names, "n_correct": pd.NA,
    ...     "n_images": pd.NA, "accuracy": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], "metric": "accuracy"}))
    >>> split_by_frequency(fit_curve(counts, scores), edges=(5, 50))[["part", "n"]].values.tolist()
    [['tail', 2], ['middle', 2], ['head', 2]]
    """
    check_level(level)
    if edges is not None and (len(edges) != 2 or not 0 < edges[0] < edges[1]):
        raise ConfigError(
            "The 'edges' parameter of split_by_frequency must be two ascending counts above 0. "
            f"Got {list(edges)} instead."
        )
    return pd.DataFrame(
        [row for fit in curve.select(model) for row in _parts(curve, fit, edges, level)]
    )


def _parts(
    curve: Curve, fit: ModelFit, edges: Sequence[float] | None, level: float
) -> list[dict[str, object]]:
    points = curve.points_of(fit)
    counts = points["count"].to_numpy(np.float64)
    positive = counts[counts > 0]
    if edges is None:
        edges = np.quantile(positive, [1 / 3, 2 / 3]).tolist() if len(positive) else [1.0, 1.0]
    # A fit of the paper's family has zeros at one, beside counts of one.
    policy = "log1p" if curve.zero_policy == ZERO_TO_ONE else curve.zero_policy
    rows, part = rows_of(points, policy), np.digitize(counts, edges)
    return [
        {
            "model": fit.label,
            "part": name,
            **_statistics(rows.take(part == k), counts[part == k], level),
        }
        for k, name in enumerate(NAMES)
    ]


def _statistics(rows: Rows, counts: np.ndarray, level: float) -> dict[str, object]:
    some = len(rows) > 0
    varied = len(rows) > 2 and bool(np.ptp(rows.x) > 0)
    low, high = within_interval(rows, level) if varied else (np.nan, np.nan)
    return {
        "n": len(rows),
        "n_zero": int((counts == 0).sum()),
        "count_min": float(counts.min()) if some else np.nan,
        "count_max": float(counts.max()) if some else np.nan,
        "mean_accuracy": float(rows.y.mean()) if some else np.nan,
        "slope_within": within_slope(rows.x, rows.y, rows.dataset, len(rows.datasets))
        if varied
        else np.nan,
        "slope_low": low,
        "slope_high": high,
        "r": line(rows.x, rows.y)[2] if varied else np.nan,
        "rho": spearman(rows.x, rows.y) if varied else np.nan,
    }
