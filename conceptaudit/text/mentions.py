"""What is found in captions: the concepts they name, and the look-alikes that are no nouns.

Of every phrase that reads like a concept the tagger accepts those with a noun at their head. The
share that it rejects ("watch", "orange", "train") says how far a count rests on the tagger,
concept by concept.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.records import ConceptVocabulary, Int64Array

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


LOOK_ALIKES = "look_alikes"
"""Key of a shard's sums in its record."""

UNSPACED = "unspaced"
"""Key of a shard's number of captions in scripts without spaces in its record."""

_FILLS = 0.05
"""Share of captions from which a script that cannot be split is worth a note."""

_SHOWN = 5
_FEW = 20
"""Fewer matches than this say little about a concept's share."""

_MOST = 0.5


@dataclass(slots=True)
class RejectedMentions:
    """Mentions that were accepted and rejected, by concept; adds up over captions and shards.

    >>> sums = RejectedMentions()
    >>> sums.add(Annotated((Mention(0, 2, 5),), (Mention(0, 9, 12),)))
    >>> sums.as_json()
    {'accepted': [[0], [1]], 'rejected': [[0], [1]], 'asked': [[], []], 'aliases': [[], []]}
    """

    accepted: Counter[int] = field(default_factory=Counter)
    rejected: Counter[int] = field(default_factory=Counter)
    asked: Counter[int] = field(default_factory=Counter)
    aliases: Counter[int] = field(default_factory=Counter)
    """Captions by concept and phrase other than the name, see `alias_key`."""

    def add(self, annotated: Annotated) -> None:
        """Add the mentions of one caption."""
        for mention in annotated.mentions:
            self.accepted[mention.concept_id] += 1
            self.asked[mention.concept_id] += mention.asked
        for mention in annotated.rejected:
            self.rejected[mention.concept_id] += 1
            self.asked[mention.concept_id] += mention.asked
        self.aliases.update({alias_key(m) for m in annotated.mentions if m.alias})

    def as_json(self) -> Json:
        """Lay the sums out sparsely: ids and numbers by kind."""
        kinds = ("accepted", "rejected", "asked", "aliases")
        sums = {kind: sorted((+getattr(self, kind)).items()) for kind in kinds}
        return {kind: [[i for i, _ in of], [n for _, n in of]] for kind, of in sums.items()}


_ALIAS_BITS = 12


def alias_key(mention: Mention) -> int:
    """Pack concept and phrase of a mention; phrases past 4,095 share a place."""
    last = (1 << _ALIAS_BITS) - 1
    return (mention.concept_id << _ALIAS_BITS) | min(mention.alias, last)


class MentionTotals:
    """Sums of mentions over the records of shards, which are gigabytes and pass by once."""

    def __init__(self, n_concepts: int) -> None:
        self.accepted: Int64Array = np.zeros(n_concepts, dtype=np.int64)
        self.rejected: Int64Array = np.zeros(n_concepts, dtype=np.int64)
        self.asked: Int64Array = np.zeros(n_concepts, dtype=np.int64)
        self.aliases: Counter[int] = Counter()
        self.n_records = self.n_unspaced = 0

    def noted(self, records: Iterable[Json]) -> Iterator[Json]:
        """Yield records as they come, adding up what those that hold sums hold."""
        for record in records:
            if LOOK_ALIKES in record:
                for kind in ("accepted", "rejected", "asked"):
                    ids, numbers = record[LOOK_ALIKES][kind]
                    total = getattr(self, kind)
                    total[np.asarray(ids, dtype=np.int64)] += np.asarray(numbers, dtype=np.int64)
                self.aliases.update(dict(zip(*record[LOOK_ALIKES]["aliases"], strict=True)))
                self.n_records += 1
            self.n_unspaced += record.get(UNSPACED, 0)
            yield record

    def alias_table(self, vocabulary: ConceptVocabulary) -> pd.DataFrame:
        """Lay out how many captions name a concept by each of its aliases.

        Returns ``concept``, ``alias``, ``n_captions``; a caption that holds several counts for
        each.
        """
        rows = []
        for number, concept in enumerate(vocabulary):
            for place, alias in enumerate(concept.aliases, start=1):
                n = self.aliases[alias_key(Mention(number, 0, 0, alias=place))]
                rows.append((concept.name, alias, n))
        return pd.DataFrame(rows, columns=["concept", "alias", "n_captions"])


