"""The ways in which captions spell one English phrase.

"t-shirt", "t shirt", "tee shirt" and "tshirt" are one thing to whoever writes a caption, and so
are "bird's nest", "birds' nest" and "birds nest". A name of several words is also looked for in
one word, unless that word is another one: "hot dog" is "hotdog", but "black bird" is no blackbird.
"""

from __future__ import annotations

import re
from functools import cache

from conceptaudit.text.morphology import english_plurals, english_singular, is_english_word
from conceptaudit.text.normalize import normalize
from conceptaudit.text.phrases import PREPOSITIONS
from conceptaudit.text.wordnet_senses import phrase_of, same_thing_joined

LISTED = (
    (("t", "shirt"), ("tee", "shirt"), ("tshirt",), ("teeshirt",)),
    (("st",), ("saint",)),
    (("mt",), ("mount",)),
)
"""Spellings that no rule finds: each group is one word or phrase, its plural included."""

_POSSESSIVE = re.compile(r"(?<=\w)'s(?!\w)", re.IGNORECASE)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SHORTEST_PART = 3
_SHORTEST_OWNER = 4
_OWNERS = "man woman boy girl kid child baby lady gent gentleman toddler infant"
_PEOPLE = frozenset(_OWNERS.split())
"""Owners that captions write without an apostrophe: "mens shoes", "girls dress"."""

_GAPS = re.compile(r"[\s\u2010-\u2015-]+")
_MAX_PARTS = 8
"""Longer names are sentences; nobody writes them in one word."""


def english_spellings(phrase: str) -> tuple[str, ...]:
    """Return the spellings of a phrase that captions may have, the given one first.

    >>> english_spellings("t-shirt")
    ('t-shirt', 't shirt', 'tshirt', 'tee shirt', 'tee-shirt', 'teeshirt')
    >>> english_spellings("hot dog"), english_spellings("black bird")
    (('hot dog', 'hot-dog', 'hotdog'), ('black bird', 'black-bird'))
    >>> english_spellings("bird's nest")
    ("bird's nest", 'birds nest', 'birds-nest', 'birdsnest')
    >>> english_spellings("mens shoes")
    ('mens shoes', 'mens-shoes', 'mensshoes', "men's shoes")
    >>> english_spellings("AnnualCrop")
    ('AnnualCrop', 'annual crop', 'annual-crop')
    """
    found = {normalize(phrase): phrase}
    for spelled in (phrase, *_possessives(phrase), *_parted(phrase)):
        found.setdefault(normalize(spelled), spelled)
        parts = tuple(_GAPS.split(normalize(spelled)))
        if len(parts) > _MAX_PARTS or not all(parts):
            continue
        for group in _respelled(parts):
            for same in (" ".join(group), *_rejoined(group)):
                found.setdefault(same, same)
    return tuple(found.values())


def _possessives(phrase: str) -> list[str]:
    """Write the possessives of a phrase without their apostrophe, and as plurals."""
    plain = phrase.replace("\u2019", "'")
    if "'" in plain:
        # the apostrophe after an s is no word within a phrase: "birds' nest" is "birds nest"
        return [_POSSESSIVE.sub("s", plain)] if _POSSESSIVE.search(plain) else []
    first, *others = plain.split(" ")
    if not others or len(first) < _SHORTEST_OWNER or not first.lower().endswith("s"):
        return []
    owner = first[:-1]
    if first.lower().endswith("ss") or not (_is_person(owner.lower())):
        return []
    return [" ".join([f"{owner}'s", *others])]


def _is_person(word: str) -> bool:
    return word in _PEOPLE or word in {plural for one in _PEOPLE for plural in english_plurals(one)}


def _parted(phrase: str) -> list[str]:
    """Part a name that is joined by capitals, where the parts are words: "AnnualCrop"."""
    parts = _CAMEL.sub(" ", phrase).split()
    words = [part.lower() for part in parts]
    joined = len(parts) > 1 and len(phrase.split()) < len(parts)
    fits = all(len(word) >= _SHORTEST_PART and is_english_word(word) for word in words)
    return [" ".join(words)] if joined and fits else []


def _respelled(parts: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Return the phrase with each listed part in each of its spellings, and divided words."""
    found = dict.fromkeys([parts])
    for group in _listed():
        for spelled in group:
            for start in range(len(parts) - len(spelled) + 1):
                stop = start + len(spelled)
                if parts[start:stop] == spelled:
                    for other in group:
                        found.setdefault((*parts[:start], *other, *parts[stop:]))
    for place, part in enumerate(parts):
        divided = phrase_of(english_singular(part)) if part.isalpha() else None
        if divided is not None:
            *front, last = divided.split()
            if part != english_singular(part):
                last = english_plurals(last)[0]
            found.setdefault((*parts[:place], *front, last, *parts[place + 1 :]))
    return list(found)


def _rejoined(parts: tuple[str, ...]) -> list[str]:
    """Hyphenate and join each gap in turn."""
    found = []
    for place in range(1, len(parts)):
        front, back = parts[:place], parts[place:]
        if not {front[-1], back[0]} & PREPOSITIONS and "'" not in front[-1]:
            found.append(f"{' '.join(front)}-{' '.join(back)}")
        if _may_join(front[-1], back[0]):
            found.append(f"{' '.join(front)}{' '.join(back)}")
    return found


def _may_join(first: str, second: str) -> bool:
    """Tell whether two words written in one are the same thing, or else no word at all."""
    if not (first.isalpha() and second.isalpha()) or {first, second} & PREPOSITIONS:
        return False
    if same_thing_joined(f"{first} {english_singular(second)}"):
        return True
    return not is_english_word(first + second)


@cache
def _listed() -> tuple[tuple[tuple[str, ...], ...], ...]:
    plurals = tuple(
        tuple((*spelled[:-1], english_plurals(spelled[-1])[0]) for spelled in group)
        for group in LISTED
        if all(spelled[-1].isalpha() for spelled in group)
    )
    return (*LISTED, *plurals)


def hyphenations(phrase: str) -> tuple[str, ...]:
    """Return a phrase with its hyphens as they are, as spaces, and its spaces as hyphens.

    For languages whose words we do not know: some tokenizers leave hyphenated words whole.

    >>> hyphenations("rendez-vous"), hyphenations("Hund")
    (('rendez-vous', 'rendez vous'), ('Hund',))
    """
    parts = [part for part in _GAPS.split(phrase) if part]
    if len(parts) < 2 or len(parts) > _MAX_PARTS:
        return (phrase,)
    return tuple(dict.fromkeys((phrase, " ".join(parts), "-".join(parts))))
