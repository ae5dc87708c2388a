"""Captions as the web writes them, with exact knowledge of what each one names as a noun."""

import html
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from conceptaudit.lab.concepts import DATA, load_concepts
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.phrases import (
    Mention,
    NounPhrase,
    Words,
    capitalised,
    enumerate_words,
    put_into_words,
    title_case,
    with_article,
    with_determiner,
)
from conceptaudit.lab.rng import SampleRng
from conceptaudit.lab.zipf import ranked_concepts

LANGUAGES = ("de", "es", "fr")
FREE_STYLES = frozenset({"photo", "sentence", "relation", "alt", "list", "proper"})
"""Styles whose capitals and endings vary; titles and file names keep theirs."""

_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A caption and the truth about its words."""

    text: str
    # concepts that it names as a noun; the longest name counts ("hot dog" names no dog), and in
    # other languages a name that is spelled as in English ("ein Tiger")
    mentioned: tuple[str, ...]
    # whose word occurs in another role only: "they bat first", "an orange car", "une basket"
    not_noun: tuple[str, ...]
    style: str
    language: str = "en"


@lru_cache(maxsize=16)
def _names_in_use(config: LabConfig) -> frozenset[str]:
    return frozenset(concept.name for concept in ranked_concepts(config))


@lru_cache(maxsize=16)
def _verb_names(config: LabConfig) -> tuple[str, ...]:
    verbs = grammar()["verbs"]
    return tuple(sorted(c.name for c in ranked_concepts(config) if c.name in verbs))


@cache
def _styles() -> tuple[str, ...]:
    """Style names, each as often as its weight says."""
    return tuple(style for style, weight in grammar()["weights"].items() for _ in range(weight))


def write_caption(
    config: LabConfig, rng: SampleRng, mentions: Sequence[Mention], *, language: str, verb: bool
) -> Caption:
    """Put the mentions into a caption of some style."""
    if language != "en":
        return _foreign(config, rng, mentions, language)
    mentioned = tuple(mention.concept.name for mention in mentions)
    style = rng.pick(_styles()) if mentions else "none"
    if verb and style in ("file", "title"):
        style = "photo"
    if style == "relation" and len(mentions) < 2:
        style = "sentence"
    text, colours = _english(rng, mentions, style)
    others: list[str] = []
    if verb and _verb_names(config):
        text, colours, used = _add_verb(config, rng, mentions, text, colours)
        others.append(used)
    if any("orange" in colour for colour in colours):
        others.append("orange")
    if style in FREE_STYLES:
        text = _web_habits(rng, text)
    not_noun = tuple(sorted({*others} & _names_in_use(config) - {*mentioned}))
    return Caption(text=text, mentioned=mentioned, not_noun=not_noun, style=style)


def _english(rng: SampleRng, mentions: Sequence[Mention], style: str) -> tuple[str, list[str]]:
    """Fill a template of the style; return the text and the colours that it names."""
    words = vocabulary()
    template = rng.pick(grammar()["styles"][style])
    phrases = [put_into_words(rng, mention, words) for mention in mentions]
    if style == "file":
        mark = "_" if rng.chance(0.6) else "-"
        nouns = [re.sub(r"['’]", "", phrase.noun.lower()).replace(" ", mark) for phrase in phrases]
        return template.format_map(Slots(rng, slug=f"{mark}and{mark}".join(nouns))), []
    colours = [phrase.adjective for phrase in phrases]
    if style == "title":
        titles = [title_case(phrase.text) for phrase in phrases]
        slots = Slots(rng, title=enumerate_words(titles, rng.pick(("and", "&"))))
    else:
        things = [with_determiner(rng, phrase, words) for phrase in phrases]
        bare = ", ".join(phrase.text for phrase in phrases)
        slots = Slots(
            rng,
            things=enumerate_words(things, "and"),
            Things=capitalised(enumerate_words(things, "and")),
            bare=bare,
            Bare=capitalised(bare),
            one=things[0] if things else "",
            One=capitalised(things[0] if things else ""),
            others=enumerate_words(things[1:], "and"),
        )
    text = template.format_map(slots)
    return text, [*colours, *slots.used_colours]


def _add_verb(
    config: LabConfig, rng: SampleRng, mentions: Sequence[Mention], text: str, colours: list[str]
) -> tuple[str, list[str], str]:
    """Use some concept's word as a verb.

    Returns the caption, the colours that it names, and the concept whose word is the verb.
    """
    endings = grammar()["verb_phrases"]
    first = mentions[0] if mentions else None
    names = [name for name in _verb_names(config) if name in endings]
    if first and first.count == 1 and first.concept.kind == "count" and rng.chance(0.4) and names:
        # "A duck ducks": the same word as noun and verb, where there is such a verb.
        own = first.concept.name in names and rng.chance(0.5)
        name = first.concept.name if own else rng.pick(names)
        subject = f"{with_article(first.concept.name)} {endings[name]}"
        phrases: list[NounPhrase] = []
        others: list[str] = []
        for other in mentions[1:]:
            phrases.append(put_into_words(rng, other, vocabulary()))
            others.append(with_determiner(rng, phrases[-1], vocabulary()))
        scene = f", next to {enumerate_words(others, 'and')}" if others else ""
        return subject + scene, [phrase.adjective for phrase in phrases], name
    name = rng.pick(_verb_names(config))
    clause = rng.pick(grammar()["verbs"][name]).format_map(Slots(rng))
    return (f"{clause} {text}" if rng.chance(0.5) else f"{text}. {clause}"), colours, name


def _foreign(
    config: LabConfig, rng: SampleRng, mentions: Sequence[Mention], language: str
) -> Caption:
    templates = grammar()["foreign"][language]
    names = [getattr(mention.concept, language) for mention in mentions]
    template = rng.pick(templates["some"] if names else templates["none"])
    text = template.format_map(Slots(rng, x=enumerate_words(names, templates["and"])))
    shown = {mention.concept.name for mention in mentions}
    alike = {name for foreign in names for name in _english_look_alikes(foreign)}
    return Caption(
        text=capitalised(text),
        mentioned=tuple(m.concept.name for m in mentions if m.concept.name in alike),
        not_noun=tuple(sorted(alike & _names_in_use(config) - shown)),
        style="foreign",
        language=language,
    )


@cache
def _english_look_alikes(foreign: str) -> tuple[str, ...]:
    """Find concepts whose English name stands in a foreign phrase; the longest name counts."""
    words = f" {' '.join(_TOKEN.findall(foreign)).lower()} "
    found = {
        form: concept.name
        for concept in load_concepts()
        for form in concept.phrases
        if f" {form.lower()} " in words
    }
    longest = (form for form in found if not any(form != f and form in f for f in found))
    return tuple(sorted({found[form] for form in longest}))


def _web_habits(rng: SampleRng, text: str) -> str:
    """Vary what people vary without thinking: capitals, endings, entities."""
    habit = rng.uniform()
    if habit < 0.10:
        text = text.lower()
    elif habit < 0.12:
        text = text.upper()
    elif habit < 0.55:
        text = capitalised(text)
    if rng.chance(0.10):
        text += rng.pick(grammar()["words"]["suffix"])
    return html.escape(text) if rng.chance(0.01) else text


_NUMBERS = {"number": (10, 10_000), "size": (10, 100), "small": (2, 10), "year": (1950, 2026)}
"""Slots that hold a whole number, with its range."""


@cache
def grammar() -> dict[str, Any]:
    """Read the templates and words of ``data/captions.toml``."""
    with (DATA / "captions.toml").open("rb") as file:
        return tomllib.load(file)


@cache
def vocabulary() -> Words:
    """Collect the words that noun phrases are built from."""
    words = grammar()["words"]
    return Words(
        adjectives=words["adjective"],
        colours=words["colour"],
        first_names=words["first"],
        taken=frozenset(form.lower() for c in load_concepts() for form in c.phrases),
    )


class Slots(dict[str, str]):
    """Values of the slots of one caption; those not given are drawn when first asked for."""

    def __init__(self, rng: SampleRng, **given: str) -> None:
        super().__init__(given)
        self.rng = rng
        self.used_colours: list[str] = []

    def __missing__(self, slot: str) -> str:
        words, rng = grammar()["words"], self.rng
        if slot in _NUMBERS:
            low, high = _NUMBERS[slot]
            return str(low + rng.below(high - low))
        if slot == "person":
            return f"{rng.pick(words['first'])} {rng.pick(words['last'])}"
        kind = slot.lower().removeprefix("a_").removeprefix("an_")
        value = rng.pick(words[kind])
        if kind == "colour":
            self.used_colours.append(value)
        if slot.startswith(("a_", "an_")):
            return with_article(value)
        return capitalised(value) if slot[0].isupper() else value
