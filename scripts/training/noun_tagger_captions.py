"""A small grammar of image captions, written by hand: text with known tags, free of any licence.

Newspaper and web text shows "watch" as a verb and "train" as a verb or a noun in equal parts;
captions use other senses, in noun phrases without a main verb. No caption data set went into the
grammar. Its nouns come from three word lists: everyday ones, ones that double as verbs, and the
concrete nouns of Open English WordNet.
"""

from __future__ import annotations

import random

Tagged = tuple[str, str, str]  # word, universal part of speech, reduced features


def _words(text: str) -> list[str]:
    return text.split()


PEOPLE = _words(
    """
    man woman boy girl child person kid lady guy baby toddler teenager player worker dog cat
    horse bird surfer skier skateboarder snowboarder cyclist biker runner rider climber
    swimmer diver dancer singer musician chef vendor farmer officer fireman policeman
    soldier athlete goalie pitcher batter cowboy clown bride groom student teacher boxer
    drummer guitarist painter sheep duck elephant couple family group team crowd audience
    puppy poodle collie terrier goose seagull cow
    """
)
THINGS = _words(
    """
    shirt hat jacket helmet dress coat jeans pants shorts glasses sunglasses goggles cap
    scarf sweater hoodie skirt uniform vest backpack bag umbrella ball frisbee stick rope
    guitar drum camera phone laptop table chair bench car truck bus train bike bicycle
    motorcycle boat kayak canoe skateboard snowboard surfboard wetsuit wheelchair stroller
    tent pizza sandwich cake apple orange banana bottle cup plate bowl flower tree leaf rock
    stone wall fence sign building house window door ladder hammer drill saw knife fork
    spoon book newspaper toy balloon kite slide swing trampoline watch clock lamp light
    candle mirror bed couch sofa pillow blanket towel broom mop bucket hose leash collar
    bone basket box tray net racket bat glove mitt puck sled ski paddle oar sail anchor
    bridge railing ramp platform pole post tire wheel engine instrument microphone violin
    trumpet
    """
)
_PLACES = _words(
    """
    street beach park field road sidewalk river lake ocean pool mountain hill trail forest
    garden yard kitchen restaurant store market station platform stadium court track rink
    playground stage bridge dock pier harbor airport parking_lot city room bathroom office
    classroom library church swimming_pool desert meadow snow sand grass water mud air woods
    cliff cave tunnel crosswalk alley plaza fountain farm barn zoo museum gym subway_station
    train_station living_room ski_lift ski_slope race_track soccer_field basketball_court
    baseball_game tennis_court amusement_park city_street hiking_trail fishing_boat
    train_track picnic_table water_fountain climbing_wall ski_resort
    """
)
# Nouns that are verbs as well: in noun phrases here, and most of them as verbs below.
BOTH = _words(
    """
    watch train park light drill ski swing ride jump walk run climb play fish duck dress box
    slide surf skate board bike race trick kick dance paint hammer saw nail comb brush rock
    rope face head hand back stand seat picture look smile wave pass throw catch pitch bat
    field track line fence plant garden hose spray sail row paddle fly camp hike fire smoke
    drink cook bench pool book ring stroll stroke sign signal ship shop show shower skirt
    sled snack stage step swim toast tow toy trail tube turn tie trunk walk whip wheel
    wrestle yawn iron jog juggle leash mask mop mound pack pet plow pose post pot print pump
    punch push rake ramp rest roll scoop score serve shade shovel shoot spin splash sweep
    tackle tag tent text top touch trap tunnel bark beam bounce bow bowl butter cap card
    cart chain circle clap coach crane crawl crowd cross cup curl cut deck dive dock dress
    drum dust flag flash float flip fork frame grill group guide gun harness hit hug hunt
    kiss ladder laugh lead leap lift lounge march model object parade photograph rain snow
    shadow stare stack star straw talk taste dunk tumble visit cheer chat cry
    """
)
COLOURS = _words(
    """
    red orange orange blue green yellow white black brown pink purple gray grey gold silver tan
    beige maroon turquoise violet teal
    """
)
_ADJECTIVES = _words(
    """
    young old little small large big tall short long elderly happy sad wet dry dirty clean
    empty crowded busy snowy sandy rocky grassy muddy sunny cloudy dark bright light
    colorful wooden open closed Asian American African blond blonde bald shirtless barefoot
    fluffy furry hairy brown black white golden plastic heavy huge tiny beautiful pretty
    cute round steep shallow deep professional male female traditional formal casual modern
    narrow wide high low hot cold fresh green striped bearded
    fallen broken lit
    """
)
_PARTICIPLES = _words("smiling running flying parked laughing crying jumping painted sleeping")
_TOYS = _words("toy toy night swim dirt street stage city")
_COMPOUNDS = _words(
    """
    light_pole light_bulb light_post light_fixture street_light traffic_light stage_light toy_train
    train_set train_car train_conductor jet_ski ski_pole ski_jacket ski_mask ski_boot tire_swing
    swing_set rope_swing park_bench park_ranger theme_park water_park skate_park drill_team
    drill_bit power_drill wrist_watch pocket_watch rock_wall face_paint track_suit soccer_ball
    swim_trunk dress_shirt wedding_dress bathing_suit hard_hat hula_hoop life_jacket
    """
)
MATERIALS = _words(
    """
  leather metal brick stone concrete denim wool cotton glass paper rubber steel straw wood
  plastic cardboard soccer football basketball baseball tennis hockey volleyball golf
  police fire traffic street ski fishing hiking running swimming cowboy winter summer
  water train bus watch park drill apple chocolate iron cherry stone gold silver
  """
)
VERBS = _words(
    """
    walk run jump ride ski skate surf swim drill park train watch play swing climb fish
    dance paint slide hike bike race row paddle sail fly camp cook drink eat sit stand lie
    sleep look stare smile laugh wave point pose perform sing juggle throw catch kick hit
    pitch bat chase carry hold wear pull push lift drag hug kiss feed pet walk brush comb
    wash clean sweep mop rake shovel dig plant water hose spray hammer saw nail fix repair
    build cut slice chop grill stir pour serve sell buy shop read write draw photograph film
    record talk chat speak listen march parade cheer clap celebrate race leap dive float
    splash crawl roll flip tumble spin bounce balance grind skateboard snowboard wrestle
    fight box punch tackle block dribble shoot score pass bowl golf rest relax lean kneel
    bend stretch exercise jog wait stop cross enter leave board drive steer tow cruise land
    hover duck swoop bark bite chew lick sniff shake fetch play drum strum iron knit sew
    lounge stroll light ring blow bow beam dress load stack pack set lead follow guide face
    display show use make take demonstrate gather approach examine observe decorate fill
    cover surround
    """
)
_PAST_ONLY = _words(
    """
    dressed seated parked covered filled surrounded made painted decorated held tied worn
    pulled ridden driven carried displayed
    """
)
_IRREGULAR_ING = {"lie": "lying", "tie": "tying"}
_DOUBLED = _words(
    """
    knit run swim jog hit cut sit set bat hug pet flip spin shop chop stop mop dig stir chat clap
    score_ skip pat grab nap rub wrap plan slip strum drum drag spot trim
    """
)
_PREPOSITIONS = _words(
    """
    in on at near with by under over behind beside through across along down up into onto
    toward towards around against beneath past from between of for
    """
)
_ADVERBS = [
    "outside",
    "together",
    "outdoors",
    "inside",
    "away",
    "quickly",
    "happily",
    "nearby",
    "upside-down",
]
_NUMBERS = ["two", "three", "four", "five", "six", "several", "many", "some"]
# "An orange shirt" and "a light shirt" are no shirts for oranges and lights.
_MODIFIERS = [noun for noun in THINGS if noun not in {"orange", "light"}]
_IRREGULAR_PLURALS = {
    "man": "men", "woman": "women", "child": "children", "person": "people", "fireman": "firemen",
    "policeman": "policemen", "sheep": "sheep", "goose": "geese", "leaf": "leaves",
    "knife": "knives", "fish": "fish", "snowman": "snowmen",
}  # fmt: skip
_ALWAYS_PLURAL = {"jeans", "pants", "shorts", "glasses", "sunglasses", "goggles", "woods"}
_MASS = {"snow", "sand", "grass", "water", "mud", "air", "rain"}


