"""Every family through one interface, and each against a slower or certified way to its numbers."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.curves.families import family_named, known_families
from conceptaudit.curves.fit_data import FitData, fit_data_of
from conceptaudit.curves.fitted import NEW_DATASET, population
from conceptaudit.curves.pooling import fit_partial_pooling
from conceptaudit.curves.shapes import (
    fit_binomial,
    fit_isotonic,
    fit_saturating,
)
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.errors import ConfigError, FitError


def rows_from(x, y, *, dataset=None, n_images=None) -> FitData:
    n = len(x)
    codes = np.zeros(n, dtype=np.intp) if dataset is None else np.asarray(dataset, dtype=np.intp)
    images = np.full(n, np.nan) if n_images is None else np.broadcast_to(n_images, n).astype(float)
    return FitData(
        x=np.asarray(x, dtype=float),
        y=np.asarray(y, dtype=float),
        n_images=images,
        n_correct=np.round(np.asarray(y) * images),
        x_sd=np.zeros(n),
        dataset=codes,
        concept=np.arange(n),
        model=np.zeros(n, dtype=np.intp),
        datasets=tuple(f"set {index}" for index in range(codes.max() + 1)),
        models=("m",),
        zero_policy="log1p",
    )


@pytest.fixture(scope="module")
def simulated() -> FitData:
    world = World(n_datasets=12, slope_sd=0.05, count_error=0.0)
    return fit_data_of(simulate(world, seed=3), "log1p")


@pytest.mark.parametrize("name", sorted(known_families()))
@pytest.mark.parametrize("policy", ["log1p", "hurdle"])
def test_every_family_keeps_to_the_interface(name, policy):
    rows = fit_data_of(simulate(World(n_datasets=6, count_error=0.0), seed=1), policy)
    family = family_named(name)
    half = rows.take(rows.dataset != 2)  # a fold that lacks a dataset altogether
    for part in (rows, half):
        fitted = family.fit(part, seed=0)
        expected = fitted.predict(rows.x, rows.dataset)
        assert expected.shape == rows.x.shape
        assert ((expected >= 0) & (expected <= 1)).all()
        new = population(fitted, np.array([-50.0, 0.0, 3.0, 50.0, np.nan]))
        assert np.isfinite(new[:4]).all()
        assert np.isnan(new[4])
        assert (np.diff(new[[0, 2, 3]]) >= 0).all(), "accuracy rises with frequency here"
        again = family.restore(json.loads(json.dumps(fitted.parameters, allow_nan=False)))
        assert (again.predict(rows.x, rows.dataset) == expected).all()
        assert (family.fit(part, seed=0).predict(rows.x, rows.dataset) == expected).all()


def test_a_family_that_does_not_exist():
    with pytest.raises(ConfigError, match="Use 'isotonic' instead of it"):
        family_named("spline")
    with pytest.raises(ConfigError, match=r"'family' parameter .--family. must be one of"):
        family_named("cubic")


def test_partial_pooling_agrees_with_statsmodels(simulated):
    from statsmodels.regression.mixed_linear_model import MixedLM

    fitted = fit_partial_pooling(simulated)
    dx = simulated.x - simulated.x.mean()
    design = np.column_stack([np.ones_like(dx), dx])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = MixedLM(simulated.y, design, groups=simulated.dataset, exog_re=design).fit(
            reml=True
        )
    assert fitted.slope == pytest.approx(theirs.fe_params[1], rel=1e-3)
    assert fitted.intercept + fitted.slope * simulated.x.mean() == pytest.approx(
        theirs.fe_params[0], rel=1e-3
    )
    assert fitted.details["residual_variance"] == pytest.approx(theirs.scale, rel=1e-3)
    assert fitted.details["intercept_variance"] == pytest.approx(theirs.cov_re[0, 0], rel=0.02)
    assert fitted.details["slope_variance"] == pytest.approx(theirs.cov_re[1, 1], rel=0.02)
    slopes = [theirs.fe_params[1] + theirs.random_effects[k].iloc[1] for k in range(12)]
    assert fitted.slopes == pytest.approx(slopes, rel=0.01)


def test_partial_pooling_leans_on_the_others_where_a_dataset_is_small():
    rng = np.random.default_rng(0)
    sizes = [4, 200, 200, 200]
    dataset = np.repeat(np.arange(4), sizes)
    x = rng.uniform(0, 5, len(dataset))
    y = 0.2 + 0.05 * x + rng.normal(0, 0.1, len(x))
    y[:4] = 0.1 + 0.15 * x[:4]
    fitted = fit_partial_pooling(rows_from(x, y, dataset=dataset))
    alone = [np.polyfit(x[dataset == k], y[dataset == k], 1)[0] for k in range(4)]
    assert abs(fitted.slopes[1] - alone[1]) < 0.01
    assert alone[0] - fitted.slopes[0] > 0.03


def test_partial_pooling_of_one_dataset_is_least_squares():
    x, y = np.array([0.0, 1, 2, 3]), np.array([0.1, 0.3, 0.2, 0.5])
    fitted = fit_partial_pooling(rows_from(x, y))
    assert (fitted.slope, fitted.intercept) == pytest.approx(tuple(np.polyfit(x, y, 1)))
    assert fitted.intercepts == ()


def test_a_new_dataset_gets_the_line_through_all_of_them(simulated):
    fitted = fit_partial_pooling(simulated)
    x = np.linspace(0, 4, 5)
    unseen = fitted.predict(x, np.full(5, NEW_DATASET))
    sizes = np.bincount(simulated.dataset)[simulated.dataset]
    slope, intercept = np.polyfit(simulated.x, simulated.y, 1, w=sizes**-0.5)
    assert unseen == pytest.approx(intercept + slope * x)
    assert not np.allclose(unseen, fitted.predict(x, np.zeros(5, dtype=int)))


def test_what_lies_between_datasets_serves_new_ones_only():
    # Slope 0.1 inside each dataset; between them accuracy falls by 0.2 per decade.
    x = np.array([1.0, 2, 3, 4, 5, 6])
    y = np.array([0.7, 0.8, 0.9, 0.1, 0.2, 0.3])
    fitted = fit_partial_pooling(rows_from(x, y, dataset=[0, 0, 0, 1, 1, 1]))
    assert fitted.slope == pytest.approx(0.1, abs=1e-6)
    assert fitted.new[1] < 0


def test_binomial_agrees_with_statsmodels(simulated):
    import statsmodels.api as sm

    fitted = fit_binomial(simulated)
    theirs = sm.GLM(
        simulated.y,
        sm.add_constant(simulated.x),
        family=sm.families.Binomial(),
        var_weights=simulated.n_images,
    ).fit()
    assert (fitted.intercept, fitted.slope) == pytest.approx(tuple(theirs.params), rel=1e-3)
    # Pearson's chi-square per degree of freedom is statsmodels' own measure of dispersion.
    assert fitted.details["dispersion"] == pytest.approx(
        theirs.pearson_chi2 / theirs.df_resid, rel=1e-3
    )
    assert fitted.details["dispersion"] > 5


def test_perfect_separation_has_a_finite_slope_and_is_told():
    x = np.array([0.0, 1, 2, 3, 4, 5])
    fitted = fit_binomial(rows_from(x, (x > 2).astype(float), n_images=30))
    assert np.isfinite(fitted.slope)
    assert fitted.details["separated"] == 1.0
    assert fit_binomial(rows_from(x, 0.1 + 0.1 * x, n_images=30)).details["separated"] == 0.0


def test_numbers_of_images_for_some_concepts_only():
    x = np.arange(5.0)
    some = rows_from(x, x / 10, n_images=[10, 10, np.nan, 10, 10])
    with pytest.raises(FitError, match="for 4 of 5"):
        fit_binomial(some)


@pytest.mark.parametrize("fit", [fit_partial_pooling, fit_binomial])
def test_constant_frequency_has_no_curve(fit):
    with pytest.raises(FitError, match="slope is undefined"):
        fit(rows_from(np.full(5, 2.0), np.linspace(0, 1, 5)))


def test_isotonic_by_hand():
    fitted = fit_isotonic(rows_from([0, 1, 2, 3], [0.1, 0.4, 0.2, 0.6]))
    assert fitted.knots == (0.0, 1.0, 2.0, 3.0)
    assert fitted.values == pytest.approx((0.1, 0.3, 0.3, 0.6))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_monotone_families_never_fall(seed):
    rng = np.random.default_rng(seed)
    rows = rows_from(rng.uniform(0, 5, 40).round(1), rng.uniform(0, 1, 40))
    grid = np.linspace(-1, 6, 200)
    for fit in (fit_isotonic, fit_saturating):
        assert (np.diff(population(fit(rows), grid)) >= -1e-9).all()


@pytest.mark.parametrize("steepness", [0.0, 5.0])
def test_one_routine_finds_either_way_to_an_asymptote(steepness):
    x = np.linspace(0, 6, 400)
    power = 10 ** (-0.4 * x)
    decay = power if not steepness else np.expm1(-steepness * power) / np.expm1(-steepness)
    truth = 0.85 - 0.7 * decay
    rows = rows_from(x, truth + np.random.default_rng(1).normal(0, 0.01, 400))
    fitted = fit_saturating(rows)
    assert fitted.ceiling == pytest.approx(0.85, abs=0.04)
    assert np.abs(population(fitted, x) - truth).max() < 0.02


def test_what_falls_with_frequency_has_no_gap():
    x = np.linspace(0, 5, 50)
    fitted = fit_saturating(rows_from(x, 0.8 - 0.1 * x))
    assert fitted.gap == 0.0
    assert fitted.ceiling == pytest.approx(0.55)


def test_no_ceiling_above_one():
    x = np.linspace(0, 5, 50)
    assert fit_saturating(rows_from(x, 0.19 * x)).ceiling <= 1.0


def test_a_family_with_one_curve_adds_the_level_of_each_dataset():
    rng = np.random.default_rng(2)
    sizes = [300, 300, 300, 2]
    dataset = np.repeat(np.arange(4), sizes)
    x = rng.uniform(0, 5, len(dataset))
    level = np.array([-0.1, 0.0, 0.1, 0.3])[dataset]
    y = 0.3 + 0.05 * x + level + rng.normal(0, 0.2, len(x))
    rows = rows_from(x, y.clip(0, 1), dataset=dataset)
    fitted = family_named("loglinear").fit(rows)
    shape = fitted.shape
    residuals = rows.y - shape.predict(x, dataset)
    means = [residuals[dataset == k].mean() for k in range(4)]
    assert fitted.levels[:3] == pytest.approx(means[:3], abs=0.01)
    assert abs(fitted.levels[3]) < 0.8 * abs(means[3])  # two concepts say little
    new = fitted.predict(x, np.full(len(x), NEW_DATASET))
    assert (new == shape.predict(x, dataset)).all()
