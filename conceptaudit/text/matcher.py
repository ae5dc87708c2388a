"""Finding concept phrases in a tagged caption.

A caption is a sequence of words; a word matches a term of a phrase by its surface or by its
lemma. Phrases are contiguous (hyphens between words do not count), the word at the phrase's head
must be a noun, and where matches overlap the longest wins.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.normalize import normalize, phrase_text

HYPHENS = frozenset({"-", "\u2010", "\u2011", "\u2012", "\u2013"})

PREPOSITIONS = frozenset(
    "of in on with for at to from under and de da do del di du des en à".split()  # noqa: SIM905 -- read as words
)
"""Words that end the head of a phrase: the head of "bottle of water" is "bottle"."""

Splitter = Callable[[str], Sequence[str]]
HeadForms = Callable[[str, bool], Iterable[str]]
Spellings = Callable[[str], Iterable[str]]

DESIGNATION = -1
"""In place of a head: a phrase with a number ("boeing 747", "audi a5") can only be a name."""

MAX_WORDS = 50
"""Longest phrase; a longer one is refused rather than silently never matched."""


@dataclass(slots=True)
class _Node:
    next: dict[int, _Node] = field(default_factory=dict)
    endings: list[tuple[int, int]] = field(default_factory=list)  # (concept id, head offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Words [start, stop) of a caption that name a concept."""

    start: int
    stop: int
    concept_id: int
    by_surface: bool


