"""Rules about whole phrases: what begins a few words before, and so may or may not end here.

They are used by `conceptaudit.text.rules`, which has them in order with the others.
"""

from __future__ import annotations

import numpy as np

from conceptaudit.text.around import Around, Mask
from conceptaudit.text.word_classes import (
    ANY_VERB,
    CLOSED,
    KNOWN,
    LETTERS,
    NO_WORD,
    NOUN_ONLY,
    listed,
)
from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ADVERB,
    ANIMATE,
    ANY_NOUN,
    NEARLY_NOUN,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
)


def singular_phrase(a: Around) -> Mask:
    """Accept a base form in a singular noun phrase: "a dark colored watch".

    73 of 73.
    """
    found = np.zeros(len(a.at), dtype=bool)
    open_ = a.disagrees
    stops = NOUN_PLURAL | VERB_S | CLOSED | listed("collective") | NO_WORD
    for back in (-1, -2, -3):
        singular = a.has(back, listed("singular_determiner"))
        if back < -1:
            singular |= a.has(back, listed("possessive", "the"))
        # "a man and a small boy walk"
        second = a.has(back - 1, listed("conjunction"))
        found |= open_ & singular & ~second
        open_ &= ~singular & ~a.has(back, stops) & a.has(back, LETTERS)
        open_ &= ~a.has(back, listed("of_people"))
    return found


def bare_compound(a: Around) -> Mask:
    """Accept a plural after a thing without an article: "kitchen forks for the home".

    2 of 2.
    """
    ends = a.has(1, NO_WORD | listed("end", "conjunction", "for_with"))
    plural = a.has(0, VERB_S) & a.is_plural_only & a.is_plain
    found = np.zeros(len(a.at), dtype=bool)
    open_ = plural & ends & _is_thing(a, -1)
    for back in (-2, -3, -4, -5):
        begins = a.has(back, NO_WORD | listed("end", "preposition", "conjunction"))
        # a person or animal before may be the subject: "a dog with a leash poses"
        found |= open_ & begins & a.none_before(ANIMATE | listed("subject"), -back - 1)
        modifies = _is_thing(a, back) | a.has(back, NOUN_ONLY | ADJECTIVE | listed("adjective"))
        open_ &= modifies & ~begins & ~a.has(back, ANIMATE | CLOSED)
    return found


def _is_thing(a: Around, back: int) -> Mask:
    """Find singular nouns that are nobody and of which captions say no deed."""
    nobody = ~a.has(back, NOUN_PLURAL | ANIMATE | CLOSED | listed("collective", "acting"))
    return a.has(back, NOUN_SINGULAR) & nobody


def item_of_list(a: Around) -> Mask:
    """Accept an item after another thing: "stove, sink and microwave".

    9 of 9.
    """
    joined = a.has(-1, listed("conjunction", "comma"))
    oxford = a.has(-1, listed("conjunction")) & a.has(-2, listed("comma"))
    thing = np.where(oxford, _is_item(a, -3), _is_item(a, -2))
    ends = a.has(1, NO_WORD | listed("end", "conjunction", "preposition", "before_noun"))
    clause = listed("modal", "can", "bare_verb_follows", "subject", "to")
    # "a man takes a picture and poses", "children sit on a bench and watch"
    nobody = a.none_before(ANIMATE | listed("collective"))
    alone = nobody | (a.no_verb_before(2) & ~a.has(0, VERB_S))
    return joined & thing & ends & a.is_plain & a.none_before(clause, 1) & alone


def _is_item(a: Around, back: int) -> Mask:
    """Find words that are nouns by themselves or after an article."""
    marked = a.has(back, ANY_NOUN) & a.has(back - 1, listed("determiner", "possessive"))
    return (a.has(back, NOUN_ONLY | NEARLY_NOUN) & ~a.has(back, CLOSED)) | marked


def after_singular_phrase(a: Around) -> Mask:
    """Reject a plural after what "a" began, which cannot end there: "a small dog jumps".

    37 of 39.
    """
    found = np.zeros(len(a.at), dtype=bool)
    open_ = a.has(0, VERB_S) & a.is_plural_only
    open_ &= a.has(-1, NOUN_SINGULAR) | (a.has(-1, LETTERS) & ~a.has(-1, KNOWN))
    maybe_verb = np.zeros(len(a.at), dtype=bool)
    for back in (-1, -2, -3, -4, -5):
        if back < -1:
            # "a man and a woman hold signs"
            two = a.has(back - 1, listed("conjunction")) & maybe_verb
            found |= open_ & _is_singular_marker(a, back) & ~two
        # "a smiling woman watches", but not "a woman wearing skis"
        participle = a.has(back, VERB_ING | VERB_PAST)
        participle &= ~_is_singular_marker(a, back - 1) | (back == -1)
        plural = a.has(back, NOUN_PLURAL) & ~a.has(back, NOUN_SINGULAR)
        only_verb = a.has(back, VERB_BASE) & ~a.has(back, ANY_NOUN | ADJECTIVE)
        stops = a.has(back, CLOSED | NO_WORD | VERB_S | listed("quantity"))
        stops |= ~a.has(back, LETTERS) | participle | plural | only_verb
        open_ &= ~stops
        maybe_verb |= a.has(back, VERB_BASE) & ~a.has(back, NEARLY_NOUN)
    return found


def _is_singular_marker(a: Around, back: int) -> Mask:
    """Find "a", "an", "this", "each" and "another"."""
    return a.has(back, listed("singular_determiner")) & ~a.has(back, listed("possessive"))


def after_counted_subject(a: Around) -> Mask:
    """Reject a verb after several people or animals: "two boys swing from a rope".

    13 of 13.
    """
    several = a.has(-1, NOUN_PLURAL) & ~a.has(-1, NOUN_SINGULAR) & a.has(-1, ANIMATE)
    several |= a.has(-1, listed("collective"))
    adverb = a.has(1, ADVERB) & ~a.has(1, ANY_NOUN | ADJECTIVE)
    follows = a.ends_phrase | a.has(1, listed("determiner", "possessive", "object")) | adverb
    base = a.has(0, VERB_BASE) & ~a.has(0, VERB_S) & ~a.is_participle
    found = np.zeros(len(a.at), dtype=bool)
    open_ = several & base & follows
    for back in (-2, -3, -4, -5):
        # "a group of women watch"
        of_group = a.has(back, listed("of")) & a.has(back - 1, listed("collective"))
        found |= open_ & (a.has(back, listed("number", "pronoun_determiner")) | of_group)
        verb = a.has(back, ANY_VERB) & ~a.has(back, ANY_NOUN | ADJECTIVE)
        open_ &= a.has(back, LETTERS) & ~a.has(back, CLOSED | NO_WORD) & ~verb
    return found
