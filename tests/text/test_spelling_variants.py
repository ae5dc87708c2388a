"""One thing however captions spell it, and another word stays another word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.normalize import normalize, phrase_text
from conceptaudit.text.phrases import english_spellings, hyphenations
from conceptaudit.text.pipeline import load_pipeline


def counted(name: str, caption: str, *, any_pos: bool = False) -> int:
    concepts = ConceptVocabulary((Concept(name=name),))
    annotator = CaptionAnnotator(load_pipeline("bundled"), concepts, any_pos=any_pos, nested=False)
    (annotated,) = annotator.tag([caption])
    assert not isinstance(annotated, str)
    return annotated.counts[0]


SHIRTS = ("t-shirt", "tee shirt", "tshirt", "t shirt", "T-SHIRT", "Tee-Shirt", "t\u2011shirt")


@pytest.mark.parametrize("name", SHIRTS)
def test_every_spelling_finds_every_other(name: str) -> None:
    caption = " ".join(f"A man in a red {spelled} on a bench." for spelled in SHIRTS)
    assert counted(name, caption) == len(SHIRTS)


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("t-shirt", "two tshirts and three tee shirts"),
        ("bird's nest", "birds nests and birds' nests"),
        ("shepherd\u2019s pie", "a shepherd's pie and shepherds pie"),
        ("hot dog", "a hotdog beside two hot-dogs"),
        ("hotdog", "a hot dog beside two hot-dogs"),
        ("Boeing 747", "a Boeing-747 above a boeing 747"),
        ("3D glasses", "a man in 3d glasses and 3D-glasses"),
        ("café", "a cafe beside a Café"),
        ("cafe", "a cafe\u0301 beside a Café"),
        ("wolf", "a wolf among wolves"),
        ("goose", "a goose among geese"),
        ("dog", "the dog's bowl and the dogs' beds"),
        ("🐶", "a 🐶 and a 🐶\ufe0f"),
        ("كلب", "كلب and كلب"),
        ("watermelon", "a water\u00admelon and a water\u200bmelon"),
    ],
)
def test_both_are_counted(name: str, caption: str) -> None:
    # spelling is asked about here, not noun-ness
    assert counted(name, caption, any_pos=True) == 2


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("black bird", "a blackbird"),
        ("green house", "a greenhouse"),
        ("ear ring", "an earring"),
        ("blackbird", "a black bird"),
        ("tee", "a t on the wall"),
        ("glass of water", "a glassof water"),
        ("Boeing 747", "a Boeing 7470"),
        ("か", "が"),
    ],
)
def test_another_word_stays_another_word(name: str, caption: str) -> None:
    assert counted(name, caption, any_pos=True) == 0


def test_marks_are_literal() -> None:
    assert counted("c++", "a book on C++ and C") == 1
    assert counted("dog.*", "dog, dogs, doggy", any_pos=True) == 0
    assert counted("a|b", "a or b", any_pos=True) == 0
    assert counted("[dog]", "a dog", any_pos=True) == 0


def test_long_short_and_common_names() -> None:
    fifty = " ".join(["very"] * 49 + ["dog"])
    assert counted(fifty, f"a {fifty} barks") == 1
    assert counted("x", "the letter x on a wall", any_pos=True) == 1
    assert counted("the", "the dog and the cat", any_pos=True) == 2
    assert counted("the", "the dog and the cat") == 0


def test_hyphenations_of_unknown_languages() -> None:
    assert hyphenations("porte-fenêtre bleue") == (
        "porte-fenêtre bleue",
        "porte fenêtre bleue",
        "porte-fenêtre-bleue",
    )


@given(st.text(max_size=40))
def test_the_phrase_itself_is_always_first_and_nothing_is_there_twice(name: str) -> None:
    phrase = phrase_text(name)
    spelled = english_spellings(phrase)
    assert spelled[0] == phrase
    folded = [normalize(same) for same in spelled]
    assert len(set(folded)) == len(folded)
