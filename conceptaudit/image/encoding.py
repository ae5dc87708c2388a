"""Blocks of pictures through a model, patiently: memory that runs out costs time, not the run."""

from __future__ import annotations

import logging
from typing import Any, Protocol, Self

import numpy as np

from conceptaudit.errors import ConceptAuditError
from conceptaudit.records import Float32Array

ENCODE_BATCH = 64
"""Pictures per forward pass; fixed, because other batch sizes may round differently."""

_log = logging.getLogger(__name__)


class BlockModel(Protocol):
    """What encodes a block; `conceptaudit.image.clip.ClipModel` does."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:0"``."""

    @property
    def dimension(self) -> int:
        """Of the embeddings."""

    def encode_pixels(self, pixels: Any) -> Float32Array:
        """Embed a tensor of shape (n, 3, height, width)."""

    def on(self, device: str) -> Self:
        """Return the same model on another device."""


class PatientEncoder:
    """Encodes blocks; where memory runs out, in smaller ones, and at last on the CPU.

    A smaller block size, once needed, is kept. Each step down is logged as a warning.

    Parameters
    ----------
    model : BlockModel
        Where it starts.
    block : int, default ENCODE_BATCH
        Pictures per forward pass at first.

    Attributes
    ----------
    model : BlockModel
        The model on the device that it has come to.
    block : int
        The block size that it has come to.
    """

    def __init__(self, model: BlockModel, block: int = ENCODE_BATCH) -> None:
        self.model = model
        self.block = block
        self._first_block = block

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
        import torch

        done: list[Float32Array] = []
        start = 0
        while start < len(pixels):
            try:
                done.append(self.model.encode_pixels(pixels[start : start + self.block]))
                start += self.block
            except torch.OutOfMemoryError as error:
                self._step_down(error)
        if not done:
            return np.empty((0, self.model.dimension), dtype=np.float32)
        return np.concatenate(done)

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
