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

from conceptaudit.text.columns import Column, ragged
from conceptaudit.text.words import WordTable

if TYPE_CHECKING:
    from spacy.language import Language

Int32 = npt.NDArray[np.int32]

_LINE_BREAK, _SPACE, _DELETE = 10, 32, 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The words of many captions, one after the other.

    Parameters
    ----------
    captions : numpy.ndarray of int32, shape (n_words,)
        Which caption each belongs to; ascending.
    ids : numpy.ndarray of int32, shape (n_words,)
        Numbers in the `WordTable`.
    starts, stops : numpy.ndarray of int32, shape (n_words,) or (0,)
        Characters [start, stop) of the caption; empty where places were not asked for.
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
        self._runs: dict[str, int] = {}
        # of each run: its first word in the lists below, the number of its words, its length
        self._first, self._n, self._length = Column(), Column(), Column()
        self._ids, self._starts, self._stops = Column(), Column(), Column()

    def __len__(self) -> int:
        return len(self._runs)

    def __call__(self, captions: Sequence[str], *, placed: bool = True) -> Words:
        """Split captions that have gone through ``caption_text``.

        Parameters
        ----------
        captions : sequence of str
        placed : bool
            Whether the words' places are wanted.
        """
        failures: dict[int, str] = {}
        odd = np.zeros(len(captions), dtype=bool)
        texts = captions
        if not self._plain:
            odd[:] = True
        elif "".join(captions).count("\n"):
            odd[:] = ["\n" in caption for caption in captions]
            texts = ["" if held else text for held, text in zip(odd, captions, strict=True)]
        runs, owner = self._cut(texts, odd)
        failed = owner[self._n.values[runs] < 0]
        if len(failed):
            odd[failed] = True
            kept = ~odd[owner]
            runs, owner = runs[kept], owner[kept]
        words = self._expand(runs, owner, failures, placed=placed)
        if not odd.any():
            return words
        return self._with_odd(words, captions, np.flatnonzero(odd).tolist(), placed=placed)

    def _cut(self, captions: Sequence[str], odd: npt.NDArray[np.bool_]) -> tuple[Int32, Int32]:
        """Cut captions without line breaks at single spaces; marks what cannot be cut so as odd.

        Returns
        -------
        runs, captions : numpy.ndarray of int32, shape (n_runs,)
            The number of each run, and the caption that it is in; none of odd captions.
        """
        import pyarrow as pa

        if odd.all():
            return np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.int32)
        # one text for all captions: numpy and Arrow go through it, and Python sees distinct runs
        text = " \n ".join(captions) + " "
        data = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
        ends = np.flatnonzero(data == _SPACE)
        is_break = data[ends - 1] == _LINE_BREAK
        owner = np.cumsum(is_break, dtype=np.int32)
        odd[owner[np.diff(ends, prepend=-1) == 1]] = True
        unusual = np.flatnonzero((data >= _DELETE) | ((data < _SPACE) & (data != _LINE_BREAK)))
        for i in np.unique(owner[np.searchsorted(ends, unusual)]).tolist():
            odd[i] |= not captions[i].isprintable()
        if len(text) >= self._nlp.max_length:
            odd |= np.array([len(caption) >= self._nlp.max_length for caption in captions])
        offsets = np.zeros(len(ends) + 1, dtype=np.int32)
        offsets[1:] = ends + 1
        kept = ~(is_break | odd[owner])
        columns: tuple[Any, Any] = (offsets, data)
        buffers = [pa.py_buffer(column) for column in columns]
        pieces = pa.StringArray.from_buffers(len(ends), buffers[0], buffers[1])
        encoded: Any = pieces.filter(pa.array(kept)).dictionary_encode()
        numbers = self._numbers(encoded.dictionary.to_pylist())
        return numbers[encoded.indices.to_numpy()], owner[kept]

    def _numbers(self, pieces: Sequence[str]) -> Int32:
        """Return the numbers of runs, each given with the space after it."""
        known = self._runs
        numbers = list(map(known.get, pieces))
        if None in numbers:
            for piece in [p for p, number in zip(pieces, numbers, strict=True) if number is None]:
                known[piece] = self.add(piece[:-1])
            numbers = list(map(known.get, pieces))
        return np.array(numbers, dtype=np.int32)

    def _expand(
        self, runs: Int32, owner: Int32, failures: dict[int, str], *, placed: bool
    ) -> Words:
        n = self._n.values[runs]
        places, at = ragged(self._first.values[runs], n)
        starts = stops = np.zeros(0, dtype=np.int32)
        if placed:
            width = self._length.values[runs].astype(np.int64) + 1
            before = np.cumsum(width) - width
            opens = np.flatnonzero(np.diff(owner, prepend=-1))
            base = np.repeat(before[opens], np.diff(opens, append=len(owner)))
            offset = (before - base)[at].astype(np.int32)
            starts = offset + self._starts.values[places]
            stops = offset + self._stops.values[places]
        return Words(
            captions=owner[at],
            ids=self._ids.values[places],
            starts=starts,
            stops=stops,
            failures=failures,
        )

    def _with_odd(
        self, words: Words, captions: Sequence[str], odd: Sequence[int], *, placed: bool
    ) -> Words:
        rows: list[tuple[int, int, int, int]] = []
        for i in odd:
            try:
                doc = self._nlp.make_doc(captions[i])
            except Exception as error:  # noqa: BLE001 -- any tokenizer may fail on any caption
                words.failures[i] = f"{type(error).__name__}: {error}"
                continue
            for token in doc:
                text = token.text
                rows.append((i, self._table.id(text), token.idx, token.idx + len(text)))
        added = np.array(rows, dtype=np.int32).reshape(-1, 4)
        owner = np.concatenate([words.captions, added[:, 0]])
        order = np.argsort(owner, kind="stable")
        starts, stops = words.starts, words.stops
        if placed:
            starts = np.concatenate([starts, added[:, 2]])[order]
            stops = np.concatenate([stops, added[:, 3]])[order]
        return Words(
            captions=owner[order],
            ids=np.concatenate([words.ids, added[:, 1]])[order],
            starts=starts,
            stops=stops,
            failures=words.failures,
        )

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


def splits_by_run(nlp: Language) -> bool:
    """Tell whether a pipeline's tokenizer is spaCy's own, which splits by white space first."""
    tokenizer: Any = nlp.tokenizer
    kind = type(tokenizer)
    if (kind.__module__, kind.__name__) != ("spacy.tokenizer", "Tokenizer"):
        return False
    return not any(len(rule.split()) > 1 for rule in tokenizer.rules or ())
