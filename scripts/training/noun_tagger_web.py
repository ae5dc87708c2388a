"""The other half of the caption grammar: shop titles, headlines, calls, and long subjects.

Alt texts of web pages are titles of wares without a verb ("Kalvo Kids Ski Helmet, Black"), calls
("watch and learn"), news ("player kicks the ball during a match") and descriptions whose verb
stands far from its subject ("a man in a warm coat fishes from a pier"). Words that are nouns and
verbs alike come from Open English WordNet, so that the place decides and not the word. Like the
rest of the grammar it was written by hand; no caption data set went into it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol

from noun_tagger_captions import (
    BOTH,
    COLOURS,
    MATERIALS,
    PEOPLE,
    THINGS,
    VERBS,
    Tagged,
    plural_of,
    third_person,
)
from noun_tagger_captions import CaptionGrammar as SceneGrammar


def _words(text: str) -> list[str]:
    return text.split()


_ONSETS = _words("b br c ch d dr f fl g gr h j k kl l m n p pr qu r s sh st t tr v w y z")
_NUCLEI = _words("a e i o u ai ea ee ia io ou")
_CODAS = ["", "", "l", "m", "n", "nd", "r", "rt", "s", "ss", "st", "t", "x", "ck"]
_PRODUCT = _words(
    """
    new vintage modern classic mini large small portable wooden stainless waterproof soft custom
    handmade personalized wireless electric smart cheap best free authentic casual elegant slim
    light dark round square short long deep double single top full royal fresh natural organic
    adjustable removable decorative printed striped floral quilted padded knitted
    """
)
_UNITS = _words("cm mm ml oz lb inch pack piece pcs set year kg ft pair")
_ROLES = _words(
    """
    person person person actor actress politician player footballer athlete artist singer musician
    author student soldier police fan coach driver model designer chef tourist worker builder
    """
)
_SPORTS = _words(
    "football soccer baseball basketball tennis hockey rugby cricket ice golf rock pop"
)
_EVENTS = _words(
    """
    match game season session event festival ceremony show party race tournament wedding concert
    parade premiere march run ride walk dance swim play training practice
    """
)
_SCENES = _words(
    """
    view photo picture image illustration portrait silhouette close-up set group pair detail
    collection drawing painting vector background
    """
)
_MODALS = _words("can can could will may should must")
_CUT = _words("cut painted carved painted lit cooked fried dressed built made grown")
_BEFORE_CUT = _words("freshly low hand well newly deep slim custom")
_ENDINGS = [
    [("stock", "NOUN"), ("photo", "NOUN")],
    [("royalty", "NOUN"), ("free", "ADJ"), ("stock", "NOUN"), ("photography", "NOUN")],
    [("wall", "NOUN"), ("art", "NOUN")],
    [("gift", "NOUN"), ("idea", "NOUN")],
]
_SOME_PRONOUNS = _words("others another another he she they it we you i")
_PLURAL_PRONOUNS = {"others", "they", "we", "you", "i"}


class Grammar(Protocol):
    """Draws tagged captions."""

    def draw(self) -> list[Tagged]:
        """Draw one caption."""
        ...


class WebGrammar:
    """Draws tagged titles, headlines, calls and clauses with long subjects.

    Parameters
    ----------
    scenes : CaptionGrammar
        Draws noun phrases and places.
    homographs : list of str
        Concrete nouns that are verbs as well.
    rng : random.Random
        Source of randomness.
    """

    def __init__(self, scenes: SceneGrammar, homographs: list[str], rng: random.Random) -> None:
        self._scenes = scenes
        self._homographs = homographs
        self._rng = rng

    def draw(self) -> list[Tagged]:
        """Draw one caption."""
        rng = self._rng
        kinds = [self._title, self._clause, self._news, self._call, self._scene, self._audience]
        words = rng.choices(kinds, weights=[30, 28, 16, 8, 8, 10])[0]()
        if rng.random() < 0.4:
            words.append((".", "PUNCT", ""))
        if rng.random() < 0.4:
            return [(words[0][0][:1].upper() + words[0][0][1:], *words[0][1:]), *words[1:]]
        return words

    # -- titles ----------------------------------------------------------------------------------

    def _name(self) -> str:
        rng = self._rng
        syllables = [
            rng.choice(_ONSETS) + rng.choice(_NUCLEI) + rng.choice(_CODAS)
            for _ in range(rng.choice([1, 2, 2, 3]))
        ]
        name = "".join(syllables)
        return name.upper() if rng.random() < 0.1 else name.capitalize()

    def _names(self) -> list[Tagged]:
        n = self._rng.choice([1, 1, 2])
        return [(self._name(), "PROPN", "Number=Sing") for _ in range(n)]

    def _ware(self) -> str:
        rng = self._rng
        pool = rng.choices([BOTH, THINGS, self._homographs, MATERIALS], weights=[4, 3, 2, 1])[0]
        return rng.choice(pool)

    def _title(self) -> list[Tagged]:
        rng = self._rng
        words: list[Tagged] = []
        if rng.random() < 0.55:
            words += self._names()
        if rng.random() < 0.15:
            words.append((rng.choice(["2", "3", "12", "2010", "2018", "100", "1"]), "NUM", ""))
        if rng.random() < 0.2:
            whose = rng.choice(["women", "men", "kid", "girl", "boy", "baby", "dog"])
            words += [(whose, "NOUN", "Number=Sing"), ("'s", "PART", "")]
        for _ in range(rng.choice([0, 0, 1, 1, 2])):
            words.append((rng.choice(rng.choice([_PRODUCT, COLOURS])), "ADJ", ""))
        for _ in range(rng.choice([0, 1, 1, 2, 3])):
            words.append((self._ware(), "NOUN", "Number=Sing"))
        head = self._ware()
        if rng.random() < 0.35:
            words.append((plural_of(head), "NOUN", "Number=Plur"))
        else:
            words.append((head, "NOUN", "Number=Sing"))
        for _ in range(rng.choice([0, 1, 1, 2])):
            words += self._after_title()
        if rng.random() < 0.6:
            words = [
                (w if pos in {"ADP", "PART", "CCONJ"} else w[:1].upper() + w[1:], pos, features)
                for w, pos, features in words
            ]
        return words

    def _after_title(self) -> list[Tagged]:
        rng = self._rng
        noun = ("NOUN", "Number=Sing")
        # drawn only once chosen: each draw moves everything that follows
        choices: list[Callable[[], list[Tagged]]] = [
            lambda: [(rng.choice([",", "-", "/", "|"]), "PUNCT", ""), (rng.choice(COLOURS), *noun)],
            lambda: [("for", "ADP", ""), (plural_of(self._ware()), "NOUN", "Number=Plur")],
            lambda: [("with", "ADP", ""), (self._ware(), *noun), (self._ware(), *noun)],
            lambda: [("by", "ADP", ""), *self._names()],
            lambda: [(rng.choice(["2", "4", "10", "2.5"]), "NUM", ""), (rng.choice(_UNITS), *noun)],
            lambda: [
                (word, pos, "Number=Sing" if pos == "NOUN" else "")
                for word, pos in rng.choice(_ENDINGS)
            ],
            lambda: [(rng.choice(["2", "3", "4", "7", "911", "747"]), "NUM", "")],
            lambda: [(rng.choice(["|", "-", "–", ":"]), "PUNCT", ""), *self._names()],
        ]
        return choices[rng.randrange(len(choices))]()

    # -- clauses ---------------------------------------------------------------------------------

    def _verb(self) -> str:
        rng = self._rng
        return rng.choice(rng.choices([VERBS, self._homographs], weights=[4, 1])[0])

    def _finite(self, *, plural: bool) -> list[Tagged]:
        """Draw one verb, two, or a list of them."""
        rng = self._rng
        n = rng.choices([1, 2, 3], weights=[80, 14, 6])[0]
        words: list[Tagged] = []
        for i in range(n):
            if i and i == n - 1:
                words.append(("and", "CCONJ", ""))
            elif i:
                words.append((",", "PUNCT", ""))
            verb = self._verb()
            words.append((verb if plural else third_person(verb), "VERB", "VerbForm=Fin"))
        return words

    def _after_verb(self) -> list[Tagged]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.35:
            return []
        if kind < 0.5:
            adverb = rng.choice(["closely", "back", "away", "up", "down", "on", "off", "nearby"])
            return [(adverb, "ADP" if adverb in {"up", "down", "on", "off"} else "ADV", "")]
        if kind < 0.8:
            return self._scenes.place()
        return self._scenes.noun_phrase()

    def _clause(self) -> list[Tagged]:
        """Draw a subject with phrases behind it, then its verb."""
        rng = self._rng
        plural = rng.random() < 0.3
        words = self._scenes.noun_phrase(plural=plural, person=True)
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            if rng.random() < 0.5:
                preposition = rng.choice(["with", "in", "wearing", "holding", "of", "on"])
                kind = ("VERB", "VerbForm=Part") if preposition.endswith("ing") else ("ADP", "")
                words.append((preposition, *kind))
                if rng.random() < 0.35:
                    words.append((rng.choice(COLOURS), "NOUN" if rng.random() < 0.5 else "ADJ", ""))
                    if words[-1][1] == "NOUN":
                        words[-1] = (words[-1][0], "NOUN", "Number=Sing")
                    else:
                        noun = rng.choice(THINGS)
                        words.append((plural_of(noun), "NOUN", "Number=Plur"))
                else:
                    words += self._scenes.noun_phrase()
            else:
                words += self._scenes.place()
        if rng.random() < 0.15:
            who = rng.choice(["that", "who"])
            words.append((who, "PRON", ""))
        if rng.random() < 0.1:
            verb = (self._verb(), "VERB", "VerbForm=Inf")
            return [*words, (rng.choice(_MODALS), "AUX", "VerbForm=Fin"), verb, *self._after_verb()]
        return words + self._finite(plural=plural) + self._after_verb()

    def _audience(self) -> list[Tagged]:
        """Draw somebody who does something while somebody else looks on."""
        rng = self._rng
        words = self._scenes.noun_phrase(plural=False, person=True)
        words += self._finite(plural=False) + self._scenes.place()
        words.append((rng.choice(["while", "as", "and"]), "SCONJ", ""))
        if words[-1][0] == "and":
            words[-1] = ("and", "CCONJ", "")
        plural = rng.random() < 0.5
        if rng.random() < 0.4:
            pronoun = rng.choice(_SOME_PRONOUNS)
            plural = pronoun in _PLURAL_PRONOUNS
            kind = ("NOUN", "Number=Plur") if pronoun == "others" else ("PRON", "")
            kind = ("DET", "") if pronoun == "another" else kind
            words.append((pronoun, *kind))
        elif rng.random() < 0.4:
            noun = rng.choice(PEOPLE)
            other = "other" if plural else "another"
            number = "Number=Plur" if plural else "Number=Sing"
            words.append((other, "ADJ" if plural else "DET", ""))
            words.append((plural_of(noun) if plural else noun, "NOUN", number))
        else:
            words += self._scenes.noun_phrase(plural=plural, person=True)
        return words + self._finite(plural=plural) + self._after_verb()

    def _news(self) -> list[Tagged]:
        rng = self._rng
        words: list[Tagged] = []
        if rng.random() < 0.3:
            words.append((rng.choice(_SPORTS), "NOUN", "Number=Sing"))
        words.append((rng.choice(_ROLES), "NOUN", "Number=Sing"))
        if rng.random() < 0.15:
            words += [(",", "PUNCT", ""), ("left", "ADV", ""), (",", "PUNCT", "")]
        words += self._finite(plural=False)
        if rng.random() < 0.5:
            words += self._scenes.noun_phrase()
        if rng.random() < 0.6:
            words += [
                (rng.choice(["during", "at", "after", "before", "in"]), "ADP", ""),
                (rng.choice(["a", "the"]), "DET", ""),
            ]
            if rng.random() < 0.4:
                words.append((rng.choice([*_SPORTS, *MATERIALS]), "NOUN", "Number=Sing"))
            words.append((rng.choice(_EVENTS), "NOUN", "Number=Sing"))
        return words

    def _call(self) -> list[Tagged]:
        rng = self._rng
        verb = self._verb()
        kind = rng.randrange(4)
        if kind == 0:
            words = [("how", "ADV", ""), ("to", "PART", ""), (verb, "VERB", "VerbForm=Inf")]
        elif kind == 1:
            words = [(rng.choice(["learn", "learning", "ready"]), "VERB", "VerbForm=Inf")]
            words[0] = ("ready", "ADJ", "") if words[0][0] == "ready" else words[0]
            words += [("to", "PART", ""), (verb, "VERB", "VerbForm=Inf")]
        elif kind == 2:
            second = (self._verb(), "VERB", "VerbForm=Fin")
            words = [(verb, "VERB", "VerbForm=Fin"), ("and", "CCONJ", ""), second]
        else:
            words = [(verb, "VERB", "VerbForm=Fin")]
        return words + (self._scenes.noun_phrase() if rng.random() < 0.6 else self._after_verb())

    # -- no verb at all --------------------------------------------------------------------------

    def _scene(self) -> list[Tagged]:
        rng = self._rng
        words: list[Tagged] = []
        if rng.random() < 0.5:
            words = [(rng.choice(_SCENES), "NOUN", "Number=Sing"), ("of", "ADP", "")]
        if rng.random() < 0.3:
            words += [
                (rng.choice(_BEFORE_CUT), "ADV", ""),
                (rng.choice(_CUT), "VERB", "VerbForm=Part"),
            ]
        plural = rng.random() < 0.6
        if rng.random() < 0.5:
            words.append((self._ware(), "NOUN", "Number=Sing"))
        ware = self._ware()
        words.append(
            (plural_of(ware), "NOUN", "Number=Plur") if plural else (ware, "NOUN", "Number=Sing")
        )
        if rng.random() < 0.3:
            words += [("and", "CCONJ", ""), (plural_of(self._ware()), "NOUN", "Number=Plur")]
        return words + self._scenes.place()


class MixedGrammar:
    """Draws from several grammars.

    Parameters
    ----------
    grammars : sequence
        Anything with a method ``draw``.
    weights : sequence of float
        How often each is asked, relative to the others.
    rng : random.Random
    """

    def __init__(
        self, grammars: Sequence[Grammar], weights: Sequence[float], rng: random.Random
    ) -> None:
        self._grammars = grammars
        self._weights = weights
        self._rng = rng

    def draw(self) -> list[Tagged]:
        """Draw one caption."""
        return self._rng.choices(self._grammars, self._weights)[0].draw()
