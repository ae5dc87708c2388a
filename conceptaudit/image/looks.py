"""A thumbnail of 8 × 8 colours: cheap, and better than any embedding at "is this the same picture".

An embedding says what a picture shows; two photographs of the same thing may be nearer to each
other than a photograph and its crop. Where pictures are opened anyway, the thumbnail is taken from
the model's own pixels and decides together with the embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

SIDE = 8
"""Cells per side."""

LOOK_BYTES = 3 * SIDE * SIDE

LOOK_THRESHOLD = 0.94
"""Correlation of thumbnails from which two pictures look the same; see docs/benchmarks-image.md."""


def looks_of(pixels: Any) -> npt.NDArray[np.uint8] | None:
    """Shrink a block of prepared pictures to thumbnails.

    Parameters
    ----------
    pixels : torch.Tensor of uint8, shape (n, 3, height, width)

    Returns
    -------
    numpy.ndarray of uint8, shape (n, 192), or None
        None for pixels of another kind, of which nothing is known.
    """
    import torch

    if pixels.dtype != torch.uint8 or pixels.ndim != 4:
        return None
    means = torch.nn.functional.adaptive_avg_pool2d(pixels.float(), SIDE)
    thumbnails: npt.NDArray[np.uint8] = means.round().to(torch.uint8).flatten(1).numpy()
    return thumbnails


def look_vectors(looks: npt.NDArray[np.uint8]) -> Float32Array:
    """Turn thumbnails into unit vectors whose inner product is their correlation.

    Each colour channel's mean is taken off, so that brightness and tint do not count. A picture
    of one colour has no direction and becomes zeros: it resembles nothing.

    Parameters
    ----------
    looks : numpy.ndarray of uint8, shape (n, 192)

    Returns
    -------
    numpy.ndarray of float32, shape (n, 192)

    Examples
    --------
    >>> stripes = np.tile(np.arange(8, dtype=np.uint8), 24)[None]
    >>> dim, flat = stripes // 2 + 9, np.full_like(stripes, 7)
    >>> a, b, c = (look_vectors(look) for look in (stripes, dim, flat))
    >>> bool((a @ b.T > 0.95).all()), float((a @ c.T)[0, 0])
    (True, 0.0)
    """
    channels = looks.reshape(len(looks), 3, SIDE * SIDE).astype(np.float32)
    centred = channels - channels.mean(axis=2, keepdims=True)
    return unit_rows(centred.reshape(len(looks), LOOK_BYTES))
