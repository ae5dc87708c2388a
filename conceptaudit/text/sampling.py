"""Pairs of caption and concept that only a tagger can decide, sorted into strata.

A pair's *form* is the words that may name the concept, its *context* the kinds of the words before
and after. Pairs of a form are ranked by a hash of the sample, so that the lowest ranks are a random
sample that does not depend on how a corpus is cut into shards.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.text.candidates import Candidates
from conceptaudit.text.normalize import normalize
from conceptaudit.text.segments import SegmentTable
from conceptaudit.text.splitting import Words, ragged
from conceptaudit.text.words import WordTable

if TYPE_CHECKING:
    from conceptaudit.text.word_forms import WordForms

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

CERTAIN = 0
"""In place of a form: the pair needs no tagger."""

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
MANY = N_KINDS * N_KINDS
"""Context of a pair whose words occur more than once in the caption."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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


def mixed(values: npt.NDArray[np.integer]) -> UInt64:
    """Hash integers to 64 bits.

    References
    ----------
    G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014 (the finaliser of SplitMix64).
    """
    z = values.astype(np.uint64) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: UInt64 = z ^ (z >> np.uint64(31))
    return hashed


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
        self._words = words
        self._segments = segments
        self._forms = forms
        self._salts = np.array([_hash(name) for name in names], dtype=np.uint64)
        self._kinds: dict[str, int] = {}
        self._named: dict[int, tuple[frozenset[int], frozenset[int]]] = {}
        self._hashes: dict[int, int] = {}

    def __call__(self, words: Words, candidates: Candidates, decided: tuple[Int32, Int32]) -> Pairs:
        """Return all pairs that some candidate names, or may name.

        Parameters
        ----------
        words : Words
            The words of the captions.
        candidates : Candidates
            Segments in them.
        decided : tuple of numpy.ndarray of int32, each of shape (m,)
            Captions and concepts of further pairs, which are certain.
        """
        distinct, at = np.unique(candidates.segments, return_inverse=True)
        rows: list[tuple[int, bool]] = []
        counts, hashes = [], []
        for segment in distinct.tolist():
            sure, some = self._concepts(segment)
            rows += [(concept, concept in sure) for concept in sorted(some)]
            counts.append(len(some))
            hashes.append(self._hash_of(segment))
        n = np.array(counts, dtype=np.int64)
        first = np.cumsum(n) - n
        flat, which = ragged(first[at], n[at])
        concept = np.array([row[0] for row in rows], dtype=np.int64)[flat]
        sure_here = np.array([row[1] for row in rows], dtype=bool)[flat]
        n_open = len(which)
        caption = np.concatenate([candidates.captions[which], decided[0]]).astype(np.int64)
        concept = np.concatenate([concept, decided[1]])
        sure_here = np.concatenate([sure_here, np.ones(len(decided[0]), dtype=bool)])
        pair, of_pair, mentions = np.unique(
            caption * len(self._salts) + concept, return_inverse=True, return_counts=True
        )
        certain = np.zeros(len(pair), dtype=bool)
        certain[of_pair[sure_here]] = True
        # sums of hashes, so that the order of the words in a caption does not matter
        form = np.zeros(len(pair), dtype=np.uint64)
        np.add.at(form, of_pair[:n_open], mixed(np.array(hashes, dtype=np.uint64))[at][which])
        concepts = pair % len(self._salts)
        forms = (mixed(form ^ self._salts[concepts]) >> np.uint64(1)).astype(np.int64) | 1
        contexts = np.full(len(pair), MANY, dtype=np.int32)
        lone = ((mentions[of_pair] == 1) & ~certain[of_pair])[:n_open]
        contexts[of_pair[:n_open][lone]] = self._contexts(words, candidates, which[lone])
        return Pairs(
            captions=(pair // len(self._salts)).astype(np.int32),
            concepts=concepts.astype(np.int32),
            mentions=mentions.astype(np.int32),
            forms=np.where(certain, CERTAIN, forms),
            contexts=np.where(certain, 0, contexts).astype(np.int32),
        )

    def _concepts(self, segment: int) -> tuple[frozenset[int], frozenset[int]]:
        found = self._named.get(segment)
        if found is None:
            found = self._segments.concepts(self._segments.segments[segment])
            self._named[segment] = found
        return found

    def _hash_of(self, segment: int) -> int:
        found = self._hashes.get(segment)
        if found is None:
            words = self._segments.segments[segment].words
            text = "\x1f".join(normalize(self._words.texts[word]) for word in words)
            found = self._hashes[segment] = _hash(text)
        return found

    def _contexts(self, words: Words, candidates: Candidates, chosen: Int64) -> Int32:
        places = candidates.kept[candidates.places[chosen]]
        lengths = {
            s: len(self._segments.segments[s].words)
            for s in np.unique(candidates.segments[chosen]).tolist()
        }
        length = np.array(
            [lengths[s] for s in candidates.segments[chosen].tolist()], dtype=np.int64
        )
        last = candidates.kept[candidates.places[chosen] + length - 1]
        before = self._kinds_at(words, places, places - 1)
        after = self._kinds_at(words, last, last + 1)
        return (before * N_KINDS + after).astype(np.int32)

    def _kinds_at(self, words: Words, own: Int64, places: Int64) -> Int64:
        inside = (places >= 0) & (places < len(words.ids))
        safe = np.where(inside, places, own)
        inside &= words.captions[safe] == words.captions[own]
        distinct, at = np.unique(words.ids[safe], return_inverse=True)
        kinds = np.array([self._kind(self._words.texts[w]) for w in distinct.tolist()], np.int64)
        return np.where(inside, kinds[at] if len(kinds) else 0, _NO_WORD)

    def _kind(self, text: str) -> int:
        kind = self._kinds.get(text)
        if kind is None:
            if len(self._kinds) > 200_000:
                self._kinds.clear()
            kind = self._kinds[text] = _kind(text, self._forms)
        return kind


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


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
