"""Plans by hand: what is needed, what cannot be reached, what comes first, what is refused."""

import importlib

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import fit_curve, plan
from conceptaudit.curves.needed_gain import measured_law, needed_gain
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

COUNTS = [10**k - 1 for k in range(5)] * 10
VALUES = [0.1 + 0.1 * k for k in range(5)] * 10


@pytest.fixture(scope="module")
def straight(make_frequencies, make_accuracies, quick_module):
    """Accuracy exactly 0.1 + 0.1 log10(1 + count) over counts 0 to 9,999."""
    return fit_curve(make_frequencies(COUNTS), make_accuracies(VALUES))


@pytest.fixture(scope="module")
def rough(make_frequencies, make_accuracies, quick_module):
    rng = np.random.default_rng(0)
    counts = np.floor(10 ** rng.uniform(0, 4, 200))
    values = (0.1 + 0.1 * np.log10(1 + counts) + rng.normal(0, 0.08, 200)).clip(0, 1)
    return fit_curve(make_frequencies(counts), make_accuracies(values))


def test_examples_by_hand(straight, make_frequencies):
    query = make_frequencies([0, 99, 999, 9999], ["yak", "emu", "cat", "dog"])
    found = plan(straight, query, target=0.4, cost_per_example=0.5).table.set_index("concept")
    assert found["status"].to_dict() == {
        "yak": "reachable",
        "emu": "reachable",
        "cat": "reached",
        "dog": "reached",
    }
    assert found["examples"].to_dict() == {"yak": 999, "emu": 900, "cat": 0, "dog": 0}
    assert found["cost"].to_dict() == {"yak": 499.5, "emu": 450, "cat": 0, "dog": 0}
    assert found.loc["yak", "gain_per_1000"] == pytest.approx(0.3 / 0.999)
    # Cheapest gain first: yak gains 0.3 for 999 examples, emu 0.1 for 900.
    assert found["order"].to_dict() == {"yak": 1, "emu": 2, "cat": 0, "dog": 0}
    assert found.loc["emu", "cumulative_examples"] == 1899
    assert found.loc["emu", "cumulative_cost"] == 949.5


def test_what_the_fitted_frequencies_do_not_reach_is_said(straight, make_frequencies):
    found = plan(straight, make_frequencies([0, 99], ["yak", "emu"]), target=0.8)
    assert (found.table["status"] == "not reachable by frequency alone").all()
    assert found.table[["examples", "cost"]].isna().all(axis=None)
    assert np.isinf(found.table["examples_high"]).all()
    assert found.summary.iloc[0]["not reachable by frequency alone"] == 2


def test_the_end_of_the_curve_is_reachable(straight, make_frequencies):
    found = plan(straight, make_frequencies([0], ["yak"]), target=0.5)
    assert found.table["examples"].tolist() == [9999]


def test_a_measured_class_keeps_its_distance_to_the_curve(rough, make_frequencies):
    point = rough.points.sort_values("count").iloc[120]
    query = make_frequencies([point["count"]], [point["concept"]])
    row = plan(rough, query, target=point["accuracy"] + 0.02).table.iloc[0]
    assert row["measured"]
    assert row["accuracy"] == point["accuracy"]
    slope = rough.fits[0].line.slope
    decades = np.log10(1 + point["count"] + row["examples"]) - np.log10(1 + point["count"])
    assert decades == pytest.approx(0.02 / slope, rel=0.02)
    assert row["examples_low"] <= row["examples"] <= row["examples_high"]


def test_intervals_of_classes_without_accuracy_span_what_they_may_have(rough, make_frequencies):
    row = plan(rough, make_frequencies([30], ["yak"]), target=0.4).table.iloc[0]
    assert not row["measured"]
    assert 0 <= row["examples_low"] < row["examples"] < row["examples_high"]


def test_steps_spend_where_an_example_gains_most(rough, make_frequencies):
    query = make_frequencies([0, 9, 99, 999], list("abcd"))
    found = plan(rough, query, target=0.45, cost_per_example=2.0)
    steps = found.steps
    rate = (steps["gain"] / steps["examples"]).to_numpy()
    assert (np.diff(rate) <= 1e-12).all()
    assert steps["cumulative_cost"].iloc[-1] == 2.0 * steps["examples"].sum()
    for _, own in steps.groupby("concept"):
        ordered = own.sort_values("from_count")
        assert ordered["from_count"].iloc[1:].tolist() == ordered["to_count"].iloc[:-1].tolist()
        assert ordered["from_count"].tolist() == own["from_count"].tolist()
    spent = steps.groupby("concept")["examples"].sum()
    table = found.table.set_index("concept")
    for concept in table.index[table["status"] == "reachable"]:
        assert spent[concept] == pytest.approx(table.loc[concept, "examples"], abs=2)


