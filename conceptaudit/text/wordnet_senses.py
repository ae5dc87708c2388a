"""How many things a name can mean, from Open English WordNet.

A count of "crane" adds up birds and machines: no tagger of parts of speech can tell them apart.
What can be said is how many noun senses a name has, so that its count is read with that in mind.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from conceptaudit.display import quantity
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.morphology import english_singular, lexicon_noun_senses
from conceptaudit.text.normalize import normalize, phrase_text

TABLE = Path(__file__).parent / "data" / "noun_senses.txt.gz"

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
    for line in gzip.decompress(TABLE.read_bytes()).decode().split("\n"):
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
