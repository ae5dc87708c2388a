"""The frequency law: which concepts are in use, in which order, and how often each occurs."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from conceptaudit.lab.concepts import LabConcept, load_concepts
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.rng import Purpose, SampleRng
from conceptaudit.records import Concept, ConceptVocabulary

Float64Array = npt.NDArray[np.float64]

_EVERYDAY_ORDER_SEED = 20_240_404
"""Orders the concepts that the table does not rank; any number would do, but only one."""


@lru_cache(maxsize=16)
def ranked_concepts(config: LabConfig) -> tuple[LabConcept, ...]:
    """Order the concepts in use from most to least frequent.

    >>> [concept.name for concept in ranked_concepts(LabConfig(n_concepts=3))]
    ['dog', 'cat', 'car']
    """
    seed = _EVERYDAY_ORDER_SEED if config.order_seed is None else config.order_seed
    order = SampleRng(seed=seed, index=0, purpose=Purpose.ORDER).shuffled(load_concepts())
    if config.order_seed is None:
        order.sort(key=lambda concept: concept.common_rank)
    return tuple(order[: config.n_concepts])


@lru_cache(maxsize=16)
def draw_probabilities(config: LabConfig) -> Float64Array:
    """Compute how likely each concept is to be drawn as one thing of a scene.

    Returns
    -------
    numpy.ndarray of float64, shape (n_concepts,)
        In the order of `ranked_concepts`; sums to 1.

    Examples
    --------
    >>> p = draw_probabilities(LabConfig(n_concepts=4, zipf_exponent=1.0, zero_concepts=2))
    >>> p.round(3).tolist()
    [0.667, 0.333, 0.0, 0.0]
    """
    concepts = ranked_concepts(config)
    weights = np.arange(1, len(concepts) + 1, dtype=np.float64) ** -config.zipf_exponent
    if isinstance(config.zero_concepts, int):
        weights[len(concepts) - config.zero_concepts :] = 0.0
    else:
        weights[[concept.name in config.zero_concepts for concept in concepts]] = 0.0
    weights /= weights.sum()
    weights.flags.writeable = False
    return weights


@lru_cache(maxsize=16)
def cumulative_probabilities(config: LabConfig) -> Float64Array:
    """Sum `draw_probabilities` up, ending in exactly 1."""
    cumulative = np.cumsum(draw_probabilities(config))
    # Rounding must not leave a gap that a never-occurring last concept could fill.
    cumulative[cumulative >= cumulative[-1]] = 1.0
    cumulative.flags.writeable = False
    return cumulative


def size_probabilities(config: LabConfig) -> Float64Array:
    """Compute how likely a scene is to have `min_objects`, …, `max_objects` draws."""
    sizes = np.arange(config.min_objects, config.max_objects + 1, dtype=np.float64)
    return np.asarray((1 / sizes) / (1 / sizes).sum(), dtype=np.float64)


def presence_probabilities(config: LabConfig) -> Float64Array:
    """Compute the exact probability that a scene shows each concept at least once.

    Draws are independent, so the law of presence is a little flatter than the law of draws.

    Examples
    --------
    >>> config = LabConfig(n_concepts=2, zipf_exponent=0.0, min_objects=2, max_objects=2)
    >>> presence_probabilities(config).tolist()
    [0.75, 0.75]
    """
    absent = 1 - draw_probabilities(config)[:, None]
    sizes = np.arange(config.min_objects, config.max_objects + 1)
    missing = (absent**sizes * size_probabilities(config)).sum(axis=1)
    return np.asarray(1 - missing, dtype=np.float64)


def lab_vocabulary(config: LabConfig) -> ConceptVocabulary:
    """List the concepts in use, most frequent first, with their aliases, for an audit.

    Examples
    --------
    >>> lab_vocabulary(LabConfig(n_concepts=4))[3].name
    'tree'
    """
    return ConceptVocabulary(
        tuple(
            Concept(name=concept.name, aliases=tuple(alias for alias, _ in concept.aliases))
            for concept in ranked_concepts(config)
        )
    )
