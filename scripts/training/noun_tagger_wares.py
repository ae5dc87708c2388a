"""The part of the caption grammar about things: compounds, bare plurals, lists, terse headlines.

Captions of shops and of rooms put nouns beside each other without an article: "garden boxes", "baby
mugs for the home", "a kitchen with stove, sink and microwave". The last word is often a verb, too,
so that the network has to see that nothing here can be its subject. The mirror image stands beside
it: things that do something ("a red car parks in front of a hotel"), and calls ("Eat. Surf").
Like the rest of the grammar it was written by hand; no caption data set went into it.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from noun_tagger_captions import (
    BOTH,
    COLOURS,
    MATERIALS,
    PEOPLE,
    THINGS,
    VERBS,
    CaptionGrammar,
    Tagged,
    plural_of,
    third_person,
)


def _words(text: str) -> list[str]:
    return text.split()


WARES = _words(
    """
    belt bottle bowl box brush button can clip comb cup drill envelope fan fork hammer hook label
    mask mirror nail paddle pan pin pipe plate plug pot ring saw shovel sign skate sponge spoon
    stamp strap tape tie towel watch wheel sink stove microwave light train iron bell boot bat
    blanket blind block board bolt book bucket buckle cage candle cap card cart chain chair chalk
    clock cloak coat coin collar cork cradle crate crown cube cushion dart diaper dish dress drum
    duck fence file filter flag flower frame glass glove grill guide gun hat harness hose ice jar
    jacket kettle key kite knife lace ladder leash letter lid lock log map mat model mop motor mount
    mug needle net note oil pack pad paint panel paper patch pedal pen pencil phone pillow pitcher
    plant plaster pocket poster pump purse rack rail ramp range razor ribbon rock rope ruler sail
    salt sandwich scale screen screw seat shade sheet shelf shield ship shirt shoe shower sled slide
    soap sock spray spring square stage staple star stem step stick stool straw string swing switch
    table tank tap tent tile tin toast tool top torch toy trap tray truck trumpet trunk tube tub
    umbrella vase vest wall wallet whip whistle wig wire wrench yoke zip bait bar barrel beam bow
    brace bridge bun butter cable cane channel chip clamp cleaver coaster compass cone cook counter
    cover crane crib dial dock dress drawer dryer grater hanger heater holder mixer opener peeler
    """
)
_ROOMS = _words(
    """
    kitchen garden bathroom bedroom office home house school hotel restaurant hospital classroom
    nursery patio laundry room farm beach garage shop street city village airport church museum
    """
)
_OCCASIONS = _words(
    """
    party wedding birthday christmas halloween easter winter summer travel gift holiday night
    hand wall floor desk table door window car bike coffee tea wine beer water food fruit kitchen
    business safety emergency fashion hair nail face body eye foot
    """
)
_WEARERS = _words("baby kid dog cat pet toddler doll child girl boy men women man lady horse bird")
_QUALITIES = _words(
    """
    vintage new old modern small large cute cheap wooden plastic custom personalized handmade
    decorative colorful antique retro empty clean dirty used broken round soft mini rustic fresh
    """
)
_COUNTS = _words("two three four five six 2 3 4 6 12")
_HEADS = _words("photo picture image set pair pile collection row box stack view close-up bunch")
_THINGS_THAT_ACT = _words(
    """
    car truck bus train boat plane ship helicopter tractor van taxi motorcycle bicycle jet balloon
    kite flag fountain lamp sun moon light candle river waterfall wave cloud storm fire volcano
    robot machine crane sign tower bridge road path tree snow rain clock bell ferry tram trolley
    """
)
_ACTS = _words(
    """
    park light wave hang lead run cross stop race turn tower shine rest land sail drift roll pass
    climb cover spray dump fly pull stand ring wind stretch face top mark rise plow plough load
    tow block fill frame circle dot line surround head hit crash burn smoke bloom
    """
)
_MOVES = _words("past along down up over across through into around off on away by")


class WareGrammar:
    """Draws tagged compounds, bare plurals, lists, and clauses that look like them.

    Parameters
    ----------
    scenes : CaptionGrammar
        Draws noun phrases and places.
    homographs : list of str
        Concrete nouns that are verbs as well.
    concrete : list of str
        Concrete nouns that have no other part of speech.
    rng : random.Random
        Source of randomness.
    """

    def __init__(
        self,
        scenes: CaptionGrammar,
        homographs: list[str],
        concrete: list[str],
        rng: random.Random,
    ) -> None:
        self._scenes = scenes
        self._pools = (WARES, homographs, concrete, BOTH, THINGS)
        self._concrete = concrete
        self._rng = rng

    def draw(self) -> list[Tagged]:
        """Draw one caption."""
        rng = self._rng
        kinds = [self._compound, self._list, self._bare, self._action, self._watched, self._calls]
        words = rng.choices(kinds, weights=[36, 20, 10, 24, 6, 4])[0]()
        style = rng.random()
        if style < 0.3:
            words = [(w[:1].upper() + w[1:], *rest) for w, *rest in words]
        elif style < 0.6:
            words = [(words[0][0][:1].upper() + words[0][0][1:], *words[0][1:]), *words[1:]]
        if rng.random() < 0.25:
            words.append((".", "PUNCT", ""))
        return words

    # -- nouns beside nouns ----------------------------------------------------------------------

    def _ware(self) -> str:
        return self._rng.choice(self._rng.choices(self._pools, weights=[60, 18, 10, 7, 5])[0])

    def _noun(self, noun: str, *, plural: bool) -> Tagged:
        if plural:
            return plural_of(noun), "NOUN", "Number=Plur"
        return noun, "NOUN", "Number=Sing"

    def _modifier(self) -> Tagged:
        rng = self._rng
        pools = (_ROOMS, _OCCASIONS, _WEARERS, MATERIALS, self._concrete, WARES)
        word = rng.choice(rng.choices(pools, weights=[25, 20, 18, 17, 10, 10])[0])
        number = "Number=Plur" if word in {"men", "women"} else "Number=Sing"
        return word, "NOUN", number

    def _phrase(self, *, plural: bool, modifiers: int) -> list[Tagged]:
        """Draw adjectives, nouns as modifiers, and a head, without an article."""
        rng = self._rng
        words: list[Tagged] = []
        if rng.random() < 0.25:
            words.append((rng.choice(rng.choice([_QUALITIES, COLOURS])), "ADJ", ""))
        words += [self._modifier() for _ in range(modifiers)]
        return [*words, self._noun(self._ware(), plural=plural)]

    def _before(self) -> list[Tagged]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.5:
            return []
        if kind < 0.85:
            head = (rng.choice(_HEADS), "NOUN", "Number=Sing")
            article: list[Tagged] = [("a", "DET", "")] if rng.random() < 0.4 else []
            return [*article, head, ("of", "ADP", "")]
        return [(rng.choice(_COUNTS), "NUM", "")]

    def _after(self) -> list[Tagged]:
        rng = self._rng
        sing, plur = "Number=Sing", "Number=Plur"
        # drawn only once chosen: each draw moves everything that follows
        choices: dict[int, Callable[[], list[Tagged]]] = {
            4: lambda: [
                ("for", "ADP", ""),
                ("the", "DET", ""),
                (rng.choice([*_ROOMS, *_WEARERS[:9]]), "NOUN", sing),
            ],
            5: lambda: [
                ("for", "ADP", ""),
                (rng.choice(["sale", "rent", "gift", "kids"]), "NOUN", sing),
            ],
            6: lambda: [
                (rng.choice(["with", "and", "for", "from"]), "ADP", ""),
                (plural_of(self._ware()), "NOUN", plur),
            ],
            7: lambda: [
                ("on", "ADP", ""),
                (rng.choice(["white", "black"]), "ADJ", ""),
                ("background", "NOUN", sing),
            ],
            8: lambda: [(",", "PUNCT", ""), (rng.choice(COLOURS), "NOUN", sing)],
            9: self._scenes.place,
        }
        return choices.get(rng.randrange(10), list)()

    def _compound(self) -> list[Tagged]:
        rng = self._rng
        before = self._before()
        counted = bool(before) and before[0][1] == "NUM"
        plural = counted or rng.random() < 0.7
        n = rng.choices([0, 1, 2], weights=[15, 70, 15])[0]
        return before + self._phrase(plural=plural, modifiers=n) + self._after()

    def _bare(self) -> list[Tagged]:
        """Draw one or two nouns that nothing surrounds."""
        rng = self._rng
        words = [self._noun(self._ware(), plural=rng.random() < 0.5)]
        if rng.random() < 0.4:
            words.append((rng.choice(["and", "&", "or"]), "CCONJ", ""))
            words.append(self._noun(self._ware(), plural=rng.random() < 0.5))
        return self._before() + words + self._after() if rng.random() < 0.8 else words

    def _list(self) -> list[Tagged]:
        """Draw a list, of things in a room or of wares."""
        rng = self._rng
        words: list[Tagged] = []
        kind = rng.random()
        room: Tagged = (rng.choice(_ROOMS), "NOUN", "Number=Sing")
        if kind < 0.4:
            words = [("a", "DET", ""), room] if rng.random() < 0.7 else [room]
            if rng.random() < 0.3:
                words.insert(-1, (rng.choice(_QUALITIES), "ADJ", ""))
            words.append(("with", "ADP", ""))
        elif kind < 0.5:
            words = [("the", "DET", ""), room, ("has", "VERB", "VerbForm=Fin")]
        elif kind < 0.65:
            words = self._before()
        if not words and rng.random() < 0.3:
            words = [("There", "PRON", ""), ("is", "VERB", "VerbForm=Fin")]
        every = rng.random() < 0.3  # an article before each item, or before the first at most
        first = rng.random() < 0.5
        n = rng.choice([2, 3, 3, 4, 5])
        separator = rng.choices([",", "/", "+"], weights=[90, 5, 5])[0]
        last = rng.choice(["and", "and", "and", "&", "or"])
        for i in range(n):
            if i:
                if i < n - 1 or rng.random() < 0.3:
                    words.append((separator, "PUNCT", ""))
                if i == n - 1:
                    words.append((last, "CCONJ", ""))
            plural = rng.random() < 0.3
            item = self._phrase(plural=plural, modifiers=rng.choice([0, 0, 0, 1]))
            if not plural and (every or (first and not i)):
                words.append(("an" if item[0][0][0] in "aeiou" else "a", "DET", ""))
            words += item
        return words + (self._scenes.place() if rng.random() < 0.3 else [])

    # -- what looks like it ----------------------------------------------------------------------

    def _action(self) -> list[Tagged]:
        """Draw a thing or a person that does something."""
        rng = self._rng
        person = rng.random() < 0.4
        noun = rng.choice(PEOPLE if person else _THINGS_THAT_ACT)
        plural = rng.random() < 0.25
        words = self._subject(noun, plural=plural)
        verb = rng.choice(VERBS if person else _ACTS)
        words.append((verb if plural else third_person(verb), "VERB", "VerbForm=Fin"))
        kind = rng.random()
        if kind < 0.35:
            return words + self._scenes.place()
        if kind < 0.6:
            words.append((rng.choice(_MOVES), "ADP", ""))
            return words + self._scenes.noun_phrase(plural=False)
        if kind < 0.85:
            return words + self._scenes.noun_phrase()
        if kind < 0.93:
            words.append(("and", "CCONJ", ""))
            second = rng.choice(VERBS)
            words.append((second if plural else third_person(second), "VERB", "VerbForm=Fin"))
            return words + self._scenes.place()
        return words

    def _watched(self) -> list[Tagged]:
        """Draw somebody who watches somebody or something do something."""
        rng = self._rng
        words = self._subject(rng.choice(PEOPLE), plural=False)
        sense = ["watching", "watches", "sees", "making", "helps", "lets", "helping", "watched"]
        verb = rng.choice(sense)
        form = "Part" if verb.endswith("ing") else "Fin"
        words.append((verb, "VERB", f"VerbForm={form}"))
        person = rng.random() < 0.6
        noun = rng.choice(PEOPLE if person else _THINGS_THAT_ACT)
        words += self._subject(noun, plural=rng.random() < 0.4)
        words.append((rng.choice(VERBS if person else _ACTS), "VERB", "VerbForm=Inf"))
        return words + (self._scenes.place() if rng.random() < 0.7 else [])

    def _subject(self, noun: str, *, plural: bool) -> list[Tagged]:
        """Draw what stands before a verb, about a given noun."""
        rng = self._rng
        words: list[Tagged] = []
        article = rng.random()
        if article < 0.7 and not plural:
            words.append((rng.choice(["a", "the", "the", "this", "his"]), "DET", ""))
        elif article < 0.5:
            words.append((rng.choice(["the", "two", "some", "these"]), "DET", ""))
            if words[-1][0] == "two":
                words[-1] = ("two", "NUM", "")
        if rng.random() < 0.4:
            words.append((rng.choice(rng.choice([_QUALITIES, COLOURS])), "ADJ", ""))
        if words and rng.random() < 0.25:
            words.append(self._modifier())
        if words and words[0][0] == "a" and words[1:] and words[1][0][0] in "aeiou":
            words[0] = ("an", "DET", "")
        words.append(self._noun(noun, plural=plural))
        if rng.random() < 0.2:
            words += self._scenes.place()
        if rng.random() < 0.08:
            adverb = rng.choice(["slowly", "closely", "quickly", "quietly", "carefully"])
            words.append((adverb, "ADV", ""))
        return words

    def _calls(self) -> list[Tagged]:
        """Draw verbs in a row, or a call with its object."""
        rng = self._rng
        if rng.random() < 0.5:
            separator = rng.choice([".", ",", "", "&"])
            words: list[Tagged] = []
            for _ in range(rng.choice([2, 3, 3, 4])):
                if words and separator:
                    words.append((separator, "CCONJ" if separator == "&" else "PUNCT", ""))
                words.append((rng.choice(VERBS), "VERB", "VerbForm=Fin"))
            return words
        words = [(rng.choice(VERBS), "VERB", "VerbForm=Fin")]
        if rng.random() < 0.4:
            article = rng.choice(["your", "the", "this", "our", "a"])
            kind = "PRON" if article in {"your", "our"} else "DET"
            return [*words, (article, kind, ""), *self._phrase(plural=False, modifiers=0)]
        return words + self._scenes.place()
