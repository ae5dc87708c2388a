"""English noun phrases for concepts: number, adjectives, determiners, lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conceptaudit.lab.concepts import LabConcept
from conceptaudit.lab.rng import SampleRng

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NOT_A_VOWEL_SOUND = ("unicorn", "ufo")
SILENT_H = ("hourglass",)
ALIAS_SHARE = 0.15
ADJECTIVE_SHARE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words that phrases are built from."""

    adjectives: Sequence[str]
    colours: Sequence[str]
    first_names: Sequence[str]
    # names of all concepts: an adjective must not turn "apple" into one ("green apple")
    taken: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mention:
    """A concept as a caption is to name it: which one, and how many."""

    concept: LabConcept
    # 0 for a mass noun or a plural that cannot be counted
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class NounPhrase:
    """A mention put into words, without its determiner."""

    noun: str
    adjective: str = ""
    count: int = 1

    @property
    def text(self) -> str:
        """Adjective and noun."""
        return f"{self.adjective} {self.noun}" if self.adjective else self.noun


def put_into_words(rng: SampleRng, mention: Mention, words: Words) -> NounPhrase:
    """Choose the name, its number and perhaps an adjective."""
    concept = mention.concept
    forms = (concept.name, concept.plural)
    if rng.chance(ALIAS_SHARE) and concept.aliases:
        forms = rng.pick(concept.aliases)
    singular, plural = forms
    countable = concept.kind == "count"
    noun = plural if countable and mention.count > 1 else singular
    adjective = ""
    if rng.chance(ADJECTIVE_SHARE):
        adjective = rng.pick(words.adjectives if rng.chance(0.6) else words.colours)
        if f"{adjective.split()[-1]} {noun}".lower() in words.taken:
            adjective = ""
    return NounPhrase(noun=noun, adjective=adjective, count=mention.count if countable else 0)


def with_determiner(rng: SampleRng, phrase: NounPhrase, words: Words) -> str:
    """Put an article, a number, an owner or nothing before the phrase."""
    choice = rng.uniform()
    if choice < 0.06:
        return f"{rng.pick(words.first_names)}'s {phrase.text}"
    if choice < 0.14:
        return f"{rng.pick(('the', 'my', 'our', 'your', 'the'))} {phrase.text}"
    if phrase.count > 1:
        return _with_number(phrase, choice)
    if phrase.count == 1:
        return f"one {phrase.text}" if choice < 0.17 else with_article(phrase.text)
    return f"some {phrase.text}" if choice < 0.5 else phrase.text


def _with_number(phrase: NounPhrase, choice: float) -> str:
    """Say how many, in one of the ways that captions do; `choice` in [0, 1) decides which."""
    number = NUMBER_WORDS[phrase.count] if phrase.count < len(NUMBER_WORDS) else str(phrase.count)
    if choice < 0.6:
        return f"{number} {phrase.text}"
    if choice < 0.7:
        return f"{phrase.count} {phrase.text}"
    if choice < 0.8:
        return f"a pair of {phrase.text}" if phrase.count == 2 else f"several {phrase.text}"
    return phrase.text if choice < 0.93 else f"many {phrase.text}"


def with_article(text: str) -> str:
    """Put "a" or "an" before a phrase.

    >>> with_article("orange cat"), with_article("unicorn"), with_article("hourglass")
    ('an orange cat', 'a unicorn', 'an hourglass')
    """
    first = text.split(maxsplit=1)[0].lower()
    vowel = first[0] in "aeiou" and first not in NOT_A_VOWEL_SOUND
    return f"an {text}" if vowel or first in SILENT_H else f"a {text}"


def enumerate_words(parts: Sequence[str], conjunction: str) -> str:
    """Join parts as a sentence lists them.

    >>> enumerate_words(["a dog", "two cats", "a bat"], "and")
    'a dog, two cats and a bat'
    """
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {conjunction} {parts[-1]}"


def capitalised(text: str) -> str:
    """Make the first letter a capital and leave the rest alone."""
    return text[:1].upper() + text[1:]


def title_case(text: str) -> str:
    """Make the first letter of every word a capital, also after a hyphen.

    >>> title_case("blue t-shirt"), title_case("UFO")
    ('Blue T-Shirt', 'UFO')
    """
    return _each_word(text, capitalised)


def _each_word(text: str, change: Callable[[str], str]) -> str:
    return " ".join("-".join(map(change, word.split("-"))) for word in text.split(" "))
