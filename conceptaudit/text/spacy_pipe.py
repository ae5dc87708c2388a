"""Running a pipeline over captions so that one bad caption is lost alone and memory stays flat."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

Value = TypeVar("Value")

SPACY_BATCH = 256
"""Captions per forward pass; more gained nothing in measurements and costs memory."""

ZONE_CAPTIONS = 2_048
"""Captions after which the pipeline forgets the words it has seen."""


def map_docs(
    nlp: Language, captions: Sequence[str], use: Callable[[Doc], Value]
) -> list[Value | Exception]:
    """Tag captions and keep what a function makes of each tagged one.

    >>> import spacy
    >>> map_docs(spacy.blank("en"), ["a dog", "dogs"], len)
    [2, 1]
    """
    found: list[Value | Exception] = []
    for start in range(0, len(captions), ZONE_CAPTIONS):
        zone = captions[start : start + ZONE_CAPTIONS]
        distinct = list(dict.fromkeys(zone))
        results = dict(zip(distinct, _zone(nlp, distinct, use), strict=True))
        found.extend(results[caption] for caption in zone)
    return found


def _zone(
    nlp: Language, captions: Sequence[str], use: Callable[[Doc], Value]
) -> list[Value | Exception]:
    # `use` must not hold on to a Doc, whose words are gone when the zone ends, and
    # the zone frees new words: without it spaCy's string store grows with the corpus
    with nlp.memory_zone():
        try:
            return [use(doc) for doc in nlp.pipe(captions, batch_size=SPACY_BATCH)]
        except Exception as error:  # noqa: BLE001 -- any pipeline may fail on any caption
            if len(captions) == 1:
                return [error]
    half = len(captions) // 2
    return [*_zone(nlp, captions[:half], use), *_zone(nlp, captions[half:], use)]