class PhraseMatcher:
    """A trie of concept phrases over normalised words.

    Parameters
    ----------
    vocabulary : ConceptVocabulary
        What to find.
    split : callable
        Splits a phrase into words exactly as captions are split (the pipeline's tokenizer).
    head_forms : callable
        Gives the forms of a head word that a caption may hold, the word itself among them, and
        whether it stands alone: "apples" and "apple" for both.
    spellings : callable, optional
        Gives the ways to write a phrase, the given one first: "t-shirt", "tshirt". By default
        there is no other.
    any_noun : bool, default False
        Whether a phrase needs a noun anywhere instead of at its head: for languages in which
        the place of the head is not known.
    nested : bool, default False
        Whether a concept inside a longer match counts too ("dog" in "hot dog").
    """

    def __init__(
        self,
        vocabulary: ConceptVocabulary,
        *,
        split: Splitter,
        head_forms: HeadForms,
        spellings: Spellings | None = None,
        any_noun: bool = False,
        nested: bool = False,
    ) -> None:
        self.nested = nested
        self.any_noun = any_noun
        self.keys: dict[str, int] = {}
        self.head_keys: set[int] = set()
        self.unmatchable: dict[int, str] = {}
        self._root = _Node()
        for concept_id, concept in enumerate(vocabulary):
            added = []
            for phrase in map(phrase_text, concept.phrases):
                spelled = [phrase] if spellings is None else spellings(phrase)
                terms = [tuple(w for w in split(s) if w not in HYPHENS) for s in spelled]
                # of "boeing 747" and "boeing-747" the first says that this is a designation
                numbered = len(terms[0]) > 1 and any(map(_has_digit, terms[0]))
                added += [
                    self._add(words, concept_id, head_forms, numbered=numbered)
                    for words in dict.fromkeys(terms)
                ]
            if not any(added):
                self.unmatchable[concept_id] = (
                    f"{concept.name!r} has no phrase of 1 to {MAX_WORDS} words with a letter, "
                    "digit or pictograph"
                )

    @cached_property
    def pairs(self) -> frozenset[tuple[int, int]]:
        """Keys that follow one another in some phrase."""
        found: set[tuple[int, int]] = set()
        waiting = list(self._root.next.items())
        while waiting:
            key, node = waiting.pop()
            found.update((key, after) for after in node.next)
            waiting.extend(node.next.items())
        return frozenset(found)

    def key(self, word: str) -> int:
        """Return the key of a normalised word, or -1 where no phrase holds it."""
        return self.keys.get(word, -1)

    def find(
        self, surfaces: Sequence[int], lemmas: Sequence[int], nouns: Sequence[bool]
    ) -> list[Match]:
        """Find the concepts in one caption.

        Parameters
        ----------
        surfaces, lemmas : sequence of int, length n
            Keys of each word's surface and lemma (see `key`); hyphens left out.
        nouns : sequence of bool, length n
            Whether each word may be the head of a match.

        Returns
        -------
        list of Match
            In order of their first word.
        """
        found: list[Match] = []
        for start in range(len(surfaces)):
            if surfaces[start] >= 0 or lemmas[start] >= 0:
                self._walk(surfaces, lemmas, nouns, start, found)
        return found if len(found) < 2 else self._resolve(found)

    def _walk(
        self,
        surfaces: Sequence[int],
        lemmas: Sequence[int],
        nouns: Sequence[bool],
        start: int,
        found: list[Match],
    ) -> None:
        fronts: list[tuple[_Node, bool]] = [(self._root, True)]
        position = start
        while fronts and position < len(surfaces):
            advanced: list[tuple[_Node, bool]] = []
            surface, lemma = surfaces[position], lemmas[position]
            for node, by_surface in fronts:
                if (child := node.next.get(surface)) is not None:
                    advanced.append((child, by_surface))
                if lemma != surface and (child := node.next.get(lemma)) is not None:
                    advanced.append((child, False))
            position += 1
            for node, by_surface in advanced:
                for concept_id, head in node.endings:
                    if self._is_named(nouns, start, position, head):
                        found.append(
                            Match(
                                start=start,
                                stop=position,
                                concept_id=concept_id,
                                by_surface=by_surface,
                            )
                        )
            fronts = advanced

    def _is_named(self, nouns: Sequence[bool], start: int, stop: int, head: int) -> bool:
        if head == DESIGNATION:
            return True
        return any(nouns[start:stop]) if self.any_noun else nouns[start + head]

    def _resolve(self, found: list[Match]) -> list[Match]:
        """Keep the longest of overlapping matches, the literal among those of the same words."""
        ranked = sorted(found, key=lambda m: (m.start - m.stop, not m.by_surface, m.start))
        kept: list[Match] = []
        seen: set[tuple[int, int, int]] = set()
        for match in ranked:
            identity = (match.start, match.stop, match.concept_id)
            if identity in seen or any(self._excludes(other, match) for other in kept):
                continue
            seen.add(identity)
            kept.append(match)
        return sorted(kept, key=lambda m: (m.start, m.stop, m.concept_id))

    def _excludes(self, kept: Match, match: Match) -> bool:
        if (kept.start, kept.stop) == (match.start, match.stop):
            return kept.by_surface and not match.by_surface
        overlaps = kept.start < match.stop and match.start < kept.stop
        return overlaps and not self.nested

    def _add(
        self, terms: Sequence[str], concept_id: int, head_forms: HeadForms, *, numbered: bool
    ) -> bool:
        if not 1 <= len(terms) <= MAX_WORDS:
            return False
        head = head_of(terms)
        if not any(_is_word_or_picture(character) for character in terms[head]):
            return False
        # of a pictograph the tagger knows nothing, as of a number
        nameless = numbered or not any(map(str.isalnum, terms[head]))
        forms = {terms[head], *head_forms(terms[head], len(terms) == 1)}
        variants = {(*terms[:head], form, *terms[head + 1 :]) for form in forms}
        ending = (concept_id, DESIGNATION if nameless else head)
        for variant in sorted(variants):
            node = self._root
            for word in variant:
                node = node.next.setdefault(self.keys.setdefault(word, len(self.keys)), _Node())
            self.head_keys.add(self.keys[variant[head]])
            if ending not in node.endings:
                node.endings.append(ending)
        return True


def head_of(words: Sequence[str]) -> int:
    """Return the position of an English phrase's head.

    It is the last word before a preposition, and never a number: captions tag the "747" of
    "boeing 747" as one.

    Examples
    --------
    >>> head_of(["hot", "dog"]), head_of(["bottle", "of", "water"]), head_of(["boeing", "747"])
    (1, 0, 0)
    """
    stop = next((i for i, word in enumerate(words) if i > 0 and word in PREPOSITIONS), len(words))
    named = [i for i in range(stop) if not _has_digit(words[i])]
    return named[-1] if named else stop - 1


def _is_word_or_picture(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character) == "So"


def _has_digit(word: str) -> bool:
    return any(character.isdigit() for character in word)


def normalized_words(words: Sequence[str]) -> list[str]:
    """Normalise each word of a split phrase, leaving out what is only white space."""
    return [folded for word in words if (folded := normalize(word).strip())]
