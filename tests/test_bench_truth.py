import importlib
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture
def scripts() -> dict[str, ModuleType]:
    names = ("truth_measures", "truth_coverage", "bench_truth")
    return {name: importlib.import_module(name) for name in names}


def test_average_precision_by_hand(scripts):
    measures = scripts["truth_measures"]
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    true = np.array([[True, False], [False, False], [True, False], [False, False]])
    found = measures.average_precision(scores, true)
    assert found[0] == pytest.approx((1 + 2 / 3) / 2)
    assert np.isnan(found[1])
    assert measures.best_f1(scores[:, :1], true[:, :1]) == 0.7
    assert measures.precision_recall(scores >= 0.8, true) == (0.5, 0.5)


def test_count_errors_look_at_frequent_concepts_only(scripts):
    error, near = scripts["truth_measures"].count_errors(
        np.array([22, 40, 900]), np.array([20, 20, 19])
    )
    assert near == 0.5
    assert error == pytest.approx((np.log10(22.5 / 20.5) + np.log10(40.5 / 20.5)) / 2)


def test_copies_keep_the_number_of_samples_and_the_expected_count(scripts):
    coverage = scripts["truth_coverage"]
    rng = np.random.default_rng(0)
    groups = coverage.multiplicities(1_000, 0.3, rng)
    assert groups @ np.arange(1, len(groups) + 1) == 1_000
    drawn = [coverage.draw_counts(np.array([0.5]), 1_000, 0.3, rng)[0] for _ in range(200)]
    assert np.mean(drawn) == pytest.approx(500, abs=6)


@pytest.mark.parametrize("law", range(6))
def test_the_known_law_has_the_correlation_it_claims(scripts, law):
    law = scripts["truth_coverage"].LAWS[law]
    pairs = [law.tables(np.random.default_rng(seed)) for seed in range(60)]
    counts = np.concatenate([f["n_text"].to_numpy(float) for f, _ in pairs]) / law.counted
    accuracy = np.concatenate([a["accuracy"].to_numpy(float) for _, a in pairs])
    if law.counted == 1:
        found = np.corrcoef(np.log10(1 + counts), accuracy)[0, 1]
        assert found == pytest.approx(law.correlation, abs=0.03)
    assert 0.4 < accuracy.mean() < 0.6


def test_the_table_says_what_is_bad(scripts):
    bench, measures = scripts["bench_truth"], scripts["truth_measures"]
    rows = bench.summary(
        [
            ("a", "x", 0.5, measures.at_least(0.9)),
            ("a", "x", 0.7, measures.at_least(0.9)),
            ("a", "y", 0.99, measures.INTERVAL),
            ("a", "z", float("nan"), measures.INTERVAL),
        ]
    )
    assert [row["verdict"] for row in rows] == ["BAD", "wide", "not measured"]
    assert "| a | x | 0.600 | 0.500 to 0.700 | ≥ 0.9 | **BAD** |" in bench.markdown(rows)
