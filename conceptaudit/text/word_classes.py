"""What is known of an English word without its context, as bits of one integer.

The low bits are what the lexicon says the form can be (`conceptaudit.text.word_forms`); above them
stand closed classes (determiners, prepositions …) and short lists of words that the rules of
`conceptaudit.text.rules` name. A word of a closed class has no lexicon bits: "can" is a noun in the
lexicon, and a modal in nearly every caption.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ADVERB,
    ANIMATE,
    ANY_NOUN,
    ANY_OTHER,
    COMPARED,
    MOSTLY_NOUN,
    NEARLY_NOUN,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    SELDOM_NOUN,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
    english_lexicon,
)

_LEXICON_BITS = 13

NO_WORD = 1 << _LEXICON_BITS
"""Stands before a caption's first word and after its last."""

NOUN_ONLY = NO_WORD << 1
KNOWN = NO_WORD << 2
"""In the lexicon, or of a closed class."""

CAPITAL = NO_WORD << 3
HYPHEN = NO_WORD << 4
APOSTROPHE = NO_WORD << 5
LETTERS = NO_WORD << 6
"""Begins with a letter."""

_FIRST_LIST = _LEXICON_BITS + 7

HYPHENS = frozenset({"-", "\u2010", "\u2011", "\u2012", "\u2013"})

_CLOSED = {
    "determiner": "a an the this these those every each another some any no several both many few "
    "various",
    "possessive": "my your his its our their whose 's",
    "number": "two three four five six seven eight nine ten eleven twelve dozen 2 3 4 5 6 7 8 9 10 "
    "12",
    "preposition": "of with for from near beside at into onto against under between without in on "
    "atop amid among towards toward beneath behind inside via by",
    "before_noun": "over above across along through around beyond after before during up down off "
    "next while as",
    "auxiliary": "is are was were has have had be been being isn aren wasn weren am",
    "modal": "could would should might must cannot shall",
    "subject": "i you he she it they we who",
    "object": "him them it me us himself herself themselves itself each",
    "conjunction": "and or & but nor",
    "other": "to that which there here not",
}
_LISTED = {
    "singular_determiner": "a an this each another 's",
    "pronoun_determiner": "another each some this that these those both many few several",
    "particle": "in on behind inside by under",
    "adjective": "red blue green yellow white black brown pink purple grey gray beige silver "
    "golden wooden big large small little tall short long old new young vintage modern beautiful "
    "pretty cute colorful empty open broken dirty clean wet hot cold leather plastic metal "
    "different other same own first second last double single huge giant tiny fancy striped",
    "of_people": "young old elderly rich poor homeless blind",
    "sense_verb": "watch watches watching see sees seeing let lets make makes making help helps "
    "helping hear hears watched saw",
    "collective": "people police sheep fish deer cattle folks others men women children crew team "
    "crowd group couple pair family everyone bunch herd flock pack gang",
    "transitive": "wearing holding playing riding carrying eating using selling making showing "
    "throwing wears holds rides carries eats uses throws",
    "bare_verb_follows": "to do does did don doesn didn not never can will who that which",
    "imperative": "stop start keep try watch see love go begin finish enjoy practice like hate "
    "consider avoid",
    "end": '. , ; : ! ? ) ( | / " \u201d \u201c - \u2013 \u2014 + ] [ \u2026',
    "noun_after_to": "next close adjacent attached similar compared due connected opposite near",
    "verb_after_to": "about going ready trying tries try wants want used how waiting waits "
    "preparing prepares getting able learning likes like place places time way made people order "
    "gets attempts attempting has have supposed meant",
    "to": "to",
    "of": "of",
    "it": "it",
    "can": "can",
    "not": "not never",
    "t": "t",
    "comma": ",",
    "the": "the",
    "no": "no 's",
    "plain_pronoun": "i we they he she who",
    "can_may_will": "can may will",
    "after_can": "be have not you i we",
    "worn": "in wearing dressed",
    "for_with": "for with",
    "mens": "mens womens childrens",
    "quantity": "hundred thousand million lot couple pair",
    # things of which captions tell what they do: "the sun sets"
    "acting": "sun moon light fog mist smoke wave wind rain snow lightning water river car train "
    "bus truck plane boat jet helicopter road path waterfall hand restaurant company city store "
    "shop hotel school",
    "relative": "who that which !",
    "drinkware_follows": "of with filled full containing",
}
_NAMES = (*_CLOSED, *_LISTED)
_BITS = {name: 1 << (_FIRST_LIST + place) for place, name in enumerate(_NAMES)}


def listed(*names: str) -> int:
    """Return the bits of lists by name."""
    return sum(_BITS[name] for name in names)


def _bits_by_word() -> dict[str, int]:
    bits: dict[str, int] = {}
    for name, words in (*_CLOSED.items(), *_LISTED.items()):
        for word in words.split():
            bits[word] = bits.get(word, 0) | _BITS[name]
    return bits


_BITS_OF = _bits_by_word()
CLOSED = listed(*_CLOSED)
ANY_VERB = VERB_BASE | VERB_S | VERB_PAST | VERB_ING
ANY_ADJECTIVE = ADJECTIVE | COMPARED | ADVERB


@lru_cache(maxsize=200_000)
def word_class(word: str) -> int:
    """Return the bits of a word.

    >>> bool(word_class("helmet") & NOUN_ONLY), bool(word_class("watch") & NOUN_ONLY)
    (True, False)
    >>> bool(word_class("of") & NOUN_ONLY), bool(word_class("of") & listed("preposition"))
    (False, True)
    """
    bits = _BITS_OF.get(word, 0) | (LETTERS if word[:1].isalpha() else 0)
    if bits & CLOSED:
        bits |= KNOWN
    elif bits & LETTERS:
        lexicon = english_lexicon()
        code = lexicon.code(word)
        if (word, "a") in lexicon.rare:
            code &= ~ADJECTIVE  # "a motor boat" has no adjective for running text
        bits |= code | (KNOWN if code else 0)
        if lexicon.is_noun_only(word, code):
            bits |= NOUN_ONLY
    if word in HYPHENS:
        bits |= HYPHEN
    elif word == "'":
        bits |= APOSTROPHE
    return bits


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

    def is_thing(self, back: int) -> Mask:
        """Find singular nouns that are nobody and of which captions say no deed."""
        nobody = ~self.has(back, NOUN_PLURAL | ANIMATE | CLOSED | listed("collective", "acting"))
        return self.has(back, NOUN_SINGULAR) & nobody

    def is_item(self, back: int) -> Mask:
        """Find words that are nouns by themselves or after an article."""
        marked = self.has(back, ANY_NOUN) & self.has(back - 1, listed("determiner", "possessive"))
        return (self.has(back, NOUN_ONLY | NEARLY_NOUN) & ~self.has(back, CLOSED)) | marked

    def is_singular_marker(self, back: int) -> Mask:
        """Find "a", "an", "this", "each" and "another"."""
        return self.has(back, listed("singular_determiner")) & ~self.has(back, listed("possessive"))
