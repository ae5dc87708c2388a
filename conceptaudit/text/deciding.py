"""Reading words in their context, for the segments where it matters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.text.candidates import Candidates
from conceptaudit.text.matcher import PhraseMatcher
from conceptaudit.text.normalize import normalize
from conceptaudit.text.segments import SegmentTable
from conceptaudit.text.splitting import Words
from conceptaudit.text.window_network import CLEAR_MARGIN, WindowNetwork
from conceptaudit.text.words import Reading, WordTable, network_tags

if TYPE_CHECKING:
    from spacy.language import Language

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

MAX_REMEMBERED = 200_000
"""Decisions kept by the exact words around them; about 30 MB."""

TARGETS_AT_ONCE = 8_192
UNSURE = -1


class ContextDecider:
    """Decides open segments by the words around them, as the whole pipeline would.

    Parameters
    ----------
    nlp : spacy.language.Language
        The pipeline; it is asked itself where a decision is closer than `CLEAR_MARGIN`.
    network : WindowNetwork
        The same network, computed for single words.
    matcher : PhraseMatcher
        The phrases that are looked for.
    words, segments : WordTable, SegmentTable
        The numbers in use.
    """

    def __init__(
        self,
        nlp: Language,
        network: WindowNetwork,
        matcher: PhraseMatcher,
        words: WordTable,
        segments: SegmentTable,
    ) -> None:
        self._nlp = nlp
        self._matcher = matcher
        self._network = network
        self._words = words
        self._segments = segments
        self._remembered: dict[bytes, int] = {}
        self._vectors = np.zeros_like(network.embed(["a"]))
        self._n_vectors = 1
        self._row_of = np.full(1024, -1, dtype=np.int64)  # by word; not all are ever wanted
        self._row_of[0] = 0
        self._names = {i for i, (pos, _) in enumerate(network_tags(nlp)) if pos == "PROPN"}

    def __call__(self, captions: Sequence[str], words: Words, candidates: Candidates) -> Int32:
        """Return the results of candidates, all of them open.

        Parameters
        ----------
        captions : sequence of str
            The captions that `words` are of.
        words : Words
            Their words.
        candidates : Candidates
            Segments whose result depends on the context.
        """
        table = self._segments.segments
        spans = [table[s] for s in candidates.segments.tolist()]
        n = np.array([len(span.undecided) for span in spans], dtype=np.int64)
        within = np.array([i for span in spans for i in span.undecided], dtype=np.int64)
        targets = candidates.kept[np.repeat(candidates.places, n) + within]
        tags = self._tags(words, targets)
        told = self._readings(captions, words, targets, tags)
        results = np.empty(len(spans), dtype=np.int32)
        place = 0
        for i, span in enumerate(spans):
            readings = tuple(told[place : place + len(span.undecided)])
            results[i] = self._segments.resolve(span, readings)
            place += len(span.undecided)
        return results

    def _readings(
        self, captions: Sequence[str], words: Words, targets: Int64, tags: Int64
    ) -> list[Reading]:
        """Turn tags into readings, asking the pipeline where the tag alone does not tell."""
        owner, ids = words.captions, words.ids
        opens = (targets == 0) | (owner[targets - 1] != owner[targets])
        readings = []
        whole: dict[int, list[Reading]] = {}
        for target, tag, is_first in zip(
            targets.tolist(), tags.tolist(), opens.tolist(), strict=True
        ):
            options = self._words.readings[ids[target]]
            # the lexicon looks at the second word, too, to tell whether a name opens a text
            if tag == UNSURE or (is_first and len(set(options)) > 1 and tag in self._names):
                caption = int(owner[target])
                if caption not in whole:
                    try:
                        whole[caption] = self._ask(captions[caption])
                    except Exception as error:  # noqa: BLE001 -- a pipeline may fail on any caption
                        words.failures[caption] = f"{type(error).__name__}: {error}"
                        whole[caption] = []
                told = whole[caption]
                place = target - int(np.searchsorted(owner, caption))
                readings.append(told[place] if told else options[0])
            else:
                readings.append(options[tag])
        return readings

    def _ask(self, caption: str) -> list[Reading]:
        """Read every word of a caption with the pipeline itself."""
        readings = []
        for token in self._nlp(caption):
            surface = self._matcher.key(normalize(token.text))
            lemma = self._matcher.key(normalize(token.lemma_)) if token.lemma_ else surface
            readings.append((token.pos_ in {"NOUN", "PROPN"}, surface, lemma))
        return readings

    def _tags(self, words: Words, targets: Int64) -> Int64:
        """Return the tag of each target, or `UNSURE`; equal surroundings are tagged once."""
        reach = self._network.reach
        around = np.arange(-reach, reach + 1)
        places = np.clip(targets[:, None] + around, 0, max(len(words.ids) - 1, 0))
        # 0 stands for what is outside the caption, and for no word
        windows = np.where(
            (words.captions[places] == words.captions[targets][:, None])
            & (targets[:, None] + around == places),
            words.ids[places] + 1,
            0,
        ).astype(np.int32)
        # sorted by the middle, windows of the same word are near each other and share more
        inside_out = np.argsort(np.abs(around), kind="stable")
        distinct, at = _unique_rows(windows[:, inside_out])
        distinct = distinct[:, np.argsort(inside_out)]
        tags = np.full(len(distinct), UNSURE, dtype=np.int64)
        keys = [row.tobytes() for row in distinct]
        known = [self._remembered.get(key) for key in keys]
        missing = np.array([i for i, tag in enumerate(known) if tag is None], dtype=np.int64)
        present = [i for i, tag in enumerate(known) if tag is not None]
        tags[present] = [tag for tag in known if tag is not None]
        for start in range(0, len(missing), TARGETS_AT_ONCE):
            block = missing[start : start + TARGETS_AT_ONCE]
            tags[block] = self._compute(distinct[block])
        if len(self._remembered) + len(missing) > MAX_REMEMBERED:
            self._remembered.clear()
        for i in missing.tolist():
            self._remembered[keys[i]] = int(tags[i])
        return tags[at]

    def _compute(self, windows: Int32) -> Int64:
        scores = self._network.scores(*self._laid_out(windows))
        best = np.argmax(scores, axis=1)
        two = np.partition(scores, scores.shape[1] - 2, axis=1)[:, -2:]
        return np.where(two[:, 1] - two[:, 0] < CLEAR_MARGIN, UNSURE, best)

    def _laid_out(self, windows: Int32) -> tuple[npt.NDArray[np.float32], Int64]:
        """Return the vectors of the words in windows, after one of zeros, and where they stand."""
        at, wanted = pd.factorize(windows.ravel())
        if len(self._words) + 1 > len(self._row_of):
            larger = np.full(2 * len(self._words) + 2, -1, dtype=np.int64)
            larger[: len(self._row_of)] = self._row_of
            self._row_of = larger
        new = wanted[self._row_of[wanted] < 0]
        if len(new):
            n = self._n_vectors + len(new)
            if n > len(self._vectors):
                room = np.zeros((n, self._vectors.shape[1]), dtype=np.float32)
                self._vectors = np.concatenate([self._vectors, room])
            self._row_of[new] = np.arange(self._n_vectors, n)
            self._vectors[self._n_vectors : n] = self._network.embed(
                [self._words.texts[word - 1] for word in new.tolist()]
            )
            self._n_vectors = n
        # the first vector stands for what is outside, as the number 0 does
        vectors = np.concatenate([self._vectors[:1], self._vectors[self._row_of[wanted]]])
        return vectors, 1 + at.reshape(windows.shape).astype(np.int64)


def _unique_rows(rows: Int32) -> tuple[Int32, Int64]:
    if not len(rows):
        return rows, np.zeros(0, dtype=np.int64)
    packed = np.ascontiguousarray(rows).view([("", np.void, rows.shape[1] * rows.itemsize)])
    _, first, at = np.unique(packed.ravel(), return_index=True, return_inverse=True)
    return rows[first], at
