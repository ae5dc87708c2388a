"""The templates and words of captions, and how a template's slots are filled."""

import tomllib
from functools import cache
from typing import Any

from conceptaudit.lab.concepts import DATA, load_concepts
from conceptaudit.lab.dice import Dice
from conceptaudit.lab.phrases import Words, capitalised, with_article

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

    def __init__(self, dice: Dice, **given: str) -> None:
        super().__init__(given)
        self.dice = dice
        self.used_colours: list[str] = []

    def __missing__(self, slot: str) -> str:
        words, dice = grammar()["words"], self.dice
        if slot in _NUMBERS:
            low, high = _NUMBERS[slot]
            return str(low + dice.below(high - low))
        if slot == "person":
            return f"{dice.pick(words['first'])} {dice.pick(words['last'])}"
        kind = slot.lower().removeprefix("a_").removeprefix("an_")
        value = dice.pick(words[kind])
        if kind == "colour":
            self.used_colours.append(value)
        if slot.startswith(("a_", "an_")):
            return with_article(value)
        return capitalised(value) if slot[0].isupper() else value
