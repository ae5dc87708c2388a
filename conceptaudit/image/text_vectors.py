"""Published text vectors of ImageNet's class names, for models that are known by their vectors."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array

ARCHIVE = Path(__file__).parent / "data" / "imagenet_text_vectors.npz"

SHIPPED = ("ViT-B-32/openai", "ViT-B-32/laion400m_e32")
"""Models whose vectors are shipped."""

SAME_MODEL = 0.6
"""Median cosine of concept vectors to the mean of a model's shipped ones. One model's texts lie in
a cone (0.85 for OpenAI's, 0.74 for LAION-400M's, with or without "a photo of"); these two models'
texts have 0.35 with each other's mean."""


@cache
def _archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def shipped_names() -> tuple[str, ...]:
    """Return ImageNet's 1,000 class names in class order; a few classes share a name."""
    return tuple(map(str, _archive()["names"]))


def shipped_vectors(model: str) -> Float32Array:
    """Return a model's unit vectors of `shipped_names`, shape (1000, dimension).

    References
    ----------
    CVMI-Lab/clip-beyond-tail (MIT): text embeddings of "a" and the name.
    """
    return unit_rows(_archive()[model].astype(np.float32))


def background_places() -> np.ndarray:
    """Return which of `shipped_names` are the common nouns that concepts are centred on."""
    return _archive()["background"].astype(np.int64)


def shipped_model_of(vectors: Float32Array) -> str | None:
    """Return the known model that made these concept vectors, or None.

    Parameters
    ----------
    vectors : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors of texts.

    Examples
    --------
    >>> shipped_model_of(shipped_vectors("ViT-B-32/openai")[:9])
    'ViT-B-32/openai'
    >>> shipped_model_of(np.eye(512, dtype=np.float32)) is None
    True
    """
    for model in SHIPPED:
        shipped = shipped_vectors(model)
        if shipped.shape[1] == vectors.shape[1]:
            centre = unit_rows(shipped.mean(axis=0, keepdims=True))[0]
            if float(np.median(vectors @ centre)) >= SAME_MODEL:
                return model
    return None
