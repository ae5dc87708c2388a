"""Concepts as vectors: prompts, what all texts have in common, and vectors of common nouns."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.clip_models import LAB
from conceptaudit.image.vectors import read_unit_vectors, unit_rows
from conceptaudit.options import shared
from conceptaudit.records import Concept, ConceptVocabulary, Float32Array
from conceptaudit.text.normalize import phrase_text

DEFAULT_TEMPLATES = shared.DEFAULT_TEMPLATES


def concept_prompts(
    vocabulary: ConceptVocabulary, templates: tuple[str, ...], *, aliases: bool = False
) -> list[list[str]]:
    """Return each concept's prompts: its own, or its name in every template.

    With `aliases`, its aliases are put into every template as well.
    """
    plain = [template.replace("{c}", "{}") for template in templates]
    for template in plain:
        if template.count("{}") != 1:
            raise ConfigError(
                f"A prompt template must hold '{{}}' once, where the concept's name goes. "
                f"Got {template!r} instead."
            )
    return [
        list(concept.prompts)
        or [
            template.replace("{}", phrase_text(phrase))
            for phrase in (concept.phrases if aliases else (concept.name,))
            for template in plain
        ]
        for concept in vocabulary
    ]


def encode_concepts(
    vocabulary: ConceptVocabulary,
    clip: ClipModel,
    templates: tuple[str, ...] = DEFAULT_TEMPLATES,
    *,
    aliases: bool = False,
) -> Float32Array:
    """Embed concepts: the mean of their prompts' unit vectors, scaled to length one again.

    Returns shape (n_concepts, dimension). With `aliases` they take part beside the name.
    """
    # One vector per concept, so that one inner product and one threshold decide it: the largest of
    # several vectors' scores would need a threshold and a scale for each of them.
    prompts = concept_prompts(vocabulary, templates, aliases=aliases)
    vectors = clip.encode_texts([prompt for group in prompts for prompt in group])
    starts = np.cumsum([0, *(len(group) for group in prompts[:-1])])
    return unit_rows(np.add.reduceat(vectors.astype(np.float64), starts).astype(np.float32))


ARCHIVE = Path(__file__).parent / "data" / "imagenet_text_vectors.npz"

SHIPPED = ("ViT-B-32/openai", "ViT-B-32/laion400m_e32")  # models whose vectors are shipped

SAME_MODEL = 0.6
"""Median cosine of concept vectors to the mean of a model's shipped ones. One model's texts lie in
a cone (0.85 for OpenAI's, 0.74 for LAION-400M's, with or without "a photo of"); these two models'
texts have 0.35 with each other's mean."""


@cache
def _archive() -> dict[str, np.ndarray]:
    with np.load(ARCHIVE, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def shipped_vectors(model: str) -> Float32Array:
    """Return a model's unit vectors of ImageNet's class names, shape (1000, dimension).

    See CVMI-Lab/clip-beyond-tail (MIT): text embeddings of "a" and the name.
    """
    return unit_rows(_archive()[model].astype(np.float32))


def common_nouns() -> tuple[tuple[str, ...], np.ndarray]:
    """Return the class names that concepts are centred on, and their rows of shipped vectors."""
    rows = _archive()["background"].astype(np.int64)
    return tuple(map(str, _archive()["names"][rows])), rows


def shipped_model_of(vectors: Float32Array) -> str | None:
    """Return the known model that made unit vectors of texts, or None.

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


ENOUGH_TO_CONTRAST = 10
"""Vectors from which their mean says what texts have in common, rather than what these mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What texts of a model have in common, whatever concepts are counted."""

    source: str  # where it comes from, for notes: "256 common nouns (ViT-B-32/openai)"
    # shape (dimension,): subtracted from every concept vector; zeros leave them as they are
    centre: Float32Array
    # the nouns behind it, which also teach what is usual among concepts; () where they are not
    # known or are the concept list itself
    names: tuple[str, ...] = ()
    vectors: Float32Array  # shape (len(names), dimension): unit vectors of the nouns
    fixed: bool = True  # whether it is the same for every concept list

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

    Vectors have shape (n_concepts, dimension), the centre (dimension,): see `Background`; it is the
    list's own by default. A concept that is the centre itself keeps its vector.

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


def choose_background(
    vectors: Float32Array,
    clip: ClipModel | None,
    *,
    templates: tuple[str, ...],
    file: str | None,
) -> tuple[Background, tuple[str, ...]]:
    """Return the background of a model's concept vectors, and what the user should know of it.

    The user's `file` (--background-vectors) comes first, then the model itself, which embeds the
    nouns as it did the concepts, then shipped vectors where `vectors` are known to be a model's.
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
        nouns, rows = common_nouns()
        source = f"{quantity(len(nouns), 'common noun')} ({model}, known by its vectors)"
        return Background.of_nouns(source, shipped_vectors(model)[rows], nouns), ()
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
    return common_nouns()[0]


def _read_background(file: str, dimension: int) -> Float32Array:
    vectors = read_unit_vectors(file, "background vectors")
    if vectors.shape[1] != dimension or len(vectors) < ENOUGH_TO_CONTRAST:
        raise DataError(
            f"--background-vectors must be a float array of at least {ENOUGH_TO_CONTRAST} vectors "
            f"of dimension {dimension}, as the concepts'. Got shape {vectors.shape} in {file} "
            "instead."
        )
    return vectors
