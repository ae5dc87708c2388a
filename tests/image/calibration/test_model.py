"""The noisy-caption model against simulated truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.calibration import ScoreHistograms, count_scores
from conceptaudit.image.calibration.histograms import N_BINS, Moments, Scale
from conceptaudit.image.calibration.learning import (
    RULES,
    choose_cuts,
    count_shown,
    draw_shown,
    rates_at,
)
from conceptaudit.image.calibration.model import MISTAKE, RECALL, fit_model, fit_nulls, null_law

from .conftest import World, simulate


def count_error(counted: np.ndarray, true: np.ndarray, least: int = 20) -> float:
    often = true >= least
    return float(np.median(np.abs(np.log(counted[often] / true[often]))))


def test_counts_are_right_where_captions_are_not(world: World) -> None:
    fitted = fit_model(world.histograms)
    shown = count_shown(fitted, world.histograms)
    true = world.shown.sum(axis=0)
    assert count_error(world.named.sum(axis=0), true) > 0.12
    assert count_error(shown.image, true) < 0.07
    assert count_error(shown.joint, (world.shown & world.named).sum(axis=0)) < 0.07


def test_recall_of_captions_is_learned() -> None:
    for recall in (0.5, 0.85):
        world = simulate(recall=recall, distance=4.0)
        found, mistaken = fit_model(world.histograms).caption_rates()
        assert np.median(found) == pytest.approx(recall, abs=0.06)
        assert (mistaken < 0.05).all()


def test_the_count_rule_tags_as_many_as_are_shown(world: World) -> None:
    fitted = fit_model(world.histograms)
    cuts = choose_cuts(fitted, world.histograms)
    tagged = world.scores >= cuts.thresholds
    true = world.shown.sum(axis=0)
    assert count_error(tagged.sum(axis=0), true) < 0.1
    np.testing.assert_allclose(cuts.precision, cuts.recall, atol=0.02)
    right = (tagged & world.shown).sum(axis=0)
    often = true >= 40
    measured = right[often] / tagged.sum(axis=0)[often]
    assert np.abs(measured - cuts.precision[often]).mean() < 0.06
    recall, alarm = rates_at(fitted, world.histograms, cuts.thresholds)
    assert np.abs(right[often] / true[often] - recall[often]).mean() < 0.06
    assert (alarm < 0.1).all()


def test_rules_are_named(world: World) -> None:
    fitted = fit_model(world.histograms)
    for rule in RULES:
        assert np.isfinite(choose_cuts(fitted, world.histograms, rule=rule).thresholds).all()
    with pytest.raises(ConfigError, match="'rule' parameter"):
        choose_cuts(fitted, world.histograms, rule="best")


def test_intervals_hold_the_truth_over_many_worlds() -> None:
    inside = []
    for seed in range(6):
        world = simulate(n_images=2_000, n_concepts=16, seed=seed)
        fitted = fit_model(world.histograms)
        drawn = draw_shown(fitted, world.histograms, n_draws=80)
        assert (drawn.image >= 0).all()
        assert (drawn.joint <= world.named.sum(axis=0)).all()
        low, high = np.quantile(drawn.image, [0.05, 0.95], axis=0)
        true = world.shown.sum(axis=0)
        inside.append(((low <= true) & (true <= high)).mean())
    assert np.mean(inside) > 0.85


def test_draws_are_seeded(world: World) -> None:
    fitted = fit_model(world.histograms)
    first, again = (draw_shown(fitted, world.histograms, n_draws=3, seed=5) for _ in range(2))
    assert np.array_equal(first.image, again.image)


def test_concepts_nobody_names_are_hardly_counted() -> None:
    world = simulate()
    silent = world.histograms
    positive, negative = silent.positive.copy(), silent.negative.copy()
    noise = count_scores(
        np.random.default_rng(1).standard_normal((len(world.scores), 1)),
        np.zeros((len(world.scores), 1), dtype=bool),
    )
    positive[-1], negative[-1] = noise.positive[0], noise.negative[0]
    changed = ScoreHistograms(positive=positive, negative=negative)
    assert count_shown(fit_model(changed), changed).image[-1] < 3


def test_few_captions_take_over_what_is_usual(world: World) -> None:
    fitted = fit_model(world.histograms)
    rare = world.named.sum(axis=0).argmin()
    usual = fitted.prior
    assert abs(fitted.parameters[rare, RECALL] - usual.means[RECALL]) < 2 * usual.spreads[RECALL]
    assert abs(fitted.parameters[rare, MISTAKE] - usual.means[MISTAKE]) < 2


def test_labels_never_err(world: World) -> None:
    known = count_scores(world.scores, world.shown)
    fitted = fit_model(known, noisy=False)
    recall, mistaken = fitted.caption_rates()
    assert (recall == 1).all()
    assert (mistaken == 0).all()
    assert count_error(count_shown(fitted, known).image, world.shown.sum(axis=0)) < 0.02


@pytest.mark.parametrize("positive", [0, 500])
def test_degenerate_concepts_stay_finite(positive: int) -> None:
    """All scores equal, with no caption or every caption naming the concept."""
    scores = np.zeros((500, 3))
    named = np.arange(500)[:, None] < np.array([positive, 5, 50])
    counted = count_scores(scores, np.broadcast_to(named, scores.shape))
    for fitted in (fit_model(counted), fit_model(counted, noisy=False), fit_nulls(counted)):
        shown = count_shown(fitted, counted)
        assert np.isfinite(fitted.parameters).all()
        assert ((shown.image >= 0) & (shown.image <= 500)).all()
        assert np.isfinite(draw_shown(fitted, counted, n_draws=5).image).all()


def test_null_law_ignores_what_stands_out() -> None:
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.standard_normal(5_000), 6 + rng.standard_normal(300)])[:, None]
    counted = count_scores(scores, np.zeros(scores.shape, dtype=bool))
    middle, spread = null_law(counted.total.astype(float))
    assert middle[0] == pytest.approx(0.0, abs=0.12)
    assert spread[0] == pytest.approx(1.0, abs=0.1)
    assert count_shown(fit_nulls(counted), counted).image[0] == pytest.approx(300, rel=0.1)


@settings(max_examples=20, deadline=None)
@given(cut=st.integers(0, 60), seed=st.integers(0, 50))
def test_histograms_add_up_over_any_cut(cut: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = 4 * rng.standard_normal((60, 3))
    named = rng.random((60, 3)) < 0.3
    whole = count_scores(scores, named)
    parts = count_scores(scores[:cut], named[:cut]) + count_scores(scores[cut:], named[cut:])
    assert np.array_equal(whole.positive, parts.positive)
    assert np.array_equal(whole.negative, parts.negative)
    assert whole.total.sum() == 180
    assert whole.positive.shape == (3, N_BINS)


def test_scores_must_be_finite_and_marked() -> None:
    with pytest.raises(DataError, match="finite"):
        count_scores(np.array([[np.nan]]), np.array([[True]]))
    with pytest.raises(ConfigError, match="one mark per score"):
        count_scores(np.zeros((2, 1)), np.zeros((1, 1), dtype=bool))


def test_scale_equals_the_scores_own_moments() -> None:
    rng = np.random.default_rng(2)
    images = rng.standard_normal((300, 5)).astype(np.float32)
    concepts = rng.standard_normal((4, 5)).astype(np.float32)
    moments = Moments.empty(5)
    for part in np.array_split(images, 7):
        moments = moments.with_images(part)
    scale = Scale.of_vectors(moments, concepts)
    scores = images @ concepts.T
    np.testing.assert_allclose(scale.means, scores.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(scale.spreads, scores.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(scale.similarity(scale.standardise(scores)), scores, atol=1e-6)
    constant = Scale.of_vectors(Moments.empty(5).with_images(np.ones((4, 5), np.float32)), concepts)
    assert (constant.spreads == 1.0).all()