@pytest.mark.parametrize("policy", ["exclude", "paper"])
def test_examples_under_policies_without_one_more(policy, make_frequencies, make_accuracies, quick):
    """Accuracy exactly 0.1 + 0.1 log10(count) over counts 1 to 10,000; bins shift the line."""
    options = {"family": "paper"} if policy == "paper" else {"zero_policy": policy}
    counts = [10**k for k in range(5)] * 10
    curve = fit_curve(make_frequencies(counts), make_accuracies(VALUES), **options)
    line = curve.fits[0].line
    wanted = 10 ** ((0.3 - line.intercept) / line.slope)
    found = plan(curve, make_frequencies([1, 10, 100], ["yak", "emu", "cat"]), target=0.3)
    lacking = {"yak": wanted - 1, "emu": wanted - 10, "cat": wanted - 100}
    table = found.table.set_index("concept")
    assert table["examples"].to_dict() == pytest.approx(lacking, abs=1, rel=0.05)
    assert set(found.steps.loc[found.steps["concept"] == "yak", "from_count"]) >= {1, 2, 4}


def test_a_class_below_the_fitted_frequencies_moves_along_the_line(
    make_frequencies, make_accuracies, quick
):
    counts = [10**k - 1 for k in range(2, 6)] * 10
    values = [0.1 + 0.1 * k for k in range(2, 6)] * 10
    curve = fit_curve(make_frequencies(counts), make_accuracies(values))
    row = plan(curve, make_frequencies([9], ["yak"]), target=0.4).table.iloc[0]
    assert row["accuracy"] == pytest.approx(0.2)
    assert row["examples"] == 990


def test_without_a_slope_upwards_nothing_is_known_of_the_examples(
    make_frequencies, make_accuracies, quick
):
    rng = np.random.default_rng(3)
    counts = np.floor(10 ** rng.uniform(0, 4, 60))
    values = (0.9 - 0.1 * np.log10(1 + counts) + rng.normal(0, 0.02, 60)).clip(0, 1)
    curve = fit_curve(make_frequencies(counts), make_accuracies(values))
    assert curve.fits[0].line.slope < 0
    point = curve.points.sort_values("count").iloc[30]
    query = make_frequencies([point["count"]], [point["concept"]])
    row = plan(curve, query, target=point["accuracy"] + 0.01).table.iloc[0]
    assert row["status"] == "not reachable by frequency alone"
    assert (row["examples_low"], row["examples_high"]) == (0, np.inf)


def test_models_of_one_name_are_planned_for_apart(make_frequencies, make_accuracies, quick):
    scores = [
        make_accuracies(np.array(VALUES) + lead, pretraining=name).table
        for name, lead in (("cc3m", 0.0), ("cc12m", 0.3))
    ]
    curve = fit_curve(
        make_frequencies(COUNTS), ConceptAccuracies(pd.concat(scores)), pretraining="all"
    )
    found = plan(curve, make_frequencies([9], ["yak"]), target=0.45)
    assert found.summary["pretraining"].tolist() == ["cc12m", "cc3m"]
    assert found.summary["reached"].tolist() == [1, 0]
    assert set(found.steps["pretraining"]) == {"cc3m"}


def test_missing_counts_have_no_plan(straight):
    table = pd.DataFrame(
        {"concept": ["yak", "emu"], "n_text": pd.Series([pd.NA, 99], dtype="Int64")}
    )
    found = plan(straight, ConceptFrequencies(table), target=0.4).table.set_index("concept")
    assert found["status"].to_dict() == {"yak": "no prediction", "emu": "reachable"}
    assert np.isnan(found.loc["yak", "examples"])


@pytest.mark.parametrize("target", [0, -0.1, 1.2, 80, float("nan")])
def test_targets_outside_their_range(target, straight, make_frequencies):
    with pytest.raises(ConfigError, match="'target' parameter"):
        plan(straight, make_frequencies([1]), target=target)


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf")])
def test_costs_outside_their_range(cost, straight, make_frequencies):
    with pytest.raises(ConfigError, match="'cost_per_example' parameter"):
        plan(straight, make_frequencies([1]), target=0.5, cost_per_example=cost)


