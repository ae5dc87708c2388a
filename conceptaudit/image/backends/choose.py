"""Which backend searches: by name, or the fastest that this machine has."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from conceptaudit.errors import ConfigError
from conceptaudit.image.backends.base import Proposals, Proposer
from conceptaudit.image.backends.blas import BlasProposer
from conceptaudit.image.backends.faiss_range import FaissProposer
from conceptaudit.image.backends.topk import TopKProposer, gpu_searcher
from conceptaudit.image.backends.torch_product import (
    GPU_BLOCK,
    TorchProposer,
    multiplies_bfloat16,
)
from conceptaudit.records import Float32Array

log = logging.getLogger(__name__)

SMALLEST_BLOCK = 256
"""Images; a device that has no room for their scores has none for anything."""

OUT_OF_MEMORY = (
    "out of memory", "not enough memory", "cudamalloc", "alloc fail", "failed to allocate",
)  # fmt: skip
"""What CUDA, FAISS and oneDNN write into the errors for which they have no class."""


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error of numpy, torch or FAISS means that memory has run out.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("CUDA error: out of memory")), is_out_of_memory(KeyError())
    (True, False)
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in OUT_OF_MEMORY)


class ResilientProposer:
    """Hands images to a backend in blocks that fit its memory.

    Where memory runs out, the images at hand are done again in blocks of half the size, and the
    smaller size is kept. Below `SMALLEST_BLOCK` the fallback takes over for good. Both are told
    to the log, and neither changes a result.

    Parameters
    ----------
    first : Proposer
        The backend.
    fallback : callable or None
        Makes the backend to go on with; None where there is nothing else.
    block : int
        Images per call, at first.
    """

    def __init__(
        self, first: Proposer, fallback: Callable[[], Proposer] | None, *, block: int
    ) -> None:
        self.block = block
        self._proposer = first
        self._fallback = fallback

    def propose(self, images: Float32Array) -> Proposals:
        """Propose pairs for unit vectors of shape (n, dimension)."""
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
                    self._proposer, self._fallback = self._fallback(), None
                else:
                    raise

    def _in_blocks(self, images: Float32Array) -> Proposals:
        rows, concept_ids = [], []
        for first in range(0, len(images), self.block):
            found, concepts = self._proposer.propose(images[first : first + self.block])
            rows.append(found + first)
            concept_ids.append(concepts)
        if not rows:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
        return np.concatenate(rows), np.concatenate(concept_ids)


BACKENDS = ("auto", "blas", "faiss", "faiss-gpu", "torch")

CPU_BLOCK = 8_192
"""Images per call on CPUs, where the backends cut blocks of their own."""


def cuda_device(device: str) -> str | None:
    """Return the CUDA device to use, or None for the CPU.

    Parameters
    ----------
    device : str
        ``"auto"`` for the first GPU where there is one, ``"cpu"`` or ``"cuda:0"``.

    Raises
    ------
    ConfigError
        There is no such device.
    """
    if device == "cpu":
        return None
    import torch

    if torch.cuda.is_available() and (device == "auto" or device.startswith("cuda")):
        return "cuda:0" if device in ("auto", "cuda") else device
    if device == "auto":
        return None
    raise ConfigError(
        f"The 'device' parameter must be 'auto', 'cpu' or 'cuda:0', with a GPU that torch sees. "
        f"Got {device!r} instead."
    )


def choose_backend(device: str = "auto") -> str:
    """Name the fastest backend for this machine: ``"torch"`` or ``"blas"``.

    torch where there is a GPU or a processor with bfloat16 products, else numpy's BLAS; see
    docs/benchmarks-image.md.
    """
    return "torch" if multiplies_bfloat16() or cuda_device(device) else "blas"


def open_backend(
    name: str, concepts: Float32Array, thresholds: Float32Array, *, device: str = "auto"
) -> Proposer:
    """Make a backend ready for these concepts.

    Parameters
    ----------
    name : str
        One of `BACKENDS`.
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : numpy.ndarray of float32, shape (n_concepts,)
        Cosine similarities.
    device : str
        ``"auto"``, ``"cpu"`` or ``"cuda:0"``, for ``"torch"`` and ``"faiss-gpu"``.

    Raises
    ------
    ConfigError
        The name is not known, or the device is not there.
    MissingDependencyError
        The backend needs FAISS, which is not installed.
    """
    if name not in BACKENDS:
        raise ConfigError(
            f"The 'backend' parameter must be one of {list(BACKENDS)}. Got {name!r} instead."
        )

    def on_cpu() -> Proposer:
        return BlasProposer(concepts, thresholds)

    chosen = choose_backend(device) if name == "auto" else name
    if chosen == "blas":
        return ResilientProposer(on_cpu(), None, block=CPU_BLOCK)
    if chosen == "faiss":
        return ResilientProposer(FaissProposer(concepts, thresholds), on_cpu, block=CPU_BLOCK)
    if chosen == "faiss-gpu":
        number = device.partition(":")[2]
        searcher = gpu_searcher(int(number) if number.isdigit() else 0)
        gpu = TopKProposer(concepts, thresholds, searcher)
        return ResilientProposer(gpu, on_cpu, block=GPU_BLOCK)
    cuda = cuda_device(device)
    product = TorchProposer(concepts, thresholds, device=cuda or "cpu")
    return ResilientProposer(product, on_cpu, block=GPU_BLOCK if cuda else CPU_BLOCK)
