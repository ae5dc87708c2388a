"""Images of an audit: which samples share one, and what a calibration learns from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.mentions import mention_pairs
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.errors import ConfigError
from conceptaudit.image.calibration import (
    Background,
    Labels,
    Moments,
    Repeats,
    Scale,
    ScoreHistograms,
    contrast_vectors,
    count_scores,
)
from conceptaudit.image.vectors import unit_rows
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary, Float32Array, Int64Array, SampleBatch
from conceptaudit.text.sampling import mixed

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
    # half precision, as embeddings are stored: the same image twice differs by rounding at most
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


MAX_IMAGES = 50_000
"""Images that are scored to calibrate; more change hardly anything, see docs."""

BLOCK = 1024


def sampled(
    sample_ids: npt.NDArray[np.integer], share: float | npt.NDArray[np.float64], seed: int = 0
) -> np.ndarray:
    """Mark a sample of ids; an id is in it or not whatever shard it is read in.

    `sample_ids` and `share` have the shape (n,), the result (n,).

    The mixing is splitmix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014.
    """
    hashed = mixed(sample_ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15 * seed % 2**64))
    # 53 bits are what a float holds
    return np.asarray((hashed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationScores:
    """What a calibration is learned from."""

    scale: Scale
    # of the concepts; images by what captions and by what labels say
    by_caption: ScoreHistograms
    by_label: ScoreHistograms
    reference: ScoreHistograms | None  # of the background's nouns, by captions
    repeats: Repeats
    # samples that were looked at and their distinct images
    n_samples: int
    n_images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """The embeddings and captions of an audit, as calibration reads them."""

    source: Dataset
    shards: tuple[Shard, ...]
    # the tags of names and of kinds of the same shards
    text: ShardStore | None
    mentions: ShardStore | None = None
    vocabulary: ConceptVocabulary
    vectors: Float32Array  # shape (n_concepts, dimension): unit vectors of the concepts
    background: Background
    max_images: int = MAX_IMAGES  # images to look at, at most

    @property
    def tagging(self) -> Float32Array:
        """The concepts' vectors after contrast."""
        return contrast_vectors(self.vectors, self.background.centre)

    def scores(
        self, labels: Labels | None, index: ImageIndex | None, progress: Progress
    ) -> CalibrationScores:
        """Score a sample of images, each once; captions of one image speak together.

        Labelled images always count for the labels, whether they are in the sample or not.
        """
        nouns = contrast_vectors(self.background.vectors, self.background.centre)
        tagging = np.vstack([self.tagging, nouns])
        share = min(1.0, self.max_images / max(self.n_samples, 1))
        moments, scored, spoken = Moments.empty(tagging.shape[1]), _Seen(), []
        n_samples = 0
        progress.start("calibrate", 2 * len(self.shards))
        for shard in self.shards:
            for ids, _, images in self._images(shard):
                own = _images_of(ids, index)
                chosen = sampled(own, share)
                moments = moments.with_images(images[chosen & scored.first(own, chosen)])
                spoken.append(np.stack([ids[chosen], own[chosen].view(np.int64)]))
                n_samples += int(chosen.sum())
            progress.advance()
        scale = Scale.of_vectors(moments, tagging)
        named, repeats = self._named(np.hstack(spoken), len(tagging), n_samples, len(scored))
        n_concepts, seen = len(self.vectors), _Seen()
        by_caption = ScoreHistograms.empty(len(tagging))
        by_label = ScoreHistograms.empty(n_concepts)
        for shard in self.shards:
            for ids, keys, images in self._images(shard):
                own = _images_of(ids, index)
                labelled = np.array([labels is not None and labels.knows(key) for key in keys])
                used = seen.first(own, sampled(own, share) | labelled)
                scores = scale.standardise(images[used] @ tagging.T)
                inside = np.repeat(sampled(own[used], share)[:, None], len(tagging), axis=1)
                by_caption = by_caption + count_scores(scores, named(own[used]), inside)
                if labels is not None and labelled[used].any():
                    kept = [key for key, use in zip(keys, used, strict=True) if use]
                    shown, known = labels.tables(kept, n_concepts)
                    by_label = by_label + count_scores(scores[:, :n_concepts], shown, known)
            progress.advance()
        progress.finish()
        common = by_caption.rows(slice(n_concepts, None))
        return CalibrationScores(
            scale=scale.rows(slice(None, n_concepts)),
            by_caption=by_caption.rows(slice(None, n_concepts)),
            by_label=by_label,
            reference=common if len(common.positive) and self.mentions is not None else None,
            repeats=repeats,
            n_samples=n_samples,
            n_images=len(scored),
        )

    @property
    def n_samples(self) -> int:
        """Count samples with captions; 0 where there are no captions."""
        if self.text is None:
            return 0
        readable = (s.name for s in self.shards if self.text.path(s.name, ".json").exists())
        return sum(int(self.text.read(name)["n_samples"]) for name in readable)

    def _images(self, shard: Shard) -> Iterator[tuple[Int64Array, Sequence[str], Float32Array]]:
        for batch, rows in usable_rows(self.source, shard):
            for start in range(0, len(rows), BLOCK):
                part = rows[start : start + BLOCK]
                images = unit_rows(np.asarray(batch.embeddings)[part])
                if images.shape[1] != self.vectors.shape[1]:
                    raise ConfigError(
                        f"Image embeddings have dimension {images.shape[1]}, concept vectors "
                        f"{self.vectors.shape[1]}: they come from different models."
                    )
                yield batch.sample_ids[part], [batch.keys[row] for row in part], images

    def _named(
        self, spoken: np.ndarray, n_columns: int, n_samples: int, n_images: int
    ) -> tuple[Callable[[np.ndarray], np.ndarray], Repeats]:
        """Return the marks of images (any caption names it), and how often captions agree.

        `spoken` has the sampled samples' ids and images in two rows.
        """
        images = np.unique(spoken[1].view(np.uint64))
        order = np.argsort(spoken[0], kind="stable")
        ids, rows = spoken[0][order], np.searchsorted(images, spoken[1].view(np.uint64)[order])
        counts = np.zeros((len(images), n_columns), dtype=np.uint8)
        for shard in self.shards:
            pairs = mention_pairs(self.text, self.mentions, shard.name)
            samples = pairs["sample_id"].to_numpy(np.int64)
            places = np.minimum(np.searchsorted(ids, samples), max(len(ids) - 1, 0))
            inside = (ids[places] == samples) if len(ids) else np.zeros(len(samples), bool)
            cells = (rows[places[inside]], pairs["concept_id"].to_numpy(np.int64)[inside])
            np.add.at(counts, cells, 1)
        n_concepts = len(self.vectors)
        repeats = Repeats(
            per_image=n_samples / max(n_images, 1),
            once=(counts[:, :n_concepts] == 1).sum(axis=0),
            twice=(counts[:, :n_concepts] == 2).sum(axis=0),
        )

        def marks(chosen: np.ndarray) -> np.ndarray:
            places = np.minimum(np.searchsorted(images, chosen), max(len(images) - 1, 0))
            table = counts[places] > 0
            table[images[places] != chosen] = False
            return np.asarray(table)

        return marks, repeats


class _Seen:
    """Images that came by."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def __len__(self) -> int:
        return len(self._seen)

    def first(self, images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Mark the chosen images that had not come by."""
        marks = np.zeros(len(images), dtype=bool)
        for row in np.flatnonzero(chosen):
            image = int(images[row])
            if image not in self._seen:
                self._seen.add(image)
                marks[row] = True
        return marks


def _images_of(sample_ids: Int64Array, index: ImageIndex | None) -> np.ndarray:
    """Return the images of usable samples; without an index every sample is its own."""
    return sample_ids.astype(np.uint64) if index is None else index.of(sample_ids)[0]
