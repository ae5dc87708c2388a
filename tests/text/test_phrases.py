"""Phrases are contiguous, end in nouns, and the longest wins."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.matching import CaptionMatcher
from conceptaudit.text.phrases import PhraseTrie, head_of
from conceptaudit.text.token_table import split_words


def trie_of(*concepts: str | Concept) -> PhraseTrie:
    listed = (c if isinstance(c, Concept) else Concept(name=c) for c in concepts)
    return PhraseTrie(
        ConceptVocabulary(tuple(listed)),
        split=lambda phrase: [word for word, _ in split_words(phrase)],
        head_forms=lambda word, _alone: (word, f"{word}s"),
        spellings=lambda phrase: (phrase,),
    )


def found(trie: PhraseTrie, caption: str, *, nested: bool = False) -> list[tuple[int, int, int]]:
    """First word, end and concept of each match, every word taken for a noun."""
    matcher = CaptionMatcher(trie, any_pos=True)
    words = matcher.split([caption])
    matches = matcher(words)
    if not nested:
        matches = matches.select(~matches.shadowed(matches.verdicts == 1))
    columns = (matches.first, matches.last + 1, matches.concepts)
    return [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def test_longest_match_wins_unless_nested_is_asked_for() -> None:
    trie = trie_of("dog", "hot dog")
    assert found(trie, "a hot dog and dog") == [(1, 3, 1), (4, 5, 0)]
    assert sorted(found(trie, "a hot dog and dog", nested=True)) == [
        (1, 3, 1),
        (2, 3, 0),
        (4, 5, 0),
    ]


def test_of_overlapping_matches_the_longer_wins_and_else_the_earlier() -> None:
    trie = trie_of("hot dog", "dog stand owner", "stand owner")
    assert found(trie, "hot dog stand owner") == [(1, 4, 1)]
    assert found(trie_of("hot dog", "dog stand"), "hot dog stand") == [(0, 2, 0)]


def test_concepts_that_share_a_form_all_count() -> None:
    weapon, ribbon = (Concept(name=n, aliases=("bow",)) for n in ("bow_(weapon)", "bow_(ribbon)"))
    assert found(trie_of(weapon, ribbon), "a bow") == [(1, 2, 0), (1, 2, 1)]
    assert found(trie_of("jean", "jeans"), "jeans") == [(0, 1, 0), (0, 1, 1)]


def test_which_phrase_of_a_concept_it_was_is_known() -> None:
    matcher = CaptionMatcher(trie_of(Concept(name="dog", aliases=("hound", "cur"))), any_pos=True)
    assert matcher(matcher.split(["a cur, a dog, a hound"])).aliases.tolist() == [2, 0, 1]


def test_words_between_break_a_phrase_and_joints_do_not() -> None:
    assert found(trie_of("hot dog"), "hot and dog") == []
    assert found(trie_of("hot dog"), "hot, dog") == []
    assert found(trie_of("hot dog"), "hot-dog") == [(0, 3, 0)]
    assert found(trie_of("St Bernard"), "a St. Bernard") == [(1, 4, 0)]
    assert found(trie_of("jack-o'-lantern"), "jack-o-lanterns") == [(0, 5, 0)]


def test_phrases_without_words_are_reported() -> None:
    trie = trie_of("dog", Concept(name="_"), Concept(name=" ".join(["very"] * 51)))
    assert sorted(trie.unmatchable) == [1, 2]


@pytest.mark.parametrize(
    ("phrase", "head"),
    [
        ("dog", "dog"),
        ("hot dog", "dog"),
        ("bottle of water", "bottle"),
        ("man in the moon", "man"),
        ("passer by", "passer"),
        ("boeing 747", "boeing"),
        ("2012 audi a5", "audi"),
        ("mcdonald 's", "mcdonald"),
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
    covered: set[int] = set()
    for start, stop, concept in found(trie_of(*names), " ".join(words)):
        assert names[concept].split() == words[start:stop]
        assert not covered & set(range(start, stop))
        covered |= set(range(start, stop))
    single = {name for name in names if " " not in name}
    assert {i for i, word in enumerate(words) if word in single} <= covered
