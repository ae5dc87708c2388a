"""Anchors: what each does to a prediction, what it buys, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import Anchors, fit_curve, predict
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptAccuracies

N_SETS, N_CONCEPTS = 14, 30


def sets_of(rng, first, n_sets=N_SETS, level_sd=0.2):
    n = n_sets * N_CONCEPTS
    dataset = np.repeat([f"set {first + i}" for i in range(n_sets)], N_CONCEPTS)
    level = np.repeat(rng.normal(0, level_sd, n_sets), N_CONCEPTS)
    counts = np.floor(10 ** rng.uniform(0, 4, n))
    y = (0.35 + 0.05 * np.log10(1 + counts) + level + rng.normal(0, 0.05, n)).clip(0, 1)
    return [f"c{first}-{i}" for i in range(n)], dataset, counts, y


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    return sets_of(rng, 0), sets_of(rng, 50, n_sets=12)


@pytest.fixture(scope="module")
def curve(data, make_frequencies, make_accuracies, quick_module):
    names, dataset, counts, y = data[0]
    return fit_curve(make_frequencies(counts, names), make_accuracies(y, names, dataset=dataset))


@pytest.fixture(scope="module")
def asked(data, make_frequencies):
    names, dataset, counts, _ = data[1]
    return make_frequencies(counts, names, dataset=dataset)


def errors(found, data):
    return np.abs(found["accuracy"].to_numpy() - data[1][3]).mean()


def covered(found, data):
    y = data[1][3]
    return ((found["low"] <= y) & (y <= found["high"])).mean()


def labels_of(data, make_accuracies, k, sets=None):
    names, dataset, _, y = data[1]
    rows = [
        i for name in (sets or dict.fromkeys(dataset)) for i in np.flatnonzero(dataset == name)[:k]
    ]
    return make_accuracies(y[rows], [names[i] for i in rows], dataset=dataset[rows])


def test_anchors_narrow_and_better_a_new_dataset(curve, asked, data, make_accuracies):
    means = pd.Series(data[1][3]).groupby(data[1][1]).mean().to_dict()
    found = {
        "none": predict(curve, asked),
        "mean": predict(curve, asked, anchors=Anchors(means=means)),
        "labels": predict(
            curve, asked, anchors=Anchors(labelled=labels_of(data, make_accuracies, 10))
        ),
    }
    error = {what: errors(table, data) for what, table in found.items()}
    assert error["mean"] < 0.6 * error["none"]
    assert error["labels"] < 0.6 * error["none"]
    for what in ("mean", "labels"):
        assert 0.85 <= covered(found[what], data) <= 1.0
        width = (found[what]["high"] - found[what]["low"]).mean()
        assert width < 0.6 * (found["none"]["high"] - found["none"]["low"]).mean()
    assert found["mean"]["basis"].str.contains("its mean accuracy given").all()
    assert found["labels"]["basis"].str.contains("10 of its classes labelled").all()
    predicted = found["mean"].groupby("dataset")["accuracy"].mean().to_dict()
    assert predicted == pytest.approx(means, abs=1e-6)


def test_an_anchor_touches_its_dataset_alone(curve, asked, make_accuracies, data):
    plain = predict(curve, asked)
    found = predict(curve, asked, anchors=Anchors(means={"SET_50": 0.9}))
    here = (asked.table["dataset"] == "set 50").to_numpy()
    pd.testing.assert_frame_equal(found[~here], plain[~here])
    assert found[here]["accuracy"].mean() == pytest.approx(0.9, abs=1e-6)


def test_few_labels_are_trusted_less(curve, asked, data, make_accuracies):
    names, dataset, _, _ = data[1]
    rows = np.flatnonzero(dataset == "set 50")
    plain = predict(curve, asked)["accuracy"].to_numpy()[rows]
    moved = []
    for k in (3, 30):
        labels = make_accuracies(np.ones(k), [names[i] for i in rows[:k]], dataset="set 50")
        found = predict(curve, asked, anchors=Anchors(labelled=labels))
        moved.append((found["accuracy"].to_numpy()[rows] - plain).mean())
    assert 0 < moved[0] < moved[1]


def test_another_model_by_its_imagenet_accuracy(make_frequencies, make_accuracies, quick):
    names, dataset, counts, y = sets_of(np.random.default_rng(0), 0, n_sets=12)
    dataset = np.where(dataset == "set 0", "ImageNet", dataset)
    curve = fit_curve(make_frequencies(counts, names), make_accuracies(y, names, dataset=dataset))
    query = make_frequencies([100, 100], ["a", "b"], dataset=["set 3", "elsewhere"])
    same = predict(curve, query)["accuracy"].to_numpy()
    mean = y[dataset == "ImageNet"].mean()
    shift = 0.1
    found = predict(curve, query, anchors=Anchors(imagenet=mean + shift))
    moved = found["accuracy"].to_numpy() - same
    assert (moved > 0.03).all()
    assert (moved < 0.2).all()
    assert found["basis"].str.contains("ImageNet accuracy given").all()
    unmoved = predict(curve, query, anchors=Anchors(imagenet=mean))["accuracy"].to_numpy()
    assert unmoved == pytest.approx(same)


def test_the_imagenet_anchor_needs_imagenet_in_the_fit(curve, asked):
    with pytest.raises(DataError, match="fitted on ImageNet among others"):
        predict(curve, asked, anchors=Anchors(imagenet=0.5))


@pytest.mark.parametrize("mean", [-0.1, 81, float("nan")])
def test_means_outside_the_unit_interval(mean):
    with pytest.raises(ConfigError, match=r"accuracies in \[0, 1\]"):
        Anchors(means={"pets": mean})


@pytest.mark.parametrize("imagenet", [0.0, 1.0, 62.5])
def test_imagenet_outside_its_range(imagenet):
    with pytest.raises(ConfigError, match="'imagenet' parameter"):
        Anchors(imagenet=imagenet)


def test_anchors_of_unknown_datasets_and_classes(curve, asked, data, make_accuracies):
    with pytest.raises(DataError, match="Got 'pets'"):
        predict(curve, asked, anchors=Anchors(means={"pets": 0.5}))
    strange = make_accuracies([0.1, 0.2, 0.3], ["x", "y", "z"], dataset="set 50")
    with pytest.raises(DataError, match="3 are not, such as 'x'"):
        predict(curve, asked, anchors=Anchors(labelled=strange))
    few = labels_of(data, make_accuracies, 2, ["set 50"])
    with pytest.raises(DataError, match=r"At least 3 labelled classes.*Got 2"):
        predict(curve, asked, anchors=Anchors(labelled=few))


def test_anchors_need_datasets_and_one_model(curve, data, make_frequencies, make_accuracies):
    names, _, counts, _ = data[1]
    with pytest.raises(DataError, match="'dataset' column"):
        predict(curve, make_frequencies(counts, names), anchors=Anchors(means={"set 50": 0.5}))
    labels = labels_of(data, make_accuracies, 3, ["set 50"])
    both = pd.concat([labels.table, labels.table.assign(model="other")], ignore_index=True)
    query = make_frequencies(counts, names, dataset=data[1][1])
    with pytest.raises(DataError, match="of one model"):
        predict(curve, query, anchors=Anchors(labelled=ConceptAccuracies(both)))


def test_a_model_that_is_not_the_fitted_one_has_the_intervals_of_new_datasets(
    curve, data, make_frequencies
):
    query = make_frequencies([100], ["a"], dataset=["set 3"])
    own, other = (predict(curve, query, same_model=same).iloc[0] for same in (True, False))
    assert own["accuracy"] == other["accuracy"]
    assert other["high"] - other["low"] > own["high"] - own["low"]
    assert other["basis"].endswith("the fitted model stands for another")
