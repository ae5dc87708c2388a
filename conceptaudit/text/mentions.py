"""What is found in one caption: the concepts it names, and the look-alikes that are no nouns."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """One phrase of a caption that reads like a concept.

    Parameters
    ----------
    concept_id : int
        Position in the `ConceptVocabulary`.
    start, stop : int
        Characters [start, stop) of ``caption_text(caption)``.
    """

    concept_id: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Annotated:
    """The concepts of one caption.

    Parameters
    ----------
    mentions : tuple of Mention
        What counts, in order of the first word.
    rejected : tuple of Mention
        What would count if every word were a noun, and does not: "watch" in "they watch".

    Examples
    --------
    >>> Annotated((Mention(3, 0, 4), Mention(3, 9, 13))).counts
    Counter({3: 2})
    """

    mentions: tuple[Mention, ...] = ()
    rejected: tuple[Mention, ...] = ()

    @property
    def counts(self) -> Counter[int]:
        """Number of mentions by concept id."""
        return Counter(mention.concept_id for mention in self.mentions)


NOTHING = Annotated()
"""Shared by all captions without a match, which are most of a web corpus."""
