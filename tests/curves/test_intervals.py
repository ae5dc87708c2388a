"""Intervals: against textbook formulas, and against simulated results whose slope is known."""

import numpy as np
import pytest
from scipy import stats

from conceptaudit.curves.count_errors import calibrated
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.intervals import line_fit
from conceptaudit.curves.pooling import equations
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.curves.statistics import cluster_robust, jackknife_half_width
from conceptaudit.errors import ConfigError


def estimator_of(name):
    return Estimator(family=family_named(name))


def lines_of(world, name, seeds, *, corrected):
    for seed in seeds:
        rows = fit_data_of(simulate(world, seed=seed), "log1p")
        rows = calibrated(rows)[0] if corrected else rows
        chosen = estimator_of(name)
        yield line_fit(rows, chosen.fit(rows), chosen, 0.9, np.random.default_rng(seed))[0]


def test_clusters_of_one_row_give_the_textbook_hc2():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.ones(30), rng.normal(size=30)])
    y = x @ [1.0, 2.0] + rng.normal(size=30) * (1 + np.abs(x[:, 1]))
    bread = np.linalg.inv(x.T @ x)
    residuals = y - x @ (bread @ x.T @ y)
    leverage = np.einsum("ij,jk,ik->i", x, bread, x)
    weights = residuals**2 / (1 - leverage)
    expected = np.sqrt(np.diag(bread @ (x.T * weights) @ x @ bread))
    found = cluster_robust(np.einsum("ij,ik->ijk", x, x), x * residuals[:, None], np.eye(2))
    assert found.standard_error == pytest.approx(expected)


def test_equal_clusters_of_a_mean_give_students_t():
    # For a mean, clusters of one observation: CR2 is the usual s / sqrt(n), with n - 1 degrees.
    y = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    scores = (y - y.mean())[:, None]
    found = cluster_robust(np.ones((5, 1, 1)), scores, np.ones((1, 1)))
    assert found.standard_error[0] == pytest.approx(y.std(ddof=1) / np.sqrt(5))
    assert found.df[0] == pytest.approx(4.0)
    low, high = stats.t.interval(0.9, 4, y.mean(), y.std(ddof=1) / np.sqrt(5))
    assert found.half_width(0.9)[0] == pytest.approx((high - low) / 2)


def test_cr2_agrees_with_whole_matrices():
    """The published formula on n x n matrices, for least squares with clusters."""
    rows = fit_data_of(simulate(World(n_datasets=5), seed=2), "log1p")
    rows = rows.take(np.arange(0, len(rows), 3))
    system = equations(rows)
    x = np.column_stack([np.ones(len(rows)), rows.x - system.centre])
    bread = np.linalg.inv(x.T @ x)
    residuals = rows.y - x @ (bread @ x.T @ rows.y)
    meat = np.zeros((2, 2))
    for cluster in range(5):
        own = x[rows.dataset == cluster]
        values, vectors = np.linalg.eigh(np.eye(len(own)) - own @ bread @ own.T)
        adjust = vectors @ np.diag(values**-0.5) @ vectors.T
        score = own.T @ adjust @ residuals[rows.dataset == cluster]
        meat += np.outer(score, score)
    expected = np.sqrt((bread @ meat @ bread)[1, 1])
    assert system.robust(np.zeros(0)).standard_error[0] == pytest.approx(expected)


def test_jackknife_of_a_mean_is_its_standard_error():
    y = np.array([1.0, 4.0, 2.0, 8.0, 5.0])
    without = np.array([np.delete(y, k).mean() for k in range(5)])
    expected = stats.t.ppf(0.95, 4) * y.std(ddof=1) / np.sqrt(5)
    assert jackknife_half_width(without[:, None], 0.9)[0] == pytest.approx(expected)


@pytest.mark.parametrize("n", [0, 1])
def test_one_cluster_says_nothing(n):
    assert np.isnan(jackknife_half_width(np.ones((n, 1)), 0.9)).all()
    found = cluster_robust(np.ones((n, 1, 1)), np.zeros((n, 1)), np.ones((1, 1)))
    assert np.isnan(found.half_width(0.9)).all()


def test_known_slope_is_found_without_bias_and_held(quick):
    """Zeros, overdispersion, dataset effects and errors of counts: a short run of the benchmark."""
    world = World(n_datasets=14)
    lines = list(lines_of(world, "partial-pooling", range(60), corrected=True))
    slopes = np.array([one.slope for one in lines])
    held = np.mean([one.slope_low <= world.slope <= one.slope_high for one in lines])
    error = slopes.std() / np.sqrt(len(slopes))
    assert abs(slopes.mean() - world.slope) < 3 * error + 0.02 * world.slope
    assert 0.9 - 4 * 0.039 < held <= 1.0
    naive = [one.slope for one in lines_of(world, "partial-pooling", range(60), corrected=False)]
    assert np.mean(naive) < slopes.mean()


def test_percentiles_of_few_resampled_datasets_are_too_narrow():
    world = World(n_datasets=5, count_error=0.0)
    lines = list(lines_of(world, "loglinear", range(60), corrected=False))
    assert np.mean([one.boot_high - one.boot_low for one in lines]) < 0.8 * np.mean(
        [one.slope_high - one.slope_low for one in lines]
    )


def test_jackknife_and_analytic_intervals_are_alike(monkeypatch):
    rows = fit_data_of(simulate(World(n_datasets=14), seed=4), "log1p")
    chosen = estimator_of("loglinear")
    analytic, _ = line_fit(rows, chosen.fit(rows), chosen, 0.9, np.random.default_rng(0))
    monkeypatch.setattr("conceptaudit.curves.intervals.N_REFITS", 5)
    twin = estimator_of("binomial")
    other, _ = line_fit(rows, twin.fit(rows), twin, 0.9, np.random.default_rng(0))
    assert (analytic.method, other.method) == ("CR2", "jackknife")
    ratio = (other.slope_high - other.slope_low) / (analytic.slope_high - analytic.slope_low)
    assert 0.5 < ratio < 2.0


def test_calibration_by_hand():
    table = simulate(World(n_datasets=1, count_error=0.0), seed=0).iloc[:4]
    table = table.assign(count=[9.0, 99.0, 999.0, 9999.0], count_low=np.nan, count_high=np.nan)
    rows = fit_data_of(table, "log1p")
    assert calibrated(rows) == (rows, 1.0)
    # x = 1, 2, 3, 4; the error of the first row alone: 0.1 decades.
    half = 1.6448536269514722 * 0.1
    table = table.assign(
        count_low=[10 ** (1 - half) - 1, *[np.nan] * 3],
        count_high=[10 ** (1 + half) - 1, *[np.nan] * 3],
    )
    found, reliability = calibrated(fit_data_of(table, "log1p"))
    true = (5.0 - 0.01 * 3 / 4) / 3  # squares less the error's share, over n - 1
    assert found.x[0] == pytest.approx(2.5 + true / (true + 0.01) * (1 - 2.5))
    assert found.x[1:].tolist() == [2.0, 3.0, 4.0]
    assert reliability == pytest.approx(1 - 0.01 / 5.0)


def test_a_world_that_cannot_be():
    with pytest.raises(ConfigError, match="at least one dataset"):
        World(n_datasets=0)
