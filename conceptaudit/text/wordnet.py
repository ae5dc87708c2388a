"""What WordNet says of names: how many senses they have, and what is a kind of what.

A count of "crane" adds up birds and machines: no tagger of parts of speech can tell them apart.
What can be said is how many noun senses a name has, so that its count is read with that in mind;
and that a dhole is a kind of animal. The tables are of Open English WordNet, https://en-word.net,
CC BY 4.0.
"""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from math import log
from pathlib import Path

from conceptaudit.display import quantity
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.normalize import normalize, phrase_text
from conceptaudit.text.word_forms import english_singular, lexicon_noun_senses

_SENSES_TABLE = Path(__file__).parent / "data" / "noun_senses.txt.gz"

MANY_SENSES = 2
"""From here on a name is called ambiguous. Of the class names of nine evaluation sets in LAION-400M
(REAL, Parashar et al. 2024), judged relevance is below one half for 14 % with one sense, 34 % with
two, 43 % with three and 54 % with four."""

_JOINTS = re.compile(r"[\s_-]+")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Phrases:
    """Lemmas of several words: their noun senses, and which are also written in one word."""

    senses: Mapping[str, int]
    joined: frozenset[str]
    by_joined: Mapping[str, str]


@cache
def _phrases() -> _Phrases:
    senses: dict[str, int] = {}
    joined: set[str] = set()
    by_joined: dict[str, str] = {}
    for line in gzip.decompress(_SENSES_TABLE.read_bytes()).decode().split("\n"):
        lemma, _, rest = line.partition("\t")
        number = rest.rstrip("=")
        senses[lemma] = int(number) if number else 1
        if rest.endswith("="):
            joined.add(lemma)
        by_joined.setdefault(lemma.replace(" ", ""), lemma)
    return _Phrases(senses=senses, joined=frozenset(joined), by_joined=by_joined)


def same_thing_joined(phrase: str) -> bool:
    """Tell whether a phrase and the same letters in one word share a sense: "hot dog".

    >>> same_thing_joined("hot dog"), same_thing_joined("black bird")
    (True, False)
    """
    return phrase in _phrases().joined


def phrase_of(word: str) -> str | None:
    """Return the phrase that a word writes as one, or None where it is a word of its own.

    >>> phrase_of("hotdog"), phrase_of("tshirt"), phrase_of("dog")
    ('hot dog', 't shirt', None)
    """
    phrase = _phrases().by_joined.get(word)
    if phrase is None or (phrase not in _phrases().joined and lexicon_noun_senses(word)):
        return None
    return phrase


def noun_senses(name: str) -> int | None:
    """Return the number of noun senses of a name in Open English WordNet.

    See Open English WordNet, https://en-word.net, CC BY 4.0.

    >>> noun_senses("bank"), noun_senses("hot_dog"), noun_senses("xylorimba")
    (10, 3, None)
    """
    words = _JOINTS.split(normalize(phrase_text(name)).strip())
    single = [*words[:-1], english_singular(words[-1])]
    divided = (phrase_of("".join(single)) or "").split() if len(words) == 1 else []
    for spelled in filter(None, (words, single, divided)):
        phrase = " ".join(spelled)
        known = _phrases().senses.get(phrase) if len(spelled) > 1 else lexicon_noun_senses(phrase)
        if known:
            return known
    return None


def ambiguity_note(vocabulary: ConceptVocabulary, senses: Iterable[int | None]) -> str | None:
    """Say which names of a list mean many things, the worst first; None where none does.

    >>> from conceptaudit.records import Concept
    >>> bank = ConceptVocabulary((Concept(name="bank"), Concept(name="xylophone")))
    >>> ambiguity_note(bank, [10, 1])[:47]
    '1 of 2 names have 2 or more meanings as a noun '
    """
    many = sorted(
        (-n, name)
        for name, n in zip(vocabulary.names, senses, strict=True)
        if n is not None and n >= MANY_SENSES
    )
    if not many:
        return None
    shown = ", ".join(f"{name!r} {-n}" for n, name in many[:_SHOWN])
    more = ", …" if len(many) > _SHOWN else ""
    return (
        f"{len(many):,} of {quantity(len(vocabulary), 'name')} have {MANY_SENSES} or more "
        f"meanings as a noun in Open English WordNet ({shown}{more}): their text counts add all "
        "meanings up. The column n_senses has the number for each; 'conceptaudit judge RUN "
        "--side text' draws captions to judge."
    )


KINDS_TABLE = Path(__file__).parent / "data" / "noun_kinds.txt.gz"

_SYNSET = re.compile(r"(.+)\.n\.(\d+)")
"""How NLTK and LVIS write a synset; its number is Princeton's, and the lexicon's differ."""

_WORDS = re.compile(r"[a-z]+( [a-z]+)*")

