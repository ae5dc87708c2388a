"""Which samples share an image, and what captions and tags say image by image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.mentions import mention_pairs
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array, SampleBatch

MOST_INDEXED = 5_000_000
"""Samples up to which those of one image are looked for. Sets with several captions per image are
smaller; in larger ones every sample is taken for an image of its own."""

Pairs = pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageIndex:
    """The image of every sample whose image can be used."""

    sample_ids: Int64Array  # shape (n_samples,): sorted
    # shape (n_samples,): samples with equal key and equal embedding have equal numbers
    images: np.ndarray

    @property
    def n_images(self) -> int:
        """Distinct images."""
        return len(np.unique(self.images))

    @property
    def shared(self) -> bool:
        """Whether samples share images."""
        return self.n_images < len(self.images)

    def of(self, sample_ids: Int64Array) -> tuple[np.ndarray, np.ndarray]:
        """Return the images of samples, and which of them have one."""
        places = np.minimum(
            np.searchsorted(self.sample_ids, sample_ids), max(len(self.sample_ids) - 1, 0)
        )
        if not len(self.sample_ids):
            return np.empty(0, np.uint64), np.zeros(len(sample_ids), dtype=bool)
        present = self.sample_ids[places] == sample_ids
        return self.images[places], present


def index_images(source: Dataset, shards: Sequence[Shard], n_samples: int) -> ImageIndex | None:
    """Find the samples that share an image; None for a large dataset, see `MOST_INDEXED`."""
    if n_samples > MOST_INDEXED:
        return None
    ids: list[Int64Array] = []
    images: list[np.ndarray] = []
    for shard in shards:
        for batch, rows in usable_rows(source, shard):
            keys = np.array([batch.keys[row] for row in rows], dtype=object)
            ids.append(batch.sample_ids[rows])
            # keys alone do not identify an image: in some sets they start anew in every shard
            vectors = _vector_hash(np.asarray(batch.embeddings)[rows])
            images.append(pd.util.hash_array(keys, categorize=False) ^ vectors)
    if not ids:
        return ImageIndex(sample_ids=np.empty(0, np.int64), images=np.empty(0, np.uint64))
    sample_ids = np.concatenate(ids)
    order = np.argsort(sample_ids, kind="stable")
    return ImageIndex(sample_ids=sample_ids[order], images=np.concatenate(images)[order])


def usable_rows(source: Dataset, shard: Shard) -> Iterator[tuple[SampleBatch, Int64Array]]:
    """Yield the batches of a shard with the rows whose embedding can be used."""
    for batch in source.read(shard, frozenset({EMBEDDING})):
        if batch.embeddings is None:
            continue
        unusable = [drop.sample_id for drop in batch.drops if drop.part == IMAGE]
        rows = np.flatnonzero(~np.isin(batch.sample_ids, unusable))
        if len(rows):
            yield batch, rows


def _vector_hash(vectors: Float32Array) -> np.ndarray:
    """Hash rows by their unit vectors at half precision, shape (n,)."""
    bits = unit_rows(vectors).astype(np.float16).view(np.uint16).astype(np.uint64)
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 2**63, size=bits.shape[1], dtype=np.uint64) | np.uint64(1)
    return np.asarray((bits * weights).sum(axis=1, dtype=np.uint64))


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCells:
    """Images by what captions and tags say of them; arrays are of shape (n_concepts,)."""

    n_images: int  # with a usable image
    # images of which a caption names the concept or a kind of it, images tagged with it, both
    named: Int64Array
    tagged: Int64Array
    both: Int64Array


def count_cells(
    text: ShardStore | None,
    mentions: ShardStore | None,
    image: ShardStore,
    shards: Sequence[Shard],
    *,
    n_concepts: int,
    n_used: int,
    index: ImageIndex | None,
) -> ImageCells:
    """Count images by caption and tag."""
    sides: list[list[np.ndarray]] = [[], []]
    totals = np.zeros((3, n_concepts), dtype=np.int64)
    shared = index is not None and index.shared
    for shard in shards:
        cells = [
            _cells(pairs, n_concepts, index)
            for pairs in (
                mention_pairs(text, mentions, shard.name),
                mention_pairs(image, None, shard.name),
            )
        ]
        if shared:
            # an image's captions may lie in two shards: what is the same pair is known at the end
            for side, pairs_of_side in zip(sides, cells, strict=True):
                side.append(pairs_of_side)
        else:
            totals += _by_concept(cells[0], cells[1], n_concepts)
    if shared and sides[0]:
        totals = _by_concept(np.concatenate(sides[0]), np.concatenate(sides[1]), n_concepts)
    n_images = index.n_images if index is not None else n_used
    return ImageCells(n_images=n_images, named=totals[0], tagged=totals[1], both=totals[2])


_CELL = np.dtype([("image", np.uint64), ("concept", np.int64)])


def _cells(pairs: Pairs, n_concepts: int, index: ImageIndex | None) -> np.ndarray:
    """Return the distinct pairs of image and concept."""
    ids = pairs["sample_id"].to_numpy(np.int64)
    concepts = pairs["concept_id"].to_numpy(np.int64)
    images, usable = (ids.astype(np.uint64), np.ones(len(ids), bool))
    if index is not None:
        images, usable = index.of(ids)
    usable &= concepts < n_concepts
    cells = np.empty(int(usable.sum()), dtype=_CELL)
    cells["image"], cells["concept"] = images[usable], concepts[usable]
    return cells


def _by_concept(named: np.ndarray, tagged: np.ndarray, n_concepts: int) -> Int64Array:
    """Count distinct pairs by concept: named, tagged, both, shape (3, n_concepts)."""
    named, tagged = np.unique(named), np.unique(tagged)
    both = np.intersect1d(named, tagged, assume_unique=True)
    counts = [np.bincount(part["concept"], minlength=n_concepts) for part in (named, tagged, both)]
    return np.stack(counts).astype(np.int64)