def look_alike_columns(
    accepted: Int64Array, rejected: Int64Array, asked: Int64Array
) -> pd.DataFrame:
    """Return the columns of a frequency table on how far its counts rest on a tagger.

    `accepted`, `rejected` and `asked` have the shape (n_concepts,).

    Returns ``n_text_rejected``: mentions, not captions. ``text_rejected_share`` and
    ``text_undecided_share`` (what neither the words nor a rule decided): in [0, 1], NaN for a
    concept without any match.

    >>> columns = look_alike_columns(np.array([3, 0]), np.array([1, 0]), np.array([2, 0]))
    >>> columns["text_rejected_share"].tolist(), columns["text_undecided_share"].tolist()
    ([0.25, nan], [0.5, nan])
    """
    matches = accepted + rejected
    shares = np.full((2, len(matches)), np.nan)
    for share, part in zip(shares, (rejected, asked), strict=True):
        np.divide(part, matches, out=share, where=matches > 0)
    return pd.DataFrame(
        {
            "n_text_rejected": pd.array(rejected, dtype="Int64"),
            "text_rejected_share": shares[0],
            "text_undecided_share": shares[1],
        }
    )


def unspaced_note(n_unspaced: int, n_captions: int, pipeline: str) -> str | None:
    """Say that many captions are in scripts that a pipeline cannot split; None for few."""
    if n_unspaced <= _FILLS * n_captions:
        return None
    return (
        f"{n_unspaced:,} of {quantity(n_captions, 'caption')} are in scripts without spaces "
        f"between words (Chinese, Japanese, Thai …), which the pipeline {pipeline!r} cannot "
        "split: names are found there only between spaces or marks. Audit them with a pipeline "
        "for their language (--spacy-model, --language)."
    )


def undecided_note(
    vocabulary: ConceptVocabulary, accepted: Int64Array, rejected: Int64Array, asked: Int64Array
) -> str | None:
    """Say how much of the counts rests on the tagger, and for which concepts most; None for none.

    The intervals of ``n_text`` do not hold this error: they say what another sample would give.
    """
    matches = accepted + rejected
    if not asked.sum():
        return None
    worst = sorted(
        (-int(asked[i]) / int(matches[i]), name)
        for i, name in enumerate(vocabulary.names)
        if matches[i] >= _FEW and asked[i] > _MOST * matches[i]
    )
    shown = ", ".join(f"{name!r} {-100 * share:.0f} %" for share, name in worst[:_SHOWN])
    return (
        f"Noun share undecided: {asked.sum() / matches.sum():.1%} of the phrases found were left "
        "to the tagger, the others decided by the words themselves (text_undecided_share"
        + (f"; most: {shown}" if worst else "")
        + "). The intervals of text counts are those of sampling and hold no error of the tagger."
    )


def look_alike_note(
    vocabulary: ConceptVocabulary, accepted: Int64Array, rejected: Int64Array
) -> str | None:
    """Name the concepts whose words are mostly no nouns, the worst first; None without any."""
    matches = accepted + rejected
    worst = [
        (-int(rejected[i]) / int(matches[i]), name, int(matches[i]))
        for i, name in enumerate(vocabulary.names)
        if matches[i] >= _FEW and rejected[i] > _MOST * matches[i]
    ]
    if not worst:
        return None
    shown = ", ".join(
        f"{name!r} {-100 * share:.0f} % of {n:,}" for share, name, n in sorted(worst)[:_SHOWN]
    )
    more = ", …" if len(worst) > _SHOWN else ""
    return (
        f"{len(worst):,} concept{' was' if len(worst) == 1 else 's were'} found mostly as another "
        f"part of speech and so not counted ({shown}{more}): such counts rest on the tagger. See "
        "the column text_rejected_share."
    )
