"""The phrases that are looked for: a trie over normalised words, each form a path of its own.

Spellings and plurals are expanded when the trie is built, so that finding is a walk along the words
of a caption. Hyphens and apostrophes are no words, nor is the dot of "St.": a phrase is found with
and without them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.normalize import normalize, phrase_text
from conceptaudit.text.token_table import word_key
from conceptaudit.text.word_classes import HYPHENS
from conceptaudit.text.word_forms import english_plurals, english_singular, is_english_word
from conceptaudit.text.wordnet import phrase_of, same_thing_joined

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
    # of numbers alone the last is the head, and where a preposition comes first, what follows it
    named = named or [i for i in range(stop) if fit[i]] or [i for i in range(len(words)) if fit[i]]
    return named[-1] if named else stop - 1


def _is_word_or_picture(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


LISTED = (
    (("t", "shirt"), ("tee", "shirt"), ("tshirt",), ("teeshirt",)),
    (("st",), ("saint",)),
    (("mt",), ("mount",)),
)
"""Spellings that no rule finds: each group is one word or phrase, its plural included."""

_POSSESSIVE = re.compile(r"(?<=\w)'s(?!\w)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SHORTEST_PART = 3
_SHORTEST_OWNER = 4
_OWNERS = "man woman boy girl kid child baby lady gent gentleman toddler infant"
_PEOPLE = frozenset(_OWNERS.split())
"""Owners that captions write without an apostrophe: "mens shoes", "girls dress"."""

_GAPS = re.compile(r"[\s\u2010-\u2015-]+")
_MAX_PARTS = 8
"""Longer names are sentences; nobody writes them in one word."""


def english_spellings(phrase: str) -> tuple[str, ...]:
    """Return the spellings of a phrase that captions may have, the given one first.

    >>> english_spellings("t-shirt")
    ('t-shirt', 't shirt', 'tshirt', 'tee shirt', 'tee-shirt', 'teeshirt')
    >>> english_spellings("hot dog"), english_spellings("black bird")
    (('hot dog', 'hot-dog', 'hotdog'), ('black bird', 'black-bird'))
    >>> english_spellings("bird's nest")
    ("bird's nest", 'birds nest', 'birds-nest', 'birdsnest')
    >>> english_spellings("mens shoes")
    ('mens shoes', 'mens-shoes', 'mensshoes', "men's shoes")
    >>> english_spellings("AnnualCrop")
    ('AnnualCrop', 'annual crop', 'annual-crop')
    """
    found = {normalize(phrase): phrase}
    for spelled in (phrase, *_possessives(phrase), *_parted(phrase)):
        found.setdefault(normalize(spelled), spelled)
        parts = tuple(_GAPS.split(normalize(spelled)))
        if len(parts) > _MAX_PARTS or not all(parts):
            continue
        for group in _respelled(parts):
            for same in (" ".join(group), *_rejoined(group)):
                found.setdefault(same, same)
    return tuple(found.values())


def _possessives(phrase: str) -> list[str]:
    """Write the possessives of a phrase without their apostrophe, and as plurals."""
    plain = phrase.replace("\u2019", "'")
    if "'" in plain:
        # the apostrophe after an s is no word within a phrase: "birds' nest" is "birds nest"
        return [_POSSESSIVE.sub("s", plain)] if _POSSESSIVE.search(plain) else []
    first, *others = plain.split(" ")
    if not others or len(first) < _SHORTEST_OWNER or not first.lower().endswith("s"):
        return []
    owner = first[:-1]
    if first.lower().endswith("ss") or not (_is_person(owner.lower())):
        return []
    return [" ".join([f"{owner}'s", *others])]


def _is_person(word: str) -> bool:
    return word in _PEOPLE or word in {plural for one in _PEOPLE for plural in english_plurals(one)}


def _parted(phrase: str) -> list[str]:
    """Part a name that is joined by capitals, where the parts are words: "AnnualCrop"."""
    parts = _CAMEL.sub(" ", phrase).split()
    words = [part.lower() for part in parts]
    joined = len(parts) > 1 and len(phrase.split()) < len(parts)
    fits = all(len(word) >= _SHORTEST_PART and is_english_word(word) for word in words)
    return [" ".join(words)] if joined and fits else []


def _respelled(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the phrase with each listed part in each of its spellings, and divided words."""
    found = dict.fromkeys([parts])
    for group in _listed():
        for spelled in group:
            for start in range(len(parts) - len(spelled) + 1):
                stop = start + len(spelled)
                if parts[start:stop] == spelled:
                    for other in group:
                        found.setdefault((*parts[:start], *other, *parts[stop:]))
    for place, part in enumerate(parts):
        divided = phrase_of(english_singular(part)) if part.isalpha() else None
        if divided is not None:
            *front, last = divided.split()
            if part != english_singular(part):
                last = english_plurals(last)[0]
            found.setdefault((*parts[:place], *front, last, *parts[place + 1 :]))
    return list(found)


def _rejoined(parts: tuple[str, ...]) -> list[str]:
    """Hyphenate and join each gap in turn."""
    found = []
    for place in range(1, len(parts)):
        front, back = parts[:place], parts[place:]
        if not {front[-1], back[0]} & PREPOSITIONS and "'" not in front[-1]:
            found.append(f"{' '.join(front)}-{' '.join(back)}")
        if _may_join(front[-1], back[0]):
            found.append(f"{' '.join(front)}{' '.join(back)}")
    return found


def _may_join(first: str, second: str) -> bool:
    """Tell whether two words written in one are the same thing, or else no word at all."""
    if not (first.isalpha() and second.isalpha()) or {first, second} & PREPOSITIONS:
        return False
    if same_thing_joined(f"{first} {english_singular(second)}"):
        return True
    return not is_english_word(first + second)


@cache
def _listed() -> tuple[tuple[tuple[str, ...], ...], ...]:
    plurals = tuple(
        tuple((*spelled[:-1], english_plurals(spelled[-1])[0]) for spelled in group)
        for group in LISTED
        if all(spelled[-1].isalpha() for spelled in group)
    )
    return (*LISTED, *plurals)


def hyphenations(phrase: str) -> tuple[str, ...]:
    """Return a phrase with its hyphens as they are, as spaces, and its spaces as hyphens.

    For languages whose words we do not know: some tokenizers leave hyphenated words whole.

    >>> hyphenations("rendez-vous"), hyphenations("Hund")
    (('rendez-vous', 'rendez vous'), ('Hund',))
    """
    parts = [part for part in _GAPS.split(phrase) if part]
    if len(parts) < 2 or len(parts) > _MAX_PARTS:
        return (phrase,)
    return tuple(dict.fromkeys((phrase, " ".join(parts), "-".join(parts))))
