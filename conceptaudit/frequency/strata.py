"""Counts estimated from a tagged sample of the pairs that only a tagger can decide.

Ambiguous pairs are cut into forms (the words that may name the concept) and, within a form,
contexts. The pairs of a form that were tagged are a simple random sample of it; its count is
estimated by post-stratification over contexts, with the variance of sampling without replacement.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.frequency.ambiguous_pairs import UNIT
from conceptaudit.frequency.intervals import LEVEL, FloatArray
from conceptaudit.records import ConceptFrequencies, Int64Array

PILOT = 100  # pairs of a form that are tagged before anything is known of it

# A form with fewer ambiguous pairs is tagged completely, so that small corpora are counted exactly.
ALL_BELOW = 200

# A context with fewer tagged pairs is pooled with the other small ones of its form.
FEWEST_IN_CONTEXT = 10
_POOLED = -1
_PRIOR = 1.0  # weight, in pairs, of the form's share in the variance of one of its contexts

# Pairs added to each side of a share that is kept off 0 and 1.
#
# The neutral prior of J. Kerman, "Neutral noninformative and informative conjugate beta and gamma
# prior distributions", Electronic Journal of Statistics 5 (2011): its median is the share found.
_NEUTRAL = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Estimated numbers per concept."""

    total: FloatArray  # (n_concepts,): ambiguous pairs that name the concept
    variance: FloatArray  # (n_concepts,): of `total`; 0 where every pair was tagged
    found: FloatArray  # (n_concepts,): tagged pairs that name the concept
    left: FloatArray  # (n_concepts,): pairs that were not tagged
    # (n_concepts,): share of those that may name the concept, kept off 0 and 1 by what `variance`
    # rests on
    careful: FloatArray

    def interval(self, level: float = LEVEL) -> tuple[FloatArray, FloatArray]:
        """Return where the numbers lie that tagging every pair would give.

        Returns `low, high` (n_concepts,): whole numbers. The Bayesian interval of a share under a
        neutral prior, with as many draws as give `variance`: unlike a normal interval it has a
        length where all drawn pairs agree. See L. D. Brown, T. T. Cai and A. DasGupta, "Interval
        estimation for a binomial proportion", Statistical Science 16 (2001).
        """
        from scipy.special import betaincinv

        low, high = self.total.copy(), self.total.copy()
        some = self.variance > 0
        left, careful = self.left[some], self.careful[some]
        draws = careful * (1 - careful) * left**2 / self.variance[some]
        share = (self.total - self.found)[some] / left
        named, other = share * draws + _NEUTRAL, (1 - share) * draws + _NEUTRAL
        # where all drawn pairs agree the interval ends there, and can miss on one side only
        one_sided = (share == 0) | (share == 1)
        tail = np.where(one_sided, 1 - level, (1 - level) / 2)
        lowest = np.where(share > 0, betaincinv(named, other, tail), 0.0)
        highest = np.where(share < 1, betaincinv(named, other, 1 - tail), 1.0)
        low[some] = self.found[some] + np.rint(left * lowest)
        high[some] = self.found[some] + np.rint(left * highest)
        return low, high


def estimate_cells(strata: pd.DataFrame, tagged: pd.DataFrame) -> pd.DataFrame:
    """Estimate the share of ambiguous pairs that name their concept, context by context.

    A row per form and pooled context: ``n``, ``n_joint``, ``m`` (tagged), ``k`` (named),
    ``m_joint``, ``k_joint``, ``share``, ``careful`` (kept off 0 and 1), and ``share_joint``,
    ``careful_joint`` among the pairs whose image has the tag. Contexts of a form with few such
    tagged pairs have a share in common.
    """
    counted = tagged.assign(
        m=1,
        k=tagged["named"].astype(np.int64),
        m_joint=tagged["joint"].astype(np.int64),
        k_joint=(tagged["named"] & tagged["joint"]).astype(np.int64),
    )
    sums = ["m", "k", "m_joint", "k_joint"]
    cells = strata.merge(
        counted.groupby(["form", "context"], as_index=False)[sums].sum(),
        on=["form", "context"],
        how="left",
    ).fillna(dict.fromkeys(sums, 0))
    small = (cells["m"] < FEWEST_IN_CONTEXT) & (cells["m"] < cells["n"])
    cells["context"] = cells["context"].where(~small, _POOLED)
    keys = ["concept_id", "form", "context"]
    cells = cells.groupby(keys, as_index=False)[["n", "n_joint", *sums]].sum()
    m, k = (cells[column].to_numpy(np.float64) for column in "mk")
    form = cells["form"].to_numpy(np.int64)
    of_form = _form_share(form, m, k)
    # the form's own share stands in where a pooled context was never drawn
    share = np.where(m > 0, k / np.maximum(m, 1), of_form)
    cells = cells.assign(share=share, careful=_careful(form, m, k, of_form))
    return _with_joint_shares(cells, fallback=of_form)


