"""The published numbers that the package ships, and curves chosen among them."""

import json

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import predict, reference_curve
from conceptaudit.curves.published import (
    PACKED,
    PRETRAINING_SAMPLES,
    reference_accuracies,
    reference_frequencies,
)
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptFrequencies


def test_the_packed_table_is_small_and_whole() -> None:
    assert PACKED.stat().st_size < 2_000_000
    assert (PACKED.parent / "published.LICENSE.txt").read_text().startswith("MIT License")
    scores = reference_accuracies().table
    assert scores.groupby(["model", "pretraining"]).ngroups == 19
    assert scores["dataset"].nunique() == 15
    sized = scores[scores["n_images"].notna()]
    assert len(sized) > 0.99 * len(scores)
    exact = sized["n_correct"].astype(float) / sized["n_images"].astype(float)
    assert np.abs(exact - sized["accuracy"]).max() < 1e-12


@pytest.mark.parametrize("pretraining", ["cc3m", "laion400m"])
def test_the_packed_numbers_are_the_published_ones(realdata, pretraining) -> None:
    folder = realdata / "reference"
    name = f"food101_{pretraining}_integrated_tlemmatized_i0.7_search_counts.json"
    published = json.loads((folder / "search_counts" / name).read_text())
    ours = reference_frequencies(pretraining).table
    ours = ours[ours["dataset"] == "food101"].set_index("concept")["n_joint"].astype(int).to_dict()
    assert {key.replace("_", " "): n for key, n in published.items()} == {
        key.replace("_", " "): n for key, n in ours.items()
    }
    results = folder / "zero_shot_evaluations" / "food101_ensemble_results.json"
    for key, value in json.loads(results.read_text()).items():
        if not key.endswith(f"_pretrained{pretraining}"):
            continue
        model = key.removeprefix("backbone").split("_pretrained")[0]
        table = reference_accuracies(pretraining).table
        mine = table[(table["dataset"] == "food101") & (table["model"] == model)]
        found = mine.set_index("concept")["accuracy"]
        classwise = pd.Series(value["classwise"]) / 100
        assert found.reindex(classwise.index).to_numpy() == pytest.approx(
            classwise.to_numpy(), abs=1e-9
        )


def audit_like(pretraining, factor=1.0):
    table = reference_frequencies(pretraining).table
    table = table[table["dataset"].isin(["food101", "cifar100"]) & table["n_joint"].notna()]
    counts = np.round(table["n_joint"].astype(float) * factor)
    return ConceptFrequencies(
        pd.DataFrame(
            {"dataset": table["dataset"], "concept": table["concept"], "n_joint": counts}
        ).reset_index(drop=True),
        "mine",
    )


@pytest.fixture(scope="module")
def found():
    return reference_curve(audit_like("cc12m", 2.0))


def test_the_nearest_setting_is_chosen_and_said(found) -> None:
    assert found.pretraining == "cc12m"
    assert found.factor == pytest.approx(0.5, rel=0.01)
    assert any("nearest in scale" in note for note in found.notes)
    assert any("taken as they are" in note for note in found.notes)
    assert {fit.pretraining for fit in found.curve.fits} == {"cc12m"}


def test_published_curves_predict_with_the_intervals_of_new_datasets(found) -> None:
    rows = predict(found.curve, found.frequencies, same_model=False)
    assert len(rows) == 2 * len(found.frequencies.table)
    assert rows["basis"].str.startswith("as for a new dataset").all()
    scores = reference_accuracies("cc12m").table[["model", "dataset", "concept", "accuracy"]]
    both = rows.merge(scores, on=["model", "dataset", "concept"], suffixes=("", "_measured"))
    inside = (both["low"] <= both["accuracy_measured"]) & (
        both["accuracy_measured"] <= both["high"]
    )
    assert inside.mean() > 0.85


def test_rescaling_multiplies_counts(found) -> None:
    scaled = reference_curve(found.frequencies, pretraining="cc12m", rescale=True)
    ratio = scaled.frequencies.table["n_joint"] / found.frequencies.table["n_joint"]
    assert ratio.dropna().to_numpy() == pytest.approx(0.5, rel=0.01)


def test_a_name_decides_before_scale() -> None:
    named = ConceptFrequencies(audit_like("cc12m").table, "runs/CC-3M")
    assert reference_curve(named).pretraining == "cc3m"


def test_choices_that_do_not_exist(make_frequencies) -> None:
    with pytest.raises(ConfigError, match="must be 'auto' or one of"):
        reference_curve(audit_like("cc12m"), pretraining="laion5b")
    with pytest.raises(ConfigError, match="--count must be"):
        reference_curve(audit_like("cc12m"), count="text")
    strange = make_frequencies([1, 2], ["glorp", "blorp"])
    with pytest.raises(DataError, match=r"Fewer than 20.*Choose one with --pretraining"):
        reference_curve(strange)
    with pytest.raises(DataError, match="cannot be rescaled"):
        reference_curve(strange, pretraining="cc3m", rescale=True)
    unscaled = reference_curve(strange, pretraining="cc3m")
    assert "same scale is unknown" in unscaled.notes[-1]


def test_every_published_setting_has_counts_and_models() -> None:
    for name in PRETRAINING_SAMPLES:
        assert reference_frequencies(name).counted == ("n_text", "n_image", "n_joint")
        assert set(reference_accuracies(name).table["pretraining"]) == {name}
    with pytest.raises(ConfigError, match="published models"):
        reference_accuracies("laion5b")
