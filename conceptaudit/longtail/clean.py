"""Clean: give each image to one class, then mark duplicates, leaks, suspects, rejected images.

Every step fills the columns ``reason``, ``detail`` and ``duplicate_of`` of the table of candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING
from conceptaudit.engine import EngineChoice
from conceptaudit.image.duplicates import LEAST, null_threshold
from conceptaudit.longtail.candidates import (
    MAX_REPEATS,
    PRIORITY,
    mark,
    remaining,
    vectors_of,
)
from conceptaudit.longtail.duplicates import remove_duplicates
from conceptaudit.longtail.flagged_images import find_suspects
from conceptaudit.longtail.homonyms import Senses
from conceptaudit.longtail.leaks import NOT_CHECKED, find_leaks, least_similarity
from conceptaudit.longtail.pretraining import Pretraining
from conceptaudit.longtail.records import NEAR_EMBEDDING, NEARER_OTHER, OTHER_CLASS, REPEATED
from conceptaudit.longtail.review import Review
from conceptaudit.options.longtail import OFF, LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import Float32Array

# Images compared with the whole vocabulary at once.
BLOCK = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaning:
    """What candidates are cleaned with."""

    concepts: Float32Array  # shape (n_concepts, dimension): all concepts of the audit
    ids: Sequence[int]  # positions of the selected ones
    names: Sequence[str]  # of all concepts
    against: tuple[Pretraining, ...]  # what the set must not overlap with
    senses: Senses | None  # what else the selected names mean
    review: Review | None  # what people said
    options: LongTailOptions
    hint: str = ""  # how the user can have leaks looked for, where `against` is empty

    def __call__(
        self,
        table: pd.DataFrame,
        vectors: Float32Array,
        *,
        progress: Progress,
        workers: int | EngineChoice | None = 1,
    ) -> tuple[pd.DataFrame, list[Json], list[str]]:
        """Assign, then mark duplicates, leaks, suspects and rejected images.

        Returns the table, what was compared for leaks, and what the user must know.
        """
        options = self.options
        table = assign_classes(table, vectors, self)
        candidates = remaining(table).index
        remove_duplicates(table, vectors, options)
        # of embeddings alone it is not known yet whether near ones are copies
        distinct = table.loc[candidates]
        distinct = distinct[distinct["reason"].isin(["", NEAR_EMBEDDING])]
        leaks: list[Json] = []
        notes = [NOT_CHECKED.format(hint=self.hint)]
        if self.against:
            # after duplicates, so that few images are compared, and before classes are balanced, so
            # that the next best take their places
            leaks, notes = find_leaks(
                table, vectors, self.against, options, progress=progress, workers=workers
            )
        notes += self._nearness(vectors_of(distinct, vectors))
        if options.suspects != OFF:
            names = [self.names[concept] for concept in self.ids]
            notes += find_suspects(table, vectors, names, options, self.senses)
        if self.review is not None:
            self.review.apply(table, candidates)
        return table, leaks, notes

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


def assign_classes(table: pd.DataFrame, vectors: Float32Array, cleaning: Cleaning) -> pd.DataFrame:
    """Give every image to the concept where its rank is best (then score, then order).

    Rank decides and not score, because cosine similarities of different concepts are not on one
    scale: rare names tend to score low even on their own images.

    Returns the table with the best candidates first, then what lost and copies of the same file.
    """
    names = [cleaning.names[concept] for concept in cleaning.ids]
    copies = table[table["copy"].astype(bool)]
    claims = table[~table["copy"].astype(bool)].sort_values(
        PRIORITY, ascending=[True, False, True, True, True]
    )
    claims["concept"] = [names[class_id] for class_id in claims["class_id"]]
    best = claims.drop_duplicates("content").copy()
    others = claims[claims.duplicated("content")].copy()
    winner = best.set_index("content")
    ranks = zip(
        winner.loc[others["content"], "rank"],
        winner.loc[others["content"], "concept"],
        others["rank"],
        strict=True,
    )
    details = [f"ranks {won} for {concept}, {rank} here" for won, concept, rank in ranks]
    mark(others, others.index, OTHER_CLASS, details)
    owners = [cleaning.ids[class_id] for class_id in best["class_id"]]
    rivals = runners_up(vectors_of(best, vectors), cleaning.concepts, owners)
    best["runner_up"] = [cleaning.names[rival] if rival >= 0 else "" for rival, _ in rivals]
    best["margin"] = [margin for _, margin in rivals]
    if cleaning.options.min_margin is not None:
        doubtful = best[best["margin"] < cleaning.options.min_margin]
        leads = zip(doubtful["runner_up"], doubtful["margin"], strict=True)
        details = [f"{rival} leads by {-margin:.4f}" for rival, margin in leads]
        mark(best, doubtful.index, NEARER_OTHER, details)
    # a row of the pool is a copy once, whatever the number of concepts that it is near to
    copies = copies.sort_values(["score", "key", "sample_id"], ascending=[False, True, True])
    copies = copies.drop_duplicates(["content", "sample_id"]).groupby("content").head(MAX_REPEATS)
    own = winner.loc[copies["content"]]
    copies = copies.assign(concept=own["concept"].to_numpy())
    mark(copies, copies.index, REPEATED, "identical content", own["key"])
    copies = copies[copies["sample_id"].to_numpy() != own["sample_id"].to_numpy()]
    whole: pd.DataFrame = pd.concat([best, others, copies], ignore_index=True)
    return whole


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
