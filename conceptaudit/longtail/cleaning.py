"""The way of the candidates from the pool's lists to balanced classes, step by step."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING
from conceptaudit.engine import EngineChoice
from conceptaudit.image.duplicates import LEAST, null_threshold
from conceptaudit.longtail.balance import Balanced, balance_classes
from conceptaudit.longtail.clean import remove_duplicates
from conceptaudit.longtail.flagged_images import find_suspects
from conceptaudit.longtail.homonyms import Senses
from conceptaudit.longtail.leak_search import least_similarity
from conceptaudit.longtail.leaks import NOT_CHECKED, LeakCheck, find_leaks
from conceptaudit.longtail.pretraining import Pretraining
from conceptaudit.longtail.records import (
    NEAR_EMBEDDING,
    NEARER_OTHER,
    OTHER_CLASS,
    REPEATED,
    Candidate,
    Entry,
    Removal,
)
from conceptaudit.longtail.review import Review
from conceptaudit.longtail.select import Selection
from conceptaudit.longtail.topk import CandidateLists
from conceptaudit.options.longtail import OFF, LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary, Float32Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What cleaning is done with."""

    concepts: Float32Array  # shape (n_concepts, dimension): all concepts of the audit
    concept_ids: Sequence[int]  # positions of the selected ones
    vocabulary: ConceptVocabulary  # names of all
    selection: Selection  # the selected ones
    against: tuple[Pretraining, ...]  # what the set must not overlap with
    senses: Senses | None  # what else the selected names mean
    review: Review | None  # what people said
    options: LongTailOptions  # limits
    hint: str = ""  # how the user can have leaks looked for, where `against` is empty

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
    """Balanced classes, and everything that was removed on the way."""

    balanced: Balanced
    removals: tuple[Removal, ...]
    leaks: tuple[Json, ...]  # what was compared with, for ``manifest.json``
    notes: tuple[str, ...]  # what the user must know


BLOCK = 1024
"""Images compared with the whole vocabulary at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Candidates, each for one class, and what lost on the way."""

    candidates: tuple[Candidate, ...]  # best first, see `Candidate.priority`
    removals: tuple[Removal, ...]  # candidacies given up, and copies of the same file


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Claim:
    rank: int
    deficit: float
    class_id: int


def assign_classes(
    found: CandidateLists,
    concepts: Float32Array,
    concept_ids: Sequence[int],
    vocabulary: ConceptVocabulary,
    options: LongTailOptions,
) -> Assignment:
    """Give every image to the concept where its rank is best (then score, then order).

    Rank decides and not score, because cosine similarities of different concepts are not on one
    scale: rare names tend to score low even on their own images.

    Shapes: `concepts` (n_concepts, dimension).
    """
    claims: dict[str, list[_Claim]] = defaultdict(list)
    for class_id, top in enumerate(found.lists):
        for rank, entry in enumerate(top.entries, start=1):
            claims[entry.content].append(_Claim(rank=rank, deficit=-entry.score, class_id=class_id))
    names = [vocabulary.names[concept] for concept in concept_ids]
    removals: list[Removal] = []
    winners: list[tuple[_Claim, Entry]] = []
    for claimed in claims.values():
        best, *others = sorted(claimed)
        winners.append((best, found.lists[best.class_id].entries[best.rank - 1]))
        for claim in others:
            entry = found.lists[claim.class_id].entries[claim.rank - 1]
            detail = f"ranks {best.rank} for {names[best.class_id]}, {claim.rank} here"
            removals.append(_removal(entry, names[claim.class_id], OTHER_CLASS, detail))
    vectors = [found.vectors[entry.content] for _, entry in winners]
    owners = [concept_ids[claim.class_id] for claim, _ in winners]
    rivals = runners_up(np.array(vectors, dtype=np.float32), concepts, owners)
    kept: list[Candidate] = []
    for (claim, entry), (rival, margin) in zip(winners, rivals, strict=True):
        runner_up = vocabulary.names[rival] if rival >= 0 else ""
        name = names[claim.class_id]
        removals.extend(_copies(found, entry, name))
        if options.min_margin is not None and margin < options.min_margin:
            detail = f"{runner_up} leads by {-margin:.4f}"
            removals.append(_removal(entry, name, NEARER_OTHER, detail))
            continue
        kept.append(
            Candidate(
                entry=entry,
                class_id=claim.class_id,
                rank=claim.rank,
                runner_up=runner_up,
                margin=margin,
                picture=found.pictures[entry.content],
            )
        )
    return Assignment(
        candidates=tuple(sorted(kept, key=lambda candidate: candidate.priority)),
        removals=tuple(removals),
    )


def runners_up(
    vectors: Float32Array, concepts: Float32Array, owners: Sequence[int]
) -> list[tuple[int, float]]:
    """Find the concept that fits each image best among all but its own.

    Shapes: `vectors` (n, dimension), `concepts` (n_concepts, dimension), `owners` (n,).

    >>> runners_up(np.array([[0.6, 0.8]], dtype=np.float32), np.eye(2, dtype=np.float32), [0])
    [(1, -0.2)]
    """
    if len(concepts) < 2:
        return [(-1, float("inf"))] * len(vectors)
    found: list[tuple[int, float]] = []
    for start in range(0, len(vectors), BLOCK):
        block, own = vectors[start : start + BLOCK], np.array(owners[start : start + BLOCK])
        rows = np.arange(len(block))
        scores = block @ concepts.T
        mine = scores[rows, own].astype(np.float64)
        scores[rows, own] = -np.inf
        rivals = scores.argmax(axis=1)
        leads = np.round(mine - scores[rows, rivals], 6)
        found.extend(zip(rivals.tolist(), leads.tolist(), strict=True))
    return found


def _copies(found: CandidateLists, entry: Entry, concept: str) -> list[Removal]:
    copies = found.repeats.get(entry.content, {})
    return [
        _removal(copy, concept, REPEATED, "identical content", duplicate_of=entry.key)
        for copy in sorted(copies.values(), key=lambda copy: (copy.key, copy.sample_id))
        if copy.sample_id != entry.sample_id
    ]


def _removal(
    entry: Entry, concept: str, reason: str, detail: str, *, duplicate_of: str = ""
) -> Removal:
    return Removal(
        key=entry.key,
        source=entry.source,
        concept=concept,
        reason=reason,
        detail=detail,
        duplicate_of=duplicate_of,
    )
