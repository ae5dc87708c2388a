"""The concept table and the frequency law."""

import json

import numpy as np
import pytest
from PIL import Image

from conceptaudit.lab import LabConfig, draw_probabilities, lab_vocabulary, presence_probabilities
from conceptaudit.lab.captions import grammar
from conceptaudit.lab.concepts import DATA, load_concepts
from conceptaudit.lab.samples import make_sample
from conceptaudit.lab.zipf import ranked_concepts


def test_the_table_has_every_kind_of_difficulty() -> None:
    concepts = {concept.name: concept for concept in load_concepts()}
    assert len(concepts) >= 200
    assert {"bat", "mouse", "orange", "ring", "crane", "bow", "watch"} <= concepts.keys()
    assert {"fire engine", "hot dog", "traffic light", "polar bear"} <= concepts.keys()
    plurals = {name: concepts[name].plural for name in ("goose", "mouse", "knife", "sheep", "ox")}
    assert list(plurals.values()) == ["geese", "mice", "knives", "sheep", "oxen"]
    assert ("palm", "palms") in concepts["palm tree"].aliases


def test_no_two_concepts_share_a_name_or_a_picture() -> None:
    concepts = load_concepts()
    forms = [form.lower() for concept in concepts for form in set(concept.phrases)]
    assert len(forms) == len(set(forms))
    assert len({concept.sprite for concept in concepts}) == len(concepts)
    assert [concept.name.lower() for concept in concepts] == sorted(
        concept.name.lower() for concept in concepts
    )


def test_every_concept_has_a_picture_and_the_sheet_is_small() -> None:
    index = json.loads((DATA / "sprites.json").read_text(encoding="utf-8"))
    assert set(index["cells"]) == {concept.name for concept in load_concepts()}
    assert index["font_version"]
    assert (DATA / "sprites.webp").stat().st_size <= 3_000_000
    assert "SIL OPEN FONT LICENSE" in (DATA / "sprites.LICENSE.txt").read_text(encoding="utf-8")
    with Image.open(DATA / "sprites.webp") as sheet:
        assert sheet.mode == "RGBA"


def test_verbs_belong_to_concepts() -> None:
    names = {concept.name for concept in load_concepts()}
    assert set(grammar()["verbs"]) <= names
    assert set(grammar()["verb_phrases"]) <= set(grammar()["verbs"])
    assert all(grammar()["verbs"].values())


def test_order_knobs() -> None:
    everyday = [c.name for c in ranked_concepts(LabConfig())]
    assert everyday[:3] == ["dog", "cat", "car"]
    shuffled = [c.name for c in ranked_concepts(LabConfig(order_seed=5))]
    assert shuffled != everyday
    assert sorted(shuffled) == sorted(everyday)
    assert lab_vocabulary(LabConfig(n_concepts=7)).names == tuple(everyday[:7])


@pytest.mark.parametrize("zero", [3, ("dog", "cat", "car")])
def test_zero_concepts_are_never_drawn(zero: int | tuple[str, ...]) -> None:
    config = LabConfig(
        n_concepts=10, zero_concepts=zero, hallucination_rate=0.3, unrelated_rate=0.3
    )
    law = draw_probabilities(config)
    absent = {lab_vocabulary(config).names[row] for row in np.flatnonzero(law == 0)}
    assert len(absent) == 3
    for index in range(600):
        _, truth = make_sample(config, index, picture=False)
        assert not absent & {*truth.image, *truth.text}


def test_zipf_law_is_respected() -> None:
    """Presence counts agree with the exact probabilities: chi-square over concepts."""
    config = LabConfig(
        seed=4,
        n_concepts=30,
        zipf_exponent=1.0,
        exact_duplicate_rate=0,
        near_duplicate_rate=0,
    )
    n = 6_000
    names = lab_vocabulary(config).names
    counts = dict.fromkeys(names, 0)
    for index in range(n):
        for name in make_sample(config, index, picture=False)[1].image:
            counts[name] += 1
    expected = n * presence_probabilities(config)
    observed = np.array([counts[name] for name in names])
    deviation = (observed - expected) / np.sqrt(expected * (1 - expected / n))
    # 30 nearly independent standard normals: the sum of squares exceeds 67 once in 10,000 seeds.
    assert float((deviation**2).sum()) < 67
    # And the slope of log count against log rank is the exponent, up to the law of presence.
    slope = np.polyfit(np.log(np.arange(3, 31)), np.log(observed[2:]), 1)[0]
    assert -1.15 < slope < -0.85


def test_one_object_scenes_follow_the_law_of_draws() -> None:
    config = LabConfig(min_objects=1, max_objects=1, n_concepts=5)
    assert np.allclose(presence_probabilities(config), draw_probabilities(config))
