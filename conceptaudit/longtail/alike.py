"""When two images are the same by perceptual hash, and by thumbnail where the hash is unsure.

Let It Wag! (arXiv 2404.04125) takes hashes within 10 of 64 bits for copies. Up to 6 bits that is
nearly always right; beyond, images of plain ground or of little size come as near by chance, and
a thumbnail of 8 × 8 colours tells them apart. docs/benchmarks-longtail.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.image.thumbnails import Thumbnails, colour_vectors
from conceptaudit.image.vectors import reaches, row_products
from conceptaudit.longtail.records import Picture
from conceptaudit.records import Int64Array

SURE_BITS = 6
"""Hashes within so many bits need no thumbnail."""

SAME_LOOK = 0.9
"""Correlation of thumbnails that confirms hashes that differ in more bits."""

Mask = npt.NDArray[np.bool_]


def hamming(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Count the bits in which hashes differ.

    Shapes: `left, right` (n,) and (m,), result (n, m).

    >>> hamming(np.array([0b1011], dtype=np.uint64), np.array([0b0010, 3], dtype=np.uint64))
    array([[2, 1]], dtype=uint8)
    """
    counts: npt.NDArray[np.uint8] = np.bitwise_count(left[:, None] ^ right[None, :])
    return counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looks:
    """Perceptual hashes and thumbnails of images."""

    hashes: npt.NDArray[np.uint64]  # shape (n,)
    thumbnails: Thumbnails  # of the same images; without one the hash decides alone

    @classmethod
    def of(cls, pictures: Sequence[Picture]) -> Looks:
        """Gather those of images, in their order."""
        return cls(
            hashes=np.array([picture.phash for picture in pictures], dtype=np.uint64),
            thumbnails=Thumbnails.of([picture.thumbnail for picture in pictures]),
        )

    @classmethod
    def of_hashes(cls, hashes: npt.NDArray[np.uint64]) -> Looks:
        """Take hashes of which nothing else is known."""
        return cls(hashes=hashes, thumbnails=Thumbnails.of([b""] * len(hashes)))

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, rows: Int64Array) -> Looks:
        return Looks(hashes=self.hashes[rows], thumbnails=self.thumbnails[rows])

    def alike(self, other: Looks, distance: int) -> tuple[Mask, npt.NDArray[np.uint8]]:
        """Tell which of these images are copies of which others.

        Shapes: result (n, m), result (n, m).
        """
        bits = hamming(self.hashes, other.hashes)
        alike = bits <= distance
        unsure = alike & (bits > SURE_BITS)
        unsure &= self.thumbnails.known[:, None] & other.thumbnails.known
        i, j = np.nonzero(unsure)
        if len(i):
            left = colour_vectors(self.thumbnails.colours[i])
            right = colour_vectors(other.thumbnails.colours[j])
            alike[i, j] = reaches(row_products(left, right), SAME_LOOK)
        return alike, bits
