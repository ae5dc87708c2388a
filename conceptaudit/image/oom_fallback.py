"""Blocks of images through a model: memory that runs out costs time, not the run."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, Self

import numpy as np

from conceptaudit.errors import ConceptAuditError
from conceptaudit.image.decode_pool import Block
from conceptaudit.records import Float32Array

ENCODE_BATCH = 64
"""Images per forward pass on a CPU; fixed, because other batch sizes may round differently."""

_log = logging.getLogger(__name__)

Pending = Callable[[], Float32Array]
"""Waits for vectors that a device is computing."""


class BlockModel(Protocol):
    """What encodes a block; `conceptaudit.image.clip.ClipModel` does."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:0"``."""

    @property
    def dimension(self) -> int:
        """Of the embeddings."""

    @property
    def batch(self) -> int:
        """Images per forward pass."""

    def launch_pixels(self, pixels: Any) -> Pending:
        """Begin to embed a tensor of shape (n, 3, height, width)."""

    def on(self, device: str) -> Self:
        """Return the same model on another device."""


class OomSafeEncoder:
    """Encodes blocks; where memory runs out, in smaller ones, and at last on the CPU.

    A smaller block size, once needed, is kept. Each step down is logged as a warning.

    Parameters
    ----------
    model : BlockModel
        Where it starts.

    Attributes
    ----------
    model : BlockModel
        The model on the device that it has come to.
    block : int
        The block size that it has come to.
    """

    def __init__(self, model: BlockModel) -> None:
        self.model = model
        self.block = self._first_block = model.batch

    def __call__(self, pixels: Any) -> Float32Array:
        """Embed a block.

        Parameters
        ----------
        pixels : torch.Tensor, shape (n, 3, height, width)

        Returns
        -------
        numpy.ndarray of float32, shape (n, dimension)
            Unit vectors.

        Raises
        ------
        ConceptAuditError
            Memory runs out on the CPU, too.
        """
        return self._launch(pixels)()

    def blocks(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Float32Array]]:
        """Embed blocks; a device works on the next one while the caller has the vectors of one.

        Yields
        ------
        block : Block
        vectors : numpy.ndarray of float32, shape (n, dimension)
        """
        pending: tuple[Block, Pending] | None = None
        for block in blocks:
            launched = block, self._launch(block.pixels)
            if pending is not None:
                yield pending[0], pending[1]()
            pending = launched
        if pending is not None:
            yield pending[0], pending[1]()

    def _launch(self, pixels: Any) -> Pending:
        import torch

        parts: list[Pending] = []
        start = 0
        while start < len(pixels):
            try:
                parts.append(self.model.launch_pixels(pixels[start : start + self.block]))
                start += self.block
            except torch.OutOfMemoryError as error:
                self._step_down(error)
        empty = np.empty((0, self.model.dimension), dtype=np.float32)
        return lambda: np.concatenate([empty, *(part() for part in parts)])

    def _step_down(self, error: Exception) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        where = self.model.device
        if self.block > 1:
            self.block //= 2
            _log.warning("Memory of %s ran out: going on with blocks of %d.", where, self.block)
        elif where != "cpu":
            self.model, self.block = self.model.on("cpu"), self._first_block
            _log.warning("Memory of %s ran out for a single picture: going on on the CPU.", where)
        else:
            raise ConceptAuditError(
                "Memory ran out while one picture was embedded on the CPU. Free some, or name a "
                "smaller model with --clip."
            ) from error
