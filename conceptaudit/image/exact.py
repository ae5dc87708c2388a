"""Every (image, concept) pair at or above the concept's threshold: nothing lost, nothing ranked.

Concept vectors stay resident, image vectors stream. A backend proposes all pairs within a proven
rounding margin of the threshold; `ThresholdSearch` then decides each proposal by one canonical
inner product. So the backend, its block size and its threads cannot change a count.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.records import Float32Array, Int32Array, Int64Array

BACKENDS = ("auto", "blas", "faiss")

FAISS_HINT = (
    "FAISS is not installed. Install one of: pip install 'conceptaudit[cpu]' or, on Linux with an "
    "NVIDIA GPU, pip install 'conceptaudit[gpu]'."
)

BLOCK_IMAGES = 1024
"""Images per block: the scores of a block against a few thousand concepts stay in cache."""

DECISION_CHUNK = 1 << 12
"""Pairs decided at once, which bounds the memory of the gathered vectors."""

Proposals = tuple[Int64Array, Int64Array]
Proposer = Callable[[Float32Array], Proposals]


def rounding_margin(dimension: int) -> float:
    """Bound on the float32 error of an inner product of two unit vectors.

    The classical bound n·u / (1 − n·u) with unit roundoff u = 2⁻²⁴ (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2nd ed., section 3.1), plus that of the threshold that is
    carried as one more component. Holds for any order of additions.
    """
    roundoff = (dimension + 2) * 2.0**-24
    return 2.0 * roundoff / (1.0 - roundoff)


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
    backend : {"auto", "blas", "faiss"}, default "auto"
        ``"blas"`` is a blocked matrix product, ``"faiss"`` one `IndexFlatIP.range_search` for
        all thresholds; ``"auto"`` takes the faster of them on this kind of machine (``"blas"``
        on CPUs, see docs/benchmarks.md).

    Examples
    --------
    >>> concepts = np.eye(3, dtype=np.float32)
    >>> search = ThresholdSearch(concepts, np.array([0.5, 0.5, 0.9]))
    >>> search.find(np.array([[0.6, 0.0, 0.8]], dtype=np.float32)).concept_ids.tolist()
    [0]
    """

    def __init__(
        self, concepts: Float32Array, thresholds: npt.NDArray[np.floating], backend: str = "auto"
    ) -> None:
        if backend not in BACKENDS:
            raise ConfigError(
                f"The 'backend' parameter must be one of {list(BACKENDS)}. Got {backend!r} instead."
            )
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
        floors = self._thresholds - np.float32(rounding_margin(self.dimension))
        propose = _faiss_proposer if backend == "faiss" else _blas_proposer
        self._propose: Proposer = propose(self._concepts, floors)

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
        rows, concept_ids = self._propose(images)
        scores = self._scores(images, rows, concept_ids)
        kept = scores >= self._thresholds[concept_ids]
        return Hits(
            rows=rows[kept],
            concept_ids=concept_ids[kept].astype(np.int32),
            scores=scores[kept],
        )

    def _scores(
        self, images: Float32Array, rows: Int64Array, concept_ids: Int64Array
    ) -> Float32Array:
        """Canonical scores: one float32 product per pair, in one fixed order of additions."""
        scores = np.empty(len(rows), dtype=np.float32)
        for start in range(0, len(rows), DECISION_CHUNK):
            part = slice(start, start + DECISION_CHUNK)
            scores[part] = np.einsum(
                "ij,ij->i", images[rows[part]], self._concepts[concept_ids[part]]
            )
        return scores


def _blas_proposer(concepts: Float32Array, floors: Float32Array) -> Proposer:
    columns = np.ascontiguousarray(concepts.T)
    products = np.empty((BLOCK_IMAGES, len(concepts)), dtype=np.float32)
    passed = np.empty(products.shape, dtype=bool)

    def propose(images: Float32Array) -> Proposals:
        found = []
        for start in range(0, len(images), BLOCK_IMAGES):
            block = images[start : start + BLOCK_IMAGES]
            scores, above = products[: len(block)], passed[: len(block)]
            np.dot(block, columns, out=scores)
            np.greater_equal(scores, floors, out=above)
            found.append(np.flatnonzero(above) + start * len(concepts))
        flat = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
        rows, concept_ids = np.divmod(flat, len(concepts))
        return rows, concept_ids

    return propose


def _faiss_proposer(concepts: Float32Array, floors: Float32Array) -> Proposer:
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(FAISS_HINT) from error
    # one radius serves all thresholds: (x, 1)·(c, −t) ≥ 0 exactly when x·c ≥ t
    index = faiss.IndexFlatIP(concepts.shape[1] + 1)
    index.add(np.hstack([concepts, -floors[:, None]]))

    def propose(images: Float32Array) -> Proposals:
        ones = np.ones((len(images), 1), dtype=np.float32)
        radius = np.nextafter(np.float32(-rounding_margin(concepts.shape[1])), np.float32(-1))
        limits, _, concept_ids = index.range_search(np.hstack([images, ones]), float(radius))
        per_image: Int64Array = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
        rows = np.repeat(np.arange(len(images), dtype=np.int64), per_image)
        order = np.lexsort((concept_ids, rows))
        return rows[order], concept_ids[order]

    return propose
