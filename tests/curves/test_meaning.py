"""What class names mean: by hand, against plain regression, and on published accuracies."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import linalg

from conceptaudit.curves import meaning
from conceptaudit.curves.class_names import (
    KINDS,
    class_names,
    near_classes,
    shipped_vectors,
    similarity,
)
from conceptaudit.curves.families import Estimator, family_named
from conceptaudit.curves.fit_data import fit_data_of
from conceptaudit.curves.folds import concept_folds
from conceptaudit.curves.joining import join
from conceptaudit.curves.meaning import fit_meaning, held_out_meaning
from conceptaudit.curves.model_predictor import ModelPredictor
from conceptaudit.curves.point_model import held_out_by_concept
from conceptaudit.curves.reference import reference_accuracies
from conceptaudit.errors import DataError
from conceptaudit.frequency.reference import reference_frequencies
from conceptaudit.records import ConceptAccuracies

DOGS = ["Siberian husky", "malamute", "beagle", "airliner", "warplane", "qwxyz"]


def one_set(names, encode=None):
    return class_names(names, np.zeros(len(names), dtype=np.intp), encode)


def nothing(names):
    return np.zeros((len(names), 1))


def test_dogs_are_near_dogs() -> None:
    found = similarity(one_set(DOGS, nothing), one_set(DOGS, nothing))
    assert found == pytest.approx(found.T)
    assert np.linalg.eigvalsh(found).min() > -1e-9
    assert found[0, 1] > found[0, 2] > found[0, 3]
    assert found[3, 4] > found[3, 0]
    # unknown to the lexicon: near nothing but its own letters
    assert found[5, :5].max() < 0.05
    assert np.diag(found)[:5] == pytest.approx(1.0)


def test_sets_share_a_part_only() -> None:
    names = class_names(["husky", "husky"], np.array([0, 1]), nothing)
    same = similarity(names, names)
    assert same[0, 1] == pytest.approx(KINDS)
    assert same[0, 0] == pytest.approx(1.0)


def test_text_vectors_of_the_user_and_their_faults() -> None:
    def encode(names):
        return np.array([[1.0, 0.1 * len(name)] for name in names])

    names = one_set(["husky", "poodle"], encode)
    assert np.linalg.norm(names.vectors, axis=1) == pytest.approx([1.0, 1.0])
    with pytest.raises(DataError, match="a row per class name"):
        one_set(DOGS, lambda names: np.zeros((2, 3)))
    with pytest.raises(DataError, match="'malamute' is not finite"):
        one_set(DOGS, lambda names: np.where(np.arange(6) == 1, np.nan, 1.0)[:, None])


def test_shipped_vectors_are_of_imagenet() -> None:
    found = shipped_vectors(["tench", "Great_White_Shark", "no class at all"])
    assert (np.linalg.norm(found, axis=1) > 0).tolist() == [True, True, False]


SINGLE = 1e-6


def test_leaving_out_is_refitting() -> None:
    rng = np.random.default_rng(0)
    names = one_set([f"{a} {b}" for a in ("red", "blue", "old") for b in DOGS], nothing)
    residual = rng.normal(0, 0.1, len(names))
    splits = list(concept_folds(np.arange(len(names)), 0, 4))
    fitted = fit_meaning(names, residual)
    added, spread = held_out_meaning(fitted, splits, [residual] * 4)
    for train, test in splits:
        known = similarity(names.take(train), names.take(train)) + fitted.noise * np.eye(len(train))
        cross = similarity(names.take(test), names.take(train))
        expected = cross @ linalg.solve(known, residual[train])
        assert added[test] == pytest.approx(expected, abs=SINGLE)
        own = np.diag(similarity(names.take(test), names.take(test)))
        variance = own + fitted.noise - np.einsum("ij,ji->i", cross, linalg.solve(known, cross.T))
        assert spread[test] == pytest.approx(np.sqrt(variance), abs=SINGLE)
    both = similarity(names, names)
    inverse = linalg.inv(both + fitted.noise * np.eye(len(names)))
    for asked in (
        names,
        replace(names, group=names.group + 1),
        replace(names, spelt=names.spelt + "!"),
    ):
        cross = similarity(asked, names)
        added, spread = fitted.at(asked)
        assert added == pytest.approx(cross @ inverse @ residual, abs=SINGLE)
        explained = np.einsum("ij,jk,ik->i", cross, inverse, cross)
        variance = np.diag(similarity(asked, asked)) + fitted.noise - explained
        assert spread == pytest.approx(np.sqrt(variance), abs=SINGLE)


def test_a_name_is_as_near_whoever_is_asked_beside_it() -> None:
    """Only some names have vectors: others keep their distance to these, alone or among them."""
    known = one_set(["tench", "goldfish", "brown trout", "my own fish"], shipped_vectors)
    assert (np.linalg.norm(known.vectors, axis=1) > 0).tolist() == [True, True, False, False]
    alone = [similarity(known.take(np.array([i])), known)[0] for i in range(4)]
    assert similarity(known, known) == pytest.approx(np.array(alone))


def test_near_classes_are_named_with_what_they_score() -> None:
    names = one_set(DOGS, nothing)
    scores = np.array([0.31, 0.35, 0.6, 0.9, 0.8, 0.1])
    near = near_classes(names, scores, names)
    assert near[0].startswith("malamute 0.35")
    assert "husky" not in near[0]
    assert near[3] == "warplane 0.80"
    assert near[5] == ""


def test_too_many_rows_go_without(monkeypatch) -> None:
    monkeypatch.setattr(meaning, "MAX_ROWS", 3)
    assert fit_meaning(one_set(DOGS, nothing), np.zeros(6)) is None


# R² of held-out ImageNet classes: frequency alone, and what text vectors and kinds have to reach,
# computed once by an independent script on the same files (squared-exponential kernel on centred
# cosines of OpenAI's vectors, scale 0.8, noise 1, untuned).
IMAGENET = {
    ("laion400m", "ViT-B-32"): (0.02, 0.21),
    ("cc12m", "ViT-B-16"): (0.17, 0.34),
    ("yfcc15m", "RN50"): (0.13, 0.36),
    ("laion2b", "ViT-H-14"): (0.00, 0.14),
}


@pytest.mark.parametrize(("pretraining", "model"), list(IMAGENET))
def test_meaning_explains_imagenet_as_measured_elsewhere(pretraining, model) -> None:
    frequency, with_vectors = IMAGENET[pretraining, model]
    table = reference_accuracies(pretraining).table
    table = table[(table["model"] == model) & (table["dataset"] == "imagenet")]
    rows = join(
        reference_frequencies(pretraining), ConceptAccuracies(table.reset_index(drop=True))
    ).table
    data = fit_data_of(rows.reset_index(drop=True), "log1p")
    assert len(data) == 1000
    estimator = Estimator(family=family_named("partial-pooling"))
    names = class_names(rows["concept"].tolist(), data.dataset)
    predictor = ModelPredictor(rows=data, names=names, queried=names, estimator=estimator)
    fitted = predictor.meaning
    found = held_out_by_concept(data, names, estimator, fitted)
    assert found.explained[0] == pytest.approx(frequency, abs=0.02)
    assert found.explained[2] >= with_vectors
    offline = class_names(rows["concept"].tolist(), data.dataset, nothing)
    predictor = ModelPredictor(rows=data, names=offline, queried=offline, estimator=estimator)
    fitted = predictor.meaning
    kinds = held_out_by_concept(data, offline, estimator, fitted)
    assert kinds.explained[0] + 0.05 < kinds.explained[2] < found.explained[2]
    assert kinds.meaning_helps
    assert found.meaning_helps


def test_names_without_meaning_are_left_alone() -> None:
    """Where accuracy has nothing to do with names, they are not used."""
    rng = np.random.default_rng(1)
    table = reference_accuracies("cc12m").table
    table = table[(table["dataset"] == "imagenet") & (table["model"] == "RN50")].head(300)
    rows = pd.DataFrame(
        {
            "dataset": "imagenet",
            "concept": table["concept"].to_numpy(),
            "count": rng.integers(1, 10_000, 300),
            "accuracy": rng.uniform(0, 1, 300),
        }
    )
    data = fit_data_of(rows, "log1p")
    estimator = Estimator(family=family_named("partial-pooling"))
    names = class_names(rows["concept"].tolist(), data.dataset)
    predictor = ModelPredictor(rows=data, names=names, queried=names, estimator=estimator)
    fitted = predictor.meaning
    found = held_out_by_concept(data, names, estimator, fitted)
    assert found.explained[2] < 0.02
