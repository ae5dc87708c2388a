"""Threshold search with a searcher that only knows the k best: FAISS on GPUs.

GPU FAISS has no range search. Here the k best concepts of an image are asked for; where even the
k-th is above the threshold there may be more, so the concepts are split in two and both halves
are asked, down to parts of at most k concepts, of which the k best are all. Nothing is lost,
however many concepts an image shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.image.backends.base import FAISS_HINT, Proposals
from conceptaudit.image.backends.faiss_range import carry_one, carry_thresholds, shared_radius
from conceptaudit.records import Float32Array, Int64Array

GPU_K = 128
"""Concepts asked for at first: several times the number that an image shows. FAISS on GPUs
allows 2,048 (1,024 with CUDA before 9), and needs time that grows with it."""


class TopKSearcher(Protocol):
    """Vectors of which the k with the largest inner products can be had, best first."""

    def add(self, vectors: Float32Array) -> None:
        """Take in vectors, shape (n, dimension)."""

    def search(self, queries: Float32Array, k: int) -> tuple[Float32Array, Int64Array]:
        """Return scores and positions, each of shape (n_queries, k); position −1 for none."""


OpenSearcher = Callable[[Float32Array], TopKSearcher]


class TopKProposer:
    """Every concept above its threshold, by top-k searches alone.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float32, shape (n_concepts,)
        Cosine similarities.
    open_searcher : callable
        Makes a `TopKSearcher` of an array of vectors.
    k : int
        How many are asked for at once, at least 1.
    """

    def __init__(
        self,
        concepts: Float32Array,
        thresholds: Float32Array,
        open_searcher: OpenSearcher,
        *,
        k: int = GPU_K,
    ) -> None:
        self._carried = carry_thresholds(concepts, thresholds)
        self._radius = shared_radius(concepts)
        self._open = open_searcher
        self._k = k
        self._parts: dict[tuple[int, int], TopKSearcher] = {}

    def propose(self, images: Float32Array) -> Proposals:
        """Propose pairs for unit vectors of shape (n, dimension)."""
        queries = carry_one(images)
        found: list[Proposals] = []
        waiting = [(0, len(self._carried), np.arange(len(images), dtype=np.int64))]
        while waiting:
            first, last, rows = waiting.pop()
            if not len(rows):
                continue
            k = min(self._k, last - first)
            scores, positions = self._part(first, last).search(queries[rows], k)
            passed = (scores >= self._radius) & (positions >= 0)
            full = passed[:, -1] & (k < last - first)
            passed[full] = False
            at, place = np.nonzero(passed)
            found.append((rows[at], positions[at, place].astype(np.int64) + first))
            middle = (first + last) // 2
            waiting += [(first, middle, rows[full]), (middle, last, rows[full])]
        rows, concept_ids = (np.concatenate(column) for column in zip(*found, strict=True))
        order = np.lexsort((concept_ids, rows))
        return rows[order], concept_ids[order]

    def _part(self, first: int, last: int) -> TopKSearcher:
        if (first, last) not in self._parts:
            self._parts[first, last] = self._open(self._carried[first:last])
        return self._parts[first, last]


def flat_searcher(vectors: Float32Array) -> TopKSearcher:
    """Open a flat inner-product index on the CPU.

    Raises
    ------
    MissingDependencyError
        FAISS is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(FAISS_HINT) from error
    index: TopKSearcher = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def gpu_searcher(device: int = 0) -> OpenSearcher:
    """Return a function that opens flat indexes on one GPU, which share its scratch memory.

    Raises
    ------
    MissingDependencyError
        FAISS is not installed.
    ConfigError
        This FAISS was built for CPUs, or sees no such GPU.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(FAISS_HINT) from error
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() <= device:
        raise ConfigError(
            "The 'backend' parameter is 'faiss-gpu', but this FAISS has no GPU to work on. "
            "Install it with pip install 'conceptaudit[gpu]' on Linux with an NVIDIA GPU, "
            "or use the backend 'auto'."
        )
    resources: Any = faiss.StandardGpuResources()

    def open_index(vectors: Float32Array) -> TopKSearcher:
        settings = faiss.GpuIndexFlatConfig()
        settings.device = device
        index: TopKSearcher = faiss.GpuIndexFlatIP(resources, vectors.shape[1], settings)
        index.add(vectors)
        return index

    return open_index
