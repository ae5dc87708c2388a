"""What becomes of a tail: whether a dataset's rare concepts are fewer in another, or gone.

A generated or filtered set can be smaller everywhere alike ("scaled"), lose more the rarer a
concept is ("narrowed"), or lose rare concepts altogether ("cut off"); what a model trained on it
can still learn differs (Dohmatob et al., "A tale of tails: model collapse as a change of scaling
laws", 2024).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.frequency.intervals import LEVEL, FloatArray, normal_reach

SCALED, NARROWED, WIDENED, CUT_OFF = "scaled", "narrowed", "widened", "cut off"
# Share of the fuller set that is mixed in, as published: 2 % of real data bring a tail back.
SHARE_BACK = 0.02
LEAST = 5  # counts below say little of an exponent
SURE = 0.05
DRAWS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TailLoss:
    """A tail beside that of a fuller set."""

    n_concepts: int  # concepts that occur in the baseline
    # Zipf's exponent of the set: count over rank^-exponent. NaN with fewer than ten concepts
    exponent: float
    exponent_low: float
    exponent_high: float
    exponent_baseline: float
    exponent_baseline_low: float
    exponent_baseline_high: float
    # of log expected count over log baseline count: 1 where a set is scaled alike, above where rare
    # concepts lose more
    slope: float
    slope_low: float
    slope_high: float
    n_lost: int  # concepts that are gone, and how many that slope and chance explain
    n_lost_expected: float
    p_cut: float  # how often chance explains so many
    # lost concepts that are expected back where `SHARE_BACK` of the baseline is mixed in
    n_back: float
    verdict: str  # ``"scaled"``, ``"narrowed"``, ``"widened"`` or ``"cut off"``


def zipf_exponent(counts: FloatArray, level: float = LEVEL) -> tuple[float, float, float]:
    """Estimate Zipf's exponent by the regression of log(rank - 1/2) on log count.

    Shapes: `counts` (n,). Returns `exponent, low, high`. See Gabaix and Ibragimov, "Rank - 1/2: a
    simple way to improve the OLS estimation of tail exponents", Journal of Business & Economic
    Statistics 29 (2011).
    """
    large = np.sort(counts[counts >= LEAST])[::-1]
    if len(large) < 10 or large[0] == large[-1]:
        return float("nan"), float("nan"), float("nan")
    x, y = np.log(large), np.log(np.arange(1, len(large) + 1) - 0.5)
    zeta = -float(np.polyfit(x, y, 1)[0])
    half = normal_reach(level) * zeta * np.sqrt(2.0 / len(large))
    low, high = 1.0 / (zeta + half), 1.0 / max(zeta - half, 1e-9)
    return 1.0 / zeta, float(low), float(high)


def tail_loss(counts: FloatArray, baseline: FloatArray, level: float = LEVEL) -> TailLoss:
    """Compare a set's counts with those of a fuller one, concept by concept.

    Shapes: `counts`, `baseline` (n_concepts,).
    """
    occurring = baseline > 0
    y, n = counts[occurring], baseline[occurring]
    x = np.log(n)
    slope, error, expected, spread = _fit(x, y)
    reach = normal_reach(level) * error
    n_lost = int((y < 0.5).sum())
    likely = _zero_chance(expected, spread)
    drawn = np.random.default_rng(0).random((DRAWS, len(likely))) < likely
    p_cut = float((1 + (drawn.sum(axis=1) >= n_lost).sum()) / (1 + DRAWS))
    verdict = SCALED
    if n_lost and p_cut <= SURE:
        verdict = CUT_OFF
    elif slope - reach > 1.0:
        verdict = NARROWED
    elif slope + reach < 1.0:
        verdict = WIDENED
    back = 1.0 - (1.0 - SHARE_BACK) ** n[y < 0.5]
    own, base = zipf_exponent(y, level), zipf_exponent(n, level)
    return TailLoss(
        n_concepts=int(occurring.sum()),
        exponent=own[0],
        exponent_low=own[1],
        exponent_high=own[2],
        exponent_baseline=base[0],
        exponent_baseline_low=base[1],
        exponent_baseline_high=base[2],
        slope=slope,
        slope_low=slope - reach,
        slope_high=slope + reach,
        n_lost=n_lost,
        n_lost_expected=float(likely.sum()),
        p_cut=p_cut,
        n_back=float(back.sum()),
        verdict=verdict,
    )


def _fit(x: FloatArray, y: FloatArray) -> tuple[float, float, FloatArray, float]:
    """Fit log expected count = a + b x to the concepts that occur.

    Concepts that are gone say nothing of how those that stayed shrank, and would hide a cut: a
    count is taken as one of a Poisson distribution without zero, its variance larger by a factor
    that the concepts themselves give.

    Returns `slope, standard error, expected counts of all, variance over Poisson's`.
    """
    from scipy.optimize import minimize

    there = y >= 0.5
    xs, ys = x[there], y[there]
    if len(ys) < 3 or np.ptp(xs) == 0:
        return float("nan"), float("nan"), np.full(len(x), float(y.mean())), 1.0

    def loss(p: FloatArray) -> tuple[float, FloatArray]:
        mu = np.exp(np.clip(p[0] + p[1] * xs, -30, 30))
        positive = -np.expm1(-mu)
        value = float((mu + np.log(positive) - ys * np.log(mu)).sum())
        pull = mu / positive - ys
        return value, np.array([pull.sum(), (pull * xs).sum()])

    start = np.array([np.log(ys.sum() / np.exp(xs).sum()), 1.0])
    found = minimize(loss, start, jac=True, method="BFGS").x
    mu = np.exp(np.clip(found[0] + found[1] * xs, -30, 30))
    positive = -np.expm1(-mu)
    mean = mu / positive
    variance = np.maximum(mean * (1.0 + mu - mean), 1e-12)
    spread = max(1.0, float(((ys - mean) ** 2 / variance).sum() / (len(ys) - 2)))
    design = np.stack([np.ones_like(xs), xs], axis=1)
    bread = np.linalg.pinv(design.T @ (design * variance[:, None]))
    # concepts differ in more than chance: a sandwich does not need to know how
    meat = design.T @ (design * ((ys - mean) ** 2)[:, None])
    error = float(np.sqrt((bread @ meat @ bread)[1, 1]) * np.sqrt(len(ys) / (len(ys) - 2)))
    return float(found[1]), error, np.exp(np.clip(found[0] + found[1] * x, -30, 30)), spread


def _zero_chance(expected: FloatArray, spread: float) -> FloatArray:
    """Probability of a count of zero: of a negative binomial with so much more variance."""
    extra = spread - 1.0
    if extra < 1e-6:
        return np.exp(-expected)
    return np.asarray((1.0 + extra) ** (-expected / extra))


def tail_table(concepts: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Compare tails in a table of comparisons, see `comparing.Comparison.concepts`.

    ``dataset, baseline, count`` and the fields of `TailLoss`.
    """
    rows: list[dict[str, Any]] = []
    for (dataset, count), part in concepts.groupby(["dataset", "count"], sort=False):
        y, n = (part[name].to_numpy(np.float64) for name in ("n", "n_baseline"))
        if not (n > 0).any():
            continue
        loss = tail_loss(y, n, level)
        fields = {name: getattr(loss, name) for name in loss.__dataclass_fields__}
        rows.append(
            {"dataset": dataset, "baseline": part["baseline"].iloc[0], "count": count, **fields}
        )
    return pd.DataFrame(rows)
