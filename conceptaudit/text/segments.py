"""Runs of words that phrases can span, and what they name under each reading.

A phrase lies within a *segment*: consecutive words of a caption any two of which may follow one
another in some phrase; most segments are one word. What a segment names depends on the readings of
its words alone, so each distinct segment is matched once per combination of readings, and many
segments name the same under all of them.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from conceptaudit.text.matcher import Match, PhraseMatcher
from conceptaudit.text.words import Reading, WordTable

Int32 = npt.NDArray[np.int32]

MAX_COMBINATIONS = 64
"""Combinations of readings tried to find a segment settled; more count as open."""

NO_RESULT = 0
OPEN = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A concept in a segment: words [start, stop) of it, and whether the head is a noun."""

    concept_id: int
    start: int
    stop: int
    accepted: bool


@dataclass(slots=True, kw_only=True)
class Segment:
    """A distinct segment.

    Parameters
    ----------
    words : tuple of int
        Numbers of its words.
    undecided : tuple of int
        Positions of the words with more than one reading.
    result : int
        Number of its result where all readings give the same, else `OPEN`.
    by_readings : dict
        Number of the result by the readings of the undecided words.
    wide : bool
        Whether there are more than `MAX_COMBINATIONS` of these.
    """

    words: tuple[int, ...]
    undecided: tuple[int, ...]
    result: int = OPEN
    by_readings: dict[tuple[Reading, ...], int] = field(default_factory=dict)
    wide: bool = False


class SegmentTable:
    """The distinct segments seen so far, and their results.

    Parameters
    ----------
    matcher : PhraseMatcher
        The phrases that are looked for.
    words : WordTable
        The words of the captions.
    """

    def __init__(self, matcher: PhraseMatcher, words: WordTable) -> None:
        self._matcher = matcher
        self._words = words
        self.segments: list[Segment] = []
        self.results: list[tuple[Finding, ...]] = [()]
        self._ids: dict[tuple[int, ...], int] = {}
        self._solo = np.full(1024, -1, dtype=np.int32)
        self._result = np.full(1024, OPEN, dtype=np.int32)
        self._wide = np.zeros(1024, dtype=bool)
        self._result_ids: dict[tuple[Finding, ...], int] = {(): NO_RESULT}

    def solo(self, words: Int32) -> Int32:
        """Return the segments of words that stand alone, shape as `words`."""
        if len(self._words) > len(self._solo):
            larger = np.full(2 * len(self._words), -1, dtype=np.int32)
            larger[: len(self._solo)] = self._solo
            self._solo = larger
        found = self._solo[words]
        for word in np.unique(words[found < 0]).tolist():
            self._solo[word] = self.id((word,))
        return self._solo[words]

    def id(self, words: tuple[int, ...]) -> int:
        """Return the number of a segment."""
        number = self._ids.get(words)
        if number is None:
            number = self._ids[words] = len(self.segments)
            segment = self._new(words)
            self.segments.append(segment)
            if number >= len(self._result):
                self._result = np.concatenate([self._result, np.full_like(self._result, OPEN)])
                self._wide = np.concatenate([self._wide, np.zeros_like(self._wide)])
            self._result[number], self._wide[number] = segment.result, segment.wide
        return number

    def wide(self, segments: Int32) -> npt.NDArray[np.bool_]:
        """Tell which segments have too many combinations of readings to go through."""
        return self._wide[segments]

    def settled(self, segments: Int32) -> Int32:
        """Return the results of segments, `OPEN` where it depends on the context."""
        return self._result[segments]

    def resolve(self, segment: Segment, readings: tuple[Reading, ...]) -> int:
        """Return the result of a segment for given readings of its undecided words."""
        result = segment.by_readings.get(readings)
        if result is None:
            chosen = [self._words.readings[w][:1] or ((False, -1, -1),) for w in segment.words]
            told = [reading[0] for reading in chosen]
            for position, reading in zip(segment.undecided, readings, strict=True):
                told[position] = reading
            result = segment.by_readings[readings] = self._match(told)
        return result

    def concepts(self, segment: Segment) -> tuple[frozenset[int], frozenset[int]]:
        """Return what a segment that is not wide names under every reading, and under some."""
        named = [
            {finding.concept_id for finding in self.results[result] if finding.accepted}
            for result in segment.by_readings.values()
        ]
        return frozenset.intersection(*map(frozenset, named)), frozenset().union(*named)

    def _options(self, segment: Segment) -> list[tuple[Reading, ...]]:
        readings = [self._words.readings[segment.words[i]] for i in segment.undecided]
        return [tuple(dict.fromkeys(options)) for options in readings]

    def _n_combinations(self, segment: Segment) -> int:
        return math.prod(len(options) for options in self._options(segment))

    def _new(self, words: tuple[int, ...]) -> Segment:
        distinct = [tuple(dict.fromkeys(self._words.readings[word])) for word in words]
        undecided = tuple(i for i, readings in enumerate(distinct) if len(readings) > 1)
        segment = Segment(words=words, undecided=undecided)
        segment.wide = self._n_combinations(segment) > MAX_COMBINATIONS
        if not segment.wide:
            combinations = itertools.product(*self._options(segment))
            results = {self.resolve(segment, told) for told in combinations}
            if len(results) == 1:
                segment.result = results.pop()
        return segment

    def _match(self, readings: list[Reading]) -> int:
        surfaces = [surface for _, surface, _ in readings]
        lemmas = [lemma for _, _, lemma in readings]
        named = self._matcher.find(surfaces, lemmas, [noun for noun, _, _ in readings])
        alike = self._matcher.find(surfaces, lemmas, [True] * len(readings))
        accepted = {_place(match) for match in named}
        findings = (
            *(_finding(match, True) for match in named),
            *(_finding(match, False) for match in alike if _place(match) not in accepted),
        )
        if findings not in self._result_ids:
            self._result_ids[findings] = len(self.results)
            self.results.append(findings)
        return self._result_ids[findings]


def _place(match: Match) -> tuple[int, int, int]:
    return match.start, match.stop, match.concept_id


def _finding(match: Match, accepted: bool) -> Finding:
    return Finding(
        concept_id=match.concept_id, start=match.start, stop=match.stop, accepted=accepted
    )