def test_the_count_of_the_curve_is_needed(straight):
    table = pd.DataFrame({"concept": ["yak"], "n_image": [1]})
    with pytest.raises(DataError, match="fitted on n_text"):
        plan(straight, ConceptFrequencies(table), target=0.5)


def test_a_curve_that_falls_reaches_nothing(make_frequencies, make_accuracies, quick):
    curve = fit_curve(make_frequencies(COUNTS), make_accuracies([0.6 - v for v in VALUES]))
    found = plan(curve, make_frequencies([9], ["yak"]), target=0.55)
    assert found.table["status"].tolist() == ["not reachable by frequency alone"]
    assert found.steps.empty


def test_a_target_at_a_level_part_is_reached_where_that_begins(
    make_frequencies, make_accuracies, quick
):
    values = [0.1, 0.2, 0.4, 0.4, 0.4] * 10
    curve = fit_curve(make_frequencies(COUNTS), make_accuracies(values), family="isotonic")
    row = plan(curve, make_frequencies([9], ["yak"]), target=0.4).table.iloc[0]
    assert 80 <= row["examples"] <= 91


def test_intervals_hold_what_it_takes(monkeypatch):
    """Test noise, the class and its set's slope: overall, and where a lucky test looks cheapest."""
    simulate = importlib.import_module("simulate_plans")
    monkeypatch.setattr("conceptaudit.curves.intervals.N_RESAMPLES", 10)
    monkeypatch.setattr("conceptaudit.curves.model_fitting.N_SHUFFLES", 9)
    runs = [simulate.coverage(simulate.WORLDS["default"], 0.5, seed) for seed in range(2)]
    assert 0.86 <= np.mean([run["all"] for run in runs]) <= 0.94
    assert 0.82 <= np.mean([run["cheapest"] for run in runs]) <= 1.0


def test_few_test_images_widen_what_it_takes():
    """The posterior of an accuracy is a beta distribution, by hand; many images make it narrow."""
    one = np.ones(1)
    law = measured_law(0.5 * one, 10 * one, 0.4 * one, 0.2)
    assert (law.right, law.wrong) == (pytest.approx(4 * 0.4 + 5), pytest.approx(4 * 0.6 + 5))
    widths = []
    for n in (10, 1_000, np.nan):
        law = measured_law(0.5 * one, n * one, 0.4 * one, 0.2)
        low, high = (needed_gain(law, 0.7, 0.1 * one, one, chance) for chance in (0.05, 0.95))
        widths.append(float((high - low)[0]))
    assert widths[0] > 3 * widths[1] > 3 * widths[2] > 0
    assert widths[2] == pytest.approx(0.2 * 2 * 1.645 * 0.1, rel=0.2)


def test_accurate_classes_that_were_never_counted_are_to_be_checked(
    make_frequencies, make_accuracies, quick
):
    rng = np.random.default_rng(2)
    counts = np.floor(10 ** rng.uniform(0, 4, 100))
    values = (0.1 + 0.1 * np.log10(1 + counts) + rng.normal(0, 0.05, 100)).clip(0, 1)
    counts[:2], values[:2] = 0, [0.45, 0.1]
    curve = fit_curve(make_frequencies(counts), make_accuracies(values))
    found = plan(curve, make_frequencies(counts), target=0.47).table
    status = found.set_index("concept")["status"]
    assert status["class 0"] == "check the count"
    assert status["class 1"] != "check the count"
    assert found["concept"].iloc[-1] == "class 0"
    assert np.isnan(found["examples"].iloc[-1])
    assert found.loc[found["status"] == "reachable", "examples"].min() >= 10


def test_two_datasets_have_no_interval(make_frequencies, make_accuracies, quick):
    scores = make_accuracies(VALUES, dataset=["a", "b"] * 25)
    curve = fit_curve(make_frequencies(COUNTS), scores)
    query = ConceptFrequencies(
        pd.DataFrame({"concept": ["class 0"], "dataset": ["a"], "n_text": [0]})
    )
    row = plan(curve, query, target=0.4).table.iloc[0]
    assert row[["examples_low", "examples_high"]].isna().all()
    assert row["examples"] > 0
