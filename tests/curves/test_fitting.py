"""Curves small enough to check by hand, what is dropped and why, and what must not matter."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conceptaudit.curves import fit_curve
from conceptaudit.errors import ConfigError, DataError, FitError
from conceptaudit.records import ConceptAccuracies


def several(n_datasets, n_concepts, seed=0, slope=0.08):
    """Counts and accuracies of several datasets with a level of their own each."""
    rng = np.random.default_rng(seed)
    dataset = np.repeat([f"set {i:02}" for i in range(n_datasets)], n_concepts)
    concepts = [f"class {i}" for i in range(n_datasets * n_concepts)]
    counts = np.round(10 ** rng.uniform(0, 4, len(concepts)))
    level = np.repeat(rng.normal(0, 0.1, n_datasets), n_concepts)
    noise = rng.normal(0, 0.05, len(concepts))
    return concepts, dataset, counts, (0.2 + slope * np.log10(counts) + level + noise).clip(0, 1)


def test_a_line_by_hand(make_frequencies, make_accuracies):
    curve = fit_curve(
        make_frequencies([9, 99, 999, 0]), make_accuracies([0.3, 0.5, 0.7, 0.1]), seed=1
    )
    fit = curve.fits[0]
    assert fit.line.slope == pytest.approx(0.2)
    assert fit.line.intercept == pytest.approx(0.1)
    assert (fit.line.r, fit.line.rho) == pytest.approx((1.0, 1.0))
    assert fit.line.residual_sd == pytest.approx(0.0, abs=1e-9)
    assert (fit.line.slope_low, fit.line.slope_high) == pytest.approx((0.2, 0.2))
    assert fit.usage.n_used == fit.usage.n_concepts == 4
    assert (fit.usage.n_zero, fit.usage.dropped) == (1, {})
    assert fit.line.resampled == "concept"
    assert fit.effects.slope_within == pytest.approx(0.2)
    assert np.isnan(fit.effects.slope_between)
    assert any("single dataset" in note for note in fit.notes)
    assert any("25%" in note for note in fit.notes)


def test_excluding_zeros_takes_the_logarithm_of_the_count(make_frequencies, make_accuracies):
    curve = fit_curve(
        make_frequencies([10, 100, 1000, 0]),
        make_accuracies([0.3, 0.5, 0.7, 0.9]),
        zero_policy="exclude",
    )
    fit = curve.fits[0]
    assert fit.line.slope == pytest.approx(0.2)
    assert fit.line.intercept == pytest.approx(0.1)
    assert fit.usage.n_used == 3
    assert fit.usage.n_zero == 1
    assert fit.usage.dropped == {"zero frequency excluded": 1}


def test_residual_sd_has_two_degrees_of_freedom_less(make_frequencies, make_accuracies):
    counts, values = np.array([9, 99, 999, 9999]), np.array([0.1, 0.3, 0.2, 0.5])
    fit = fit_curve(make_frequencies(counts), make_accuracies(values)).fits[0]
    residuals = values - np.polyval(
        np.polyfit(np.log10(1 + counts), values, 1), np.log10(1 + counts)
    )
    assert fit.line.residual_sd == pytest.approx(np.sqrt((residuals**2).sum() / 2))


def test_every_concept_is_accounted_for(make_frequencies, make_accuracies):
    counts = make_frequencies([0, 10, 20, 30, pd.NA], list("abcde"))
    fit = fit_curve(
        counts, make_accuracies(np.linspace(0, 1, 6), list("abcdef")), zero_policy="exclude"
    ).fits[0]
    assert fit.usage.dropped == {
        "no frequency row": 1,
        "n_text missing in zoo": 1,
        "zero frequency excluded": 1,
    }
    assert fit.usage.n_concepts == 6
    assert fit.usage.n_used == 3


def test_models_pretraining_sets_and_metrics_are_fitted_apart(make_frequencies, make_accuracies):
    tables = [
        make_accuracies(
            np.linspace(0, top, 5), model=model, pretraining=pretraining, metric=metric
        ).table
        for top, model, pretraining, metric in (
            (0.4, "A", "x", "accuracy"),
            (0.8, "A", "y", "accuracy"),
            (0.2, "B", "x", "accuracy"),
            (0.6, "B", "x", "i2t_recall@1"),
        )
    ]
    scores = ConceptAccuracies(pd.concat(tables, ignore_index=True))
    curve = fit_curve(make_frequencies([9, 99, 999, 9999, 99999]), scores)
    slopes = {fit.label: round(fit.line.slope, 6) for fit in curve.fits}
    assert slopes == {
        "A/x/accuracy": 0.1,
        "A/y/accuracy": 0.2,
        "B/x/accuracy": 0.05,
        "B/x/i2t_recall@1": 0.15,
    }
    assert len(curve.fits[3].binned.counts) == 7
    assert curve.table["slope_per_decade"].round(6).tolist() == list(slopes.values())


def test_only_models_of_the_audited_data_by_default(make_frequencies, make_accuracies):
    values = np.linspace(0, 1, 5)
    tables = [make_accuracies(values, pretraining=p).table for p in ("laion400m", "cc3m")]
    scores = ConceptAccuracies(pd.concat(tables, ignore_index=True))
    counts = [1, 2, 3, 4, 5]
    auto = fit_curve(make_frequencies(counts, source="LAION-400M"), scores)
    assert [fit.pretraining for fit in auto.fits] == ["laion400m"]
    assert any("left out: cc3m" in note for note in auto.notes)
    unknown = fit_curve(make_frequencies(counts, source="my run"), scores)
    assert len(unknown.fits) == 2
    assert any("No model is named as pretrained" in note for note in unknown.notes)
    named = fit_curve(make_frequencies(counts, source="my run"), scores, pretraining="cc3m")
    assert [fit.pretraining for fit in named.fits] == ["cc3m"]
    assert (
        len(fit_curve(make_frequencies(counts, source="cc3m"), scores, pretraining="all").fits) == 2
    )
    with pytest.raises(ConfigError, match="'pretraining' parameter must be"):
        fit_curve(make_frequencies(counts), scores, pretraining="cc12m")


def test_effects_within_and_between_datasets(make_frequencies, make_accuracies):
    # Simpson: accuracy rises inside each dataset and falls from one dataset to the next.
    counts = [10**k - 1 for k in (1, 2, 3, 4, 5, 6)]
    scores = make_accuracies([0.7, 0.8, 0.9, 0.1, 0.2, 0.3], dataset=["a", "a", "a", "b", "b", "b"])
    fit = fit_curve(make_frequencies(counts), scores, family="loglinear").fits[0]
    assert fit.effects.slope_within == pytest.approx(0.1)
    assert fit.effects.slope_between == pytest.approx(-0.2)
    assert fit.line.slope < 0
    pooled = fit_curve(make_frequencies(counts), scores).fits[0]
    assert pooled.line.slope == pytest.approx(0.1)
    assert fit.line.resampled == "dataset"
    assert [(s.dataset, s.n) for s in fit.effects.slopes] == [("a", 3), ("b", 3)]
    assert [s.slope for s in fit.effects.slopes] == pytest.approx([0.1, 0.1])
    assert any("rest on only 2 datasets" in note for note in fit.notes)


def test_a_strong_effect_has_a_small_p_and_none_has_not(make_frequencies, make_accuracies):
    concepts, dataset, counts, values = several(6, 40)
    strong = fit_curve(
        make_frequencies(counts, concepts), make_accuracies(values, concepts, dataset=dataset)
    ).fits[0]
    assert strong.effects.p_within == 1 / (strong.effects.n_shuffles + 1)
    unrelated = np.random.default_rng(5).permutation(counts)
    none = fit_curve(
        make_frequencies(unrelated, concepts), make_accuracies(values, concepts, dataset=dataset)
    ).fits[0]
    assert none.effects.p_within > 0.02
    assert none.line.slope_low < none.effects.slope_within < none.line.slope_high


def test_the_interval_of_the_slope_holds_the_true_slope(make_frequencies, make_accuracies, quick):
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        counts = np.round(10 ** rng.uniform(0, 5, 80))
        values = (0.2 + 0.1 * np.log10(1 + counts) + rng.normal(0, 0.05, 80)).clip(0, 1)
        line = fit_curve(make_frequencies(counts), make_accuracies(values), seed=seed).fits[0].line
        held += line.slope_low <= 0.1 <= line.slope_high
    assert held >= 29  # 0.9 of 40 is 36; four standard deviations are 7.6


def test_constant_accuracy_is_said_not_warned_about(make_frequencies, make_accuracies):
    fit = fit_curve(make_frequencies([1, 10, 100, 1000]), make_accuracies([0.3] * 4)).fits[0]
    assert fit.line.slope == pytest.approx(0.0, abs=1e-9)
    assert np.isnan([fit.line.r, fit.line.rho, fit.line.r_low, fit.effects.p_within]).all()
    assert any("correlations are undefined" in note for note in fit.notes)


@pytest.mark.parametrize("family", ["loglinear", "paper"])
def test_too_few_points(family, make_frequencies, make_accuracies):
    with pytest.raises(FitError, match=r"at least 3 concepts .* Got 2 of 2 instead"):
        fit_curve(make_frequencies([1, 2]), make_accuracies([0.1, 0.2]), family=family)


def test_constant_frequency(make_frequencies, make_accuracies):
    with pytest.raises(FitError, match=r"slope is undefined: all 4 .* same frequency \(7\)"):
        fit_curve(make_frequencies([7] * 4), make_accuracies([0.1, 0.2, 0.3, 0.4]))


def test_too_few_after_zeros_are_excluded(make_frequencies, make_accuracies):
    with pytest.raises(FitError, match="Got 2 of 4 instead; 2 zero frequency excluded"):
        fit_curve(
            make_frequencies([0, 0, 1, 2]),
            make_accuracies([0.1, 0.2, 0.3, 0.4]),
            zero_policy="exclude",
        )


def test_names_that_never_meet_are_shown(make_frequencies, make_accuracies):
    with pytest.raises(FitError, match=r"'cat' of 'zoo'.*'n02123045'"):
        fit_curve(make_frequencies([1, 2], ["n02123045", "n2"]), make_accuracies([0.1], ["cat"]))


def test_one_model_that_cannot_be_fitted_does_not_stop_the_others(
    make_frequencies, make_accuracies
):
    tables = [
        make_accuracies([0.1, 0.2, 0.3, 0.4], model="good").table,
        make_accuracies([0.1], ["class 0"], model="poor").table,
    ]
    curve = fit_curve(
        make_frequencies([1, 2, 3, 4]), ConceptAccuracies(pd.concat(tables, ignore_index=True))
    )
    assert [fit.model for fit in curve.fits] == ["good"]
    assert any(note.startswith("Not fitted: poor") for note in curve.notes)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("family", "cubic", r"'family' parameter .--family. must be one of"),
        ("zero_policy", "one", "'zero_policy' parameter of fit_curve must be one of"),
        ("level", 90, "'level' parameter must be between 0 and 1"),
        ("level", 0.0, "'level' parameter must be between 0 and 1"),
        ("count", "n_words", "--count must be"),
    ],
)
def test_bad_parameters(name, value, message, make_frequencies, make_accuracies):
    with pytest.raises(ConfigError, match=message):
        fit_curve(make_frequencies([1, 2, 3]), make_accuracies([0.1, 0.2, 0.3]), **{name: value})


def test_contradicting_rows_are_refused(make_frequencies, make_accuracies):
    scores = make_accuracies([0.5, 0.6, 0.7], n_correct=[5, 6, 70], n_images=[10, 10, 10])
    with pytest.raises(DataError, match="n_correct = 70"):
        fit_curve(make_frequencies([1, 2, 3]), scores)


def test_the_paper_family_draws_its_line_through_bins(make_frequencies, make_accuracies):
    counts = np.repeat(10 ** np.arange(12), 3)
    values = np.repeat(np.linspace(0.1, 0.65, 12), 3)
    curve = fit_curve(make_frequencies(counts), make_accuracies(values), family="paper")
    fit = curve.fits[0]
    assert curve.zero_policy == "one"
    assert any("takes counts of zero as one" in note for note in curve.notes)
    assert fit.line.slope == pytest.approx(0.05)
    assert fit.line.intercept == pytest.approx(0.1)
    assert fit.binned.r == pytest.approx(1.0)


def test_the_paper_family_says_when_it_has_no_line(make_frequencies, make_accuracies):
    with pytest.raises(FitError, match="fewer than 3 of its bins"):
        fit_curve(
            make_frequencies([1, 1, 10, 10]), make_accuracies([0.1, 0.2, 0.3, 0.4]), family="paper"
        )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1), factor=st.sampled_from([2, 10, 1000]))
def test_scaling_all_counts_leaves_the_slope(
    seed, factor, make_frequencies, make_accuracies, quick
):
    concepts, dataset, counts, values = several(3, 6, seed)
    scores = make_accuracies(values, concepts, dataset=dataset)
    one, other = (
        fit_curve(make_frequencies(scaled, concepts), scores, zero_policy="exclude").fits[0]
        for scaled in (counts, counts * factor)
    )
    assert other.line.slope == pytest.approx(one.line.slope, abs=1e-5)
    assert other.line.slope_low == pytest.approx(one.line.slope_low, abs=1e-4)
    assert other.effects.slope_within == pytest.approx(one.effects.slope_within, abs=1e-9)
    assert other.line.r == pytest.approx(one.line.r, abs=1e-9)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 2))
def test_the_order_of_rows_has_no_influence(seed, make_frequencies, make_accuracies, quick):
    concepts, dataset, counts, values = several(3, 6)
    order, other = (np.random.default_rng(seed + k).permutation(len(counts)) for k in (0, 1))
    one = fit_curve(
        make_frequencies(counts, concepts), make_accuracies(values, concepts, dataset=dataset)
    )
    mixed = fit_curve(
        make_frequencies(counts[order], [concepts[i] for i in order]),
        make_accuracies(values[other], [concepts[i] for i in other], dataset=dataset[other]),
    )
    assert mixed.digest == one.digest
    assert repr(mixed.fits[0]) == repr(one.fits[0])  # NaN equals NaN here


def test_the_seed_decides_and_the_digest_tells(make_frequencies, make_accuracies, quick):
    counts = make_frequencies([1, 10, 100, 1000, 10_000])
    scores = make_accuracies([0.1, 0.3, 0.2, 0.5, 0.4])
    one, same, other = (fit_curve(counts, scores, seed=seed) for seed in (0, 0, 1))
    assert one.fits[0].line == same.fits[0].line
    assert one.digest == same.digest != other.digest
    assert one.fits[0].line.boot_low != other.fits[0].line.boot_low


def test_progress_is_told_of_every_model(make_frequencies, make_accuracies):
    told = []

    class Told:
        def start(self, stage, total, unit="shards"):
            told.append((stage, total, unit))

        def advance(self, units=1):
            told.append(units)

        def finish(self):
            told.append("end")

    one = make_accuracies([0.3, 0.5, 0.7, 0.1]).table
    constant = one.assign(model="ViT").head(2)  # too few classes: it is told of, and not fitted
    both = ConceptAccuracies(pd.concat([one, constant], ignore_index=True))
    fit_curve(make_frequencies([9, 99, 999, 0]), both, progress=Told())
    assert told == [("fit", 2, "models"), 1, 1, "end"]
