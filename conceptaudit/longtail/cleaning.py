"""The way of the candidates from the pool's lists to balanced classes, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING
from conceptaudit.engine import EngineChoice
from conceptaudit.image.null import LEAST, null_threshold
from conceptaudit.longtail.assign import assign_classes
from conceptaudit.longtail.balance import Balanced, balance_classes
from conceptaudit.longtail.clean import remove_duplicates
from conceptaudit.longtail.leak_search import least_similarity
from conceptaudit.longtail.leaks import NOT_CHECKED, LeakCheck, find_leaks
from conceptaudit.longtail.other_sense import Senses
from conceptaudit.longtail.pretraining import Pretraining
from conceptaudit.longtail.records import NEAR_EMBEDDING, Candidate, Removal
from conceptaudit.longtail.review import Review
from conceptaudit.longtail.select import Selection
from conceptaudit.longtail.suspects import find_suspects
from conceptaudit.longtail.toplists import CandidateLists
from conceptaudit.options.longtail import OFF, LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary, Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What cleaning is done with.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        All concepts of the audit.
    concept_ids : sequence of int
        Positions of the selected ones.
    vocabulary : ConceptVocabulary
        Names of all.
    selection : Selection
        The selected ones.
    against : tuple of Pretraining
        What the set must not overlap with.
    senses : Senses or None
        What else the selected names mean.
    review : Review or None
        What people said.
    options : LongTailOptions
        Limits.
    hint : str
        How the user can have leaks looked for, where `against` is empty.
    """

    concepts: Float32Array
    concept_ids: Sequence[int]
    vocabulary: ConceptVocabulary
    selection: Selection
    against: tuple[Pretraining, ...]
    senses: Senses | None
    review: Review | None
    options: LongTailOptions
    hint: str = ""

    def __call__(
        self, found: CandidateLists, *, progress: Progress, workers: int | EngineChoice | None = 1
    ) -> Cleaned:
        """Assign, drop duplicates and leaks, look for suspects, hear people, balance.

        Leaks are looked for after duplicates, so that few images are compared, and before the
        balance, so that the next best take their places.
        """
        names, options = self.selection.concepts, self.options
        assigned = assign_classes(found, self.concepts, self.concept_ids, self.vocabulary, options)
        different = remove_duplicates(
            assigned.candidates, self._vectors(found, assigned.candidates), names, options
        )
        leaks = self._leaks(found, different.candidates, progress, workers)
        candidates = leaks.candidates
        removals = [*assigned.removals, *different.removals, *leaks.removals]
        copies = {one.key for one in different.removals if one.reason != NEAR_EMBEDDING}
        distinct = [one for one in assigned.candidates if one.entry.key not in copies]
        notes = [*leaks.notes, *self._nearness(self._vectors(found, distinct))]
        if options.suspects != OFF:
            checked = find_suspects(
                candidates, self._vectors(found, candidates), names, options, self.senses
            )
            candidates = checked.candidates
            removals += checked.removals
            notes += checked.notes
        if self.review is not None:
            candidates, rejected = self.review.apply(candidates, names, before=assigned.candidates)
            removals += rejected
        balanced = balance_classes(candidates, self.selection, options, self.review)
        return Cleaned(
            balanced=balanced,
            removals=(*removals, *balanced.removals),
            leaks=leaks.told,
            notes=tuple(notes),
        )

    def _vectors(self, found: CandidateLists, candidates: Sequence[Candidate]) -> Float32Array:
        vectors = [found.vectors[candidate.entry.content] for candidate in candidates]
        shape = (len(vectors), self.concepts.shape[1])
        return np.array(vectors, dtype=np.float32).reshape(shape)

    def _nearness(self, vectors: Float32Array) -> list[str]:
        """Warn where different images come as near to each other as copies are taken to."""
        limits = [self.options.embedding_similarity]
        if any(source.compared[:1] == (EMBEDDING,) for source in self.against):
            limits.append(least_similarity(self.options))
        lowest = min(limits)
        if lowest > 1.0 or len(vectors) < LEAST:
            return []
        null = null_threshold(vectors)
        if null <= lowest:
            return []
        note = (
            f"Under this model one in a hundred different images comes as near to another as "
            f"{null:g}, so that some are taken for copies at {lowest:g}: raise "
            "--embedding-similarity or --leak-similarity, or switch the check off with 2."
        )
        return [note]

    def _leaks(
        self,
        found: CandidateLists,
        candidates: tuple[Candidate, ...],
        progress: Progress,
        workers: int | EngineChoice | None,
    ) -> LeakCheck:
        if not self.against:
            return LeakCheck(candidates=candidates, notes=(NOT_CHECKED.format(hint=self.hint),))
        return find_leaks(
            candidates,
            self._vectors(found, candidates),
            self.selection.concepts,
            self.against,
            self.options,
            progress=progress,
            workers=workers,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """Balanced classes, and everything that was removed on the way.

    Parameters
    ----------
    balanced : Balanced
    removals : tuple of Removal
    leaks : tuple of dict
        What was compared with, for ``manifest.json``.
    notes : tuple of str
        What the user must know.
    """

    balanced: Balanced
    removals: tuple[Removal, ...]
    leaks: tuple[Json, ...]
    notes: tuple[str, ...]
