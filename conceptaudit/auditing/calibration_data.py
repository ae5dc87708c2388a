"""The scores and mentions that a calibration learns from, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.images import ImageIndex, usable_rows
from conceptaudit.auditing.mentions import mention_pairs
from conceptaudit.datasets.base import Dataset, Shard
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
from conceptaudit.records import ConceptVocabulary, Float32Array, Int64Array

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
    mixed = sample_ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15 * (seed + 1) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share)


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
