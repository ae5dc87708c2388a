"""Captions to words, as spaCy's tokenizer splits them, many captions at a time.

spaCy splits each run without white space on its own, so each distinct run is split once and
remembered. What that does not hold for (white space other than single spaces, a tokenizer that is
not spaCy's, a run that the tokenizer fails on) goes through the pipeline's own tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from conceptaudit.text.words import WordTable

if TYPE_CHECKING:
    from spacy.language import Language

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of many captions, one after the other.

    Parameters
    ----------
    captions : numpy.ndarray of int32, shape (n_words,)
        Which caption each belongs to; ascending.
    ids : numpy.ndarray of int32, shape (n_words,)
        Numbers in the `WordTable`.
    starts, stops : numpy.ndarray of int32, shape (n_words,)
        Characters [start, stop) of the caption.
    failures : dict of int to str
        How the tokenizer failed, by caption.
    """

    captions: Int32
    ids: Int32
    starts: Int32
    stops: Int32
    failures: dict[int, str]


class Splitter:
    """Splits captions into words.

    Parameters
    ----------
    nlp : spacy.language.Language
        The pipeline whose tokenizer decides.
    words : WordTable
        Where distinct words are numbered.
    """

    def __init__(self, nlp: Language, words: WordTable) -> None:
        self._nlp = nlp
        self._table = words
        self._plain = splits_by_run(nlp)
        tokenizer: Any = nlp.tokenizer
        self._tokenizer = tokenizer
        rules = tokenizer.rules if self._plain else ()
        self._rules: frozenset[str] = frozenset(rules or ())
        self._runs = _Runs(self)
        # of each run: its first word in the lists below, the number of its words, its length
        self._first, self._n, self._length = _Column(), _Column(), _Column()
        self._ids, self._starts, self._stops = _Column(), _Column(), _Column()
        self._runs["\n"] = self._break = self.add("")  # no plain caption holds a line break

    def __len__(self) -> int:
        return len(self._runs)

    def __call__(self, captions: Sequence[str]) -> Words:
        """Split captions that have gone through ``caption_text``."""
        failures: dict[int, str] = {}
        odd = [i for i, caption in enumerate(captions) if not self._is_plain(caption)]
        plain = np.ones(len(captions), dtype=bool)
        plain[odd] = False
        texts = [caption if ok else "" for caption, ok in zip(captions, plain, strict=True)]
        # one list for all captions: a list for each would keep the garbage collector busy
        parts = " \n ".join(texts).split(" ")
        runs = np.fromiter(map(self._runs.__getitem__, parts), np.int32, len(parts))
        breaks = runs == self._break
        owner = np.cumsum(breaks, dtype=np.int32)[~breaks]
        runs = runs[~breaks]
        failed = owner[self._n.values[runs] < 0]
        if len(failed):
            plain[failed] = False
            kept = plain[owner]
            runs, owner = runs[kept], owner[kept]
            odd = np.flatnonzero(~plain).tolist()
        words = self._expand(runs, owner, failures)
        return words if not odd else self._with_odd(words, captions, odd)

    def _is_plain(self, caption: str) -> bool:
        return (
            self._plain
            and caption.isprintable()
            and "  " not in caption
            and caption[:1] != " "
            and caption[-1:] != " "
            and 0 < len(caption) < self._nlp.max_length
        )

    def _expand(self, runs: Int32, owner: Int32, failures: dict[int, str]) -> Words:
        n = self._n.values[runs]
        width = self._length.values[runs].astype(np.int64) + 1
        before = np.cumsum(width) - width
        opens = np.flatnonzero(np.diff(owner, prepend=-1))
        base = np.repeat(before[opens], np.diff(opens, append=len(owner)))
        places, at = ragged(self._first.values[runs], n)
        offset = (before - base)[at].astype(np.int32)
        return Words(
            captions=owner[at],
            ids=self._ids.values[places],
            starts=offset + self._starts.values[places],
            stops=offset + self._stops.values[places],
            failures=failures,
        )

    def _with_odd(self, words: Words, captions: Sequence[str], odd: Sequence[int]) -> Words:
        columns: list[list[int]] = [[], [], [], []]
        for i in odd:
            try:
                doc = self._nlp.make_doc(captions[i])
            except Exception as error:  # noqa: BLE001 -- any tokenizer may fail on any caption
                words.failures[i] = f"{type(error).__name__}: {error}"
                continue
            for token in doc:
                row = (i, self._table.id(token.text), token.idx, token.idx + len(token.text))
                for column, value in zip(columns, row, strict=True):
                    column.append(value)
        added = [np.array(column, dtype=np.int32) for column in columns]
        joined = [
            np.concatenate([old, new])
            for old, new in zip(
                (words.captions, words.ids, words.starts, words.stops), added, strict=True
            )
        ]
        order = np.argsort(joined[0], kind="stable")
        owner, ids, starts, stops = (column[order] for column in joined)
        return Words(captions=owner, ids=ids, starts=starts, stops=stops, failures=words.failures)

    def add(self, run: str) -> int:
        """Split a run without white space and remember it; return its number."""
        number = len(self._n)
        self._first.append(len(self._ids))
        self._length.append(len(run))
        if run and self._is_one_word(run):
            self._n.append(1)
            self._add_word(run, 0)
            return number
        try:
            doc = self._nlp.make_doc(run) if run else None
        except Exception:  # noqa: BLE001 -- any tokenizer may fail; the whole caption will tell
            doc = None
        if doc is None:
            self._n.append(-1)
            return number
        self._n.append(len(doc))
        for token in doc:
            self._add_word(token.text, token.idx)
        return number

    def _add_word(self, text: str, start: int) -> None:
        self._ids.append(self._table.id(text))
        self._starts.append(start)
        self._stops.append(start + len(text))

    def _is_one_word(self, run: str) -> bool:
        """Tell that the tokenizer would find nothing to split off: far cheaper than splitting."""
        tokenizer = self._tokenizer
        searches = (tokenizer.prefix_search, tokenizer.suffix_search)
        return (
            self._plain
            and run not in self._rules
            and not any(search is not None and search(run) for search in searches)
            and (tokenizer.infix_finditer is None or not any(tokenizer.infix_finditer(run)))
        )


