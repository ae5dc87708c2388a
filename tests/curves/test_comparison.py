"""Families compared on what they have not seen; controls."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.curves import (
    compare_families,
    fit_curve,
    resample_to_power_law,
    similar_to_test,
    without_samples,
)
from conceptaudit.curves.cross_validation import APART, WORSE
from conceptaudit.curves.families import Estimator, family_named, known_families
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.folds import folds, held_out
from conceptaudit.curves.simulated import World, simulate
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


def curve_of(table, **options):
    counts = table[["dataset", "concept", "count"]].rename(columns={"count": "n_text"})
    scores = table.assign(model="m", pretraining="", metric="accuracy")
    return fit_curve(ConceptFrequencies(counts), ConceptAccuracies(scores), **options)


@pytest.fixture(scope="module")
def curve():
    return curve_of(simulate(World(n_datasets=10, level_sd=0.15, count_error=0.0), seed=0))


def test_levels_of_datasets_are_worth_having_and_shapes_are_not(curve):
    found = compare_families(curve).set_index(["held_out", "family"])
    assert set(found.index.get_level_values("family")) == set(known_families())
    concepts, datasets = found.loc["concepts"], found.loc["datasets"]
    # The paper's family alone has no level for each dataset.
    assert concepts.loc["paper", "verdict"] == WORSE
    assert concepts.loc["paper", "difference_low"] > 0
    assert concepts["r2"].idxmin() == "paper"
    assert np.isnan(concepts.loc["partial-pooling", "difference"])
    shapes = ["loglinear", "isotonic", "saturating", "binomial"]
    assert (concepts.loc[shapes, "verdict"] == APART).sum() >= 3
    assert (datasets.loc[shapes, "verdict"] == APART).sum() >= 3
    assert (found["n"] == len(curve.points)).all()
    assert (found["n_datasets"] == 10).all()


def test_errors_are_those_of_a_plain_loop(curve):
    rows = fit_data_of(curve.points, "log1p")
    expected = held_out(rows, Estimator(family=family_named("loglinear")), "datasets")
    for index in range(len(rows.datasets)):
        test = rows.dataset == index
        slope, intercept = np.polyfit(rows.x[~test], rows.y[~test], 1)
        assert expected[test] == pytest.approx(np.clip(intercept + slope * rows.x[test], 0, 1))
    found = compare_families(curve, families=["loglinear"]).set_index(["held_out", "family"])
    assert found.loc[("datasets", "loglinear"), "mae"] == pytest.approx(
        np.abs(expected - rows.y).mean()
    )


def test_one_dataset_is_compared_on_its_concepts_alone(quick):
    single = curve_of(simulate(World(n_datasets=1, count_error=0.0), seed=2))
    found = compare_families(single, families=["loglinear", "isotonic"])
    assert set(found["held_out"]) == {"concepts"}
    same = found.set_index("family").loc["loglinear"]
    assert same["difference"] == pytest.approx(0.0)


def test_families_that_the_rows_do_not_allow_are_named(quick):
    table = simulate(World(n_datasets=3, count_error=0.0), seed=1)
    some = pd.array([20, pd.NA] * len(table), dtype="Int64")[: len(table)]
    table = table.assign(n_images=some, n_correct=pd.NA)
    found = compare_families(curve_of(table), families=["binomial"])
    row = found[found["family"] == "binomial"].iloc[0]
    assert row["n"] == 0
    assert row["verdict"] == "these rows do not allow it"


def test_unknown_names_and_levels(curve):
    with pytest.raises(ConfigError, match="'family' parameter"):
        compare_families(curve, families=["cubic"])
    with pytest.raises(ConfigError, match="'model' parameter"):
        compare_families(curve, model="other")
    with pytest.raises(ConfigError, match="'level' parameter"):
        compare_families(curve, level=90)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scheme=st.sampled_from(["concepts", "datasets"]))
def test_no_concept_name_is_on_both_sides_of_a_fold(seed, scheme):
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "dataset": rng.choice(["a", "b", "c"], 60),
            "concept": rng.choice(["Red_Kite", "red kite", "emu", "yak", "Emu", "owl"], 60),
            "count": rng.integers(0, 99, 60).astype(float),
            "accuracy": rng.random(60),
        }
    )
    rows = fit_data_of(table, "log1p")
    assert len(np.unique(rows.concept)) <= 4
    tested = np.zeros(60, dtype=int)
    for train, test in folds(rows, scheme, seed):
        assert not set(rows.concept[train]) & set(rows.concept[test])
        tested[test] += 1
    assert tested.max(initial=0) <= 1
    if scheme == "concepts":
        assert (tested == 1).all()


def test_similar_images_by_cosine():
    vectors = np.array([[1.0, 0.0], [5.0, 0.1], [0.0, 1.0], [0.0, 0.0]])
    assert similar_to_test(vectors, np.array([[2.0, 0.0]]), threshold=0.95).tolist() == [
        True,
        True,
        False,
        False,
    ]
    with pytest.raises(DataError, match="same number of columns"):
        similar_to_test(vectors, np.ones((1, 3)), threshold=0.9)
    with pytest.raises(ConfigError, match="cosine similarity"):
        similar_to_test(vectors, vectors, threshold=1.5)


def test_counts_without_samples(make_frequencies):
    counts = make_frequencies([3, 2, 0], ["cat", "yak", "emu"], n_text_low=[1, 1, 0])
    hits = pd.DataFrame({"sample_id": [1, 1, 2, 2], "concept": ["cat", "cat", "cat", "yak"]})
    left = without_samples(counts, hits, [1, 2, 99]).table
    assert left["n_text"].tolist() == [1, 1, 0]
    assert list(left) == ["concept", "n_text"]
    with pytest.raises(DataError, match="more hits than its count"):
        without_samples(make_frequencies([0], ["cat"]), hits.head(1), [1])
    with pytest.raises(DataError, match="hits of another audit"):
        without_samples(make_frequencies([1], ["dog"]), hits, [1])
    with pytest.raises(DataError, match="columns sample_id and concept"):
        without_samples(counts, hits.drop(columns="concept"), [1])


def test_a_law_of_our_own(make_frequencies):
    counts = make_frequencies([100_000, 100_000, 100_000, 50, 0], list("abcde"))
    zipf = resample_to_power_law(counts, exponent=1.0, highest=1200, seed=3)
    assert sorted(zipf["concept"]) == list("abcd")
    assert zipf["wanted"].tolist() == [1200, 600, 400, 300]
    assert (zipf["count"] <= zipf["available"]).all()
    rich = zipf[zipf["available"] == 100_000]
    assert (rich["count"] / rich["wanted"]).to_numpy() == pytest.approx(1.0, abs=0.2)
    orders = {
        tuple(resample_to_power_law(counts, exponent=0.0, seed=seed)["concept"])
        for seed in range(20)
    }
    assert len(orders) > 5
    with pytest.raises(ConfigError, match="'exponent' of a law"):
        resample_to_power_law(counts, exponent=-1.0)
