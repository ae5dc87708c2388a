r"""Captions to words, many captions at a time.

A word is a run of letters and digits, "'s", an initialism ("U.S."), a pictograph or a single mark.
Captions that have gone through ``caption_text`` hold single spaces only, so each distinct run of
characters between them is split once, whatever captions it stands in.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.text.normalize import normalize

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

_SPACE, _LINE_BREAK = 32, 10
_TONES = "\U0001f3fb-\U0001f3ff"
_TONE = re.compile(f"[{_TONES}]")
_LAST_MARK = 0x11FFF
"""Combining marks lie below; variation selectors, which lie above, have been taken out."""


@cache
def _word_pattern() -> re.Pattern[str]:
    # \w has no combining marks, which stand within words of Indic scripts, and no joiners
    marks = [c for c in range(0x300, _LAST_MARK) if unicodedata.category(chr(c)) in ("Mn", "Mc")]
    ranges, start = [], marks[0]
    for before, after in zip(marks, [*marks[1:], -1], strict=True):
        if after != before + 1:
            ranges.append(f"{chr(start)}-{chr(before)}")
            start = after
    letters = f"(?:[^\\W_][{''.join(ranges)}\u200c\u200d]*)"
    picture = f"[^\\w\\s][{_TONES}]?"
    return re.compile(
        r"\S+://\S*|www\.\S+"  # what an address holds is not said of the image
        r"|[0-9#*]\u20e3"  # a keycap
        r"|[\U0001f1e6-\U0001f1ff]{2}"  # a flag
        r"|(?<![^\W_])(?:[^\W\d_]\.){2,}"
        rf"|{letters}+"
        r"|['\u2019]s(?![^\W_])"
        rf"|{picture}(?:\u200d\S[{_TONES}]?)*"
    )


def split_words(text: str) -> list[tuple[str, int]]:
    """Split a text into words with the places where they start.

    >>> [word for word, _ in split_words("a men's t-shirt of the U.S. team")]
    ['a', 'men', "'s", 't', '-', 'shirt', 'of', 'the', 'U.S.', 'team']
    >>> split_words("https://example.org/dog")
    [('https://example.org/dog', 0)]
    """
    return [(match.group(), match.start()) for match in _word_pattern().finditer(text)]


def word_key(word: str) -> str:
    """Return the form in which words of captions and phrases are compared.

    >>> word_key("U.S."), word_key("Café")
    ('us', 'cafe')
    """
    folded = normalize(word)
    if len(folded) > 2 and folded[1] == ".":
        return folded.replace(".", "")
    return folded


def without_tone(word: str) -> str:
    """Take the skin tones out of a pictograph."""
    return word if word.isascii() else _TONE.sub("", word) or word


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of many captions, one after the other."""

    captions: Int32  # shape (n_words,): which caption each belongs to; ascending
    ids: Int32  # shape (n_words,): numbers of the distinct words
    # shape (n_words,): characters [start, stop) of the caption
    starts: Int32
    stops: Int32


class WordSplitter:
    """Splits captions into numbered words."""

    def __init__(
        self,
        add: Callable[[str], None],
        split: Callable[[str], Sequence[tuple[str, int]]] = split_words,
    ) -> None:
        self._add = add
        self._split = split
        self._ids: dict[str, int] = {}
        self._runs: dict[str, int] = {}
        # of each run: its first word among those below, their number, its length
        self._shape = np.zeros((1024, 3), dtype=np.int32)
        self._words: list[tuple[int, int, int]] = []
        self._columns = np.zeros((0, 3), dtype=np.int32)

    def __len__(self) -> int:
        return len(self._runs) + len(self._ids)

    def __call__(self, captions: Sequence[str]) -> Words:
        """Split captions that have gone through ``caption_text``."""
        import pyarrow as pa

        # one text for all captions: numpy and Arrow go through it, and Python sees distinct runs
        text = " \n ".join(captions) + " "
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        ends = np.flatnonzero(data == _SPACE)
        is_break = (data[ends - 1] == _LINE_BREAK) & (np.diff(ends, prepend=-1) == 2)
        owner = np.cumsum(is_break, dtype=np.int32)
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        offsets[1:] = ends + 1
        columns: tuple[Any, Any] = (offsets, data)
        buffers = [pa.py_buffer(column) for column in columns]
        pieces = pa.StringArray.from_buffers(len(ends), buffers[0], buffers[1])
        encoded: Any = pieces.filter(pa.array(~is_break)).dictionary_encode()
        numbers = self._numbers(encoded.dictionary.to_pylist())
        return self._expand(numbers[encoded.indices.to_numpy()], owner[~is_break])

    def _numbers(self, pieces: Sequence[str]) -> Int32:
        """Return the numbers of runs, each given with the space after it."""
        known = self._runs
        for piece in pieces:
            if piece not in known:
                known[piece] = len(known)
                if len(known) > len(self._shape):
                    self._shape = np.concatenate([self._shape, np.zeros_like(self._shape)])
                run = piece[:-1]
                words = self._split(run)
                self._shape[known[piece]] = (len(self._words), len(words), len(run))
                self._words += [(self._id(w), start, start + len(w)) for w, start in words]
        if len(self._words) > len(self._columns):
            new = self._words[len(self._columns) :]
            rows = np.array(new, dtype=np.int32).reshape(-1, 3)
            self._columns = np.concatenate([self._columns, rows])
        return np.array([known[piece] for piece in pieces], dtype=np.int32)

    def _id(self, word: str) -> int:
        number = self._ids.get(word)
        if number is None:
            number = self._ids[word] = len(self._ids)
            self._add(word)
        return number

    def _expand(self, runs: Int32, owner: Int32) -> Words:
        first, n, length = self._shape[runs].T
        places, at = ragged(first, n)
        width = length.astype(np.int64) + 1
        before = np.cumsum(width) - width
        opens = np.flatnonzero(np.diff(owner, prepend=-1))
        base = np.repeat(before[opens], np.diff(opens, append=len(owner)))
        offset = (before - base)[at].astype(np.int32)
        ids, starts, stops = self._columns[places].T
        return Words(captions=owner[at], ids=ids, starts=offset + starts, stops=offset + stops)


def ragged(first: npt.NDArray[np.integer], n: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Expand runs of consecutive places.

    `first` and `n` have the shape (n_runs,), the results (n.sum(),).

    >>> places, runs = ragged(np.array([5, 9]), np.array([2, 1]))
    >>> places.tolist(), runs.tolist()
    ([5, 6, 9], [0, 0, 1])
    """
    n = n.astype(np.int64)
    runs = np.repeat(np.arange(len(n)), n)
    places = np.arange(len(runs)) + (first - (np.cumsum(n) - n))[runs]
    return places, runs
