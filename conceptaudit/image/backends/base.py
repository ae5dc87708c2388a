"""What a search backend offers, and how far float32 arithmetic may be off."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from conceptaudit.records import Float32Array, Int64Array

Proposals = tuple[Int64Array, Int64Array]
"""Rows of the images and rows of the concepts, in order of image, then concept."""

FAISS_HINT = (
    "FAISS is not installed. Install one of: pip install 'conceptaudit[cpu]' or, on Linux with an "
    "NVIDIA GPU, pip install 'conceptaudit[gpu]'."
)


class Proposer(Protocol):
    """Concepts with thresholds, ready to be compared with images.

    It may propose too many pairs and must not miss one whose canonical float32 score reaches the
    threshold: `conceptaudit.image.exact.ThresholdSearch` decides each proposal.
    """

    def propose(self, images: Float32Array) -> Proposals:
        """Propose pairs for unit vectors of shape (n, dimension)."""


def rounding_margin(dimension: int) -> float:
    """Bound on how far the float32 inner products of two unit vectors may lie apart.

    The classical bound n·u / (1 − n·u) with unit roundoff u = 2⁻²⁴ (Higham, "Accuracy and
    Stability of Numerical Algorithms", 2nd ed., section 3.1), twice: for the backend's product
    and for the canonical one that decides; n counts the threshold too, which may be carried as
    one more component. Holds for any order of additions.
    """
    roundoff = (dimension + 2) * 2.0**-24
    return 2.0 * roundoff / (1.0 - roundoff)


def rounding_margins(concepts: Float32Array) -> Float32Array:
    """`rounding_margin` for each concept, longer for vectors longer than 1.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors, or calibrated ones of any length.

    Returns
    -------
    numpy.ndarray of float32, shape (n_concepts,)
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", concepts, concepts))
    margins = rounding_margin(concepts.shape[1]) * np.maximum(lengths, 1.0)
    return np.asarray(margins, dtype=np.float32)
