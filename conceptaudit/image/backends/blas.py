"""A blocked float32 matrix product with numpy's BLAS."""

from __future__ import annotations

import numpy as np

from conceptaudit.image.backends.base import Proposals, rounding_margins
from conceptaudit.image.backends.threads import in_parts
from conceptaudit.records import Float32Array, Int64Array

BLOCK_IMAGES = 1024
"""Images per block: the scores of a block against a few thousand concepts stay in cache."""


class BlasProposer:
    """Products of a block of images with all concepts, compared with the thresholds.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float32, shape (n_concepts,)
        Cosine similarities.
    """

    def __init__(self, concepts: Float32Array, thresholds: Float32Array) -> None:
        self._columns = np.ascontiguousarray(concepts.T)
        self._floors = thresholds - rounding_margins(concepts)
        self._products = np.empty((BLOCK_IMAGES, len(concepts)), dtype=np.float32)
        self._passed = np.empty(self._products.shape, dtype=bool)

    def propose(self, images: Float32Array) -> Proposals:
        """Propose pairs for unit vectors of shape (n, dimension)."""
        found = []
        n_concepts = self._columns.shape[1]
        for first in range(0, len(images), BLOCK_IMAGES):
            block = images[first : first + BLOCK_IMAGES]
            products = self._products[: len(block)]
            np.dot(block, self._columns, out=products)

            def above(start: int, stop: int, first: int = first) -> Int64Array:
                passed = self._passed[start:stop]
                np.greater_equal(self._products[start:stop], self._floors, out=passed)
                flat: Int64Array = np.flatnonzero(passed) + (first + start) * n_concepts
                return flat

            found += in_parts(len(block), above)
        return split_pairs(found, n_concepts)


def split_pairs(found: list[Int64Array], n_concepts: int) -> Proposals:
    """Turn flat positions in an (images, concepts) table into rows and columns."""
    flat = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    rows, concept_ids = np.divmod(flat, n_concepts)
    return rows, concept_ids
