"""The phrases that are looked for: a trie over normalised words, each form a path of its own.

Spellings and plurals are expanded when the trie is built, so that finding is a walk along the words
of a caption. Hyphens and apostrophes are no words, nor is the dot of "St.": a phrase is found with
and without them.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.normalize import phrase_text
from conceptaudit.text.token_table import word_key
from conceptaudit.text.word_classes import HYPHENS

_PREPOSITIONS = "of in on with for at to from under by up and de da do del di du des en à"
PREPOSITIONS = frozenset(_PREPOSITIONS.split())
"""Words that end the head of a phrase: the head of "bottle of water" is "bottle"."""

MAX_WORDS = 50
"""Longest phrase; a longer one is refused rather than silently never matched."""

DRINKWARE = frozenset({"glasses"})
"""As a plural of a name in the singular, found only after a number or before "of", "with" …"""

OWNED = "'s"

JOINT, FULL_STOP, AFTER_WHICH_NO_DOT = 1, 2, 3

_SHORTENED = frozenset({"st", "mt", "dr", "mr", "mrs", "ms", "ft", "jr", "sr", "no", "vs"})
"""Written with a dot as often as without."""

ENDINGS = ""
"""Key of a node's endings; no word is empty."""

Node = dict[str, Any]
"""Words to the nodes that they lead to; under `ENDINGS` what is named here."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What a path through the trie names."""

    concept_id: int
    alias: int  # which of the concept's phrases, its name being 0
    head: int  # place of the head among the words
    certain: bool  # whether no part of speech matters: numbers and pictographs can only be names
    guarded: bool  # whether the form is one of `DRINKWARE`


@dataclass(frozen=True, slots=True)
class Match:
    """Words [start, stop) that name something."""

    start: int
    stop: int
    ending: Ending


class PhraseTrie:
    """A trie of concept phrases: its `root` and the number of words of the `longest`."""

    def __init__(
        self,
        vocabulary: ConceptVocabulary,
        *,
        split: Callable[[str], Iterable[str]],
        head_forms: Callable[[str, bool], Iterable[str]],
        spellings: Callable[[str], Iterable[str]],
    ) -> None:
        self.root: Node = {}
        self.longest = 1
        self.unmatchable: dict[int, str] = {}
        # how a language splits a phrase, inflects its head word (told whether it stands alone), and
        # spells it, the given spelling first
        self._split = split
        self._head_forms = head_forms
        for concept_id, concept in enumerate(vocabulary):
            added = False
            for alias, phrase in enumerate(concept.phrases):
                spelled = spellings(phrase_text(phrase))
                terms = list(dict.fromkeys(tuple(self._terms(text)) for text in spelled))
                # of "boeing 747" and "boeing-747" the first says that this is a designation
                numbered = len(terms[0]) > 1 and any(map(_has_digit, terms[0]))
                # "jacks-in-the-box" are as well "jack-in-the-boxes"
                joined = "-" in phrase
                for words in terms:
                    added |= self._add(words, concept_id, alias, numbered=numbered, ends_too=joined)
            if not added:
                self.unmatchable[concept_id] = (
                    f"{concept.name!r} has no phrase of 1 to {MAX_WORDS} words with a letter, "
                    "digit or pictograph"
                )

    def walk(self, words: Sequence[Iterable[str]], start: int) -> Iterator[Match]:
        """Find the phrases that begin at a word, shorter ones first."""
        nodes = [self.root]
        for place in range(start, len(words)):
            nodes = [node[form] for node in nodes for form in words[place] if form in node]
            if not nodes:
                return
            endings = dict.fromkeys(e for node in nodes for e in node.get(ENDINGS, ()))
            for ending in endings:
                yield Match(start, place + 1, ending)

    def _terms(self, phrase: str) -> list[str]:
        words = [key for word in self._split(phrase) if (key := word_key(word).strip())]
        return [
            word
            for before, word in zip(["", *words], words, strict=False)
            if not is_skipped(before, word)
        ]

    def _add(
        self,
        terms: Sequence[str],
        concept_id: int,
        alias: int,
        *,
        numbered: bool,
        ends_too: bool,
    ) -> bool:
        if not 1 <= len(terms) <= MAX_WORDS:
            return False
        head = head_of(terms)
        if not any(_is_word_or_picture(character) for character in terms[head]):
            return False
        # of a pictograph a tagger knows nothing, as of a number
        certain = numbered or not any(map(str.isalnum, terms[head]))
        alone = len(terms) == 1
        for path in self._inflected(terms, {head, len(terms) - 1} if ends_too else {head}):
            node = self.root
            self.longest = max(self.longest, len(path))
            for word in path:
                node = node.setdefault(word, {})
            guarded = alone and path[0] in DRINKWARE and path[0] != terms[0]
            ending = Ending(concept_id, alias, head, certain, guarded)
            endings = node.get(ENDINGS, ())
            # a spelling can be that of an alias, too: the first counts
            if all(other.concept_id != concept_id for other in endings):
                node[ENDINGS] = (*endings, ending)
        return True

    def _inflected(self, terms: Sequence[str], places: set[int]) -> set[tuple[str, ...]]:
        """Return a phrase with each of some words in each of its forms."""
        if terms[-1] == OWNED:  # a name such as "McDonald's" has no plural
            return {tuple(terms)}
        return {
            (*terms[:place], form, *terms[place + 1 :])
            for place in places
            for form in {terms[place], *self._head_forms(terms[place], len(terms) == 1)}
        }


def is_skipped(before: str, word: str) -> bool:
    """Tell whether a word does not count as one within a phrase.

    >>> is_skipped("t", "-"), is_skipped("st", "."), is_skipped("dog", ".")
    (True, True, False)
    """
    mark = mark_of(word)
    return mark == JOINT or (mark == FULL_STOP and mark_of(before) == AFTER_WHICH_NO_DOT)


def mark_of(word: str) -> int:
    """Return what a word is to phrases: `JOINT`, `FULL_STOP`, `AFTER_WHICH_NO_DOT`, or 0."""
    if word in HYPHENS or word == "'":
        return JOINT
    if word == ".":
        return FULL_STOP
    return AFTER_WHICH_NO_DOT if word in _SHORTENED else 0


def head_of(words: Sequence[str]) -> int:
    """Return the position of an English phrase's head.

    It is the last word before a preposition, and never a number: captions tag the "747" of
    "boeing 747" as one.

    >>> head_of(["hot", "dog"]), head_of(["bottle", "of", "water"]), head_of(["boeing", "747"])
    (1, 0, 0)
    """
    stop = next((i for i, word in enumerate(words) if i > 0 and word in PREPOSITIONS), len(words))
    fit = [any(map(_is_word_or_picture, word)) and word != OWNED for word in words]
    named = [i for i in range(stop) if fit[i] and not _has_digit(words[i])]
    if not named and not any(fit[:stop]):
        named = [i for i in range(len(words)) if fit[i]]
    return named[-1] if named else stop - 1


def _is_word_or_picture(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)
