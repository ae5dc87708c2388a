"""Shortest weighted intervals: by hand, as sets that hold their share, and when rows are few."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.curves.conformal import GRID, _shortest, known_dataset, new_dataset
from conceptaudit.curves.point_model import HeldOut


def held(residual, dataset, centre=0.5) -> HeldOut:
    return HeldOut(
        centre=np.full(len(residual), centre),
        residual=np.asarray(residual, dtype=float),
        dataset=np.asarray(dataset),
        names_help=False,
    )


def test_intervals_by_hand() -> None:
    outcomes = np.array([0.0, 0.4, 0.5, 0.6, 1.0])
    assert _shortest(outcomes, np.ones(5), 1.0, 0.5) == (0.4, 0.6)
    assert _shortest(outcomes, np.ones(5), 0.0, 0.8) == (0.0, 0.6)
    assert _shortest(outcomes, np.ones(5), 1.0, 0.9) is None


def test_a_distribution_that_leans_to_zero_has_its_interval_there() -> None:
    outcomes = np.sort(np.clip(np.random.default_rng(0).gamma(0.3, 0.3, 2000) - 0.02, 0, 1))
    low, high = _shortest(outcomes, np.ones(2000), 1.0, 0.9)
    assert low == 0.0
    assert high == pytest.approx(np.quantile(outcomes, 0.9), abs=0.01)


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 5)), min_size=1, max_size=30),
    st.floats(0.05, 0.99),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_an_interval_holds_its_share(rows, level, unknown) -> None:
    rows.sort()
    outcomes, weight = np.array(rows).T
    need = level * (weight.sum() + unknown)
    found = _shortest(outcomes, weight, unknown, level)
    if found is None:
        assert need > weight.sum() * (1 - 1e-9)
        return
    low, high = found
    assert weight[(outcomes >= low) & (outcomes <= high)].sum() >= need * (1 - 1e-9)


def test_a_dataset_of_its_own_counts_before_the_others() -> None:
    rng = np.random.default_rng(0)
    residual = np.concatenate([rng.normal(0, 0.01, 200), rng.normal(0, 0.2, 200)])
    rows = held(residual, np.repeat([0, 1], 200))
    narrow, wide = (known_dataset(rows, index, "x", 0.9).at(np.array([0.5])) for index in (0, 1))
    assert narrow[1] - narrow[0] < 0.1 < wide[1] - wide[0]


def test_few_rows_of_its_own_lean_on_the_others() -> None:
    rng = np.random.default_rng(0)
    rows = held(np.append(rng.normal(0, 0.1, 300), 0.0), np.append(np.zeros(300, dtype=int), 1))
    low, high = known_dataset(rows, 1, "x", 0.8).at(np.array([0.5]))
    assert 0.1 < high[0] - low[0] < 0.6
    unseen = known_dataset(
        held(residual=rows.residual[:300], dataset=np.zeros(300, int)), 1, "x", 0.8
    )
    assert unseen.basis.startswith("known dataset (x): 0 of its concepts and 300 of other")


def test_each_dataset_weighs_the_same_for_a_new_one() -> None:
    sizes = [1000, *[10] * 19]
    residual = np.concatenate([np.full(n, 0.02 * i - 0.2) for i, n in enumerate(sizes)])
    dataset = np.repeat(np.arange(20), sizes)
    low, high = new_dataset(held(residual, dataset), 0.5).at(np.array([0.5]))
    # Ten and a quarter of twenty equally spaced levels, whatever their sizes: eleven of them.
    assert high[0] - low[0] == pytest.approx(0.2)


def test_an_interval_contains_its_expectation_and_stays_in_the_unit_interval() -> None:
    rng = np.random.default_rng(1)
    rows = held(rng.gamma(1, 0.2, 100) - 0.1, np.zeros(100, int), centre=0.2)
    band = known_dataset(rows, 0, "x", 0.5)
    low, high = band.at(GRID)
    assert (low <= GRID).all()
    assert (high >= GRID).all()
    assert low.min() >= 0
    assert high.max() <= 1


def test_a_mass_at_zero_is_not_stepped_over() -> None:
    """Two thirds of the classes are all wrong: the interval of any level holds 0."""
    rng = np.random.default_rng(5)
    centre = rng.uniform(0.0, 0.06, 600)
    accuracy = np.where(rng.random(600) < 0.66, 0.0, rng.uniform(0, 0.3, 600))
    residuals = HeldOut(
        centre=centre,
        residual=accuracy - centre,
        dataset=np.zeros(600, dtype=int),
        names_help=False,
    )
    band = known_dataset(residuals, 0, "birds", 0.5)
    low, high = band.at(centre)
    assert (low == 0.0).all()
    assert ((low <= accuracy) & (accuracy <= high)).mean() >= 0.5