def third_person(verb: str) -> str:
    """Third person singular, and regular plural, of a word."""
    if verb.endswith(("s", "x", "ch", "sh", "o")):
        return verb + "es"
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + "s"


def _ing(verb: str) -> str:
    if verb in _IRREGULAR_ING:
        return _IRREGULAR_ING[verb]
    if verb in _DOUBLED:
        return verb + verb[-1] + "ing"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye")):
        return verb[:-1] + "ing"
    return verb + "ing"


def plural_of(noun: str) -> str:
    """Regular or listed plural of a noun."""
    if noun in _IRREGULAR_PLURALS:
        return _IRREGULAR_PLURALS[noun]
    if noun in _ALWAYS_PLURAL:
        return noun
    return third_person(noun) if not noun.endswith("o") else noun + "s"


class CaptionGrammar:
    """Draws tagged captions.

    Parameters
    ----------
    concrete
        Concrete nouns of the lexicon, singular, that have no other part of speech.
    rng
        Source of randomness.
    """

    def __init__(self, concrete: list[str], rng: random.Random) -> None:
        self._concrete = concrete
        self._rng = rng

    def draw(self) -> list[Tagged]:
        """One caption: a clause or a bare noun phrase, with or without a final full stop."""
        rng = self._rng
        kind = rng.random()
        if kind < 0.42:
            words = self._clause()
        elif kind < 0.78:
            words = self.noun_phrase() + self._participle()
        elif kind < 0.90:
            words = self.noun_phrase() + self.place()
        elif kind < 0.96:
            words = [("There", "PRON", ""), ("is", "AUX", "VerbForm=Fin"), *self.noun_phrase()]
            words += self._participle() if rng.random() < 0.6 else self.place()
        else:
            words = self.noun_phrase()
        if rng.random() < 0.7:
            words.append((".", "PUNCT", ""))
        return [(words[0][0].capitalize(), *words[0][1:]), *words[1:]]

    def _clause(self) -> list[Tagged]:
        rng = self._rng
        words = self._main_clause()
        if rng.random() < 0.15:
            words += [(rng.choice(["while", "as", "as"]), "SCONJ", ""), *self._main_clause()]
        elif rng.random() < 0.08:
            words += [("with", "ADP", ""), *self.noun_phrase(person=True), *self._participle()]
        return words

    def _main_clause(self) -> list[Tagged]:
        rng = self._rng
        plural = rng.random() < 0.4
        words = self.noun_phrase(plural=plural, person=True)
        if rng.random() < 0.06:
            words = [("they" if plural else rng.choice(["he", "she", "it"]), "PRON", "")]
        if plural and rng.random() < 0.15:
            groups = ["group", "crowd", "couple", "bunch", "team", "pair", "lot", "row"]
            words = [("a", "DET", ""), (rng.choice(groups), "NOUN", "Number=Sing")]
            words += [("of", "ADP", ""), (plural_of(rng.choice(PEOPLE)), "NOUN", "Number=Plur")]
        elif plural and rng.random() < 0.25:
            words = [*self.noun_phrase(person=True), ("and", "CCONJ", "")]
            words += self.noun_phrase(person=True)
        if rng.random() < 0.12:
            words += [(",", "PUNCT", ""), *self._verb_ing(), *self._rest(), (",", "PUNCT", "")]
        elif rng.random() < 0.15:
            words += self.place(bare=True)
        if rng.random() < 0.45:
            words.append(("are" if plural else "is", "AUX", "VerbForm=Fin"))
            return words + self._participle()
        verb = rng.choice(VERBS)
        words.append((verb if plural else third_person(verb), "VERB", "VerbForm=Fin"))
        words += self._rest()
        if rng.random() < 0.15:
            verb = rng.choice(VERBS)
            words += [("and", "CCONJ", "")]
            words += [
                (verb if plural else third_person(verb), "VERB", "VerbForm=Fin"),
                *self._rest(),
            ]
        if rng.random() < 0.15:
            words += [("to", "PART", ""), (rng.choice(VERBS), "VERB", "VerbForm=Inf")]
            words += self._rest()
        return words

    def _verb_ing(self) -> list[Tagged]:
        return [(_ing(self._rng.choice(VERBS)), "VERB", "VerbForm=Part")]

    def _participle(self) -> list[Tagged]:
        if self._rng.random() < 0.12:
            colour = (self._rng.choice(COLOURS), "NOUN", "Number=Sing")
            dressed = (self._rng.choice(["dressed", "clad"]), "VERB", "VerbForm=Part")
            return [
                dressed,
                ("in", "ADP", ""),
                colour,
                *(self.place() if self._rng.random() < 0.4 else []),
            ]
        if self._rng.random() < 0.1:
            return [(self._rng.choice(_PAST_ONLY), "VERB", "VerbForm=Part"), *self.place()]
        words = self._verb_ing() + self._rest()
        if self._rng.random() < 0.2:
            words += [("while", "SCONJ", ""), *self._verb_ing(), *self._rest()]
        return words

    def _rest(self) -> list[Tagged]:
        kind = self._rng.random()
        if kind < 0.2:
            return []
        if kind < 0.27:
            return [(self._rng.choice(_ADVERBS), "ADV", "")]
        if kind < 0.6:
            return self.place()
        words = self.noun_phrase()
        return words + self.place() if self._rng.random() < 0.5 else words

    def place(self, *, bare: bool = False) -> list[Tagged]:
        """Draw a preposition and where it leads."""
        rng = self._rng
        preposition = (rng.choice(_PREPOSITIONS), "ADP", "")
        if rng.random() < 0.08:
            return [("in", "ADP", ""), (rng.choice(COLOURS), "NOUN", "Number=Sing")]
        if bare or rng.random() < 0.5:
            return [preposition, *self.noun_phrase()]
        words = rng.choice(_PLACES).split("_")
        tagged = [(w, "NOUN", "Number=Sing") for w in words]
        if words[0] in _MASS and rng.random() < 0.5:
            return [preposition, *tagged]
        article = rng.choice(["a", "the", "the"])
        if article == "a" and words[0][0] in "aeiou":
            article = "an"
        return [preposition, (article, "DET", ""), *tagged]

    def noun_phrase(self, *, plural: bool | None = None, person: bool = False) -> list[Tagged]:
        """Draw a noun phrase."""
        rng = self._rng
        plural = rng.random() < 0.3 if plural is None else plural
        kind = rng.random()
        if person:
            noun = rng.choice(PEOPLE if kind < 0.8 else BOTH if kind < 0.88 else self._concrete)
        else:
            noun = rng.choice(THINGS if kind < 0.4 else BOTH if kind < 0.7 else self._concrete)
            if rng.random() < 0.08:
                noun = rng.choice(_COMPOUNDS)
        modifiers: list[Tagged] = []
        if rng.random() < 0.18:
            if rng.random() < 0.4:
                modifiers.append((rng.choice(["light", "dark", "bright"]), "ADJ", ""))
            modifiers.append((rng.choice(COLOURS), "ADJ", ""))
            if rng.random() < 0.12:
                modifiers += [("and", "CCONJ", ""), (rng.choice(COLOURS), "ADJ", "")]
        elif rng.random() < 0.35:
            if rng.random() < 0.08:
                modifiers += self._compound_adjective()
            elif rng.random() < 0.1:
                modifiers.append((rng.choice(_PARTICIPLES), "VERB", "VerbForm=Part"))
            else:
                modifiers.append((rng.choice(_ADJECTIVES), "ADJ", ""))
        if rng.random() < 0.2:
            pool = rng.choice([MATERIALS, MATERIALS, self._concrete, _MODIFIERS, _TOYS])
            modifiers.append((rng.choice(pool), "NOUN", "Number=Sing"))
        *compound, noun = noun.split("_")
        modifiers += [(word, "NOUN", "Number=Sing") for word in compound]
        plural = plural or noun in _ALWAYS_PLURAL
        number = "Number=Plur" if plural else "Number=Sing"
        head = (plural_of(noun) if plural else noun, "NOUN", number)
        if rng.random() < 0.03:
            modifiers = [
                (rng.choice(PEOPLE), "NOUN", "Number=Sing"),
                ("'s", "PART", ""),
                *modifiers,
            ]
        phrase = [*modifiers, head]
        return [*self._determiner(phrase[0][0], plural=plural), *phrase]

    def _compound_adjective(self) -> list[Tagged]:
        rng = self._rng
        first = rng.choice(["light", "dark", *COLOURS])
        last = rng.choice(["colored", "haired", "skinned", "clad"])
        hyphen = [("-", "PUNCT", "")] if rng.random() < 0.7 else []
        return [(first, "ADJ", ""), *hyphen, (last, "ADJ", "")]

    def _determiner(self, following: str, *, plural: bool) -> list[Tagged]:
        rng = self._rng
        kind = rng.random()
        if plural:
            if kind < 0.4:
                number = rng.choice(_NUMBERS)
                return [
                    (
                        number,
                        "ADJ"
                        if number in {"several", "many"}
                        else "DET"
                        if number == "some"
                        else "NUM",
                        "",
                    )
                ]
            if kind < 0.6:
                return [("the", "DET", "")]
            return []
        options = ["the", "the", "his", "her", "their", "its", "", "", ""]
        article = "an" if following[0] in "aeiou" else "a"
        word = rng.choice(options) if kind < 0.4 else article
        if not word:
            return []
        return [(word, "DET" if word in {"a", "an", "the"} else "PRON", "")]
