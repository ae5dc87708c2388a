"""Predictions by hand, what they say about themselves, and how often their intervals hold."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import fit_curve, predict
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies
from conceptaudit.zeroshot.readers import read_accuracies

SETS = ("coco", "flickr")

COUNTS = [10**k - 1 for k in range(5)] * 10
VALUES = [0.1 + 0.1 * k for k in range(5)] * 10


@pytest.fixture
def straight(make_frequencies, make_accuracies, quick):
    """Accuracy exactly 0.1 + 0.1 log10(1 + count) over counts 0 to 9,999."""
    return fit_curve(make_frequencies(COUNTS), make_accuracies(VALUES))


def simulated(rng, n_datasets, n_concepts, first=0, level_sd=0.12):
    """Skewed residuals and a level per dataset, accuracies within [0, 1]."""
    n = n_datasets * n_concepts
    dataset = np.repeat([f"set {first + i}" for i in range(n_datasets)], n_concepts)
    level = np.repeat(rng.normal(0, level_sd, n_datasets), n_concepts)
    counts = np.floor(10 ** rng.uniform(0, 5, n))
    noise = 0.06 * (rng.gamma(2.0, 1.0, n) - 2.0)
    y = (0.3 + 0.05 * np.log10(1 + counts) + level + noise).clip(0, 1)
    concepts = [f"class {first}-{i}" for i in range(n)]
    return concepts, dataset, counts, y


def coverage(train, test, make_frequencies, make_accuracies, *, named):
    concepts, dataset, counts, y = train
    curve = fit_curve(
        make_frequencies(counts, concepts), make_accuracies(y, concepts, dataset=dataset)
    )
    columns = {"dataset": test[1]} if named else {}
    found = predict(curve, make_frequencies(test[2], test[0], **columns))
    return np.mean((test[3] >= found["low"]) & (test[3] <= found["high"])), found


def test_predictions_by_hand(straight, make_frequencies):
    found = predict(straight, make_frequencies([0, 99, 9999], ["yak", "emu", "cat"]))
    assert found["concept"].tolist() == ["yak", "emu", "cat"]
    assert found["accuracy"].tolist() == pytest.approx([0.1, 0.3, 0.5])
    assert found["low"].tolist() == pytest.approx([0.1, 0.3, 0.5])
    assert not found["extrapolated"].any()
    assert found["basis"].str.startswith("one dataset (zoo): 50 concepts held out").all()


def test_extrapolation_is_flagged_clipped_and_widened(make_frequencies, make_accuracies, quick):
    rng = np.random.default_rng(0)
    counts = np.floor(10 ** rng.uniform(1, 4, 60))
    values = 0.05 + 0.1 * np.log10(1 + counts) + rng.normal(0, 0.03, 60)
    curve = fit_curve(make_frequencies(counts), make_accuracies(values))
    found = predict(curve, make_frequencies([0, 100, 10**6, 10**30]))
    width = (found["high"] - found["low"]).to_numpy()
    assert found["extrapolated"].tolist() == [True, False, True, True]
    assert found["accuracy"].iloc[3] == 1.0
    assert width[2] > width[1]
    assert found["basis"].str.contains("outside the fitted range").tolist() == [
        True,
        False,
        True,
        True,
    ]
    numbers = found[["accuracy", "low", "high"]].to_numpy()
    assert (numbers >= 0).all()
    assert (numbers <= 1).all()


def test_zeros_that_were_fitted_are_no_extrapolation(make_frequencies, make_accuracies, quick):
    """The line of a hurdle begins above zero, and its zeros have an accuracy of their own."""
    rng = np.random.default_rng(0)
    counts = np.where(np.arange(80) % 4 == 0, 0, np.floor(10 ** rng.uniform(1, 4, 80)))
    values = np.where(counts == 0, 0.3, 0.1 * np.log10(1 + counts)) + rng.normal(0, 0.02, 80)
    options = {"zero_policy": "hurdle"}
    curve = fit_curve(make_frequencies(counts), make_accuracies(values.clip(0, 1)), **options)
    found = predict(curve, make_frequencies([0, 1, 100]))
    assert found["extrapolated"].tolist() == [False, True, False]
    assert found["accuracy"].iloc[0] == pytest.approx(0.3, abs=0.02)
    never = counts > 0
    bare = fit_curve(make_frequencies(counts[never]), make_accuracies(values[never]), **options)
    assert predict(bare, make_frequencies([0]))["extrapolated"].all()


def test_a_curve_of_corrected_counts_predicts_from_corrected_counts(make_accuracies, quick):
    table = pd.DataFrame({"concept": [f"class {i}" for i in range(50)], "n_image": 7})
    table["n_image_corrected"] = np.array(COUNTS, dtype=float)
    curve = fit_curve(ConceptFrequencies(table), make_accuracies(VALUES), count="image_corrected")
    found = predict(curve, ConceptFrequencies(table.iloc[:5]))
    assert found["accuracy"].tolist() == pytest.approx(VALUES[:5])
    with pytest.raises(DataError, match="fitted on n_image_corrected"):
        predict(curve, ConceptFrequencies(table[["concept", "n_image"]]))


def test_missing_frequencies_have_no_prediction_and_a_reason(straight):
    table = pd.DataFrame(
        {"concept": ["yak", "emu"], "n_text": pd.Series([pd.NA, 99], dtype="Int64")}
    )
    found = predict(straight, ConceptFrequencies(table))
    assert found["accuracy"].isna().tolist() == [True, False]
    assert found["low"].isna().tolist() == [True, False]
    assert found["basis"].iloc[0] == "no prediction: the frequency is missing"
    assert not found["extrapolated"].iloc[0]


def test_zero_has_no_prediction_where_zeros_were_excluded(make_frequencies, make_accuracies, quick):
    curve = fit_curve(make_frequencies(COUNTS), make_accuracies(VALUES), zero_policy="exclude")
    found = predict(curve, make_frequencies([0, 10]))
    assert found["accuracy"].isna().tolist() == [True, False]
    assert "zeros were left out" in found["basis"].iloc[0]


def test_the_count_of_the_curve_is_needed(straight):
    table = pd.DataFrame({"concept": ["yak"], "n_image": [1]})
    with pytest.raises(DataError, match=r"fitted on n_text.*\['n_image'\]"):
        predict(straight, ConceptFrequencies(table))


def test_models_are_chosen_by_name_or_label(make_frequencies, make_accuracies, quick):
    tables = [
        make_accuracies(np.linspace(0, top, 5), model=model, pretraining="x").table
        for top, model in ((0.4, "A"), (0.8, "B"))
    ]
    scores = ConceptAccuracies(pd.concat(tables, ignore_index=True))
    curve = fit_curve(make_frequencies([9, 99, 999, 9999, 99999]), scores)
    query = make_frequencies([99])
    assert predict(curve, query)["model"].tolist() == ["A", "B"]
    assert predict(curve, query, model="B")["accuracy"].tolist() == pytest.approx([0.2])
    assert predict(curve, query, model="A/x/accuracy")["accuracy"].tolist() == pytest.approx([0.1])
    with pytest.raises(ConfigError, match=r"must name a model of the curve \(A/x/accuracy, B/x"):
        predict(curve, query, model="C")


@pytest.mark.parametrize("level", [0, 1, 90, -0.5])
def test_levels_outside_the_unit_interval(level, straight, make_frequencies):
    with pytest.raises(ConfigError, match="'level' parameter"):
        predict(straight, make_frequencies([1]), level=level)


def test_few_concepts_give_no_bounded_interval_and_say_so(make_frequencies, make_accuracies, quick):
    curve = fit_curve(make_frequencies([1, 10, 100, 1000]), make_accuracies([0.1, 0.3, 0.2, 0.4]))
    found = predict(curve, make_frequencies([50]))
    assert found[["low", "high"]].to_numpy().tolist() == [[0.0, 1.0]]
    assert "too few for an interval of level 0.9" in found["basis"].iloc[0]


def test_known_and_new_datasets_are_told_apart(make_frequencies, make_accuracies, quick):
    train = simulated(np.random.default_rng(0), 12, 40)
    curve = fit_curve(
        make_frequencies(train[2], train[0]), make_accuracies(train[3], train[0], dataset=train[1])
    )
    query = make_frequencies([100, 100, 100], ["a", "b", "c"], dataset=["Set_3", "set 99", "set 4"])
    found = predict(curve, query)
    assert found["dataset"].tolist() == ["Set_3", "set 99", "set 4"]
    assert found["basis"].str.split(":").str[0].tolist() == [
        "known dataset (set 3)",
        "as for a new dataset",
        "known dataset (set 4)",
    ]
    width = (found["high"] - found["low"]).to_numpy()
    assert width[1] > max(width[0], width[2])
    unnamed = predict(curve, make_frequencies([100]))
    assert unnamed["basis"].iloc[0].startswith("as for a new dataset")
    assert unnamed["accuracy"].iloc[0] == pytest.approx(found["accuracy"].iloc[1])


def test_a_known_dataset_is_predicted_at_its_own_level(make_frequencies, make_accuracies, quick):
    rng = np.random.default_rng(1)
    train = simulated(rng, 8, 60, level_sd=0.2)
    curve = fit_curve(
        make_frequencies(train[2], train[0]), make_accuracies(train[3], train[0], dataset=train[1])
    )
    names = [f"set {i}" for i in range(8)]
    found = predict(curve, make_frequencies([316] * 8, names, dataset=names))
    means = pd.Series(train[3]).groupby(train[1]).mean()[names].to_numpy()
    assert np.abs(found["accuracy"].to_numpy() - means).max() < 0.05


def test_few_datasets_cannot_bound_a_new_one_and_say_so(make_frequencies, make_accuracies, quick):
    _, found = coverage(
        simulated(np.random.default_rng(0), 3, 30),
        simulated(np.random.default_rng(1), 1, 5, first=50),
        make_frequencies,
        make_accuracies,
        named=True,
    )
    assert found["basis"].str.contains("3 datasets held out one by one, too few").all()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("counts", "concepts", "dataset"),
    [
        ([5, 5, 5, 7, 7, 7], list("abcdef"), list("xxxyyy")),  # constant inside each dataset
        ([1, 2, 3, 4, 5, 6], list("abcdef"), list("uvwxyz")),  # one concept per dataset
        ([1, 2, 3], ["a", "a", "a"], list("xyz")),  # one concept name in all
        ([0, 0, 1], list("abc"), list("xxx")),  # three concepts
    ],
)
def test_the_smallest_fits_predict_too(
    counts, concepts, dataset, make_frequencies, make_accuracies
):
    values = np.linspace(0.1, 0.4, len(counts))
    frequencies = make_frequencies(counts, concepts, dataset=dataset)
    curve = fit_curve(frequencies, make_accuracies(values, concepts, dataset=dataset))
    query = make_frequencies([3, 3], ["a", "b"], dataset=["x", "elsewhere"])
    found = predict(curve, query)
    assert (found["low"] <= found["accuracy"]).all()
    assert (found["accuracy"] <= found["high"]).all()
    assert found[["low", "high"]].notna().all(axis=None)


def test_the_paper_family_has_one_line_for_all_datasets(make_frequencies, make_accuracies, quick):
    train = simulated(np.random.default_rng(0), 12, 40)
    curve = fit_curve(
        make_frequencies(train[2], train[0]),
        make_accuracies(train[3], train[0], dataset=train[1]),
        family="paper",
    )
    found = predict(curve, make_frequencies([100, 100], ["a", "b"], dataset=["set 1", "set 2"]))
    assert found["accuracy"].iloc[0] == found["accuracy"].iloc[1]
    assert found["basis"].str.startswith("as for a new dataset").all()


def test_intervals_hold_for_one_dataset(make_frequencies, make_accuracies, quick):
    shares = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        both = simulated(rng, 1, 400)
        train, test = ([part[s] for part in both] for s in (slice(0, 150), slice(150, 400)))
        share, _ = coverage(train, test, make_frequencies, make_accuracies, named=True)
        shares.append(share)
    assert 0.87 <= np.mean(shares) <= 0.93


def test_intervals_hold_for_known_datasets(make_frequencies, make_accuracies, quick):
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        concepts, dataset, counts, y = simulated(rng, 12, 50)
        held = np.arange(len(y)) % 3 == 0
        parts = [
            (
                [c for c, h in zip(concepts, held == keep, strict=True) if h],
                *(column[held == keep] for column in (dataset, counts, y)),
            )
            for keep in (False, True)
        ]
        share, _ = coverage(*parts, make_frequencies, make_accuracies, named=True)
        shares.append(share)
    assert 0.87 <= np.mean(shares) <= 0.93


def test_intervals_hold_for_new_datasets(make_frequencies, make_accuracies, quick):
    shares = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        train, test = simulated(rng, 30, 12), simulated(rng, 30, 12, first=100)
        share, _ = coverage(train, test, make_frequencies, make_accuracies, named=True)
        shares.append(share)
    # A new dataset is one draw among 31: the correction for that, 1/31, makes it conservative.
    assert 0.87 <= np.mean(shares) <= 0.93 + 1 / 31


def test_tens_of_thousands_of_concepts(make_frequencies, straight):
    names = [f"c{i}" for i in range(30_000)]
    found = predict(straight, make_frequencies(np.arange(30_000), names))
    assert len(found) == 30_000
    assert found["accuracy"].is_monotonic_increasing


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("pretraining", ["cc3m", "yfcc15m"])
def test_a_curve_of_one_retrieval_set_holds_on_another(realdata, pretraining):
    """COCO's curve on Flickr30k: another set, and a gallery a fifth as large."""
    folder = realdata / "reference"
    results = read_accuracies(folder / "retrieval_evaluations").table
    mine = results[(results["pretraining"] == pretraining) & (results["model"] == "RN50")]
    search = f"{pretraining}_integrated_tlemmatized_i0.7_search_counts.json"
    counts = read_frequencies([folder / "search_counts" / f"{d}_{search}" for d in SETS])
    coco = mine[mine["dataset"] == SETS[0]].reset_index(drop=True)
    curve = fit_curve(counts, ConceptAccuracies(coco), count="n_joint")
    assert any("Recall@k falls as the gallery grows" in note for note in curve.notes)
    flickr = counts.table[counts.table["dataset"] == SETS[1]].reset_index(drop=True)
    predicted = predict(curve, ConceptFrequencies(flickr, counts.source))
    assert predicted["basis"].str.contains("of another dataset than the only one").all()
    both = predicted.merge(mine[mine["dataset"] == SETS[1]], on=["metric", "concept"])
    held = both["accuracy_y"].between(both["low"], both["high"])
    assert held.groupby(both["metric"]).mean().min() >= 0.87
