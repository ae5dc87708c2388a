"""Every (image, concept) pair at or above the concept's threshold: nothing lost, nothing ranked.

Concept vectors stay resident, image vectors stream. A backend proposes all pairs within a proven
rounding margin of the threshold; `ThresholdSearch` then decides each proposal by one canonical
inner product. So the backend, its block size, its device and its threads cannot change a count.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError
from conceptaudit.image.backends import (
    BlasSearch,
    Candidates,
    CandidateSearch,
    FaissSearch,
    TopKSearch,
    gpu_searcher,
)
from conceptaudit.image.clip import find_device
from conceptaudit.image.torch_product import (
    GPU_BLOCK,
    TorchSearch,
    multiplies_bfloat16,
)
from conceptaudit.image.vectors import pair_scores, reaches
from conceptaudit.records import Float32Array, Int32Array, Int64Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """Pairs found in one block, in order of image, then concept."""

    rows: Int64Array  # shape (n,): row of the block
    concept_ids: Int32Array  # shape (n,): row of the concept vectors
    scores: Float32Array  # shape (n,): cosine similarity


class ThresholdSearch:
    """Concept vectors, shape (n_concepts, dimension), with a threshold in [-1, 1] each.

    Backend ``"blas"`` is a float32 matrix product, ``"torch"`` one in half the bits with a margin
    (bfloat16 on CPUs, float16 on GPUs), ``"faiss"`` one `IndexFlatIP.range_search` for all
    thresholds, ``"faiss-gpu"`` repeated top-k searches; ``"auto"`` takes the fastest of them on
    this machine. All find the same hits with the same scores.

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
        """Find all concepts at or above their thresholds in unit vectors, shape (n, dimension)."""
        if images.shape[1:] != (self.dimension,):
            raise ConfigError(
                f"Image embeddings have dimension {images.shape[-1]}, concept vectors "
                f"{self.dimension}: they come from different models."
            )
        images = np.ascontiguousarray(images, dtype=np.float32)
        rows, concept_ids = self._backend.candidates(images)
        scores = pair_scores(images, rows, self._concepts, concept_ids)
        kept = reaches(scores, self._thresholds[concept_ids])
        return Hits(
            rows=rows[kept],
            concept_ids=concept_ids[kept].astype(np.int32),
            scores=scores[kept],
        )


log = logging.getLogger(__name__)

SMALLEST_BLOCK = 256  # images; a device that has no room for their scores has none for anything

OUT_OF_MEMORY = (
    "out of memory", "not enough memory", "cudamalloc", "alloc fail", "failed to allocate",
)  # fmt: skip
"""What CUDA, FAISS and oneDNN write into the errors for which they have no class."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of numpy, torch or FAISS means that memory has run out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)


class OomSafeSearch:
    """Hands images to a backend in blocks that fit its memory.

    Where memory runs out, the images at hand are done again in blocks of half the size, and the
    smaller size is kept. Below `SMALLEST_BLOCK` the fallback takes over for good. Both are logged,
    and neither changes a result.
    """

    def __init__(
        self, first: CandidateSearch, fallback: Callable[[], CandidateSearch] | None, *, block: int
    ) -> None:
        self.block = block
        self._search = first
        self._fallback = fallback

    def candidates(self, images: Float32Array) -> Candidates:
        """Find candidate pairs among unit vectors of shape (n, dimension)."""
        while True:
            try:
                return self._in_blocks(images)
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.block > SMALLEST_BLOCK:
                    self.block //= 2
                    log.warning(
                        "Memory ran out in the search for tags: going on with blocks of "
                        "%d images. Results are the same.",
                        self.block,
                    )
                elif self._fallback is not None:
                    log.warning(
                        "Memory ran out in the search for tags, even for %d images: going on "
                        "with the CPU. Results are the same.",
                        self.block,
                    )
                    self._search, self._fallback = self._fallback(), None
                else:
                    raise

    def _in_blocks(self, images: Float32Array) -> Candidates:
        rows, concept_ids = [], []
        for first in range(0, len(images), self.block):
            found, concepts = self._search.candidates(images[first : first + self.block])
            rows.append(found + first)
            concept_ids.append(concepts)
        if not rows:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return np.concatenate(rows), np.concatenate(concept_ids)


BACKENDS = ("auto", "blas", "faiss", "faiss-gpu", "torch")

CPU_BLOCK = 8_192  # images per call on CPUs, where the backends cut blocks of their own


def choose_backend(device: str = "auto") -> str:
    """Name the fastest backend for this machine: ``"torch"`` or ``"blas"``.

    torch where there is a GPU or a processor with bfloat16 products, else numpy's BLAS; see
    docs/benchmarks-image.md.
    """
    return "torch" if multiplies_bfloat16() or find_device(device) != "cpu" else "blas"


def open_backend(
    name: str, concepts: Float32Array, thresholds: Float32Array, *, device: str = "auto"
) -> CandidateSearch:
    """Make a backend ready for these concepts."""
    if name not in BACKENDS:
        raise ConfigError(
            f"The 'backend' parameter must be one of {list(BACKENDS)}. Got {name!r} instead."
        )

    def on_cpu() -> CandidateSearch:
        return BlasSearch(concepts, thresholds)

    chosen = choose_backend(device) if name == "auto" else name
    if chosen == "blas":
        return OomSafeSearch(on_cpu(), None, block=CPU_BLOCK)
    if chosen == "faiss":
        return OomSafeSearch(FaissSearch(concepts, thresholds), on_cpu, block=CPU_BLOCK)
    if chosen == "faiss-gpu":
        number = device.partition(":")[2]
        searcher = gpu_searcher(int(number) if number.isdigit() else 0)
        gpu = TopKSearch(concepts, thresholds, searcher)
        return OomSafeSearch(gpu, on_cpu, block=GPU_BLOCK)
    found = find_device(device)
    product = TorchSearch(concepts, thresholds, device=found)
    return OomSafeSearch(product, on_cpu, block=CPU_BLOCK if found == "cpu" else GPU_BLOCK)
