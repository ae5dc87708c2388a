"""Calibrations as values and as files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.calibration import (
    Calibration,
    Scale,
    contrast_vectors,
    count_scores,
    learn,
    read_labels,
)
from conceptaudit.image.calibration.labels import shift_to
from conceptaudit.image.calibration.model import fit_model
from conceptaudit.records import Concept, ConceptVocabulary

from .conftest import World, simulate


def learned(world: World, method: str = "captions", **settings: object) -> Calibration:
    return learn(
        method,
        world.histograms,
        world.scale,
        vocabulary=world.vocabulary,
        vectors=world.vectors,
        **settings,  # type: ignore[arg-type] # the keyword arguments of one function
    )


@pytest.fixture(scope="module")
def calibration(world: World) -> Calibration:
    return learned(world)


def test_thresholds_are_similarities_that_count_right(
    world: World, calibration: Calibration
) -> None:
    similarity = world.scale.similarity(world.scores)
    tagged = (similarity >= calibration.thresholds).sum(axis=0)
    true = world.shown.sum(axis=0)
    often = true >= 20
    assert np.median(np.abs(np.log(tagged[often] / true[often]))) < 0.1
    assert (calibration.prevalence_low <= calibration.prevalence).all()
    assert (calibration.prevalence <= calibration.prevalence_high).all()


def test_a_file_gives_back_the_same_calibration(calibration: Calibration, tmp_path: Path) -> None:
    calibration.save(tmp_path / "a.json")
    loaded = Calibration.load(tmp_path / "a.json")
    loaded.save(tmp_path / "b.json")
    assert loaded.digest == calibration.digest
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_it_is_refused_for_anything_else(world: World, calibration: Calibration) -> None:
    calibration.check(world.vocabulary, world.vectors)
    names = world.vocabulary.concepts
    fewer = ConceptVocabulary(names[:-1])
    prompted = ConceptVocabulary((Concept(name=names[0].name, prompts=("x",)), *names[1:]))
    wide = np.eye(len(names), 30, dtype=np.float32)
    for vocabulary, vectors, what in (
        (world.vocabulary, wide, "dimension"),
        (fewer, world.vectors, "24 concepts"),
        (prompted, world.vectors, "aliases or prompts"),
        (world.vocabulary, -world.vectors, "another model"),
    ):
        with pytest.raises(ArtifactMismatchError, match=what):
            calibration.check(vocabulary, vectors)


def test_damaged_files_are_refused(calibration: Calibration, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    calibration.save(path)
    whole = json.loads(path.read_text())
    path.write_text(path.read_text()[:-40])
    with pytest.raises(DataError, match="as JSON"):
        Calibration.load(path)
    for change, message in (
        ({"kind": "audit"}, "not a calibration"),
        ({"format": 99}, "format 99"),
        ({"n_images": 1}, "checksum"),
    ):
        path.write_text(json.dumps(whole | change))
        with pytest.raises(DataError, match=message):
            Calibration.load(path)
    with pytest.raises(DataError, match="as JSON"):
        Calibration.load(tmp_path / "none.json")


def resigned(path: Path, **change: object) -> None:
    from conceptaudit.artifacts import digest_of

    body = {k: v for k, v in json.loads(path.read_text()).items() if k != "sha256"} | change
    path.write_text(json.dumps({**body, "sha256": digest_of(body)}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": [0.1]}, "one row per concept"),
        ({"thresholds": [7.0] * 24}, "must lie in"),
        ({"evidence": "many"}, "damaged"),
        ({"rates": {}}, "one row per concept"),
    ],
)
def test_impossible_numbers_are_refused(
    calibration: Calibration, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "c.json"
    calibration.save(path)
    resigned(path, **change)
    with pytest.raises(DataError, match=message):
        Calibration.load(path)


def test_too_little_to_learn_from(world: World) -> None:
    few = World(shown=world.shown[:50], named=world.named[:50], scores=world.scores[:50])
    with pytest.raises(DataError, match="Captions teach from"):
        learned(few)
    silent = World(shown=world.shown, named=np.zeros_like(world.named), scores=world.scores)
    with pytest.raises(DataError, match="0 mentions"):
        learned(silent)
    with pytest.raises(ConfigError, match="'method' parameter"):
        learned(world, "guess")
    with pytest.raises(ConfigError, match="images known to show"):
        learned(world, "labels")
    everywhere = np.ones_like(world.shown)
    with pytest.raises(DataError, match="Every label is positive"):
        learned(world, "labels", labelled=count_scores(world.scores, everywhere))
    nan = Scale(means=np.full(24, np.nan), spreads=np.ones(24))
    with pytest.raises(DataError, match="NaN"):
        learn("captions", world.histograms, nan, vocabulary=world.vocabulary, vectors=world.vectors)


def test_labels_from_balanced_images_count_a_long_tail() -> None:
    """Labelled images are as many of each concept; the audited ones are not."""
    world = simulate(distance=5.0)
    rng = np.random.default_rng(3)
    n, k = world.shown.shape[1], 30
    shown = np.repeat(np.eye(n, dtype=bool), k, axis=0)
    labelled = count_scores(rng.standard_normal(shown.shape) + 5.0 * shown, shown)
    found = learned(world, "labels", labelled=labelled)
    true = world.shown.sum(axis=0)
    often = true >= 20
    counted = found.prevalence * len(world.shown)
    assert np.median(np.abs(np.log(counted[often] / true[often]))) < 0.1
    assert found.evidence.tolist() == [k] * n
    assert set(found.rates) == {"recall", "false_alarm"}


def test_three_labels_take_over_what_is_usual() -> None:
    world = simulate(distance=5.0)
    rng = np.random.default_rng(4)
    n = world.shown.shape[1]
    shown = np.repeat(np.eye(n, dtype=bool), 3, axis=0)
    labelled = count_scores(rng.standard_normal(shown.shape) + 5.0 * shown, shown)
    fitted = shift_to(fit_model(labelled, noisy=False), labelled, world.histograms)
    shares = (world.histograms.total * fitted.shown()).sum(axis=1)
    true = world.shown.sum(axis=0)
    often = true >= 50
    assert np.median(np.abs(np.log(shares[often] / true[often]))) < 0.2


def test_scores_alone_say_that_they_are_rough(world: World) -> None:
    found = learned(world, "scores")
    assert "rough" in found.notes[0]


def test_labels_are_read_and_checked(tmp_path: Path) -> None:
    vocabulary = ConceptVocabulary((Concept(name="dog"), Concept(name="cat")))
    path = tmp_path / "labels.csv"
    path.write_text("key,concept\n007,dog\n007,cat\n008,cat\n")
    labels = read_labels(path, vocabulary)
    shown, known = labels.tables(["007", "009"], 2)
    assert shown.tolist() == [[True, True], [False, False]]
    assert known.tolist() == [[True, True], [False, False]]
    assert labels.knows("008")
    assert not labels.knows("009")
    path.write_text("key,concept,present\n7,dog,1\n7,cat,0\n8,cat,0\n")
    labels = read_labels(path, vocabulary)
    shown, known = labels.tables(["7", "8"], 2)
    assert known.tolist() == [[True, True], [False, True]]
    assert labels.n_keys == 2
    pd.DataFrame({"key": ["7"], "concept": ["dog"]}).to_parquet(tmp_path / "l.parquet")
    assert read_labels(tmp_path / "l.parquet", vocabulary).n_keys == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("key,concept\n1,zebra\n", "not in the concept list"),
        ("key,name\n1,dog\n", "'key' and 'concept'"),
        ("key,concept\n", "no row"),
        ("key,concept,present\n1,dog,maybe\n", "0 or 1"),
        ("key,concept,present\n1,dog,1\n1,dog,0\n", "both that it is shown"),
        ("", "Cannot read labels"),
    ],
)
def test_labels_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_labels(path, ConceptVocabulary((Concept(name="dog"),)))


def test_contrast_takes_away_what_concepts_share() -> None:
    rng = np.random.default_rng(0)
    common = 5 * rng.standard_normal(32)
    vectors = (common + rng.standard_normal((40, 32))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    contrasted = contrast_vectors(vectors)
    cosines = contrasted @ (common / np.linalg.norm(common))
    assert np.abs(cosines).max() < 0.5
    np.testing.assert_allclose(np.linalg.norm(contrasted, axis=1), 1.0, atol=1e-5)
    assert np.allclose(contrast_vectors(vectors[:3]), vectors[:3], atol=1e-6)
    assert np.isfinite(contrast_vectors(np.ones((20, 4), np.float32) / 2)).all()
