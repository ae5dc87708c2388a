"""Least squares against certified values; the rest against slow and obvious code."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from conceptaudit.curves import statistics as s

# NIST Statistical Reference Datasets, linear regression, "Norris" (J. Norris, NIST: calibration of
# ozone monitors; 36 observations, "lower level of difficulty"), with the values NIST certifies.
NORRIS = """
0.1 0.2 338.8 337.4 118.1 118.2 888.0 884.6 9.2 10.1 228.1 226.5
668.5 666.3 998.5 996.3 449.1 448.6 778.9 777.0 559.2 558.2 0.3 0.4
0.1 0.6 778.1 775.5 668.8 666.9 339.3 338.0 448.9 447.5 10.8 11.6
557.7 556.0 228.3 228.1 998.0 995.8 888.8 887.6 119.6 120.2 0.3 0.3
0.6 0.3 557.6 556.8 339.3 339.1 888.0 887.2 998.5 999.0 778.9 779.0
10.2 11.1 117.6 118.3 228.9 229.2 668.4 669.1 449.2 448.9 0.2 0.5
"""
NORRIS_SLOPE = 1.00211681802045
NORRIS_INTERCEPT = -0.262323073774029
NORRIS_RESIDUAL_SD = 0.884796396144373
NORRIS_R_SQUARED = 0.999993745883712


def test_line_reproduces_the_certified_values_of_nist_norris():
    y, x = np.array(NORRIS.split(), dtype=float).reshape(-1, 2).T
    slope, intercept, r = s.line(x, y)
    residuals = y - intercept - slope * x
    assert len(x) == 36
    assert slope == pytest.approx(NORRIS_SLOPE, rel=1e-13)
    assert intercept == pytest.approx(NORRIS_INTERCEPT, rel=1e-10)
    assert r**2 == pytest.approx(NORRIS_R_SQUARED, rel=1e-13)
    assert np.sqrt(residuals @ residuals / 34) == pytest.approx(NORRIS_RESIDUAL_SD, rel=1e-12)


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e6 + 0.1])
def test_constant_columns_have_no_slope_and_no_correlation(value):
    x, constant = np.linspace(0, 1, 7), np.full(7, value)
    assert np.isnan(s.line(constant, x)[0])
    slope, intercept, r = s.line(x, constant)
    assert slope == pytest.approx(0, abs=1e-9)
    assert intercept == pytest.approx(value)
    assert np.isnan(r)
    assert np.isnan(s.spearman(x, constant))


def test_spearman_agrees_with_scipy_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 50).astype(float), rng.integers(0, 5, 50).astype(float)
    assert s.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic)


def test_resampled_lines_equal_lines_of_repeated_rows():
    rng = np.random.default_rng(1)
    x, y, groups = rng.random(30), rng.random(30), rng.integers(0, 5, 30)
    draws = np.concatenate(list(s.draw_groups(5, 20, rng)))
    lines = s.resampled_lines(x, y, groups, draws)
    for index, draw in enumerate(draws):
        repeats = draw[groups]
        expected = np.polyfit(np.repeat(x, repeats), np.repeat(y, repeats), 1)
        assert [lines.slope[index], lines.intercept[index]] == pytest.approx(expected)


def test_within_and_between_slopes_by_hand():
    # Inside each dataset accuracy rises by 1 per unit; between them it falls by 1.
    x = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    y = np.array([10.0, 11.0, 12.0, 0.0, 1.0, 2.0])
    groups = np.array([0, 0, 0, 1, 1, 1])
    assert s.within_slope(x, y, groups, 2) == pytest.approx(1.0)
    assert s.between_slope(x, y, groups, 2) == pytest.approx(-1.0)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_pooled_slope_is_a_mean_of_within_and_between(seed):
    rng = np.random.default_rng(seed)
    groups = np.sort(rng.integers(0, 4, 40))
    x, y = rng.normal(size=40) + groups, rng.normal(size=40)
    within, between = s.within_slope(x, y, groups, 4), s.between_slope(x, y, groups, 4)
    means = s.group_means(x, groups, 4)[groups]
    share = ((x - means) ** 2).sum() / ((x - x.mean()) ** 2).sum()
    assert s.line(x, y)[0] == pytest.approx(share * within + (1 - share) * between)


def test_shuffles_keep_every_dataset_to_itself():
    y, groups = np.arange(7.0), np.array([0, 0, 0, 1, 2, 2, 2])
    shuffled = np.concatenate(list(s.shuffled_within(y, groups, 50, np.random.default_rng(0))))
    assert shuffled.shape == (50, 7)
    assert (np.sort(shuffled[:, :3]) == y[:3]).all()
    assert (shuffled[:, 3] == 3).all()
    assert (np.sort(shuffled[:, 4:]) == y[4:]).all()
    assert len({tuple(row) for row in shuffled}) > 10


def test_permutation_p_agrees_with_all_permutations():
    x, y = np.array([0.0, 1, 2, 3, 4]), np.array([0.0, 2, 1, 4, 3])
    centred = x - x.mean()
    values = np.array([abs(np.array(order) @ centred) for order in permutations(y)])
    exact = (values >= abs(y @ centred) - 1e-9).mean()
    found = s.permutation_p(x, y, np.zeros(5, dtype=int), 20_000, np.random.default_rng(0))
    assert found == pytest.approx(exact, abs=0.01)


def test_permutation_p_of_unrelated_data_is_uniform():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(4), 15)
    p = [s.permutation_p(rng.random(60), rng.random(60), groups, 99, rng) for _ in range(200)]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.06)
    assert min(p) >= 0.01


def test_permutation_p_is_undefined_without_variation():
    groups, rng = np.zeros(5, dtype=int), np.random.default_rng(0)
    assert np.isnan(s.permutation_p(np.arange(5.0), np.full(5, 0.3), groups, 9, rng))
    assert np.isnan(s.permutation_p(np.full(5, 0.1), np.arange(5.0), groups, 9, rng))
