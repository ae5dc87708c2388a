"""One class per image: the concept in whose ranking it stands best."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conceptaudit.longtail.records import (
    NEARER_OTHER,
    OTHER_CLASS,
    REPEATED,
    Candidate,
    Entry,
    Removal,
)
from conceptaudit.longtail.toplists import CandidateLists
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import ConceptVocabulary, Float32Array

BLOCK = 1024
"""Images compared with the whole vocabulary at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Candidates, each for one class, and what lost on the way.

    Parameters
    ----------
    candidates : tuple of Candidate
        Best first, see `Candidate.priority`.
    removals : tuple of Removal
        Candidacies given up, and copies of the same file.
    """

    candidates: tuple[Candidate, ...]
    removals: tuple[Removal, ...]


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
    scale: rare names tend to score low even on their own pictures.

    Parameters
    ----------
    found : CandidateLists
        Lists of the selected concepts.
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        All concepts of the audit, for the runner-up.
    concept_ids : sequence of int
        Positions of the selected concepts in the vocabulary.
    vocabulary : ConceptVocabulary
        Names.
    options : LongTailOptions
        Of which `min_margin` matters here.
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

    Parameters
    ----------
    vectors : numpy.ndarray of float32, shape (n, dimension)
        Images.
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        All concepts.
    owners : sequence of int, length n
        Each image's own concept.

    Returns
    -------
    list of (int, float)
        The other concept's position (-1 where there is none) and the lead over it.

    Examples
    --------
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
