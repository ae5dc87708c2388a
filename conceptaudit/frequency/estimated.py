"""A frequency table whose text counts are estimates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.frequency.open_pairs import UNIT
from conceptaudit.frequency.strata import Estimate
from conceptaudit.records import ConceptFrequencies, Int64Array

FloatArray = npt.NDArray[np.float64]


def estimated_count(certain: Int64Array, estimate: Estimate) -> Int64Array:
    """Return certain and estimated pairs together, rounded; shape (n_concepts,)."""
    return certain + np.rint(estimate.total).astype(np.int64)


def with_estimates(
    frequencies: ConceptFrequencies,
    certain: dict[str, Int64Array],
    estimates: dict[str, Estimate],
    *,
    level: float,
) -> ConceptFrequencies:
    """Say in a frequency table which counts are estimates, and widen their intervals.

    Shapes: `certain` (n_concepts,). With ``n_*_se`` (0 where the count is what tagging every
    caption would give) and ``n_*_full_low``, ``n_*_full_high``: where that count lies. ``n_*_low``
    and ``n_*_high`` take in both the estimation and the Poisson interval, as independent errors.
    """
    table = frequencies.table.copy()
    for side, estimate in estimates.items():
        count = table[f"n_{side}"].to_numpy(np.float64)
        low, high = estimate.interval(level)
        full_low, full_high = certain[side] + low, certain[side] + high
        table[f"n_{side}_se"] = np.sqrt(estimate.variance)
        table[f"n_{side}_full_low"] = full_low
        table[f"n_{side}_full_high"] = full_high
        for end, full in (("low", full_low), ("high", full_high)):
            known = table[f"n_{side}_{end}"].to_numpy(np.float64)
            both = np.hypot(known - count, full - count)
            table[f"n_{side}_{end}"] = np.maximum(
                count - both if end == "low" else count + both, 0.0
            )
    return replace(frequencies, table=pd.DataFrame(table), level=level)


def expected_samples(shards: list[Json]) -> dict[str, int]:
    """Add up the expected numbers of samples of shards; see `expected_agreement`."""
    names = sorted({name for shard in shards for name in shard})
    return {name: round(sum(shard.get(name, 0) for shard in shards) / UNIT) for name in names}
