"""Concept vectors against what all texts have in common."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

ENOUGH_TO_CONTRAST = 10
"""Vectors from which their mean says what texts have in common, rather than what these mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What texts of a model have in common, whatever concepts are counted.

    Parameters
    ----------
    source : str
        Where it comes from, for notes: "256 common nouns (ViT-B-32/openai)".
    centre : numpy.ndarray of float32, shape (dimension,)
        Subtracted from every concept vector; zeros leave them as they are.
    names : tuple of str
        The nouns behind it, which also teach what is usual among concepts; () where they are not
        known or are the concept list itself.
    vectors : numpy.ndarray of float32, shape (len(names), dimension)
        Unit vectors of the nouns.
    fixed : bool
        Whether it is the same for every concept list.
    """

    source: str
    centre: Float32Array
    names: tuple[str, ...] = ()
    vectors: Float32Array
    fixed: bool = True

    @classmethod
    def of_nouns(
        cls, source: str, vectors: Float32Array, names: tuple[str, ...] = ()
    ) -> Background:
        """Derive it from unit vectors of common nouns."""
        centre = vectors.astype(np.float64).mean(axis=0).astype(np.float32)
        own = vectors if names else vectors[:0]
        return cls(source=source, centre=centre, names=names, vectors=own)

    @classmethod
    def of_list(cls, concepts: Float32Array) -> Background:
        """Derive it from the concept vectors themselves: zeros where they are few."""
        centre = concepts.astype(np.float64).mean(axis=0).astype(np.float32)
        if len(concepts) < ENOUGH_TO_CONTRAST:
            centre = np.zeros_like(centre)
        return cls(source="the concept list", centre=centre, vectors=concepts[:0], fixed=False)

    @property
    def digest(self) -> str:
        """SHA-256 of what can change a score."""
        return vectors_digest(np.vstack([self.centre[None], self.vectors]))


def contrast_vectors(concepts: Float32Array, centre: Float32Array | None = None) -> Float32Array:
    """Subtract what all texts have in common from each concept vector, and scale to length one.

    The score of an image then says how much closer it is to the concept than to concepts in
    general: what makes an image close to all texts, and a text to all images, falls out. The
    score stays an inner product with the image vector, so that one threshold decides it.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    centre : numpy.ndarray of float32, shape (dimension,), optional
        See `Background`; the list's own by default.

    Returns
    -------
    numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors; where a concept is the centre itself, its own vector.

    Examples
    --------
    >>> vectors = contrast_vectors(np.eye(20, dtype=np.float32))
    >>> vectors.shape, bool(vectors[0, 1] < 0)
    ((20, 20), True)
    """
    wide = concepts.astype(np.float64)
    rest = wide - (Background.of_list(concepts).centre if centre is None else centre)
    lengths = np.linalg.norm(rest, axis=1)
    rest[lengths < 1e-6] = wide[lengths < 1e-6]
    return unit_rows(rest.astype(np.float32))


def vectors_digest(concepts: Float32Array) -> str:
    """SHA-256 of concept vectors before contrast: of model, prompts and order of concepts."""
    return hashlib.sha256(np.ascontiguousarray(concepts, dtype=np.float32).tobytes()).hexdigest()
