"""Transfer from other models: what it recovers, what it says, what it refuses."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import fit_curve, predict, transfer
from conceptaudit.curves.folds import concept_folds
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.curves.transfer import fit_transfer, held_out_transfer
from conceptaudit.errors import DataError
from conceptaudit.frequency.reference import reference_frequencies
from conceptaudit.names import normalise_name
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies


@pytest.fixture(scope="module")
def world(make_frequencies, make_accuracies, quick_module):
    """Ten sets of 30 classes; a sibling that finds the same classes hard; half are known."""
    rng = np.random.default_rng(0)
    n = 300
    names = [f"class {i}" for i in range(n)]
    dataset = np.repeat([f"set {i}" for i in range(10)], 30)
    counts = np.floor(10 ** rng.uniform(0, 4, n))
    hard = rng.normal(0, 0.15, n)
    level = np.repeat(rng.normal(0, 0.1, 10), 30)
    base = 0.3 + 0.05 * np.log10(1 + counts) + level + hard
    own = (base + rng.normal(0, 0.03, n)).clip(0, 1)
    other = (0.9 * base + 0.1 + rng.normal(0, 0.03, n)).clip(0, 1)
    known = (np.arange(n) % 2 == 0) & (dataset != "set 9")
    sibling = make_accuracies(other, names, dataset=dataset, model="ViT")
    scores = make_accuracies(
        own[known], [m for m, k in zip(names, known, strict=True) if k], dataset=dataset[known]
    )
    frequencies = make_frequencies(counts, names, dataset=dataset)
    return fit_curve(frequencies, scores), frequencies, sibling, own, known, dataset


def test_a_sibling_says_more_than_frequency(world):
    curve, frequencies, sibling, own, known, dataset = world
    plain, found = predict(curve, frequencies), transfer(curve, frequencies, sibling)
    seen = dataset != "set 9"
    for rows in (~known & seen, ~seen):
        error = np.abs(found["accuracy"] - own)[rows].mean()
        assert error < 0.5 * np.abs(plain["accuracy"] - own)[rows].mean()
    inside = ((found["low"] <= own) & (own <= found["high"]))[~known & seen]
    assert 0.8 <= inside.mean() <= 0.97
    assert found["basis"].str.startswith("results of 1 other model and frequency; ").all()
    assert found["basis"][~seen].str.contains("as for a new dataset").all()


def test_frequencies_outside_the_fitted_ones_are_told(world):
    curve, frequencies, sibling, *_ = world
    far = frequencies.table.assign(n_text=frequencies.table["n_text"].where(lambda n: n < 50, 1e9))
    found = transfer(curve, ConceptFrequencies(far), sibling)
    told = found["basis"].str.contains("outside the fitted range of frequencies")
    assert found["extrapolated"].equals(far["n_text"] == 1e9)
    assert told.equals(found["extrapolated"])


def test_a_class_without_other_results_keeps_its_prediction_from_frequency(world):
    curve, frequencies, sibling, *_ = world
    part = ConceptAccuracies(sibling.table.iloc[20:])
    found, plain = transfer(curve, frequencies, part), predict(curve, frequencies)
    pd.testing.assert_frame_equal(found.iloc[:20], plain.iloc[:20])
    assert not found["basis"].iloc[20:].eq(plain["basis"].iloc[20:]).any()


def test_the_model_itself_and_models_with_few_classes_are_left_out(world, make_accuracies):
    curve, frequencies, sibling, *_ = world
    itself = sibling.table.assign(model="RN50", accuracy=0.0)
    little = sibling.table.iloc[:40].assign(model="small", accuracy=0.0)
    every = ConceptAccuracies(pd.concat([sibling.table, itself, little], ignore_index=True))
    pd.testing.assert_frame_equal(
        transfer(curve, frequencies, every), transfer(curve, frequencies, sibling)
    )


def test_siblings_with_nothing_in_common(world, make_accuracies):
    curve, frequencies, sibling, *_ = world
    strange = make_accuracies([0.1, 0.2], ["x", "y"], model="ViT")
    with pytest.raises(DataError, match=r"share at least 20 classes.*Got 0 from 1"):
        transfer(curve, frequencies, strange)
    with pytest.raises(DataError, match=r"metric 'accuracy'.*'recall'"):
        transfer(curve, frequencies, ConceptAccuracies(sibling.table.assign(metric="recall")))


def test_transfer_needs_datasets_and_one_model(world, make_frequencies, make_accuracies):
    curve, frequencies, sibling, *_ = world
    with pytest.raises(DataError, match="'dataset' column"):
        transfer(curve, make_frequencies([1], ["class 0"]), sibling)
    scores = [make_accuracies([0.1, 0.2, 0.3], model=m, pretraining="x").table for m in "AB"]
    two = fit_curve(make_frequencies([1, 10, 100]), ConceptAccuracies(pd.concat(scores)))
    with pytest.raises(DataError, match="one model at a time"):
        transfer(two, frequencies, sibling)


def test_a_dataset_without_known_classes_is_predicted_from_common_effects() -> None:
    rng = np.random.default_rng(1)
    other = rng.random((400, 1))
    dataset = np.repeat(np.arange(8), 50)
    y = 0.1 + 0.7 * other[:, 0]
    fitted = fit_transfer(other[50:], y[50:], dataset[50:], 8)
    assert fitted.at(other[:50], np.full(50, -1)) == pytest.approx(y[:50], abs=0.02)
    assert fitted.at(other[:50], dataset[:50]) == pytest.approx(y[:50], abs=0.02)


def test_held_out_rows_are_not_seen() -> None:
    rng = np.random.default_rng(2)
    other, dataset = rng.random((60, 1)), np.repeat([0, 1], 30)
    y = rng.random(60)
    folds = list(concept_folds(np.arange(60), 0))
    names = np.arange(60)
    before = held_out_transfer(other, y, dataset, names, folds, new=False).centre
    _, test = folds[0]
    changed = y.copy()
    changed[test] = 1 - changed[test]
    after = held_out_transfer(other, changed, dataset, names, folds, new=False).centre
    assert after[test] == pytest.approx(before[test])


def test_published_sets_are_predicted_from_other_models_when_none_of_their_classes_is_known() -> (
    None
):
    """Nine models, fourteen sets left out in turn: mean R² and the mean error of every set."""
    everything = reference_accuracies().table
    everything = everything[everything["dataset"] != "imagenet-r"]
    everything["model"] = everything["pretraining"] + "/" + everything["model"]
    counts = [f"{name}/paper" for name in ("cc3m", "cc12m", "yfcc15m", "synthci30m", "laion400m")]
    key = ["dataset", "concept"]
    wide = everything.pivot_table(index=key, columns="model", values="accuracy").dropna()
    dataset = pd.factorize(wide.index.get_level_values("dataset"))[0]
    folded = [normalise_name(name) for name in wide.index.get_level_values("concept")]
    concept = pd.factorize(np.array(folded, dtype=object))[0]
    splits = [
        (np.flatnonzero(dataset != one), np.flatnonzero(dataset == one))
        for one in np.unique(dataset)
    ]
    explained, errors = [], []
    for name in counts:
        table = reference_frequencies(name).table.set_index(key)
        count = table["n_joint"].reindex(wide.index).astype("float64").fillna(0.0)
        for model in wide.columns[wide.columns.str.startswith(name.partition("/")[0] + "/")]:
            others = wide.drop(columns=model).to_numpy()
            y = wide[model].to_numpy()
            predictors = np.column_stack([others, np.log10(1 + count)])
            held = held_out_transfer(predictors, y, dataset, concept, splits, new=True)
            explained.append(1 - held.residual.var() / y.var())
            errors.append([held.residual[dataset == one].mean() for one in np.unique(dataset)])
    assert len(explained) == 9
    assert np.mean(explained) >= 0.73
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.02
