"""Whether a tail is scaled, narrowed or cut off, on counts that were made so."""

import numpy as np
import pytest

from conceptaudit.frequency.tails import tail_loss, tail_table, zipf_exponent


def base(rng, n=600, exponent=1.2, top=40_000):
    return rng.poisson(top * np.arange(1.0, n + 1) ** -exponent).astype(float)


def verdicts(change, n=60):
    found = []
    for seed in range(n):
        rng = np.random.default_rng(seed)
        baseline = base(rng)
        found.append(tail_loss(change(rng, baseline), baseline))
    return found


def scaled(rng, baseline):
    return rng.poisson(baseline * 0.2).astype(float)


def narrowed(rng, baseline):
    return rng.poisson(0.2 * baseline.max() * (baseline / baseline.max()) ** 1.25).astype(float)


def cut(rng, baseline):
    counts = rng.poisson(baseline * 0.5).astype(float)
    counts[np.argsort(-baseline)[450:]] = 0
    return counts


def noisy(rng, baseline):
    return rng.poisson(baseline * 0.5 * rng.lognormal(0, 0.6, len(baseline))).astype(float)


@pytest.mark.parametrize(
    ("change", "verdict", "share"),
    [(scaled, "scaled", 0.85), (narrowed, "narrowed", 0.9), (cut, "cut off", 1.0)],
)
def test_the_verdict_is_what_was_done(change, verdict, share):
    found = verdicts(change)
    assert np.mean([one.verdict == verdict for one in found]) >= share


def test_intervals_of_the_slope_hold_it():
    found = verdicts(scaled, 120)
    inside = np.mean([one.slope_low <= 1.0 <= one.slope_high for one in found])
    assert 0.82 <= inside <= 0.97
    found = verdicts(narrowed, 60)
    inside = np.mean([one.slope_low <= 1.25 <= one.slope_high for one in found])
    assert 0.78 <= inside <= 0.99


def test_concepts_that_merely_differ_are_no_cut():
    found = verdicts(noisy)
    assert np.mean([one.verdict == "cut off" for one in found]) <= 0.15


def test_what_is_lost_and_comes_back():
    baseline = np.array([1000.0] * 20 + [50.0] * 20 + [2.0] * 20)
    counts = np.where(baseline > 10, baseline / 2, 0.0)
    counts[20] = 0.0
    loss = tail_loss(counts, baseline)
    assert loss.n_lost == 21
    assert loss.n_back == pytest.approx(1 - 0.98**50 + 20 * (1 - 0.98**2))


def test_exponents_of_zipf_laws():
    for exponent in (0.8, 1.0, 1.5):
        hits = 0
        for seed in range(40):
            rng = np.random.default_rng(seed)
            sizes = 100 * (1 - rng.random(400)) ** -exponent  # counts of that Pareto tail
            _, low, high = zipf_exponent(sizes)
            hits += low <= exponent <= high
        assert hits >= 30
    assert np.isnan(zipf_exponent(np.array([7.0, 8.0]))[0])


def test_the_table_of_a_comparison():
    import pandas as pd

    rng = np.random.default_rng(0)
    baseline = base(rng)
    rows = pd.DataFrame(
        {
            "dataset": "b", "baseline": "a", "count": "n_text",
            "n": scaled(rng, baseline), "n_baseline": baseline,
        }
    )  # fmt: skip
    table = tail_table(rows)
    assert table["verdict"].tolist() == ["scaled"]
