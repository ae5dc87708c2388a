"""Pairs of caption and concept that only a tagger can decide, sorted into strata.

A pair's *form* is the words that may name the concept, its *context* the kinds of the words before
and after. Pairs of a form are ranked by a hash of the sample, so that the lowest ranks are a random
sample that does not depend on how a corpus is cut into shards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.text.candidates import Candidates
from conceptaudit.text.naming import SegmentConcepts, mixed, text_hash
from conceptaudit.text.segments import SegmentTable
from conceptaudit.text.splitting import Words
from conceptaudit.text.surroundings import N_KINDS, WordKinds
from conceptaudit.text.words import WordTable

if TYPE_CHECKING:
    from conceptaudit.text.word_forms import WordForms

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

CERTAIN = 0
"""In place of a form: the pair needs no tagger."""

MANY = N_KINDS * N_KINDS
"""Context of a pair whose words occur more than once in the caption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Caption-concept pairs, each once, sorted by caption and concept.

    Parameters
    ----------
    captions, concepts : numpy.ndarray of int32, shape (n,)
    mentions : numpy.ndarray of int32, shape (n,)
        Segments that name the concept, or may.
    forms : numpy.ndarray of int64, shape (n,)
        Hash of concept and words, or `CERTAIN`.
    contexts : numpy.ndarray of int32, shape (n,)
        Kinds of the words around, below `MANY`; or `MANY`.
    """

    captions: Int32
    concepts: Int32
    mentions: Int32
    forms: Int64
    contexts: Int32

    def select(self, chosen: npt.NDArray[np.bool_]) -> Pairs:
        """Return some of them."""
        return Pairs(
            captions=self.captions[chosen],
            concepts=self.concepts[chosen],
            mentions=self.mentions[chosen],
            forms=self.forms[chosen],
            contexts=self.contexts[chosen],
        )

    @classmethod
    def none(cls) -> Pairs:
        """Return no pairs."""
        no = np.zeros(0, dtype=np.int32)
        return cls(captions=no, concepts=no, mentions=no, forms=no.astype(np.int64), contexts=no)


def ranks(sample_ids: Int64, forms: Int64, *, seed: int) -> Int64:
    """Return what pairs are sampled by: the lowest of a form first; non-negative."""
    salted = mixed(sample_ids) ^ mixed(forms) ^ mixed(np.array([seed]))
    found: Int64 = (mixed(salted) >> np.uint64(1)).astype(np.int64)
    return found


class PairFinder:
    """Turns candidates into pairs.

    Parameters
    ----------
    words, segments : WordTable, SegmentTable
        The numbers in use.
    forms : WordForms
        Tells the kinds of words.
    names : sequence of str
        The concepts' names: their place in the list changes no form.
    """

    def __init__(
        self,
        words: WordTable,
        segments: SegmentTable,
        forms: WordForms | None,
        names: tuple[str, ...],
    ) -> None:
        self._named = SegmentConcepts(words, segments)
        self._kinds = WordKinds(words, forms)
        self._salts = np.array([text_hash(name) for name in names], dtype=np.uint64)

    def __call__(self, words: Words, candidates: Candidates, decided: tuple[Int32, Int32]) -> Pairs:
        """Return all pairs that some candidate names, or may name.

        Parameters
        ----------
        words : Words
            The words of the captions.
        candidates : Candidates
            Segments in them, none of them wide.
        decided : tuple of numpy.ndarray of int32, each of shape (m,)
            Captions and concepts of further pairs, which are certain.
        """
        n_concepts = len(self._salts)
        which, concept, sure = self._named.of(candidates.segments)
        caption = candidates.captions[which].astype(np.int64)
        key = caption * n_concepts + concept
        hashes = self._named.hashes[candidates.segments][which]
        if len(decided[0]):
            key = np.append(key, decided[0].astype(np.int64) * n_concepts + decided[1])
            sure = np.append(sure, np.ones(len(decided[0]), dtype=bool))
            hashes = np.append(hashes, np.zeros(len(decided[0]), dtype=np.uint64))
        if not len(key):
            return Pairs.none()
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.diff(key, prepend=-1))
        pair = key[first]
        captions, concepts = np.divmod(pair, n_concepts)
        mentions = np.diff(first, append=len(key))
        certain = np.logical_or.reduceat(sure[order], first)
        # sums of hashes, so that the order of the words in a caption does not matter
        sums = np.add.reduceat(hashes[order], first)
        forms = (mixed(sums ^ self._salts[concepts]) >> np.uint64(1)).astype(np.int64) | 1
        contexts = np.where(certain, 0, MANY).astype(np.int32)
        lone = np.flatnonzero((mentions == 1) & ~certain)
        contexts[lone] = self._contexts(words, candidates, which[order[first[lone]]])
        return Pairs(
            captions=captions.astype(np.int32),
            concepts=concepts.astype(np.int32),
            mentions=mentions.astype(np.int32),
            forms=np.where(certain, CERTAIN, forms),
            contexts=contexts,
        )

    def may_name(self, candidates: Candidates, wanted: Int64) -> npt.NDArray[np.bool_]:
        """Tell which candidates may name a concept that is asked for.

        Parameters
        ----------
        candidates : Candidates
        wanted : numpy.ndarray of int64
            Pairs as ``caption * n_concepts + concept``.
        """
        which, concept, _ = self._named.of(candidates.segments)
        key = candidates.captions[which].astype(np.int64) * len(self._salts) + concept
        chosen = self._named.is_wide(candidates.segments)
        chosen[which[np.isin(key, wanted)]] = True
        return chosen

    def _contexts(self, words: Words, candidates: Candidates, chosen: Int64) -> Int32:
        places = candidates.places[chosen]
        first = candidates.kept[places]
        last = candidates.kept[places + self._named.lengths[candidates.segments[chosen]] - 1]
        before = self._kinds.at(words, first, first - 1)
        after = self._kinds.at(words, last, last + 1)
        return (before * N_KINDS + after).astype(np.int32)
