"""FAISS on CPUs: one range search for all thresholds."""

from __future__ import annotations

import numpy as np

from conceptaudit.errors import MissingDependencyError
from conceptaudit.image.backends.base import FAISS_HINT, Proposals, rounding_margins
from conceptaudit.records import Float32Array, Int64Array


def carry_thresholds(concepts: Float32Array, thresholds: Float32Array) -> Float32Array:
    """Append −threshold to each concept, so that one radius serves all thresholds.

    (x, 1)·(c, −t) ≥ 0 exactly when x·c ≥ t. Images get a 1 with `carry_one`.
    """
    return np.hstack([concepts, -thresholds[:, None]])


def carry_one(images: Float32Array) -> Float32Array:
    """Append 1 to each image; see `carry_thresholds`."""
    return np.hstack([images, np.ones((len(images), 1), dtype=np.float32)])


def shared_radius(concepts: Float32Array) -> float:
    """Return the inner product, a little below 0, that no pair at its threshold falls short of."""
    # FAISS compares with ">", and its sum has one term more than ours, of length up to 1
    margin = np.float32(-2.0 * float(rounding_margins(concepts).max()))
    return float(np.nextafter(margin, np.float32(-1)))


class FaissProposer:
    """`IndexFlatIP.range_search` over the concepts, images as queries.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float32, shape (n_concepts,)
        Cosine similarities.

    Raises
    ------
    MissingDependencyError
        FAISS is not installed.
    """

    def __init__(self, concepts: Float32Array, thresholds: Float32Array) -> None:
        try:
            import faiss
        except ImportError as error:
            raise MissingDependencyError(FAISS_HINT) from error
        self._radius = shared_radius(concepts)
        self._index = faiss.IndexFlatIP(concepts.shape[1] + 1)
        self._index.add(carry_thresholds(concepts, thresholds))

    def propose(self, images: Float32Array) -> Proposals:
        """Propose pairs for unit vectors of shape (n, dimension)."""
        limits, _, concept_ids = self._index.range_search(carry_one(images), self._radius)
        per_image: Int64Array = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
        rows = np.repeat(np.arange(len(images), dtype=np.int64), per_image)
        order = np.lexsort((concept_ids, rows))
        return rows[order], concept_ids[order]
