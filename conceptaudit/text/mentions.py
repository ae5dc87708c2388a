"""What is found in captions: the concepts they name, and the look-alikes that are no nouns."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

Int32 = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, order=True)
class Mention:
    """One phrase of a caption that reads like a concept."""

    concept_id: int  # position in the `ConceptVocabulary`
    # characters [start, stop) of ``caption_text(caption)``
    start: int
    stop: int
    alias: int = 0  # which phrase of the concept it is: 0 for its name, then its aliases
    # whether a tagger had to be asked; else the words around decided, or the word itself
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Annotated:
    """The concepts of one caption.

    >>> Annotated((Mention(3, 0, 4), Mention(3, 9, 13))).counts
    Counter({3: 2})
    """

    mentions: tuple[Mention, ...] = ()  # what counts, in order of the first word
    # what would count if every word were a noun, and does not: "watch" in "they watch"
    rejected: tuple[Mention, ...] = ()

    @property
    def counts(self) -> Counter[int]:
        """Number of mentions by concept id."""
        return Counter(mention.concept_id for mention in self.mentions)


NO_MENTIONS = Annotated()
"""Shared by all captions without a match, which are most of a web corpus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Mentions in many captions as columns of shape (n,), accepted and rejected ones.

    Sorted by caption, place and concept.
    """

    # the caption, and the parts of a `Mention`
    captions: Int32
    concepts: Int32
    aliases: Int32
    starts: Int32
    stops: Int32
    # whether it counts, and whether a tagger had to be asked
    accepted: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.bool_]
    failures: dict[int, str]  # how the pipeline failed, by caption; such a caption has no mentions

    def select(self, chosen: npt.NDArray[np.bool_]) -> Found:
        """Return some of them."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        failures = columns.pop("failures")
        return Found(**{name: c[chosen] for name, c in columns.items()}, failures=failures)

    def by_caption(self) -> Iterator[tuple[int, Annotated]]:
        """Yield the captions that have mentions, in order, with them."""
        columns = (self.concepts, self.starts, self.stops, self.aliases, self.asked)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        mentions = list(itertools.starmap(Mention, rows))
        accepted = self.accepted.tolist()
        begins = np.flatnonzero(np.diff(self.captions, prepend=-1))
        ends = np.append(begins, len(mentions))[1:]
        for caption, begin, end in zip(
            self.captions[begins].tolist(), begins.tolist(), ends.tolist(), strict=True
        ):
            here = range(begin, end)
            yield (
                caption,
                Annotated(
                    tuple(mentions[i] for i in here if accepted[i]),
                    tuple(mentions[i] for i in here if not accepted[i]),
                ),
            )
