"""Concepts to text-encoder vectors."""

from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.vectors import unit_rows
from conceptaudit.options import shared
from conceptaudit.records import ConceptVocabulary, Float32Array
from conceptaudit.text.normalize import phrase_text

DEFAULT_TEMPLATES = shared.DEFAULT_TEMPLATES


def concept_prompts(
    vocabulary: ConceptVocabulary, templates: tuple[str, ...], *, aliases: bool = False
) -> list[list[str]]:
    """Return each concept's prompts: its own, or its name in every template.

    With `aliases`, its aliases are put into every template as well.

    Raises
    ------
    ConfigError
        A template has no ``{}`` (or ``{c}``, as CLIP_benchmark writes it).
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

    Averaging keeps a concept one vector, so that one inner product and one threshold decide it;
    the largest of several vectors' scores would need a threshold and a scale for each of them.

    Parameters
    ----------
    vocabulary : ConceptVocabulary
    clip : ClipModel
    templates : tuple of str
        For concepts without prompts of their own.
    aliases : bool, default False
        Whether aliases take part in the mean beside the name.

    Returns
    -------
    numpy.ndarray of float32, shape (n_concepts, dimension)
    """
    import numpy as np

    prompts = concept_prompts(vocabulary, templates, aliases=aliases)
    vectors = clip.encode_texts([prompt for group in prompts for prompt in group])
    starts = np.cumsum([0, *(len(group) for group in prompts[:-1])])
    return unit_rows(np.add.reduceat(vectors.astype(np.float64), starts).astype(np.float32))
