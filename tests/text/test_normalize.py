"""One normaliser for captions and concepts."""

from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.text.normalize import normalize, phrase_text


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


def test_what_is_kept() -> None:
    assert normalize("Boeing 747") == "boeing 747"
    assert normalize("naïve") == "naïve"
    assert normalize("Dog’s") == "dog's"
    assert normalize("Ｔシャツ") == "tシャツ"
    assert phrase_text("(unnamed)") == "(unnamed)"
