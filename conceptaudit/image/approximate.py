"""Tags through an approximate index, with what it loses measured on images checked exactly.

The index proposes pairs, the canonical product of the stored vectors decides them: so there is no
wrong tag, but some are missing where the index did not look. A sample of the images, drawn by a
hash of their ids, is compared with every concept as well; per concept, the part of its tags that
the index found is the measured recall of its count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.image.exact import Hits, ThresholdSearch, canonical_scores
from conceptaudit.image.index.sampling import hashed
from conceptaudit.image.index.source import reading_digest
from conceptaudit.image.index.store import VectorIndex
from conceptaudit.image.stages import ImageTagger, joined_tags
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Drop, Float32Array, Int32Array, Int64Array, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table

CHECKED = ".checked.parquet"
"""Suffix of a shard's table of tags that exist and that the index found, per concept."""

CHECKED_IMAGES = 20_000
"""Images that are compared exactly, about: a concept on one image in a hundred then has 200."""

CHECK_SEED = 7

SLACK = 0.01
"""Below the threshold that is still proposed, because quantised scores are off by about as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApproximateTagger:
    """Tags image embeddings with the concepts that an index proposes for them.

    Parameters
    ----------
    exact : ImageTagger
        Concepts and thresholds; checks the sample.
    index : str
        Digest of the index.
    sample_ids : numpy.ndarray of int64, shape (n_pairs,)
        Proposed images, rising.
    concept_ids : numpy.ndarray of int32, shape (n_pairs,)
        Proposed concepts, rising for each image.
    share : float
        Part of the images that are checked, in (0, 1].
    """

    exact: ImageTagger
    index: str
    sample_ids: Int64Array
    concept_ids: Int32Array
    share: float
    name: str = field(default="image", init=False)
    parts: frozenset[str] = field(default=frozenset({EMBEDDING}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change an image tag."""
        return {**self.exact.settings, "index": self.index, "slack": SLACK, "share": self.share}

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard, and check a sample of it."""
        exact = self.exact
        thresholds = np.array(exact.thresholds, dtype=np.float64)
        search = ThresholdSearch(exact.concepts, thresholds, exact.backend, device=exact.device)
        drops: list[Drop] = []
        tags: list[Tags] = []
        present = np.zeros(len(thresholds), dtype=np.int64)
        found = np.zeros_like(present)
        n_rows = n_used = 0
        for batch in batches:
            drops.extend(batch.drops)
            unusable = [drop.sample_id for drop in batch.drops if drop.part == IMAGE]
            usable = ~np.isin(batch.sample_ids, unusable)
            n_rows += len(batch)
            n_used += int(usable.sum())
            if batch.embeddings is None:
                continue
            vectors = unit_rows(batch.embeddings)
            hits = self._decide(batch.sample_ids, vectors, thresholds)
            kept = usable[hits.rows]
            rows = hits.rows[kept]
            tags.append(
                Tags(
                    sample_ids=batch.sample_ids[rows],
                    keys=[batch.keys[row] for row in rows],
                    concept_ids=hits.concept_ids[kept],
                    scores=hits.scores[kept],
                )
            )
            drawn = hashed(batch.sample_ids, CHECK_SEED).astype(np.float64) < self.share * 2.0**64
            checked = np.flatnonzero(drawn & usable)
            present += _counted(search.find(vectors[checked]).concept_ids, len(present))
            found += _counted(hits.concept_ids[np.isin(hits.rows, checked)], len(found))
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"image embeddings of shard {shard.name}")
        seen = np.flatnonzero(present)
        loss = pd.DataFrame({"concept_id": seen, "n_exact": present[seen], "n_found": found[seen]})
        return ShardResult(
            summary=account,
            tables={
                ".parquet": tag_table(joined_tags(tags), modality="image"),
                ".drops.parquet": drop_table(drops),
                CHECKED: loss,
            },
        )

    def _decide(
        self, ids: Int64Array, vectors: Float32Array, thresholds: npt.NDArray[np.float64]
    ) -> Hits:
        """Decide the proposals for one batch, whose ids rise."""
        ends = [ids[0], ids[-1] + 1] if len(ids) else [0, 0]
        first, last = np.searchsorted(self.sample_ids, ends).tolist()
        proposed = self.sample_ids[first:last]
        rows = np.searchsorted(ids, proposed)
        there = ids[rows] == proposed  # a repeated row is in the index and not in the batch
        rows = rows[there].astype(np.int64)
        concepts = self.concept_ids[first:last][there].astype(np.int64)
        scores = canonical_scores(vectors, rows, self.exact.concepts, concepts)
        kept = scores >= thresholds.astype(np.float32)[concepts]
        return Hits(
            rows=rows[kept], concept_ids=concepts[kept].astype(np.int32), scores=scores[kept]
        )


def _counted(concept_ids: Int32Array, n_concepts: int) -> Int64Array:
    return np.bincount(concept_ids, minlength=n_concepts).astype(np.int64)


def approximate_tagger(
    tagger: ImageTagger, index: VectorIndex, dataset: Dataset, shards: tuple[Shard, ...]
) -> ApproximateTagger:
    """Ask an index for the images of every concept.

    Parameters
    ----------
    tagger : ImageTagger
        The exact one.
    index : VectorIndex
        Built from the embeddings of `dataset`.
    dataset, shards
        What is tagged.

    Raises
    ------
    ConfigError
        The dimensions differ.
    ArtifactMismatchError
        The index was built from other embeddings.
    """
    if tagger.concepts.shape[1] != index.dimension:
        raise ConfigError(
            f"Concept vectors have dimension {tagger.concepts.shape[1]}, the index in "
            f"{index.folder} {index.dimension}: they come from different models."
        )
    if index.manifest.get("reading") != reading_digest(dataset, shards):
        raise ArtifactMismatchError(
            f"The index in {index.folder} was not built from {dataset.location} as it is read now: "
            "its sample ids mean other images. Build it again from these embeddings, or audit "
            "without --approximate-index."
        )
    ids, concepts = _propose(index, tagger)
    return ApproximateTagger(
        exact=tagger,
        index=str(index.manifest["digest"]),
        sample_ids=ids,
        concept_ids=concepts,
        share=min(1.0, CHECKED_IMAGES / max(len(index), 1)),
    )


def _propose(index: VectorIndex, tagger: ImageTagger) -> tuple[Int64Array, Int32Array]:
    ids: list[Int64Array] = []
    concepts: list[Int32Array] = []
    for concept, threshold in enumerate(tagger.thresholds):
        query = np.ascontiguousarray(tagger.concepts[concept : concept + 1])
        _, _, found = index.index.range_search(query, float(threshold) - SLACK)
        ids.append(np.asarray(found, dtype=np.int64))
        concepts.append(np.full(len(found), concept, dtype=np.int32))
    all_ids, all_concepts = np.concatenate(ids), np.concatenate(concepts)
    order = np.lexsort((all_concepts, all_ids))
    return all_ids[order], all_concepts[order]
