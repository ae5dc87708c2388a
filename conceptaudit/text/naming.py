"""What segments may name, as columns, and hashes that tell forms apart."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from conceptaudit.text.columns import ragged
from conceptaudit.text.normalize import normalize
from conceptaudit.text.segments import Segment, SegmentTable
from conceptaudit.text.words import WordTable

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


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


def text_hash(text: str) -> int:
    """Hash a text to 64 bits, the same in every process."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


class SegmentConcepts:
    """What segments may name, as columns: many candidates are looked up at once.

    Parameters
    ----------
    words, segments : WordTable, SegmentTable
        The numbers in use.
    """

    def __init__(self, words: WordTable, segments: SegmentTable) -> None:
        self._words = words
        self._segments = segments
        self._n_known = 0
        self._first = np.zeros(0, dtype=np.int64)
        self._n = np.zeros(0, dtype=np.int64)
        self._concepts = np.zeros(0, dtype=np.int64)
        self._sure = np.zeros(0, dtype=bool)
        self.lengths = np.zeros(0, dtype=np.int64)
        """Words of each segment, shape (n_segments,)."""
        self.hashes = np.zeros(0, dtype=np.uint64)
        """Hash of the words of each segment that leaves something open, shape (n_segments,)."""

    def of(self, segments: Int32) -> tuple[Int64, Int64, npt.NDArray[np.bool_]]:
        """Return every concept that segments may name.

        Returns
        -------
        which, concepts : numpy.ndarray of int64, shape (n,)
            The place in `segments`, ascending, and the concept.
        sure : numpy.ndarray of bool, shape (n,)
            Whether the concept is named under every reading.
        """
        self._update()
        flat, which = ragged(self._first[segments], self._n[segments])
        return which, self._concepts[flat], self._sure[flat]

    def is_wide(self, segments: Int32) -> npt.NDArray[np.bool_]:
        """Tell which segments have too many readings for their concepts to be known."""
        wide: npt.NDArray[np.bool_] = self._segments.wide(segments)
        return wide

    def _update(self) -> None:
        new = self._segments.segments[self._n_known :]
        if not new:
            return
        rows: list[tuple[int, bool]] = []
        counts, hashes = [], []
        for segment in new:
            none: frozenset[int] = frozenset()
            sure, some = (none, none) if segment.wide else self._segments.concepts(segment)
            rows += [(concept, concept in sure) for concept in sorted(some)]
            counts.append(len(some))
            hashes.append(self._hash(segment) if len(sure) < len(some) else 0)
        n = np.array(counts, dtype=np.int64)
        self._first = np.append(self._first, len(self._concepts) + np.cumsum(n) - n)
        self._n = np.append(self._n, n)
        named = np.array(rows, dtype=np.int64).reshape(-1, 2)
        self._concepts = np.append(self._concepts, named[:, 0])
        self._sure = np.append(self._sure, named[:, 1].astype(bool))
        self.lengths = np.append(self.lengths, np.array([len(s.words) for s in new], np.int64))
        self.hashes = np.append(self.hashes, mixed(np.array(hashes, dtype=np.uint64)))
        self._n_known += len(new)

    def _hash(self, segment: Segment) -> int:
        return text_hash("\x1f".join(normalize(self._words.texts[word]) for word in segment.words))
