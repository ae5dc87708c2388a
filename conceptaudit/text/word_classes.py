"""What is known of an English word without its context, as bits of one integer.

The low bits are what the lexicon says the form can be (`conceptaudit.text.word_forms`); above them
stand closed classes (determiners, prepositions …) and short lists of words that the rules of
`conceptaudit.text.rules` name. A word of a closed class has no lexicon bits: "can" is a noun in the
lexicon, and a modal in nearly every caption.
"""

from __future__ import annotations

from functools import lru_cache

from conceptaudit.text.morphology import english_lexicon
from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ADVERB,
    COMPARED,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
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
