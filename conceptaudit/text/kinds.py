"""What is a kind of what, from Open English WordNet: a dhole is a kind of animal."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from conceptaudit.text.morphology import english_singular
from conceptaudit.text.normalize import normalize, phrase_text

TABLE = Path(__file__).parent / "data" / "noun_kinds.txt.gz"

_JOINTS = re.compile(r"[\s_-]+")
_SYNSET = re.compile(r"(.+)\.n\.\d+")
"""How NLTK and LVIS write a synset; its number is Princeton's, and the lexicon's differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kinds:
    """Senses by name, and of each sense what it is directly a kind of."""

    senses: Mapping[str, tuple[int, ...]]
    above: tuple[tuple[int, ...], ...]


@cache
def _kinds() -> _Kinds:
    senses: dict[str, list[int]] = defaultdict(list)
    above = []
    for number, line in enumerate(gzip.decompress(TABLE.read_bytes()).decode().split("\n")):
        parents, _, names = line.partition("\t")
        above.append(tuple(int(parent) for parent in parents.split(",") if parent))
        for name in names.split("|"):
            senses[name.partition(";")[0]].append(number)
    return _Kinds(senses={k: tuple(v) for k, v in senses.items()}, above=tuple(above))


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

    Parameters
    ----------
    name : str
        A concept's name, in singular or plural.
    synset : str or None
        Such as ``"dog.n.01"``: its word is tried where the name is not known.
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


def is_kind_of(name: str, parent: str, synset: str | None = None) -> bool | None:
    """Tell whether one sense of a name is a kind of one sense of another.

    Parameters
    ----------
    name, parent : str
        Nouns.
    synset : str or None
        See `senses_of`.

    Returns
    -------
    bool or None
        None where the lexicon does not have the name as a noun.

    References
    ----------
    Open English WordNet, https://en-word.net, CC BY 4.0.

    Examples
    --------
    >>> is_kind_of("dhole", "animal"), is_kind_of("violin", "animal"), is_kind_of("qwx", "animal")
    (True, False, None)
    """
    senses = senses_of(name, synset)
    if not senses:
        return None
    wanted = frozenset(senses_of(parent))
    return any(_ancestors(sense) & wanted for sense in senses)