class _Runs(dict[str, int]):
    """Numbers of runs; a new one is split."""

    def __init__(self, splitter: Splitter) -> None:
        super().__init__()
        self._splitter = splitter

    def __missing__(self, run: str) -> int:
        number = self[run] = self._splitter.add(run)
        return number


class _Column:
    """A growing column of int32."""

    def __init__(self) -> None:
        self._array = np.zeros(1024, dtype=np.int32)
        self._n = 0

    def __len__(self) -> int:
        return self._n

    @property
    def values(self) -> Int32:
        return self._array[: self._n]

    def append(self, value: int) -> None:
        if self._n == len(self._array):
            self._array = np.concatenate([self._array, np.zeros_like(self._array)])
        self._array[self._n] = value
        self._n += 1


def ragged(first: npt.NDArray[np.integer], n: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Expand runs of consecutive places.

    Parameters
    ----------
    first, n : numpy.ndarray of int, shape (n_runs,)
        First place and number of places of each run.

    Returns
    -------
    places, runs : numpy.ndarray of int64, shape (n.sum(),)
        All places, and the run that each belongs to.

    Examples
    --------
    >>> places, runs = ragged(np.array([5, 9]), np.array([2, 1]))
    >>> places.tolist(), runs.tolist()
    ([5, 6, 9], [0, 0, 1])
    """
    n = n.astype(np.int64)
    runs = np.repeat(np.arange(len(n)), n)
    places = np.arange(len(runs)) - np.repeat(np.cumsum(n) - n, n) + first[runs]
    return places, runs


def splits_by_run(nlp: Language) -> bool:
    """Tell whether a pipeline's tokenizer is spaCy's own, which splits by white space first."""
    tokenizer: Any = nlp.tokenizer
    kind = type(tokenizer)
    if (kind.__module__, kind.__name__) != ("spacy.tokenizer", "Tokenizer"):
        return False
    return not any(len(rule.split()) > 1 for rule in tokenizer.rules or ())
