"""Candidate pairs for tags, by numpy's BLAS and by FAISS: equal results, different machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from conceptaudit.errors import ConfigError
from conceptaudit.image.faiss_ops import load_faiss
from conceptaudit.image.vectors import in_parts, rounding_margin
from conceptaudit.records import Float32Array, Int64Array

Candidates = tuple[Int64Array, Int64Array]
"""Rows of the images and rows of the concepts, in order of image, then concept."""


class CandidateSearch(Protocol):
    """Concepts with thresholds, ready to be compared with images.

    It may propose too many pairs and must not miss one whose canonical float32 score reaches the
    threshold: `conceptaudit.image.exact.ThresholdSearch` decides each proposal.
    """

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""


def rounding_margins(concepts: Float32Array) -> Float32Array:
    """`rounding_margin` for each concept, (n_concepts,), longer for vectors longer than 1."""
    lengths = np.sqrt(np.einsum("ij,ij->i", concepts, concepts))
    margins = rounding_margin(concepts.shape[1]) * np.maximum(lengths, 1.0)
    return np.asarray(margins, dtype=np.float32)


BLOCK_IMAGES = 1024
"""Images per block: the scores of a block against a few thousand concepts stay in cache."""


class BlasSearch:
    """Products of a block of images with all concepts, compared with the thresholds."""

    def __init__(self, concepts: Float32Array, thresholds: Float32Array) -> None:
        self._columns = np.ascontiguousarray(concepts.T)
        self._floors = thresholds - rounding_margins(concepts)
        self._products = np.empty((BLOCK_IMAGES, len(concepts)), dtype=np.float32)
        self._passed = np.empty(self._products.shape, dtype=bool)

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""
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


def split_pairs(found: list[Int64Array], n_concepts: int) -> Candidates:
    """Turn flat positions in an (images, concepts) table into rows and columns."""
    flat = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    rows, concept_ids = np.divmod(flat, n_concepts)
    return rows, concept_ids


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


class FaissSearch:
    """`IndexFlatIP.range_search` over the concepts, images as queries."""

    def __init__(self, concepts: Float32Array, thresholds: Float32Array) -> None:
        self._radius = shared_radius(concepts)
        self._index = load_faiss().IndexFlatIP(concepts.shape[1] + 1)
        self._index.add(carry_thresholds(concepts, thresholds))

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""
        limits, _, concept_ids = self._index.range_search(carry_one(images), self._radius)
        per_image: Int64Array = limits[1:].astype(np.int64) - limits[:-1].astype(np.int64)
        rows = np.repeat(np.arange(len(images), dtype=np.int64), per_image)
        order = np.lexsort((concept_ids, rows))
        return rows[order], concept_ids[order]


GPU_K = 128
"""Concepts asked for at first: several times the number that an image shows. FAISS on GPUs
allows 2,048 (1,024 with CUDA before 9), and needs time that grows with it."""


Searcher = Callable[[Float32Array], Any]
"""Makes a FAISS index of vectors, of which `search` returns the k best: scores and positions."""


class TopKSearch:
    """Every concept above its threshold, by top-k searches alone: FAISS on GPUs has no others.

    Where even the k-th concept of an image is above its threshold there may be more, so the
    concepts are split in two and both halves are searched, down to parts of at most k concepts, of
    which the k best are all. Nothing is lost, however many concepts an image shows.
    """

    def __init__(
        self,
        concepts: Float32Array,
        thresholds: Float32Array,
        open_searcher: Searcher,
        *,
        k: int = GPU_K,
    ) -> None:
        self._carried = carry_thresholds(concepts, thresholds)
        self._radius = shared_radius(concepts)
        self._open = open_searcher
        self._k = k
        self._parts: dict[tuple[int, int], Any] = {}

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""
        queries = carry_one(images)
        found: list[Candidates] = []
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

    def _part(self, first: int, last: int) -> Any:
        if (first, last) not in self._parts:
            self._parts[first, last] = self._open(self._carried[first:last])
        return self._parts[first, last]


def gpu_searcher(device: int = 0) -> Searcher:
    """Return a function that opens flat indexes on one GPU, which share its scratch memory."""
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() <= device:
        raise ConfigError(
            "The 'backend' parameter is 'faiss-gpu', but this FAISS has no GPU to work on. "
            "Install it with pip install 'conceptaudit[gpu]' on Linux with an NVIDIA GPU, "
            "or use the backend 'auto'."
        )
    resources: Any = faiss.StandardGpuResources()

    def open_index(vectors: Float32Array) -> Any:
        settings = faiss.GpuIndexFlatConfig()
        settings.device = device
        index = faiss.GpuIndexFlatIP(resources, vectors.shape[1], settings)
        index.add(vectors)
        return index

    return open_index
