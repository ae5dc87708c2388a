"""Pairs of caption and concept that only a tagger can decide, sorted into strata.

A pair's *form* is the words that may name the concept, its *context* the kinds of the words before
and after. Pairs of a form are ranked by a hash of the sample, so that the lowest ranks are a random
sample that does not depend on how a corpus is cut into shards.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from conceptaudit.text.matching import CaptionMatcher, Matches
from conceptaudit.text.token_table import Words
from conceptaudit.text.word_classes import NO_WORD, listed
from conceptaudit.text.word_forms import (
    ADJECTIVE,
    ANY_NOUN,
    COMPARED,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    VERB_S,
)

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

CERTAIN = 0
"""Form of a pair that needs no tagger."""

MANY = -1
"""Context of a pair of several mentions, which has no single one."""

_KINDS = (
    NO_WORD,
    listed("to"),
    listed("determiner", "possessive", "number"),
    listed("preposition", "before_noun"),
    listed("subject", "object"),
    listed("auxiliary", "modal"),
    listed("conjunction", "comma"),
    listed("end"),
    VERB_ING,
    VERB_PAST,
    VERB_S,
    VERB_BASE,
    ADJECTIVE | COMPARED,
    ANY_NOUN,
)
"""Kinds of the words around a phrase, the first that fits; the last two bits of what is left."""

N_KINDS = len(_KINDS) + 1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mixed(values: npt.NDArray[np.integer]) -> UInt64:
    """Hash integers to 64 bits.

    See G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators",
    OOPSLA 2014 (the finaliser of SplitMix64).
    """
    z = values.astype(np.uint64) + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: UInt64 = z ^ (z >> np.uint64(31))
    return hashed


def ranks(sample_ids: npt.NDArray[np.integer], forms: Int64, *, seed: int) -> Int64:
    """Rank pairs at random: a hash of sample, form and seed, shape (n,)."""
    salt = mixed(np.array([seed]))
    hashed = mixed(sample_ids) ^ mixed(forms) ^ salt
    return (mixed(hashed) >> np.uint64(1)).astype(np.int64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Pairs of caption and concept, each once; sorted by caption, then concept."""

    captions: Int32
    concepts: Int32
    mentions: Int32  # shape (n,): places where the caption names the concept or may name it
    # shape (n,): `CERTAIN`, or a hash of the concept and of the words that may name it
    forms: Int64
    # shape (n,): kinds of the words before and after, `MANY` for several mentions, 0 for certain
    # pairs
    contexts: Int32

    def select(self, chosen: npt.NDArray[np.bool_]) -> Pairs:
        """Return some of the pairs."""
        return Pairs(**{column.name: getattr(self, column.name)[chosen] for column in fields(self)})


def pairs_of(
    words: Words, matches: Matches, matcher: CaptionMatcher, names: Sequence[str]
) -> Pairs:
    """Turn matches that are accepted or undecided into pairs."""
    key = matches.captions * len(names) + matches.concepts
    order = np.argsort(key, kind="stable")
    key, undecided = key[order], matches.undecided[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    captions, concepts = np.divmod(key[first], len(names))
    mentions = np.diff(first, append=len(key))
    if not len(first):
        none = np.zeros(0, dtype=np.int32)
        return Pairs(
            captions=none,
            concepts=none,
            mentions=none,
            forms=none.astype(np.int64),
            contexts=none,
        )
    certain = np.logical_or.reduceat(~undecided, first)
    hashes = np.zeros(len(key), dtype=np.uint64)
    hashes[undecided] = _hashes(words, matches.select(order[undecided]), matcher)
    # sums of hashes, so that the order of the words in a caption does not matter
    sums = np.add.reduceat(hashes, first)
    salts = np.array([text_hash(names[i]) for i in concepts.tolist()], dtype=np.uint64)
    forms = (mixed(sums ^ salts) >> np.uint64(1)).astype(np.int64) | 1
    contexts = np.where(certain, 0, MANY).astype(np.int32)
    lone = np.flatnonzero((mentions == 1) & ~certain)
    contexts[lone] = _contexts(words, matches.select(order[first[lone]]), matcher)
    return Pairs(
        captions=captions.astype(np.int32),
        concepts=concepts.astype(np.int32),
        mentions=mentions.astype(np.int32),
        forms=np.where(certain, CERTAIN, forms),
        contexts=contexts,
    )


def _hashes(words: Words, matches: Matches, matcher: CaptionMatcher) -> UInt64:
    """Hash the words of matches, each of which is nearly always one word."""
    texts = [
        "\x1f".join(matcher.key(word) for word in words.ids[a : b + 1].tolist())
        for a, b in zip(matches.first.tolist(), matches.last.tolist(), strict=True)
    ]
    # mixed, as a concept's salt is the hash of its name, which its words often are
    return mixed(np.array([text_hash(text) for text in texts], dtype=np.uint64))


@lru_cache(maxsize=500_000)
def text_hash(text: str) -> int:
    """Hash a text to 64 bits, the same in every process."""
    data = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def _contexts(words: Words, matches: Matches, matcher: CaptionMatcher) -> Int32:
    before = _kinds(matcher.around(words, matches.captions, matches.first).word(-1))
    after = _kinds(matcher.around(words, matches.captions, matches.last).word(1))
    return (before * N_KINDS + after).astype(np.int32)


def _kinds(classes: Int64) -> Int64:
    conditions = [(classes & bits) != 0 for bits in _KINDS]
    return np.select(conditions, list(range(len(_KINDS))), default=len(_KINDS)).astype(np.int64)
