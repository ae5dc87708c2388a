"""Segments of captions in which some concept may be named, found without a tagger."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.text.columns import ragged
from conceptaudit.text.mentions import Annotated, Mention
from conceptaudit.text.segments import SegmentTable
from conceptaudit.text.splitting import Words
from conceptaudit.text.words import HEAD, LEFT, RIGHT, SKIPPED, WordTable

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Segments that hold a word which can be the head of a phrase.

    Parameters
    ----------
    captions : numpy.ndarray of int32, shape (n,)
        Which caption each is in; ascending.
    segments : numpy.ndarray of int32, shape (n,)
        Numbers in the `SegmentTable`.
    places : numpy.ndarray of int64, shape (n,)
        Place of the first word among `kept`.
    kept : numpy.ndarray of int64, shape (n_kept,)
        Places of the words that are not hyphens in the columns of `Words`.
    """

    captions: Int32
    segments: Int32
    places: Int64
    kept: Int64

    def select(self, chosen: npt.NDArray[np.bool_]) -> Candidates:
        """Keep some of the candidates."""
        return Candidates(
            captions=self.captions[chosen],
            segments=self.segments[chosen],
            places=self.places[chosen],
            kept=self.kept,
        )


class CandidateFinder:
    """Finds the segments of captions in which a phrase may match.

    Parameters
    ----------
    words : WordTable
        The words of the captions.
    segments : SegmentTable
        The distinct segments.
    """

    def __init__(self, words: WordTable, segments: SegmentTable) -> None:
        self._words = words
        self._segments = segments
        self._adjacent: dict[int, bool] = {}

    def __call__(self, words: Words) -> Candidates:
        """Find the candidates of many captions."""
        flags = self._words.flags[words.ids]
        kept = np.flatnonzero((flags & SKIPPED) == 0)
        flags, ids, owner = flags[kept], words.ids[kept], words.captions[kept]
        is_head = (flags & HEAD) != 0
        linked = self._links(flags, ids, owner)  # words that are linked to the next
        apart = np.ones(len(ids), dtype=bool)
        apart[linked] = False
        apart[linked + 1] = False
        alone = np.flatnonzero(is_head & apart)
        # a stretch of linked words starts where the word before is not linked
        opens = np.diff(linked, prepend=-2) != 1
        starts = linked[opens]
        stops = linked[np.append(opens[1:], True)[: len(linked)]] + 2
        n_heads = np.concatenate([[0], np.cumsum(is_head)])
        with_head = n_heads[stops] > n_heads[starts]
        starts, stops = starts[with_head], stops[with_head]
        places = np.concatenate([alone, starts])
        segments = np.concatenate(
            [self._segments.solo(ids[alone]), self._several(ids, starts, stops)]
        )
        order = np.argsort(places, kind="stable")
        places = places[order]
        return Candidates(
            captions=owner[places], segments=segments[order], places=places, kept=kept
        )

    def _several(self, ids: Int32, starts: Int64, stops: Int64) -> Int32:
        """Return the segments of several words that lie at [start, stop)."""
        places, _ = ragged(starts, stops - starts)
        line = ids[places].tolist()
        ends = np.cumsum(stops - starts).tolist()
        number = self._segments.id
        return np.array(
            [number(tuple(line[a:b])) for a, b in itertools.pairwise([0, *ends])], dtype=np.int32
        )

    def _links(self, flags: npt.NDArray[np.uint8], ids: Int32, owner: Int32) -> Int64:
        fits = ((flags[:-1] & LEFT) != 0) & ((flags[1:] & RIGHT) != 0) & (owner[:-1] == owner[1:])
        where = np.flatnonzero(fits)
        at, distinct = pd.factorize(ids[where].astype(np.int64) << 32 | ids[where + 1])
        adjacent = np.array([self._are_adjacent(pair) for pair in distinct.tolist()], dtype=bool)
        links: Int64 = where[adjacent[at]]
        return links

    def _are_adjacent(self, pair: int) -> bool:
        answer = self._adjacent.get(pair)
        if answer is None:
            answer = self._words.adjacent(pair >> 32, pair & 0xFFFFFFFF)
            self._adjacent[pair] = answer
        return answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Mentions in many captions, accepted and rejected ones.

    Sorted by caption, place and concept.

    Parameters
    ----------
    captions, concepts, starts, stops : numpy.ndarray of int32, shape (n,)
        The caption, the concept, and the characters [start, stop).
    accepted : numpy.ndarray of bool, shape (n,)
        Whether it counts.
    failures : dict of int to str
        How the pipeline failed, by caption.
    """

    captions: Int32
    concepts: Int32
    starts: Int32
    stops: Int32
    accepted: npt.NDArray[np.bool_]
    failures: dict[int, str]

    def select(self, chosen: npt.NDArray[np.bool_]) -> Found:
        """Return some of them."""
        return Found(
            captions=self.captions[chosen],
            concepts=self.concepts[chosen],
            starts=self.starts[chosen],
            stops=self.stops[chosen],
            accepted=self.accepted[chosen],
            failures=self.failures,
        )

    def by_caption(self) -> Iterator[tuple[int, Annotated]]:
        """Yield the captions that have mentions, in order, with them."""
        rows = zip(self.concepts.tolist(), self.starts.tolist(), self.stops.tolist(), strict=True)
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


class ResultColumns:
    """The findings of all results as columns, so that they are laid out many at a time."""

    def __init__(self, table: SegmentTable) -> None:
        self._table = table
        self._n_known = 0
        self._rows: list[tuple[int, int, int, bool]] = []
        self._update()

    def _update(self) -> None:
        results = self._table.results
        if len(results) == self._n_known:
            return
        rows = [(f.concept_id, f.start, f.stop, f.accepted) for result in results for f in result]
        counts = np.array([len(result) for result in results], dtype=np.int64)
        self._counts, self._first = counts, np.cumsum(counts) - counts
        columns: Sequence[Sequence[int]] = list(zip(*rows, strict=True)) or [(), (), (), ()]
        self._concepts, self._starts, self._stops = (
            np.array(column, dtype=np.int32) for column in columns[:3]
        )
        self._accepted = np.array(columns[3], dtype=bool)
        self._n_known = len(results)

    def accepted(self, candidates: Candidates, results: Int32) -> tuple[Int32, Int32]:
        """Return captions and concepts of the accepted findings, in no order and not each once."""
        self._update()
        rows, at = ragged(self._first[results], self._counts[results])
        good = self._accepted[rows]
        return candidates.captions[at[good]], self._concepts[rows[good]]

    def lay_out(self, words: Words, candidates: Candidates, results: Int32) -> Found:
        """Turn the results of candidates into mentions with their places."""
        self._update()
        rows, at = ragged(self._first[results], self._counts[results])
        first = candidates.kept[candidates.places[at] + self._starts[rows]]
        last = candidates.kept[candidates.places[at] + self._stops[rows] - 1]
        captions, concepts = candidates.captions[at], self._concepts[rows]
        starts = stops = np.zeros(len(at), dtype=np.int32)
        if len(words.starts):
            starts, stops = words.starts[first], words.stops[last]
        order = np.lexsort((concepts, stops, starts, captions))
        if words.failures:
            order = order[~np.isin(captions[order], list(words.failures))]
        return Found(
            captions=captions[order],
            concepts=concepts[order],
            starts=starts[order],
            stops=stops[order],
            accepted=self._accepted[rows][order],
            failures=words.failures,
        )
