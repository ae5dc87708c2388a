"""Words as numbers: what every distinct word can be, looked up once.

The pipeline decides a word's part of speech and lemma in context, but only some outcomes are
possible for a given word. Where they all mean the same to the matcher, context does not matter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.text.matcher import HYPHENS, PhraseMatcher
from conceptaudit.text.normalize import normalize
from conceptaudit.text.word_forms import ENDINGS

if TYPE_CHECKING:
    from spacy.language import Language

    from conceptaudit.text.noun_lexicon import NounLexicon

SKIPPED, KEYED, HEAD, LEFT, RIGHT = 1, 2, 4, 8, 16
"""Flags of a word: a hyphen; in a phrase; possibly its head; with a word after or before it."""

Reading = tuple[bool, int, int]
"""What the matcher is told of a word: whether it is a noun, its key, and its lemma's key."""

Readings = Callable[[str], tuple[Reading, ...]]
"""Gives the readings of a word by tag: one for every tag, or a single one for all."""


class WordTable:
    """The distinct words of the captions read so far.

    Parameters
    ----------
    matcher : PhraseMatcher
        The phrases that are looked for.
    readings : callable
        Gives the readings of a word that a phrase may hold.
    """

    def __init__(self, matcher: PhraseMatcher, readings: Readings) -> None:
        self.texts: list[str] = []
        self.readings: list[tuple[Reading, ...]] = []
        self._ids: dict[str, int] = {}
        self._matcher = matcher
        self._readings = readings
        self._flags = np.zeros(1024, dtype=np.uint8)
        self._lefts = {left for left, _ in matcher.pairs}
        self._rights = {right for _, right in matcher.pairs}

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def flags(self) -> npt.NDArray[np.uint8]:
        """Flags by word, shape (n_words,)."""
        return self._flags[: len(self.texts)]

    def id(self, text: str) -> int:
        """Return a word's number."""
        number = self._ids.get(text)
        if number is None:
            number = self._ids[text] = len(self.texts)
            self.texts.append(text)
            if number >= len(self._flags):
                self._flags = np.concatenate([self._flags, np.zeros_like(self._flags)])
            readings = () if text in HYPHENS else self._readings(text)
            self.readings.append(readings)
            self._flags[number] = SKIPPED if text in HYPHENS else self._flag(readings)
        return number

    def keys(self, word: int) -> set[int]:
        """Return every key that a word can have."""
        return {key for _, *keys in self.readings[word] for key in keys if key >= 0}

    def adjacent(self, left: int, right: int) -> bool:
        """Tell whether some phrase may hold two words one after the other."""
        pairs = self._matcher.pairs
        return any((a, b) in pairs for a in self.keys(left) for b in self.keys(right))

    def _flag(self, readings: tuple[Reading, ...]) -> int:
        keys = {key for _, *both in readings for key in both if key >= 0}
        return (
            bool(keys) * KEYED
            | bool(keys & self._matcher.head_keys) * HEAD
            | bool(keys & self._lefts) * LEFT
            | bool(keys & self._rights) * RIGHT
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceReadings:
    """Readings where nothing is tagged: every word counts as a noun, by its surface."""

    matcher: PhraseMatcher

    def __call__(self, text: str) -> tuple[Reading, ...]:
        """Return the one reading of a word, or none where no phrase holds it."""
        key = self.matcher.key(normalize(text))
        return ((True, key, key),) if key >= 0 else ()


class LexiconReadings:
    """Readings of the bundled pipeline's words: one for each tag of its network.

    Parameters
    ----------
    matcher : PhraseMatcher
        The phrases that are looked for.
    lexicon : NounLexicon
        The pipeline's last component, which sets lemmas and makes nouns of words that can be
        nothing else.
    tags : sequence of (str, bool)
        Part of speech, and whether it is marked as plural, of each tag of the network.
    """

    def __init__(
        self, matcher: PhraseMatcher, lexicon: NounLexicon, tags: tuple[tuple[str, bool], ...]
    ) -> None:
        self._matcher = matcher
        self._lexicon = lexicon
        self._tags = tags
        self._special = lexicon.forms.special_forms
        self._endings: dict[str, list[tuple[str, str]]] = {}
        for old, new in sorted(ENDINGS):
            self._endings.setdefault(old[-1], []).append((old, new))

    def __call__(self, text: str) -> tuple[Reading, ...]:
        """Return a word's readings in the order of the tags, or none where no phrase holds it."""
        surface = self._matcher.key(normalize(text))
        if surface < 0 and not self._may_have_lemma(text):
            return ()
        keys: dict[str, int] = {}
        readings = []
        for noun, lemma in self._lexicon.outcomes(text, self._tags):
            if lemma not in keys:
                keys[lemma] = self._matcher.key(normalize(lemma))
            readings.append((noun, surface, keys[lemma] if lemma else surface))
        relevant = any(key >= 0 for _, *both in readings for key in both)
        return tuple(readings) if relevant else ()

    def _may_have_lemma(self, text: str) -> bool:
        """Tell cheaply that no lemma of a word is wanted, which is so for nearly all words."""
        lower = text.lower()
        bare = lower[:-2] if lower.endswith(("'s", "\u2019s")) else lower
        if lower in self._special or bare in self._special:
            return True
        folded = normalize(bare)
        if folded in self._matcher.keys:
            return True
        return any(
            folded.endswith(old) and folded[: -len(old)] + new in self._matcher.keys
            for old, new in self._endings.get(folded[-1:], ())
        )


def network_tags(nlp: Language) -> tuple[tuple[str, bool], ...]:
    """Return part of speech and number of each tag of a pipeline's morphologizer, in order."""
    labels = nlp.get_pipe("morphologizer").labels  # type: ignore[attr-defined]  # typed as any Pipe
    tags = []
    for label in labels:
        features = dict(part.split("=", 1) for part in label.split("|") if "=" in part)
        tags.append((features.get("POS", ""), features.get("Number") == "Plur"))
    return tuple(tags)
