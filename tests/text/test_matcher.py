"""Phrases are contiguous, end in nouns, and the longest wins."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.matcher import PhraseMatcher, head_of, normalized_words


def matcher(*concepts: str | Concept, nested: bool = False) -> PhraseMatcher:
    made = (c if isinstance(c, Concept) else Concept(name=c) for c in concepts)
    return PhraseMatcher(
        ConceptVocabulary(tuple(made)),
        split=lambda phrase: normalized_words(phrase.split()),
        head_forms=lambda word, _alone: (word.removesuffix("s"),),
        nested=nested,
    )


def found(
    finder: PhraseMatcher,
    surfaces: str,
    lemmas: str | None = None,
    nouns: Sequence[bool] | None = None,
) -> list[tuple[int, int, int]]:
    words = surfaces.split()
    keys = [finder.key(word) for word in words]
    bases = [finder.key(word) for word in (lemmas or surfaces).split()]
    matches = finder.find(keys, bases, nouns or [True] * len(words))
    return [(m.start, m.stop, m.concept_id) for m in matches]


def test_longest_match_wins_unless_nested_is_asked_for() -> None:
    assert found(matcher("dog", "hot dog"), "a hot dog and dog") == [(1, 3, 1), (4, 5, 0)]
    nested = matcher("dog", "hot dog", nested=True)
    assert found(nested, "a hot dog and dog") == [(1, 3, 1), (2, 3, 0), (4, 5, 0)]


def test_the_head_must_be_a_noun_and_the_rest_need_not_be() -> None:
    finder = matcher("running shoe")
    assert found(finder, "running shoe", nouns=[False, True]) == [(0, 2, 0)]
    assert found(finder, "running shoe", nouns=[True, False]) == []


def test_a_phrase_with_a_number_is_a_name_whatever_the_tagger_says() -> None:
    assert found(matcher("boeing 747"), "boeing 747", nouns=[False, False]) == [(0, 2, 0)]
    assert found(matcher("747"), "747", nouns=[False]) == []


def test_a_longer_match_without_a_noun_head_leaves_the_shorter() -> None:
    finder = matcher("dog", "dog house")
    assert found(finder, "dog house", nouns=[True, False]) == [(0, 1, 0)]


def test_surface_and_lemma_both_match_and_the_literal_one_wins() -> None:
    finder = matcher("glass", Concept(name="spectacles", aliases=("glasses",)))
    assert found(matcher("dog"), "dogs", "dog") == [(0, 1, 0)]
    # "glasses" is literally the alias of spectacles; the glass it could also be gives way
    finder = PhraseMatcher(
        ConceptVocabulary(
            (Concept(name="glass"), Concept(name="spectacles", aliases=("glasses",)))
        ),
        split=lambda phrase: normalized_words(phrase.split()),
        head_forms=lambda word, _alone: (word,),
    )
    assert found(finder, "glasses", "glass") == [(0, 1, 1)]


def test_concepts_that_share_a_phrase_all_count() -> None:
    weapon, ribbon = (Concept(name=n, aliases=("bow",)) for n in ("bow_(weapon)", "bow_(ribbon)"))
    assert found(matcher(weapon, ribbon), "a bow") == [(1, 2, 0), (1, 2, 1)]


def test_words_between_break_a_phrase() -> None:
    assert found(matcher("hot dog"), "hot and dog") == []


def test_phrases_without_words_are_reported() -> None:
    finder = matcher("dog", Concept(name="_"), Concept(name=" ".join(["very"] * 51)))
    assert sorted(finder.unmatchable) == [1, 2]


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("dog", "dog"),
        ("hot dog", "dog"),
        ("bottle of water", "bottle"),
        ("man in the moon", "man"),
        ("boeing 747", "boeing"),
        ("2012 audi a5", "audi"),
        ("747", "747"),
        ("of", "of"),
    ],
)
def test_heads(phrase: str, head: str) -> None:
    words = phrase.split()
    assert words[head_of(words)] == head


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=12)


PHRASES = st.sampled_from(["a", "b", "a b", "b c", "a b c", "c"])


@given(st.lists(PHRASES, min_size=1, unique=True), WORDS)
def test_matches_are_disjoint_and_real(names: list[str], words: list[str]) -> None:
    finder = PhraseMatcher(
        ConceptVocabulary(tuple(Concept(name=name) for name in names)),
        split=str.split,
        head_forms=lambda word, _alone: (word,),
    )
    covered: set[int] = set()
    for start, stop, concept in found(finder, " ".join(words)):
        assert names[concept].split() == words[start:stop]
        assert not covered & set(range(start, stop))
        covered |= set(range(start, stop))
    single = {name for name in names if " " not in name}
    assert {i for i, word in enumerate(words) if word in single} <= covered
