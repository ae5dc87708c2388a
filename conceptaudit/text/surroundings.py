"""The kinds of the words around a phrase, which are its context."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.text.splitting import Words
from conceptaudit.text.words import WordTable

if TYPE_CHECKING:
    from conceptaudit.text.word_forms import WordForms

Int64 = npt.NDArray[np.int64]

_CLOSED = (
    "a an the this that these those his her its their my our your some any each every no",
    "of in on at with for by from near into over under behind beside between across through as",
    "he she they we you i who it there",
    "is are was were be been being has have had do does did will would can could may",
    "to",
    "and or but , & while",
    ". ! ? ; : | / ( ) \" '",
)
_KIND_OF = {word: kind + 2 for kind, line in enumerate(_CLOSED) for word in line.split()}
_NO_WORD, _NUMBER, _ODD, _FIRST_OPEN = 0, 9, 10, 11
N_KINDS = 24

_UNKNOWN = -1


class WordKinds:
    """The kinds of words, each found once.

    Parameters
    ----------
    words : WordTable
        The numbers in use.
    forms : WordForms
        Tells what a word can be.
    """

    def __init__(self, words: WordTable, forms: WordForms | None) -> None:
        self._words = words
        self._forms = forms
        self._kinds = np.full(1024, _UNKNOWN, dtype=np.int8)

    def at(self, words: Words, own: Int64, places: Int64) -> Int64:
        """Return the kinds of words, where they are in the same captions as those at `own`."""
        inside = (places >= 0) & (places < len(words.ids))
        safe = np.where(inside, places, own)
        inside &= words.captions[safe] == words.captions[own]
        ids = words.ids[safe]
        if len(self._words) > len(self._kinds):
            room = np.full(2 * len(self._words) - len(self._kinds), _UNKNOWN, dtype=np.int8)
            self._kinds = np.append(self._kinds, room)
        for word in np.unique(ids[self._kinds[ids] == _UNKNOWN]).tolist():
            self._kinds[word] = _kind(self._words.texts[word], self._forms)
        return np.where(inside, self._kinds[ids], _NO_WORD).astype(np.int64)


def _kind(text: str, forms: WordForms | None) -> int:
    """Sort a word into one of `N_KINDS` kinds by what it can be."""
    from conceptaudit.text.word_forms import (
        ADJECTIVE,
        ANY_NOUN,
        COMPARED,
        VERB_BASE,
        VERB_ING,
        VERB_PAST,
        VERB_S,
    )

    lower = text.lower()
    if lower in _KIND_OF:
        return _KIND_OF[lower]
    if any(character.isdigit() for character in lower):
        return _NUMBER
    code = 0 if forms is None else forms.code(lower)
    if not code:
        return _ODD
    noun = bool(code & ANY_NOUN)
    if code & (VERB_ING | VERB_PAST | VERB_S):
        open_kind = 0 if code & VERB_ING else 1 if code & VERB_PAST else 2
    elif code & VERB_BASE:
        open_kind = 3
    elif code & (ADJECTIVE | COMPARED):
        open_kind = 4
    else:
        open_kind = 5
    return _FIRST_OPEN + 2 * open_kind + noun
