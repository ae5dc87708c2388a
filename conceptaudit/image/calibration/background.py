"""What concept vectors are centred on: common nouns that do not depend on the concept list."""

from __future__ import annotations

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.image.calibration.contrast import ENOUGH_TO_CONTRAST, Background
from conceptaudit.image.clip import LAB, ClipModel
from conceptaudit.image.prompts import encode_concepts
from conceptaudit.image.text_vectors import (
    background_places,
    shipped_model_of,
    shipped_names,
    shipped_vectors,
)
from conceptaudit.image.vectors import read_array, unit_rows
from conceptaudit.records import Concept, ConceptVocabulary, Float32Array


def choose_background(
    vectors: Float32Array,
    clip: ClipModel | None,
    *,
    templates: tuple[str, ...],
    file: str | None,
) -> tuple[Background, tuple[str, ...]]:
    """Return the background of a model's concept vectors, and what the user should know of it.

    Parameters
    ----------
    vectors : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors of the concepts.
    clip : ClipModel or None
        The model, where it is at hand: it embeds the nouns as it did the concepts.
    templates : tuple of str
        Prompts.
    file : str or None
        Vectors that the user names instead (`--background-vectors`).

    Raises
    ------
    DataError
        The user's file cannot be used.
    """
    if file is not None:
        return Background.of_nouns(f"{file}", _read_background(file, vectors.shape[1])), ()
    if clip is not None:
        nouns = _nouns_of(clip)
        vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in nouns))
        embedded = encode_concepts(vocabulary, clip, templates)
        return Background.of_nouns(f"{quantity(len(nouns), 'common noun')}", embedded, nouns), ()
    model = shipped_model_of(vectors)
    if model is not None:
        places = background_places()
        nouns = tuple(shipped_names()[place] for place in places)
        source = f"{quantity(len(nouns), 'common noun')} ({model}, known by its vectors)"
        return Background.of_nouns(source, shipped_vectors(model)[places], nouns), ()
    note = (
        "Concept vectors are of no known model and are centred on the concept list itself: counts "
        "of images depend on what else is in the list. Name vectors of common nouns by the same "
        "model with --background-vectors."
    )
    return Background.of_list(vectors), (note,)


def _nouns_of(clip: ClipModel) -> tuple[str, ...]:
    """Return the common nouns that a model knows; the lab's knows the things of its scenes."""
    if clip.name == LAB:
        # the lab is data, and costs nothing to those who do not ask for its model
        from conceptaudit.lab import lab_clip_data, lab_vocabulary

        return lab_vocabulary(lab_clip_data()).names
    return tuple(shipped_names()[place] for place in background_places())


def _read_background(file: str, dimension: int) -> Float32Array:
    vectors = read_array(file, "background vectors")
    shape = tuple(getattr(vectors, "shape", ()))
    if len(shape) != 2 or shape[-1] != dimension or len(vectors) < ENOUGH_TO_CONTRAST:
        raise DataError(
            f"--background-vectors must be a float array of at least {ENOUGH_TO_CONTRAST} vectors "
            f"of dimension {dimension}, as the concepts'. Got shape {shape} in {file} "
            "instead."
        )
    wide = np.asarray(vectors, dtype=np.float32)
    if not bool(np.isfinite(wide).all() & (np.abs(wide).sum(axis=1) > 0).all()):
        raise DataError(f"A row of {file} is not finite or has length zero.")
    return unit_rows(wide)
