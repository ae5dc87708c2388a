"""Every (image, concept) pair at or above the concept's threshold: nothing lost, nothing ranked.

Concept vectors stay resident, image vectors stream. A backend proposes all pairs within a proven
rounding margin of the threshold; `ThresholdSearch` then decides each proposal by one canonical
inner product. So the backend, its block size, its device and its threads cannot change a count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError
from conceptaudit.image.backends.base import rounding_margin
from conceptaudit.image.backends.choose import BACKENDS, open_backend
from conceptaudit.image.backends.threads import in_parts
from conceptaudit.records import Float32Array, Int32Array, Int64Array

__all__ = ["BACKENDS", "Hits", "ThresholdSearch", "canonical_scores", "rounding_margin"]

DECISION_CHUNK = 256
"""Pairs decided at once: their gathered vectors stay in a processor's own cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Pairs found in one block, in order of image, then concept.

    Parameters
    ----------
    rows : numpy.ndarray of int64, shape (n,)
        Row of the block.
    concept_ids : numpy.ndarray of int32, shape (n,)
        Row of the concept vectors.
    scores : numpy.ndarray of float32, shape (n,)
        Cosine similarity.
    """

    rows: Int64Array
    concept_ids: Int32Array
    scores: Float32Array


class ThresholdSearch:
    """Concept vectors with a threshold each.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float, shape (n_concepts,)
        Smallest cosine similarity, in [-1, 1], that counts.
    backend : {"auto", "blas", "faiss", "faiss-gpu", "torch"}, default "auto"
        ``"blas"`` is a float32 matrix product, ``"torch"`` one in half the bits with a margin
        (bfloat16 on CPUs, float16 on GPUs), ``"faiss"`` one `IndexFlatIP.range_search` for all
        thresholds, ``"faiss-gpu"`` repeated top-k searches; ``"auto"`` takes the fastest of
        them on this machine. All find the same hits with the same scores.
    device : str, default "auto"
        ``"cpu"``, ``"cuda:0"`` or ``"auto"`` for the first GPU where there is one.

    Raises
    ------
    ConfigError
        A parameter is outside its range, or the backend or device is not known or not there.
    MissingDependencyError
        The backend needs FAISS, which is not installed.

    Examples
    --------
    >>> concepts = np.eye(3, dtype=np.float32)
    >>> search = ThresholdSearch(concepts, np.array([0.5, 0.5, 0.9]))
    >>> search.find(np.array([[0.6, 0.0, 0.8]], dtype=np.float32)).concept_ids.tolist()
    [0]
    """

    def __init__(
        self,
        concepts: Float32Array,
        thresholds: npt.NDArray[np.floating],
        backend: str = "auto",
        *,
        device: str = "auto",
    ) -> None:
        if thresholds.shape != (len(concepts),):
            raise ConfigError(
                f"There must be one threshold per concept ({len(concepts):,}). "
                f"Got {thresholds.shape} instead."
            )
        if not bool(((thresholds >= -1) & (thresholds <= 1)).all()):
            raise ConfigError("Thresholds are cosine similarities and must lie in [-1, 1].")
        self.dimension = concepts.shape[1]
        self._concepts = np.ascontiguousarray(concepts, dtype=np.float32)
        self._thresholds = thresholds.astype(np.float32)
        self._backend = open_backend(backend, self._concepts, self._thresholds, device=device)

    def find(self, images: Float32Array) -> Hits:
        """Find all concepts at or above their thresholds.

        Parameters
        ----------
        images : numpy.ndarray of float32, shape (n, dimension)
            Unit vectors.

        Raises
        ------
        ConfigError
            The dimension is not that of the concept vectors.
        """
        if images.shape[1:] != (self.dimension,):
            raise ConfigError(
                f"Image embeddings have dimension {images.shape[-1]}, concept vectors "
                f"{self.dimension}: they come from different models."
            )
        images = np.ascontiguousarray(images, dtype=np.float32)
        rows, concept_ids = self._backend.propose(images)
        scores = canonical_scores(images, rows, self._concepts, concept_ids)
        kept = scores >= self._thresholds[concept_ids]
        return Hits(
            rows=rows[kept],
            concept_ids=concept_ids[kept].astype(np.int32),
            scores=scores[kept],
        )


def canonical_scores(
    images: Float32Array, rows: Int64Array, concepts: Float32Array, concept_ids: Int64Array
) -> Float32Array:
    """Score pairs: one float32 product each, in one fixed order of additions.

    Parameters
    ----------
    images, concepts : numpy.ndarray of float32, shape (n, dimension)
        Unit vectors.
    rows, concept_ids : numpy.ndarray of int64, shape (n_pairs,)
        Rows of both.

    Returns
    -------
    numpy.ndarray of float32, shape (n_pairs,)
    """
    scores = np.empty(len(rows), dtype=np.float32)

    def decide(first: int, last: int) -> None:
        size = min(DECISION_CHUNK, last - first)
        left = np.empty((size, images.shape[1]), dtype=np.float32)
        right = np.empty_like(left)
        for start in range(first, last, DECISION_CHUNK):
            stop = min(start + DECISION_CHUNK, last)
            a, b = left[: stop - start], right[: stop - start]
            # "clip" lets numpy write straight into the buffer
            np.take(images, rows[start:stop], axis=0, out=a, mode="clip")
            np.take(concepts, concept_ids[start:stop], axis=0, out=b, mode="clip")
            np.einsum("ij,ij->i", a, b, out=scores[start:stop])

    in_parts(len(rows), decide)
    return scores
