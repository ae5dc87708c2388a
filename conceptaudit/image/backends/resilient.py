"""Memory that runs out: smaller blocks, then the processor in place of the GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from conceptaudit.image.backends.base import Proposals, Proposer
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
