"""Rules that say of an English word in a caption whether it is a noun, before any tagger is asked.

Each rule is a function of the words around many ambiguous words at once, and applies where its mask
is true: it accepts (the word is a noun), rejects (it is not) or leaves the word to the tagger. The
first rule that applies decides; where none does, the tagger is asked. The rules are the same for
every English pipeline, so that pipelines differ only where the words around do not decide.

The figures in the docstrings are how many of the labelled words that a rule decides it has right;
``tests/text/noun_labels.csv`` and ``everyday_nouns.csv`` are the labels, and a test holds them.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from conceptaudit.text.word_classes import (
    ANY_VERB,
    APOSTROPHE,
    CAPITAL,
    CLOSED,
    HYPHEN,
    KNOWN,
    LETTERS,
    NO_WORD,
    NOUN_ONLY,
    Around,
    Mask,
    listed,
)
from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ADVERB,
    ANIMATE,
    ANY_NOUN,
    COMPARED,
    MOSTLY_NOUN,
    NEARLY_NOUN,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
)

ACCEPT, REJECT, ASK, UNDECIDED = 1, -1, 2, 0
"""Verdicts. `ASK` and `UNDECIDED` both go to the tagger; a rule that asks keeps later ones out."""

_SHORT = 14
"""Words of a caption that can be one noun phrase; longer ones nearly always hold a verb."""


Rule = Callable[[Around], Mask]
RULES: list[tuple[Rule, int]] = []
"""All rules in order, with what they decide."""


def _rule(verdict: int) -> Callable[[Rule], Rule]:
    def add(rule: Rule) -> Rule:
        RULES.append((rule, verdict))
        return rule

    return add


def decide(around: Around) -> npt.NDArray[np.int8]:
    """Decide about words that can be a noun and something else, in the order of `RULES`.

    The result has the shape (n,): `ACCEPT`, `REJECT`, or 0 where the tagger has to be asked.
    """
    verdicts = np.zeros(len(around.at), dtype=np.int8)
    for rule, verdict in RULES:
        undecided = verdicts == UNDECIDED
        if not undecided.any():
            break
        verdicts[undecided & rule(around)] = verdict
    verdicts[verdicts == ASK] = UNDECIDED
    return verdicts


@_rule(ASK)
def no_noun_or_hyphenated(a: Around) -> Mask:
    """Ask about no noun in the lexicon, or part of a hyphenated word: "a park-like setting"."""
    return ~a.has(0, ANY_NOUN) | a.has(-1, HYPHEN) | a.has(1, HYPHEN)


@_rule(ACCEPT)
def next_to(a: Around) -> Mask:
    """Accept a noun after "next to", "close to" and the like. 2 of 2."""
    return _to(a) & a.has(-2, listed("noun_after_to")) & a.ends_phrase


@_rule(REJECT)
def infinitive(a: Around) -> Mask:
    """Reject a base form after "to" of an infinitive, or before an object. 30 of 30."""
    opens = a.has(-2, listed("verb_after_to"))
    takes = a.has(1, listed("determiner", "possessive", "object"))
    return _to(a) & ~a.has(-2, listed("noun_after_to")) & (opens | takes)


@_rule(ASK)
def other_to(a: Around) -> Mask:
    """Ask about any other base form after "to": "to work" is a way or a purpose."""
    return _to(a)


def _to(a: Around) -> Mask:
    return a.has(-1, listed("to")) & a.has(0, VERB_BASE)


@_rule(REJECT)
def after_modal(a: Around) -> Mask:
    """Reject a base form after a modal, "not" or "never": "you can watch", "don't park". 2 of 2."""
    modal = a.has(-1, listed("modal", "not"))
    modal |= a.has(-1, listed("can")) & a.has(-2, listed("subject"))
    modal |= a.has(-1, listed("t")) & a.has(-2, APOSTROPHE)
    return modal & a.has(0, VERB_BASE)


@_rule(REJECT)
def after_pronoun(a: Around) -> Mask:
    """Reject a finite verb after its subject: "we watch", "it fits well". 21 of 21."""
    plain = a.has(-1, listed("plain_pronoun")) & (a.has(0, VERB_BASE) | a.has(0, VERB_S))
    other = a.has(-1, listed("subject")) & ~a.has(-1, listed("it")) & ~a.ends_phrase
    return plain | (other & ~a.has(-2, listed("preposition")) & a.is_verb_form)


@_rule(REJECT)
def modal_can(a: Around) -> Mask:
    """Reject the modals "can", "may", "will" before "be", "not" … or after a pronoun. 0 of 0."""
    is_modal = a.has(0, listed("can_may_will"))
    return is_modal & (a.has(1, listed("after_can")) | a.has(-1, listed("subject")))


@_rule(ASK)
def perhaps_can(a: Around) -> Mask:
    """Ask about the same words before what may be their verb."""
    verb = VERB_BASE | ADVERB | APOSTROPHE | listed("bare_verb_follows")
    return a.has(0, listed("can_may_will")) & a.has(1, verb)


@_rule(REJECT)
def verb_with_object(a: Around) -> Mask:
    """Reject a verb between its subject and an object: "dogs watch the ball". 61 of 61."""
    collective = a.has(-1, NO_WORD | listed("relative", "collective", "subject"))
    singular = a.has(-1, NOUN_SINGULAR) & ~a.has(-1, VERB_PAST | VERB_ING)
    plural = a.has(-1, NOUN_PLURAL) & ~a.has(-1, NOUN_SINGULAR)
    agrees = np.where(a.has(0, VERB_S), singular, plural)
    return _has_object(a) & (collective | agrees)


@_rule(ASK)
def perhaps_with_object(a: Around) -> Mask:
    """Ask about what may be a verb with an object, after no clear subject."""
    return _has_object(a)


def _has_object(a: Around) -> Mask:
    takes = a.has(1, listed("object"))
    takes |= a.has(1, listed("determiner", "possessive")) & ~a.has(1, listed("no"))
    # in "Watch The Birds" capitals say nothing, so a headline goes to the tagger
    takes &= ~a.has(1, CAPITAL) | a.is_first
    phrase = listed("determiner", "possessive", "preposition", "number", "adjective")
    return a.is_verb_form & takes & ~a.has(-1, phrase)


@_rule(ACCEPT)
def nearly_noun(a: Around) -> Mask:
    """Accept a word whose verb is rare in running text: "dog", "table". 300 of 300."""
    return a.has(0, NEARLY_NOUN)


@_rule(ASK)
def worn_colour(a: Around) -> Mask:
    """Ask about what follows "in red", which may be all: "a girl in red watches"."""
    worn = a.has(-2, listed("worn")) & a.has(-1, listed("adjective"))
    return worn & a.is_verb_form


@_rule(ASK)
def pronoun_determiner(a: Around) -> Mask:
    """Ask about a verb after a determiner that can stand alone: "another watches"."""
    alone = a.has(-1, listed("pronoun_determiner"))
    return a.is_plain & alone & a.has(0, VERB_S) & a.is_plural_only


@_rule(ACCEPT)
def after_determiner(a: Around) -> Mask:
    """Accept a noun after a determiner or possessive, and a plural after a number. 380 of 382."""
    number = a.has(-1, listed("number")) & ~a.has(-1, listed("determiner", "possessive"))
    return a.is_plain & a.after_marker & (a.is_plural_only | ~number)


@_rule(ACCEPT)
def after_preposition(a: Around) -> Mask:
    """Accept a noun after what is no adverb but a preposition: not "people behind watch".

    66 of 66.
    """
    adverb = a.has(-1, listed("particle")) & a.is_verb_form & ~a.ends_phrase
    return a.is_plain & a.has(-1, listed("preposition")) & ~adverb


@_rule(ACCEPT)
def after_adjective(a: Around) -> Mask:
    """Accept a noun after a word that is only an adjective: "a small park". 158 of 159."""
    return a.is_plain & a.after_adjective


@_rule(ACCEPT)
def head_of_phrase(a: Around) -> Mask:
    """Accept the last word of a noun phrase: "the orange.", "a painting of". 32 of 32."""
    settled = a.after_marker | ~a.is_participle | ~a.has(-1, listed("preposition"))
    return _in_phrase(a) & a.ends_phrase & settled


@_rule(ASK)
def within_phrase(a: Around) -> Mask:
    """Ask about any other word after the beginning of a noun phrase: "the orange cat"."""
    return _in_phrase(a)


def _in_phrase(a: Around) -> Mask:
    return a.after_marker | a.has(-1, listed("preposition")) | a.after_adjective


@_rule(ACCEPT)
def subject_of_auxiliary(a: Around) -> Mask:
    """Accept a noun before "is", "are" …: "train is late". 23 of 23."""
    return a.has(0, ANY_VERB) & ~a.is_participle & a.has(1, listed("auxiliary"))


@_rule(ACCEPT)
def before_of(a: Around) -> Mask:
    """Accept a noun before "of": "slice of cake". 8 of 8."""
    opens = a.has(-1, listed("end") | NO_WORD) | a.has(0, MOSTLY_NOUN)
    return a.has(1, listed("of")) & ~a.is_participle & opens


@_rule(ACCEPT)
def compound(a: Around) -> Mask:
    """Accept a noun after one that agrees with no such verb: "kitchen sink". 81 of 84."""
    noun = a.has(-1, NOUN_ONLY) & ~a.has(-1, listed("collective")) & a.is_plain
    plural = a.has(-1, NOUN_PLURAL) & ~a.has(-1, NOUN_SINGULAR)
    after_plural = plural & a.has(0, VERB_S) & a.is_plural_only
    after_plural &= a.none_before(listed("preposition"), 1)
    no_clause = a.none_before(listed("sense_verb", "conjunction"), 1)
    base = a.has(0, VERB_BASE) & ~a.has(0, VERB_S)
    return noun & (after_plural | (~plural & base & no_clause))


@_rule(ACCEPT)
def object_of_participle(a: Around) -> Mask:
    """Accept the object of an -ing form: "a man riding waves", "wearing watch". 28 of 28."""
    taken = a.has(-1, listed("transitive")) | a.has(-1, VERB_ING)
    more = a.has(1, listed("determiner", "object"))
    return a.disagrees & taken & ~more


@_rule(ACCEPT)
def singular_phrase(a: Around) -> Mask:
    """Accept a base form in a singular noun phrase: "a dark colored watch". 73 of 73."""
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


@_rule(ACCEPT)
def after_singular(a: Around) -> Mask:
    """Accept a base form after a singular noun, without a verb or clause before. 38 of 38."""
    singular = a.has(-1, NOUN_SINGULAR) & ~a.has(-1, NOUN_PLURAL | ADVERB | CLOSED)
    no_clause = a.none_before(listed("conjunction", "modal", "bare_verb_follows"))
    # "Live Love Show" are three verbs
    no_clause &= a.no_verb_before(1)
    return a.disagrees & singular & ~a.has(-1, listed("collective")) & no_clause


@_rule(ACCEPT)
def after_transitive(a: Around) -> Mask:
    """Accept a noun after a verb that takes an object: "wears sunglasses and jeans". 11 of 11."""
    fits = a.ends_phrase | ~a.is_adjective
    return a.has(-1, listed("transitive")) & fits & ~a.is_participle


@_rule(ACCEPT)
def opens_clause(a: Around) -> Mask:
    """Accept the first word before a verb that is nothing else: "Train passing". 0 of 0."""
    base = a.has(0, VERB_BASE) & a.is_plain & ~a.has(0, listed("imperative"))
    verb = a.has(1, VERB_ING | VERB_S) & ~a.has(1, ANY_NOUN)
    return base & verb & a.is_first


@_rule(ACCEPT)
def bare_compound(a: Around) -> Mask:
    """Accept a plural after a thing without an article: "kitchen forks for the home". 2 of 2."""
    ends = a.has(1, NO_WORD | listed("end", "conjunction", "for_with"))
    plural = a.has(0, VERB_S) & a.is_plural_only & a.is_plain
    found = np.zeros(len(a.at), dtype=bool)
    open_ = plural & ends & a.is_thing(-1)
    for back in (-2, -3, -4, -5):
        begins = a.has(back, NO_WORD | listed("end", "preposition", "conjunction"))
        # a person or animal before may be the subject: "a dog with a leash poses"
        found |= open_ & begins & a.none_before(ANIMATE | listed("subject"), -back - 1)
        modifies = a.is_thing(back) | a.has(back, NOUN_ONLY | ADJECTIVE | listed("adjective"))
        open_ &= modifies & ~begins & ~a.has(back, ANIMATE | CLOSED)
    return found


@_rule(ACCEPT)
def item_of_list(a: Around) -> Mask:
    """Accept an item after another thing: "stove, sink and microwave". 9 of 9."""
    joined = a.has(-1, listed("conjunction", "comma"))
    oxford = a.has(-1, listed("conjunction")) & a.has(-2, listed("comma"))
    thing = np.where(oxford, a.is_item(-3), a.is_item(-2))
    ends = a.has(1, NO_WORD | listed("end", "conjunction", "preposition", "before_noun"))
    clause = listed("modal", "can", "bare_verb_follows", "subject", "to")
    # "a man takes a picture and poses", "children sit on a bench and watch"
    nobody = a.none_before(ANIMATE | listed("collective"))
    alone = nobody | (a.no_verb_before(2) & ~a.has(0, VERB_S))
    return joined & thing & ends & a.is_plain & a.none_before(clause, 1) & alone


@_rule(ACCEPT)
def after_mens(a: Around) -> Mask:
    """Accept a noun after a possessive without its apostrophe: "mens watch". 2 of 2."""
    return a.has(-1, listed("mens")) & ~a.is_participle


@_rule(REJECT)
def after_singular_phrase(a: Around) -> Mask:
    """Reject a plural after what "a" began and cannot end there: "a dog jumps". 37 of 39."""
    found = np.zeros(len(a.at), dtype=bool)
    open_ = a.has(0, VERB_S) & a.is_plural_only
    open_ &= a.has(-1, NOUN_SINGULAR) | (a.has(-1, LETTERS) & ~a.has(-1, KNOWN))
    maybe_verb = np.zeros(len(a.at), dtype=bool)
    for back in (-1, -2, -3, -4, -5):
        if back < -1:
            # "a man and a woman hold signs"
            two = a.has(back - 1, listed("conjunction")) & maybe_verb
            found |= open_ & a.is_singular_marker(back) & ~two
        # "a smiling woman watches", but not "a woman wearing skis"
        participle = a.has(back, VERB_ING | VERB_PAST)
        participle &= ~a.is_singular_marker(back - 1) | (back == -1)
        plural = a.has(back, NOUN_PLURAL) & ~a.has(back, NOUN_SINGULAR)
        only_verb = a.has(back, VERB_BASE) & ~a.has(back, ANY_NOUN | ADJECTIVE)
        stops = a.has(back, CLOSED | NO_WORD | VERB_S | listed("quantity"))
        stops |= ~a.has(back, LETTERS) | participle | plural | only_verb
        open_ &= ~stops
        maybe_verb |= a.has(back, VERB_BASE) & ~a.has(back, NEARLY_NOUN)
    return found


@_rule(REJECT)
def after_counted_subject(a: Around) -> Mask:
    """Reject a verb after several people or animals: "two boys swing from a rope". 13 of 13."""
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


@_rule(REJECT)
def after_adverb(a: Around) -> Mask:
    """Reject a verb after a word that is only an adverb: "the umpire closely watches". 2 of 2."""
    adverb = a.has(-1, ADVERB) & ~a.has(-1, ANY_NOUN | ADJECTIVE | COMPARED | ANY_VERB | CLOSED)
    return adverb & a.has(0, VERB_S)


@_rule(ACCEPT)
def bare_phrase(a: Around) -> Mask:
    """Accept the last word of a short caption in which nothing else can be a verb. 3 of 3."""
    no_verb = a.none_elsewhere(ANY_VERB | listed("auxiliary", "modal", "subject"))
    plural_before = a.has(0, VERB_BASE) & a.has(-1, NOUN_PLURAL)
    noun_before = a.has(0, VERB_S) & a.has(-1, ANY_NOUN)
    clause = plural_before | noun_before | a.has(-1, listed("conjunction"))
    short: Mask = (a.length <= _SHORT) & (~a.is_first | a.has(1, NO_WORD))
    return a.ends_phrase & ~a.is_participle & no_verb & ~clause & short
