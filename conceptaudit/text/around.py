"""The words around many words of captions, as arrays: what the rules ask about."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from conceptaudit.text.word_classes import ANY_ADJECTIVE, NO_WORD, listed
from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ANIMATE,
    ANY_NOUN,
    ANY_OTHER,
    MOSTLY_NOUN,
    NEARLY_NOUN,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    SELDOM_NOUN,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
)

Mask = npt.NDArray[np.bool_]
Int64 = npt.NDArray[np.int64]

_LEXICON = ANY_NOUN | ANY_OTHER | MOSTLY_NOUN | SELDOM_NOUN | NEARLY_NOUN | ANIMATE


@dataclass(slots=True)
class Around:
    """The words around many words of captions."""

    # shape (n_words,): `conceptaudit.text.word_classes.word_class` of all words of all captions, in
    # order
    classes: Int64
    captions: npt.NDArray[np.integer]  # shape (n_words,): which caption each belongs to; ascending
    at: Int64  # shape (n,): places of the words that are asked about
    first: Int64 = field(init=False)
    length: Int64 = field(init=False)
    _seen: dict[int, Int64] = field(init=False, default_factory=dict)
    _sums: dict[tuple[int, int], Int64] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        begins = np.flatnonzero(np.diff(self.captions, prepend=-1))
        ends = np.append(begins, len(self.captions))[1:]
        which = np.searchsorted(begins, self.at, side="right") - 1
        self.first = begins[which]
        self.length = ends[which] - self.first

    def word(self, offset: int) -> Int64:
        """Return the classes of the words `offset` places further; `NO_WORD` beyond the caption."""
        if offset not in self._seen:
            place = self.at + offset
            inside = (place >= self.first) & (place < self.first + self.length)
            found = self.classes[np.where(inside, place, self.at)]
            self._seen[offset] = np.where(inside, found, NO_WORD)
        return self._seen[offset]

    def has(self, offset: int, bits: int) -> Mask:
        """Tell where a word is of any of some classes."""
        mask: Mask = (self.word(offset) & bits) != 0
        return mask

    def none_before(self, bits: int, skip: int = 0) -> Mask:
        """Tell where no word of some classes stands up to `skip` words before."""
        stop = np.maximum(self.at - skip, self.first)
        total = self._total(bits)
        none: Mask = total[stop] == total[self.first]
        return none

    def none_elsewhere(self, bits: int) -> Mask:
        """Tell where no other word of the caption is of some classes."""
        total = self._total(bits)
        n = total[self.first + self.length] - total[self.first]
        none: Mask = n == self.has(0, bits)
        return none

    def no_verb_before(self, skip: int) -> Mask:
        """Tell where no word up to `skip` words before may be a finite verb of the present."""
        stop = np.maximum(self.at - skip, self.first)
        total = self._total(VERB_BASE | VERB_S, but_not=NEARLY_NOUN)
        none: Mask = total[stop] == total[self.first]
        return none

    def _total(self, bits: int, but_not: int = 0) -> Int64:
        if (bits, but_not) not in self._sums:
            held = ((self.classes & bits) != 0) & ((self.classes & but_not) == 0)
            self._sums[bits, but_not] = np.concatenate([[0], np.cumsum(held)])
        return self._sums[bits, but_not]

    # what most rules ask

    @property
    def is_first(self) -> Mask:
        """Whether the word opens the caption."""
        return self.has(-1, NO_WORD)

    @property
    def is_verb_form(self) -> Mask:
        """Base form or third person: what a finite verb of the present looks like."""
        return self.has(0, VERB_BASE | VERB_S)

    @property
    def is_participle(self) -> Mask:
        """Whether the word can be an -ing form or a past."""
        return self.has(0, VERB_ING | VERB_PAST)

    @property
    def is_adjective(self) -> Mask:
        """Whether the word can be an adjective or adverb."""
        return self.has(0, ANY_ADJECTIVE)

    @property
    def is_plain(self) -> Mask:
        """Whether the word is no adjective, adverb or participle."""
        return ~self.is_adjective & ~self.is_participle

    @property
    def disagrees(self) -> Mask:
        """Whether the word is a base form that agrees with no subject before it."""
        base = self.has(0, VERB_BASE) & ~self.has(0, VERB_S) & ~self.is_participle
        fits = self.ends_phrase | ~self.is_adjective
        return base & fits & ~self.is_first & self.none_before(listed("sense_verb"))

    @property
    def is_plural_only(self) -> Mask:
        """Whether the word is a plural that is no singular."""
        return self.has(0, NOUN_PLURAL) & ~self.has(0, NOUN_SINGULAR)

    @property
    def ends_phrase(self) -> Mask:
        """Whether a noun phrase may end here, by the word that follows."""
        opens_list = self.has(1, listed("comma")) & (
            self.has(2, listed("adjective")) | self.has(2, ADJECTIVE)
        )
        ends = self.has(1, NO_WORD | listed("end", "preposition", "before_noun", "auxiliary"))
        ends |= self.has(1, listed("conjunction")) & ~self.is_adjective
        # "an orange, black and white cat"
        return ends & ~(self.is_adjective & opens_list)

    @property
    def after_marker(self) -> Mask:
        """Whether a determiner, possessive or number stands before."""
        return self.has(-1, listed("determiner", "possessive", "number"))

    @property
    def after_adjective(self) -> Mask:
        """Whether a word that is only an adjective stands before."""
        only: Mask = (self.word(-1) & _LEXICON) == ADJECTIVE
        return only | self.has(-1, listed("adjective"))
