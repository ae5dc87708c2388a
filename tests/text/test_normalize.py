"""One normaliser for captions and concepts."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.text.normalize import (
    LONGEST_RUN,
    caption_text,
    caption_texts,
    normalize,
    phrase_text,
)

MARKS = (
    "a dog",
    "x.JPG y",
    "1.5 m",
    "R&amp;B",
    "<b>a",
    "a_b",
    "",
    " ",
    "é\u0301",
    "\n",
    "é",
    "\x7f",
)
LONG = ("x!" * (LONGEST_RUN // 2), "y" * (LONGEST_RUN - 1) + "!", "\ud800", "\u200b")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalize(normalize(text)) == normalize(text)


@given(st.text())
def test_case_does_not_matter(text: str) -> None:
    assert normalize(normalize(text).upper().lower()) == normalize(normalize(text).upper())


@given(st.text())
def test_a_name_with_words_keeps_words(name: str) -> None:
    phrase = phrase_text(name)
    assert phrase == phrase.strip()
    assert "_" not in phrase


def test_what_is_kept_and_what_is_folded() -> None:
    assert normalize("Boeing 747") == "boeing 747"
    assert normalize("Dog’s") == "dog's"
    assert normalize("Ｔシャツ") == "tシャツ"
    assert phrase_text("(unnamed)") == "(unnamed)"
    assert normalize("Café") == normalize("cafe\u0301") == normalize("cafe") == "cafe"
    # marks of other scripts tell words apart: ka and ga, Cyrillic i and short i
    assert normalize("か") != normalize("が")
    assert normalize("и") != normalize("й")
    assert normalize("İstanbul") == normalize("istanbul")


@given(st.text())
def test_captions_and_names_lose_the_same_invisible_characters(text: str) -> None:
    cleaned = caption_text(text)
    assert not {unicodedata.category(c) for c in cleaned} & {"Cc", "Cs", "Zl", "Zp"}
    assert not set("\u200b\ufeff\u202e\ufe0f\xad") & set(cleaned + phrase_text(text))
    if not set(".&<") & set(cleaned) and len(cleaned) < LONGEST_RUN:
        assert caption_text(cleaned) == cleaned


def test_one_hyphen_and_one_apostrophe() -> None:
    assert caption_text("t\u2011shirt \u2010 bird\u00b4s") == "t-shirt - bird's"
    assert phrase_text("t\u2011shirt") == "t-shirt"


def test_joiners_stay() -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    assert caption_text(family) == family
    assert phrase_text("❤\ufe0f") == caption_text("❤") == "❤"


def test_html_is_read() -> None:
    assert caption_text("a &quot;dog&quot;") == 'a "dog"'
    assert caption_text("<b>dog</b><br/>cat").split() == ["dog", "cat"]
    assert (
        caption_text("1 < 2 and 3 > 2, a <3 b &c; d & e;") == "1 < 2 and 3 > 2, a <3 b &c; d & e;"
    )
    assert "\x00" not in caption_text("a &#0;&#1;&#27; b")


@given(st.lists(st.one_of(st.text(max_size=20), st.sampled_from(MARKS + LONG)), max_size=8))
def test_many_captions_are_prepared_as_each_alone(captions: list[str]) -> None:
    assert caption_texts(captions) == [caption_text(caption) for caption in captions]