def _with_joint_shares(cells: pd.DataFrame, *, fallback: FloatArray) -> pd.DataFrame:
    """Estimate the same shares among the pairs whose image has the tag, from these pairs alone.

    An image of a watch makes it likelier that "watch" is a noun: drawing these shares towards
    those of all pairs would count too few.
    """
    columns = ("n_joint", "m_joint", "k_joint")
    n, m, k = (cells[column].to_numpy(np.float64) for column in columns)
    form = cells["form"].to_numpy(np.int64)
    small = (m < FEWEST_IN_CONTEXT) & (m < n)
    # small contexts of a form are one: its number, apart from those of the other contexts
    group = np.where(small, -1 - form, np.arange(len(cells)))
    pooled_m, pooled_k = _totals(group, m), _totals(group, k)
    drawn, of_form = _totals(form, m) > 0, _form_share(form, m, k)
    # where no tagged pair has such an image, the form's share among all pairs stands in
    unseen = np.where(drawn, of_form, fallback)
    share = np.where(pooled_m > 0, pooled_k / np.maximum(pooled_m, 1), unseen)
    return cells.assign(
        joint_group=group,
        share_joint=share,
        careful_joint=_careful(form, pooled_m, pooled_k, of_form, whole=_totals(form, m)),
    )


def _totals(groups: Int64Array, values: FloatArray) -> FloatArray:
    """Sum of the values of each row's group, row by row."""
    _, at = np.unique(groups, return_inverse=True)
    sums: FloatArray = np.bincount(at, weights=values).astype(np.float64)
    return sums[at] if len(at) else values


def _form_share(form: Int64Array, m: FloatArray, k: FloatArray) -> FloatArray:
    """Share of each row's form, kept off 0 and 1."""
    return (_totals(form, k) + _NEUTRAL) / (_totals(form, m) + 2 * _NEUTRAL)


def _careful(
    form: Int64Array,
    m: FloatArray,
    k: FloatArray,
    of_form: FloatArray,
    whole: FloatArray | None = None,
) -> FloatArray:
    """Share of each context, kept off 0 and 1; the form's neutral pairs are shared out."""
    whole = _totals(form, m) if whole is None else whole
    one = m / np.maximum(whole, 1)
    return (k + _PRIOR * of_form + _NEUTRAL * one) / (m + _PRIOR + 2 * _NEUTRAL * one)


def add_cells(cells: pd.DataFrame, n_concepts: int, *, joint: bool = False) -> Estimate:
    """Add the cells of each concept up."""
    concept = cells["concept_id"].to_numpy(np.int64)

    def per_concept(values: FloatArray) -> FloatArray:
        return np.bincount(concept, weights=values, minlength=n_concepts).astype(np.float64)

    end = "_joint" if joint else ""
    n, m, k = (cells[f"{column}{end}"].to_numpy(np.float64) for column in "nmk")
    left = np.maximum(n - m, 0.0)
    share, careful = (cells[f"{name}{end}"].to_numpy(np.float64) for name in ("share", "careful"))
    total = per_concept(k + left * share)
    draws, all_left = m, left
    if joint:
        # contexts with a share in common err together; no more pairs are joint than are named
        group = cells["joint_group"].to_numpy(np.int64)
        draws, all_left = _totals(group, m), _totals(group, left)
        total = np.minimum(total, add_cells(cells, n_concepts).total)
    # what the untagged pairs hold: the error of the share, and of a finite number of draws
    variance = left * careful * (1 - careful) * (all_left / np.maximum(draws, 1.0) + 1.0)
    open_left = per_concept(left)
    return Estimate(
        total=total,
        variance=per_concept(variance),
        found=per_concept(k),
        left=open_left,
        careful=per_concept(left * careful) / np.maximum(open_left, 1.0),
    )


def wanted_sizes(cells: pd.DataFrame, certain: Int64Array, *, error: float, most: int) -> pd.Series:
    """Work out how many pairs of each form to tag for the wanted error of every count.

    Shapes: `certain` (n_concepts,). Number of pairs by form, never fewer than were tagged already.
    See J. Neyman, "On the two different aspects of the representative method", JRSS 97 (1934): for
    a given variance the fewest draws are in proportion to size times standard deviation.
    """
    forms = (
        cells.assign(weight=cells["n"] * cells["careful"] * (1 - cells["careful"]))
        .groupby(["concept_id", "form"], as_index=False)[["n", "m", "weight"]]
        .sum()
    )
    n = forms["n"].to_numpy(np.float64)
    m = forms["m"].to_numpy(np.float64)
    # one exception more than was seen: a hundred pairs that agree do not tell 1 % from none
    unseen = np.where(m < n, 1.0 / (m + 2.0), 0.0)
    deviation = np.sqrt(forms["weight"].to_numpy(np.float64) / np.maximum(n, 1) + unseen)
    count = certain + add_cells(cells, len(certain)).total
    concept = forms["concept_id"].to_numpy(np.int64)
    sums = [
        np.bincount(concept, weights=weights, minlength=len(certain))[concept]
        for weights in (n * deviation, n * deviation**2)
    ]
    allowed = (error * np.maximum(count, 1.0)[concept]) ** 2
    draws = np.ceil(n * deviation * sums[0] / (allowed + sums[1]))
    draws = np.minimum(np.maximum(draws, m), np.minimum(n, most))
    return pd.Series(draws.astype(np.int64), index=forms["form"].to_numpy(np.int64))


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
    """Mark in a frequency table which counts are estimates, and widen their intervals.

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
