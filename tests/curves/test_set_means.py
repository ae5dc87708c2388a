"""The expected mean accuracy of a whole set: its interval holds over sets held out, per model."""

import numpy as np
import pytest

from conceptaudit.curves import fit_curve, predict
from conceptaudit.curves.class_names import class_names
from conceptaudit.curves.conformal import mean_of_set
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.joining import join
from conceptaudit.curves.point_model import HeldOut, held_out_by_dataset
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.frequency.reference import reference_frequencies
from conceptaudit.records import ConceptAccuracies

PLAIN = Estimator(family=family_named("partial-pooling"), use_names=False)


def test_intervals_of_means_hold_over_sets_held_out() -> None:
    """Fourteen sets and eight models: 90 % of means, and of no model fewer than 13 of 14."""
    shares = [
        share
        for pretraining in ("cc3m", "cc12m", "yfcc15m", "laion400m")
        for share in coverage(pretraining)
    ]
    assert len(shares) == 8
    assert 0.90 <= np.mean(shares) <= 0.97
    assert min(shares) >= 13 / 14


def coverage(pretraining: str) -> list[float]:
    """Share of the held-out sets whose mean lies in its interval, per model."""
    table = reference_accuracies(pretraining).table
    shares = []
    for _, scores in table[table["dataset"] != "imagenet-r"].groupby("model"):
        rows = join(
            reference_frequencies(f"{pretraining}/paper"),
            ConceptAccuracies(scores.reset_index(drop=True)),
            count="joint",
        ).table
        data = fit_data_of(rows.reset_index(drop=True), "log1p")
        names = class_names(["none"] * len(data), data.dataset)  # they have no part in it
        inside = []
        held = held_out_by_dataset(data, names, PLAIN)
        for position in range(len(data.datasets)):
            # the interval as it would have been without that set
            others = held.dataset != position
            rest = HeldOut(
                centre=held.centre[others],
                residual=held.residual[others],
                dataset=held.dataset[others],
                names_help=False,
            )
            mine = ~others
            _, low, high = mean_of_set(rest, -1, held.centre[mine], 0.9)
            inside.append(low <= (held.centre + held.residual)[mine].mean() <= high)
        shares.append(float(np.mean(inside)))
    return shares


def test_a_known_set_is_surer_of_its_mean_than_a_new_one(make_frequencies, make_accuracies, quick):
    rng = np.random.default_rng(0)
    sets = np.repeat([f"set {i}" for i in range(6)], 40)
    names = [f"thing {i}" for i in range(240)]
    counts = 10 ** rng.uniform(0, 4, 240)
    level = np.repeat(rng.normal(0.4, 0.1, 6), 40)
    accuracy = np.clip(level + 0.05 * np.log10(counts) + rng.normal(0, 0.1, 240), 0, 1)
    curve = fit_curve(
        make_frequencies(np.round(counts), names, dataset=sets),
        make_accuracies(accuracy, names, dataset=sets),
    )
    asked = np.where(sets == "set 0", "set 0", "elsewhere")
    found = predict(curve, make_frequencies(np.round(counts), names, dataset=asked))
    per_set = found.groupby("dataset")[["set_accuracy", "set_low", "set_high", "accuracy"]]
    assert (per_set.nunique()[["set_accuracy", "set_low", "set_high"]] == 1).all(axis=None)
    first = per_set.mean()
    assert first["set_accuracy"].to_numpy() == pytest.approx(first["accuracy"].to_numpy())
    width = first["set_high"] - first["set_low"]
    assert 0 < width["set 0"] < 0.1 < width["elsewhere"]
    assert abs(first["set_accuracy"]["set 0"] - accuracy[:40].mean()) < width["set 0"]