_PLURALS = {"person": ("people",)}
"""Plurals that the lexicon has as words of their own (a people is a group)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """Senses by name, and of each sense what it is directly a kind of.

    `numbered` has the senses by name and number; `main_names` has of each sense the names that
    mean it first of all; `below` what is directly a kind of it.
    """

    senses: Mapping[str, tuple[int, ...]]
    numbered: Mapping[tuple[str, int], int]
    main_names: Mapping[int, tuple[str, ...]]
    above: tuple[tuple[int, ...], ...]
    below: Mapping[int, tuple[int, ...]]


@cache
def _kinds() -> _Kinds:
    senses: dict[str, list[int]] = defaultdict(list)
    main_names: dict[int, list[str]] = defaultdict(list)
    below: dict[int, list[int]] = defaultdict(list)
    numbered, above = {}, []
    for number, line in enumerate(gzip.decompress(KINDS_TABLE.read_bytes()).decode().split("\n")):
        parents, _, names = line.partition("\t")
        above.append(tuple(int(parent) for parent in parents.split(",") if parent))
        for parent in above[-1]:
            below[parent].append(number)
        for written in names.split("|"):
            name, _, place = written.partition(";")
            senses[name].append(number)
            numbered[name, int(place or 1)] = number
            if place in ("", "1"):
                main_names[number] += [name, *_PLURALS.get(name, ())]
    return _Kinds(
        senses={k: tuple(v) for k, v in senses.items()},
        numbered=numbered,
        main_names={k: tuple(v) for k, v in main_names.items()},
        above=tuple(above),
        below={k: tuple(v) for k, v in below.items()},
    )


@lru_cache(maxsize=1 << 16)
def _ancestors(sense: int) -> frozenset[int]:
    found = {sense}
    waiting = [sense]
    while waiting:
        for parent in _kinds().above[waiting.pop()]:
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return frozenset(found)


def senses_of(name: str, synset: str | None = None) -> tuple[int, ...]:
    """Return the noun senses of a name as the lexicon numbers them; () where it has none.

    Of a phrase that the lexicon does not have, its head decides: a tropical fish is a fish.
    """
    named = _SYNSET.fullmatch(synset or "")
    for text in (name, named[1] if named else ""):
        words = [word for word in _JOINTS.split(normalize(phrase_text(text)).strip()) if word]
        for first in range(len(words)):
            head = [*words[first:-1], english_singular(words[-1])]
            found = _kinds().senses.get(" ".join(words[first:])) or _kinds().senses.get(
                " ".join(head)
            )
            if found:
                return found
    return ()


FIRST_SENSES = 5
"""Senses of a name that are looked at: later ones are rare."""

POWER = 0.5
"""What a kind's information content is raised to; see `weighted_kinds`."""


@cache
def _information() -> tuple[float, ...]:
    """Return the information content of each sense: minus the log of its share of all senses.

    A sense under two kinds counts in both, so that counts come from one pass.
    """
    above = _kinds().above
    below = [1.0] * len(above)
    for number in range(len(above) - 1, -1, -1):  # a kind stands before what is of it
        for parent in above[number]:
            below[parent] += below[number]
    return tuple(max(log(len(above) / n), 0.0) for n in below)


def weighted_kinds(name: str) -> dict[int, float]:
    """Return what a name is a kind of, the more telling the heavier: "animal" little, "husky" much.

    See Resnik, "Using information content to evaluate semantic similarity in a taxonomy", IJCAI
    1995.
    """
    senses = senses_of(name)[:FIRST_SENSES]
    shares: dict[int, float] = defaultdict(float)
    for sense in senses:
        for kind in _ancestors(sense):
            shares[kind] += 1.0 / len(senses)
    content = _information()
    return {k: share * content[k] ** POWER for k, share in sorted(shares.items()) if content[k]}


def is_hyponym_of(name: str, parent: str, synset: str | None = None) -> bool | None:
    """Tell whether one sense of a name is a kind of one sense of another.

    See Open English WordNet, https://en-word.net, CC BY 4.0.

    >>> [is_hyponym_of(name, "animal") for name in ("dhole", "violin", "qwx")]
    [True, False, None]
    """
    senses = senses_of(name, synset)
    if not senses:
        return None
    wanted = frozenset(senses_of(parent))
    return any(_ancestors(sense) & wanted for sense in senses)


def kinds_of(name: str, synset: str | None = None) -> tuple[str, ...]:
    """Return the names that mean, first of all, a kind of what a name means first of all.

    A surfer is a person; a pole is not, though a Pole is, because the word means a rod first.
    Names that have another main sense are left out: a mention of them says little.

    >>> {"surfer", "woman", "people"} <= set(kinds_of("person")), "dog" in kinds_of("person")
    (True, False)
    """
    sense = _main_sense(name, synset)
    if sense is None:
        return ()
    names = {n for kind in _descendants(sense) for n in _kinds().main_names.get(kind, ())}
    # matching takes "men's" for "men": the room is no man
    return tuple(sorted(n for n in names if _WORDS.fullmatch(n)))


def is_mainly(name: str, parent: str, synset: str | None = None) -> bool:
    """Tell whether the main sense of a name is a kind of the main sense of another.

    >>> is_mainly("dog", "animal"), is_mainly("cat", "person"), is_mainly("mouse", "animal")
    (True, False, True)
    >>> is_mainly("mouse", "animal", "mouse.n.04")
    False
    """
    sense, above = _main_sense(name, synset), _main_sense(parent, None)
    return sense is not None and above is not None and above in _ancestors(sense)


def _main_sense(name: str, synset: str | None) -> int | None:
    """Return the sense that a synset names, or else the first one of the name."""
    numbered = _kinds().numbered
    given = _SYNSET.fullmatch(synset or "")
    if given:
        sense = numbered.get((given[1].replace("_", " ").lower(), int(given[2])))
        if sense is not None:
            return sense
    words = [word for word in _JOINTS.split(normalize(phrase_text(name)).strip()) if word]
    if not words:
        return None
    whole = numbered.get((" ".join(words), 1))
    singular = numbered.get((" ".join([*words[:-1], english_singular(words[-1])]), 1))
    # "shoes" has an entry of its own for an idiom, which has no other name and no kinds
    alone = (
        whole is not None and len(_kinds().main_names[whole]) == 1 and not _kinds().below.get(whole)
    )
    return singular if whole is None or (alone and singular is not None) else whole


def _descendants(sense: int) -> set[int]:
    """Return a sense and all kinds of it."""
    found, waiting = {sense}, [sense]
    while waiting:
        new = [kind for kind in _kinds().below.get(waiting.pop(), ()) if kind not in found]
        found.update(new)
        waiting += new
    return found
