"""Counts estimated from a sample of open pairs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.frequency.ambiguous_pairs import UNIT, Shares, expected_agreement, with_shares
from conceptaudit.frequency.strata import (
    ALL_BELOW,
    Estimate,
    add_cells,
    estimate_cells,
    wanted_sizes,
)


def population(seed: int, shares: list[float], size: int) -> pd.DataFrame:
    """Pairs of one concept and form in as many contexts as there are shares."""
    rng = np.random.default_rng(seed)
    context = rng.integers(0, len(shares), size)
    return pd.DataFrame(
        {
            "concept_id": 0,
            "form": 7,
            "context": context,
            "named": rng.random(size) < np.array(shares)[context],
            "joint": rng.random(size) < 0.3,
        }
    )


def strata_of(pairs: pd.DataFrame) -> pd.DataFrame:
    by = ["concept_id", "form", "context"]
    return pairs.groupby(by, as_index=False).agg(n=("joint", "size"), n_joint=("joint", "sum"))


def estimate(pairs: pd.DataFrame, m: int, *, joint: bool = False) -> Estimate:
    return add_cells(estimate_cells(strata_of(pairs), pairs.iloc[:m]), 1, joint=joint)


@given(st.integers(0, 1000), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_a_form_tagged_completely_is_counted_exactly(seed: int, size: int) -> None:
    pairs = population(seed, [0.1, 0.5, 1.0], size)
    for joint, truth in ((False, pairs["named"]), (True, pairs["named"] & pairs["joint"])):
        found = estimate(pairs, size, joint=joint)
        assert found.total[0] == truth.sum()
        assert found.variance[0] == 0
        low, high = found.interval()
        assert low[0] == high[0] == truth.sum()


@given(st.integers(0, 1000), st.integers(1, 400))
@settings(max_examples=50, deadline=None)
def test_an_interval_never_leaves_what_is_possible(seed: int, m: int) -> None:
    pairs = population(seed, [0.0, 0.99], 400)
    found = estimate(pairs, m)
    low, high = found.interval()
    named = pairs["named"].iloc[:m].sum()
    assert named <= low[0] <= found.total[0] + 1 <= high[0] + 1 <= named + 400 - m + 1


@pytest.mark.parametrize("shares", [[0.5], [0.05, 0.95], [0.9, 0.97, 0.99]])
@pytest.mark.parametrize("joint", [False, True])
def test_intervals_cover_as_often_as_they_say(shares: list[float], *, joint: bool) -> None:
    """120 samples of one population; 90 % intervals, give or take sampling error."""
    pairs = population(1, shares, 5_000)
    truth = (pairs["named"] & (pairs["joint"] | (not joint))).sum()
    inside = []
    for seed in range(120):
        found = estimate(pairs.sample(frac=1.0, random_state=seed), 400, joint=joint)
        low, high = found.interval(0.9)
        inside.append(low[0] <= truth <= high[0])
    assert 0.82 <= np.mean(inside) <= 0.98


def telling_images(seed: int, size: int = 5_000) -> pd.DataFrame:
    """Forty contexts, and images that mostly have the tag where the caption names the concept."""
    rng = np.random.default_rng(seed)
    pairs = population(seed, rng.beta(2, 2, 40).tolist(), size)
    return pairs.assign(joint=rng.random(size) < np.where(pairs["named"], 0.4, 0.02))


def test_images_that_tell_do_not_bias_the_joint_count() -> None:
    """The share among pairs with the tag is far above that of all, and rests on few in each."""
    pairs = telling_images(1)
    truth = (pairs["named"] & pairs["joint"]).sum()
    inside, errors = [], []
    for seed in range(80):
        found = estimate(pairs.sample(frac=1.0, random_state=seed), 400, joint=True)
        low, high = found.interval(0.9)
        inside.append(low[0] <= truth <= high[0])
        errors.append(found.total[0] - truth)
    assert abs(np.mean(errors)) < 0.01 * truth
    assert 0.8 <= np.mean(inside) <= 0.99


@given(st.integers(0, 1000), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_no_more_pairs_are_joint_than_named(seed: int, m: int) -> None:
    pairs = telling_images(seed, 300)
    pairs = pairs.assign(joint=pairs["joint"] | (np.arange(300) % 5 > 0))
    assert estimate(pairs, m, joint=True).total[0] <= estimate(pairs, m).total[0]


def test_expected_agreement_knows_that_images_tell() -> None:
    pairs = telling_images(2)
    cells = estimate_cells(strata_of(pairs), pairs)
    told = with_shares(pairs.assign(sample_id=np.arange(len(pairs))), Shares.of(cells))
    found = expected_agreement(told, np.flatnonzero(pairs["joint"]))
    assert found["n_agreeing"] / UNIT == pytest.approx((pairs["named"] & pairs["joint"]).sum())
    assert found["n_text_tagged"] / UNIT == pytest.approx(pairs["named"].sum())


def test_context_narrows_an_estimate() -> None:
    telling, mute = population(1, [0.02, 0.98], 5_000), population(1, [0.5, 0.5], 5_000)
    assert estimate(telling, 400).variance[0] < estimate(mute, 400).variance[0] / 4


def test_more_is_tagged_where_more_is_needed() -> None:
    certain = np.zeros(1, dtype=np.int64)

    def wanted(shares: list[float], error: float) -> int:
        pairs = population(3, shares, 50_000)
        cells = estimate_cells(strata_of(pairs), pairs.iloc[:ALL_BELOW])
        return int(wanted_sizes(cells, certain, error=error, most=40_000)[7])

    assert wanted([0.999], 0.01) < wanted([0.9], 0.01) < wanted([0.5], 0.01)
    assert wanted([0.5], 0.01) < wanted([0.5], 0.005) <= 40_000


def test_a_count_that_is_nearly_certain_needs_little() -> None:
    pairs = population(3, [0.5], 1_000)
    cells = estimate_cells(strata_of(pairs), pairs.iloc[:ALL_BELOW])
    certain = np.array([1_000_000])
    assert wanted_sizes(cells, certain, error=0.005, most=8_000)[7] == ALL_BELOW


def test_expected_agreement_by_hand() -> None:
    pairs = pd.DataFrame(
        {
            "sample_id": [1, 1, 2, 3],
            "share": [0.5, 0.5, 1.0, 0.25],
            "joint": [True, False, False, True],
        }
    )
    found = expected_agreement(pairs, np.array([1, 3, 9]))
    assert {name: n / UNIT for name, n in found.items()} == {
        "n_text_tagged": 0.75 + 1.0 + 0.25,
        "n_both_tagged": 0.75 + 0.25,
        "n_agreeing": 0.5 + 0.25,
    }
