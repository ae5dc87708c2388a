"""The published numbers that the package ships, and curves chosen among them."""

import json

import numpy as np
import pandas as pd
import pytest

from conceptaudit.curves import join, predict, reference_curve
from conceptaudit.curves.class_names import class_names
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.point_model import held_out_by_concept
from conceptaudit.curves.reference import (
    PACKED,
    PRETRAININGS,
    counted_by_name,
    reference_accuracies,
)
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.reference import reference_frequencies
from conceptaudit.names import normalise_name
from conceptaudit.records import ConceptAccuracies, ConceptFrequencies

PLAIN = Estimator(family=family_named("partial-pooling"), use_names=False)


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
    ours = reference_frequencies(f"{pretraining}/paper").table
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
    table = reference_frequencies(f"{pretraining}/paper").table
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


def test_rescaled_counts_are_a_sample_of_the_published_scale(found) -> None:
    half = reference_curve(audit_like("cc12m", 0.5), pretraining="cc12m", rescale=True)
    assert half.factor == pytest.approx(2.0, rel=0.02)
    assert half.frequencies.share == pytest.approx(1 / half.factor)
    more = reference_curve(found.frequencies, pretraining="cc12m", rescale=True)
    assert more.frequencies.share == 1.0
    assert any("taken as they are" in note for note in more.notes)


def test_a_name_decides_before_scale() -> None:
    named = ConceptFrequencies(audit_like("cc12m").table, "runs/CC-3M")
    assert reference_curve(named).pretraining == "cc3m"


def test_choices_that_do_not_exist(make_frequencies) -> None:
    with pytest.raises(ConfigError, match="must be 'auto', one of"):
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
    for name in PRETRAININGS:
        assert "n_text" in reference_frequencies(name).counted
        assert set(reference_accuracies(name).table["pretraining"]) == {name}
    with pytest.raises(ConfigError, match="published models"):
        reference_accuracies("laion5b")


@pytest.mark.parametrize("pretraining", ["cc12m", "yfcc15m", "laion400m"])
def test_text_counts_of_others_predict_better_than_the_papers(pretraining) -> None:
    """On the five sets that both counted and whose accuracies are published, in every model."""
    better = reference_frequencies(f"{pretraining}/clip-beyond-tail")
    paper = reference_frequencies(f"{pretraining}/paper")
    accuracies = reference_accuracies(pretraining)
    shared = set(better.table["dataset"]) & set(accuracies.table["dataset"])
    assert shared == {"cub", "dtd", "eurosat", "food101", "imagenet"}
    rows = accuracies.table[accuracies.table["dataset"].isin(shared)]
    for model, scores in rows.groupby("model"):
        one = ConceptAccuracies(scores.reset_index(drop=True))
        explained = {}
        for name, counts in {"better": better, "paper": paper}.items():
            for column in counts.counted:
                table = join(counts, one, count=column).table
                data = fit_data_of(table[table["count"].notna()], "log1p")
                names = class_names(table["concept"].tolist(), data.dataset)
                found = held_out_by_concept(data, names, PLAIN)
                explained[name, column] = found.explained[0]
        best = explained.pop(("better", "n_text"))
        assert all(best > other + 0.01 for other in explained.values()), (model, explained, best)


def test_names_that_were_counted_serve_sets_that_were_not() -> None:
    accuracies = reference_accuracies("cc12m")
    counts = reference_frequencies("cc12m")
    table = counted_by_name(counts, accuracies).table
    assert not table.duplicated(["dataset", "concept"]).any()
    table["concept"] = [normalise_name(name) for name in table["concept"]]
    sketch = table[table["dataset"] == "imagenet-sketch"].set_index("concept")["n_text"]
    image = table[table["dataset"] == "imagenet"].set_index("concept")["n_text"]
    assert len(sketch) > 990
    # three names are counted by other sets too, with other synonyms
    shared = sketch.drop(["hot dog", "ice cream", "indigo bunting"])
    assert (shared == image.reindex(shared.index)).all()
    assert counted_by_name(reference_frequencies("cc3m"), accuracies).counted[0] == "n_text"
