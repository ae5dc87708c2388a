"""Captions name exactly what the truth says they name."""

import html
import re
from functools import cache

import pytest

from conceptaudit.lab import LabConfig, SampleTruth, scene
from conceptaudit.lab.captions import write_caption
from conceptaudit.lab.concepts import load_concepts
from conceptaudit.lab.phrases import Mention
from conceptaudit.lab.rng import Purpose, SampleRng
from conceptaudit.lab.samples import make_sample

FLAT = LabConfig(seed=11, zipf_exponent=0.3, verb_use_share=0.2, non_english_share=0.1)
N = 4_000


@cache
def forms() -> dict[tuple[str, ...], str]:
    return {
        tuple(form.lower().replace("'", "").split()): concept.name
        for concept in load_concepts()
        for form in concept.phrases
    }


def find_names(caption: str) -> set[str]:
    """Search for names as a machine without grammar does: longest match, any role."""
    text = html.unescape(caption).lower().replace("_", " ")
    text = re.sub(r"['’]s\b", " ", text).replace("'", "")
    words: list[str] = []
    for word in re.findall(r"[\w-]+", text):
        pieces = word.strip("-").split("-")
        hyphenated = "-".join(pieces[:2])
        known = (hyphenated,) in forms()
        words += [hyphenated, *pieces[2:]] if known else pieces
    found, position = set(), 0
    while position < len(words):
        for length in (3, 2, 1):
            name = forms().get(tuple(words[position : position + length]))
            if name is not None:
                found.add(name)
                position += length - 1
                break
        position += 1
    return found


@cache
def truths() -> tuple[SampleTruth, ...]:
    return tuple(make_sample(FLAT, index, picture=False)[1] for index in range(N))


def test_every_name_in_a_caption_is_accounted_for() -> None:
    for truth in truths():
        found = find_names(truth.caption)
        assert set(truth.text) <= found, truth
        assert found <= {*truth.text, *truth.not_noun}, truth


def test_mentions_and_other_roles_exclude_each_other() -> None:
    for truth in truths():
        assert not set(truth.text) & set(truth.not_noun)
        assert set(truth.joint) == set(truth.text) & set(truth.image)


def test_captions_vary() -> None:
    found = truths()
    assert len({truth.caption for truth in found}) > 0.85 * N
    styles = {truth.style for truth in found}
    assert styles >= {"photo", "sentence", "relation", "alt", "title", "list", "proper", "file"}
    assert {truth.language for truth in found} == {"en", "de", "es", "fr"}
    text = "\n".join(truth.caption for truth in found)
    irregular = ("mice", "geese", "knives", "leaves", "teeth", "wolves", "oxen", "scarves", "dice")
    assert sum(bool(re.search(rf"\b{form}\b", text, re.IGNORECASE)) for form in irregular) >= 5


def test_a_verb_is_not_a_mention() -> None:
    config = LabConfig(n_concepts=None)
    bat = next(concept for concept in load_concepts() if concept.name == "dog")
    seen = set()
    for index in range(300):
        dice = SampleRng(seed=1, index=index, purpose=Purpose.CAPTION)
        caption = write_caption(config, dice, [Mention(concept=bat)], language="en", verb=True)
        assert caption.mentioned == ("dog",)
        seen |= {*caption.not_noun}
    assert {"bat", "duck", "watch", "train", "saw", "rose"} <= seen


@pytest.mark.parametrize(
    ("language", "name", "named"),
    [("de", "tiger", True), ("de", "dog", False), ("fr", "orange", True), ("es", "dog", False)],
)
def test_a_foreign_name_counts_only_if_spelled_alike(language: str, name: str, named: bool) -> None:
    concept = next(concept for concept in load_concepts() if concept.name == name)
    dice = SampleRng(seed=1, index=0, purpose=Purpose.CAPTION)
    caption = write_caption(FLAT, dice, [Mention(concept=concept)], language=language, verb=False)
    assert (caption.mentioned == (name,)) is named


def test_a_false_friend_is_no_mention() -> None:
    sneaker = next(concept for concept in load_concepts() if concept.name == "sneaker")
    dice = SampleRng(seed=1, index=0, purpose=Purpose.CAPTION)
    caption = write_caption(FLAT, dice, [Mention(concept=sneaker)], language="fr", verb=False)
    assert (caption.mentioned, caption.not_noun) == ((), ("basket",))


def test_a_colour_before_a_name_makes_no_other_concept() -> None:
    apple = next(concept for concept in load_concepts() if concept.name == "apple")
    for index in range(2_000):
        dice = SampleRng(seed=2, index=index, purpose=Purpose.CAPTION)
        caption = write_caption(FLAT, dice, [Mention(concept=apple)], language="en", verb=False)
        assert "green apple" not in caption.text.lower()


def test_scene_agrees_with_its_knobs() -> None:
    config = LabConfig(seed=1, image_size=48, max_objects=2, omission_rate=1.0)
    picture, caption, truth = scene(config, 0)
    assert picture.size == (48, 48)
    assert truth.caption == caption
    for index in range(200):
        _, truth = make_sample(config, index, picture=False)
        assert truth.n_things <= 2
        # Everything shown is omitted: what is named was made up.
        assert truth.faults.unrelated or not truth.joint
