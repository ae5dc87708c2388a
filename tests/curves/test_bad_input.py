"""What a user's tables can hold that they should not, and what is said about it."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import fit_curve
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.errors import DataError, FitError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.zeroshot.readers import read_accuracies

pytestmark = pytest.mark.usefixtures("quick")


def world_of(table):
    """Frequencies and accuracies of a simulated table."""
    ends = {f"count_{end}": f"n_text_{end}" for end in ("low", "high")}
    columns = ["dataset", "concept", "count", *ends]
    counts = table[columns].rename(columns={"count": "n_text", **ends})
    return ConceptFrequencies(counts), ConceptAccuracies(
        table.assign(model="m", pretraining="", metric="accuracy")
    )


def read(tmp_path, values):
    table = pd.DataFrame(
        {"model": "m", "dataset": "zoo", "concept": list("abcdef"), "accuracy": values}
    )
    table.to_csv(tmp_path / "scores.csv", index=False)
    return read_accuracies(tmp_path / "scores.csv")


def test_per_cent_is_detected_and_said(tmp_path, make_frequencies):
    scores = read(tmp_path, [10, 25, 30, 55, 70, 100])
    curve = fit_curve(make_frequencies([0, 9, 99, 999, 9_999, 99_999], list("abcdef")), scores)
    assert curve.points["accuracy"].tolist() == pytest.approx([0.1, 0.25, 0.3, 0.55, 0.7, 1.0])
    assert any("read as per cent" in note for note in curve.notes)
    fractions = fit_curve(
        make_frequencies([0, 9, 99, 999, 9_999, 99_999], list("abcdef")),
        read(tmp_path, [0.1, 0.25, 0.3, 0.55, 0.7, 1.0]),
    )
    assert any("read as fractions" in note for note in fractions.notes)
    assert fractions.fits[0].line.slope == pytest.approx(curve.fits[0].line.slope)


def test_a_mixture_of_per_cent_and_fractions_is_refused(tmp_path):
    with pytest.raises(DataError, match="mixes fractions and per cent"):
        read(tmp_path, [0.1, 0.25, 0.3, 0.55, 0.7, 85.0])


def test_per_cent_that_was_not_read_is_refused(make_accuracies):
    with pytest.raises(DataError, match=r"must lie in \[0, 1\]. Got 45.0"):
        make_accuracies([0.1, 45.0, 0.3])


def test_names_that_meet_after_folding_are_listed(make_frequencies, make_accuracies):
    curve = fit_curve(
        make_frequencies([1, 2, 3, 4], ["Red_Kite", "emu", "yak", "sea lion"]),
        make_accuracies([0.1, 0.2, 0.3, 0.4], ["red kite", "emu", "Yak", "Sea-Lion"]),
    )
    assert curve.folded.to_numpy().tolist() == [
        ["zoo", "red kite", "Red_Kite"],
        ["zoo", "Yak", "yak"],
        ["zoo", "Sea-Lion", "sea lion"],
    ]
    assert any("such as 'red kite' with 'Red_Kite'" in note for note in curve.notes)


def test_infinite_counts_are_refused(make_frequencies, make_accuracies):
    message = r"Counts must be finite and not negative. Got n_text = inf .* 'class 1'"
    with pytest.raises(DataError, match=message):
        fit_curve(make_frequencies([1.0, np.inf, 2.0]), make_accuracies([0.1, 0.2, 0.3]))


def test_all_zeros_have_no_slope(make_frequencies, make_accuracies):
    with pytest.raises(FitError, match=r"all 4 .* same frequency \(0\)"):
        fit_curve(make_frequencies([0] * 4), make_accuracies([0.1, 0.2, 0.3, 0.4]))
    with pytest.raises(FitError, match="frequencies above zero, and of 4 concepts 1 have one"):
        fit_curve(
            make_frequencies([0, 0, 0, 7]),
            make_accuracies([0.1, 0.2, 0.3, 0.4]),
            zero_policy="hurdle",
        )


def test_huge_counts_are_fitted_and_doubted(make_frequencies, make_accuracies):
    values = [0.1, 0.3, 0.5, 0.7]
    fine = fit_curve(make_frequencies([10**3, 10**6, 10**9, 10**12]), make_accuracies(values))
    assert fine.fits[0].line.slope == pytest.approx(0.2 / 3, rel=1e-3)
    assert not any("1e12" in note for note in fine.fits[0].notes)
    ids = fit_curve(make_frequencies([10**3, 10**6, 10**9, 10**17]), make_accuracies(values))
    assert any("above 1e12: are these counts?" in note for note in ids.fits[0].notes)


def test_one_dataset_falls_back_and_says_so(make_frequencies, make_accuracies):
    fit = fit_curve(make_frequencies([9, 99, 999]), make_accuracies([0.1, 0.3, 0.4])).fits[0]
    assert fit.line.slope == pytest.approx(0.15)
    assert any("nothing to pool" in note for note in fit.notes)


def test_datasets_of_one_concept_each(make_frequencies, make_accuracies):
    scores = make_accuracies([0.1, 0.3, 0.2, 0.5], dataset=list("abcd"))
    fit = fit_curve(make_frequencies([1, 10, 100, 1000]), scores).fits[0]
    assert np.isfinite(fit.line.slope)
    assert np.isnan([one.slope for one in fit.effects.slopes]).all()
    assert fit.effects.n_sloped == 0
    assert np.isnan(fit.effects.slope_within)


def test_constant_frequency_within_each_dataset(make_frequencies, make_accuracies):
    scores = make_accuracies([0.1, 0.2, 0.3, 0.5, 0.4, 0.6], dataset=["a", "a", "b", "b", "c", "c"])
    fit = fit_curve(make_frequencies([10, 10, 100, 100, 1000, 1000]), scores).fits[0]
    assert np.isnan(fit.effects.slope_within)
    assert np.isfinite(fit.line.slope)


def test_perfect_separation_is_told(make_frequencies, make_accuracies):
    counts = make_frequencies([0, 1, 2, 5_000, 6_000, 7_000])
    scores = make_accuracies([0, 0, 0, 1, 1, 1], n_correct=[0, 0, 0, 50, 50, 50], n_images=50)
    fit = fit_curve(counts, scores, family="binomial").fits[0]
    assert np.isfinite(fit.line.slope)
    assert any("separates right from wrong" in note for note in fit.notes)


def test_the_hurdle_keeps_zeros_off_the_line(make_frequencies, make_accuracies):
    counts = make_frequencies([9, 99, 999, 0, 0])
    scores = make_accuracies([0.3, 0.5, 0.7, 0.6, 0.4])
    curve = fit_curve(counts, scores, zero_policy="hurdle")
    fit = curve.fits[0]
    assert fit.line.slope == pytest.approx(0.2)
    assert (fit.usage.n_used, fit.usage.n_zero) == (5, 2)
    assert fit.effects.slope_within == pytest.approx(0.2)
    expected = curve.fitted(fit).predict(np.array([0.0, 1.0]), np.array([0, 0]))
    assert expected == pytest.approx([0.5, 0.3])
    assert any("2 concepts with a count of zero lie +0.400" in note for note in fit.notes)
    plain = fit_curve(counts, scores).fits[0]
    assert plain.line.slope < 0.1


def test_errors_of_counts_are_carried_into_the_slope():
    table = simulate(World(n_datasets=12, count_error=0.8), seed=1)
    fit = fit_curve(*world_of(table)).fits[0]
    exact = fit_curve(*world_of(table.assign(count_low=np.nan, count_high=np.nan))).fits[0]
    assert exact.count_error is None
    assert exact.line.slope == fit.line.slope
    assert fit.count_error.slope > fit.line.slope
    assert 0.5 < fit.count_error.reliability < 0.9
    assert fit.count_error.slope_low < fit.count_error.slope < fit.count_error.slope_high
    assert fit.count_error.n_with_interval == (table["count"] > 0).sum()


def test_overdispersion_is_that_of_the_simulation():
    world = World(n_datasets=6, correlation=0.0, count_error=0.0)
    plain = fit_curve(*world_of(simulate(world, seed=2))).fits[0]
    assert plain.overdispersion == pytest.approx(1.0, abs=0.15)
    assert not any("binomial standard errors" in note for note in plain.notes[1:2])
    clumped = World(n_datasets=6, correlation=0.15, count_error=0.0)
    fit = fit_curve(*world_of(simulate(clumped, seed=2))).fits[0]
    assert fit.overdispersion > 5
    assert any("times too small" in note for note in fit.notes)


def test_shared_names_are_told(make_frequencies, make_accuracies):
    scores = make_accuracies(
        [0.1, 0.2, 0.4, 0.3, 0.5, 0.6],
        ["red kite", "emu", "owl", "Red_Kite", "yak", "ox"],
        dataset=["a", "a", "a", "b", "b", "b"],
    )
    counts = make_frequencies([5, 50, 500, 7, 70], ["red kite", "emu", "owl", "yak", "ox"])
    fit = fit_curve(counts, scores).fits[0]
    assert any(note.startswith("1 concept name is in several datasets") for note in fit.notes)


@pytest.mark.parametrize("metric", ["t2i_recall@5", "generation score", "qa_exact_match"])
def test_any_metric_between_0_and_1_fits(metric, make_frequencies, make_accuracies):
    scores = make_accuracies([0.2, 0.3, 0.45, 0.5], metric=metric)
    curve = fit_curve(make_frequencies([1, 10, 100, 1000]), scores)
    assert curve.fits[0].label == f"RN50/{metric}"
    assert curve.fits[0].line.slope > 0


def test_negative_results_are_reported_like_others(make_frequencies, make_accuracies):
    rng = np.random.default_rng(0)
    dataset = np.repeat(["a", "b", "c", "d"], 30)
    counts = make_frequencies(np.round(10 ** rng.uniform(0, 5, 120)))
    falling = 0.8 - 0.1 * np.log10(1 + counts.table["n_text"]) + rng.normal(0, 0.02, 120)
    fit = fit_curve(counts, make_accuracies(falling.clip(0, 1), dataset=dataset)).fits[0]
    assert fit.line.slope_high < 0
    assert (fit.effects.n_negative, fit.effects.n_sloped) == (4, 4)
    assert fit.effects.p_within < 0.1
