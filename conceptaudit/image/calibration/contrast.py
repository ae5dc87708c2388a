"""Concept vectors against what all concepts have in common."""

import hashlib

import numpy as np

from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

ENOUGH_TO_CONTRAST = 10
"""Concepts from which their mean says what texts have in common, rather than what these mean."""


def contrast_vectors(concepts: Float32Array) -> Float32Array:
    """Subtract the mean of all concept vectors from each, and scale to length one.

    The score of an image then says how much closer it is to the concept than to concepts in
    general: what makes an image close to all texts, and a text to all images, falls out. The
    score stays an inner product with the image vector, so that one threshold decides it.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors. With fewer than `ENOUGH_TO_CONTRAST` they are returned as they are.

    Returns
    -------
    numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors; where a concept is the mean itself, its own vector.

    Examples
    --------
    >>> vectors = contrast_vectors(np.eye(20, dtype=np.float32))
    >>> vectors.shape, bool(vectors[0, 1] < 0)
    ((20, 20), True)
    """
    if len(concepts) < ENOUGH_TO_CONTRAST:
        return unit_rows(concepts)
    wide = concepts.astype(np.float64)
    rest = wide - wide.mean(axis=0)
    lengths = np.linalg.norm(rest, axis=1)
    rest[lengths < 1e-6] = wide[lengths < 1e-6]
    return unit_rows(rest.astype(np.float32))


def vectors_digest(concepts: Float32Array) -> str:
    """SHA-256 of concept vectors before contrast: of model, prompts and order of concepts."""
    return hashlib.sha256(np.ascontiguousarray(concepts, dtype=np.float32).tobytes()).hexdigest()
