"""Calibration as a step of an audit: learned from its own captions, or taken from a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.corrected import Counted, add_corrected, correct_counts
from conceptaudit.frequency.misalignment import (
    MAX_CAPTIONS,
    corrected_misalignment,
    named_pairs,
)
from conceptaudit.frequency.open_pairs import read_pairs, read_shares, with_shares
from conceptaudit.image.calibration import (
    Calibration,
    Labels,
    Moments,
    Scale,
    ScoreHistograms,
    contrast_vectors,
    count_scores,
    enough_captions,
    learn,
)
from conceptaudit.image.stages import ImageTagger
from conceptaudit.image.vectors import unit_rows
from conceptaudit.progress import Progress
from conceptaudit.records import (
    ConceptFrequencies,
    ConceptVocabulary,
    Float32Array,
    Int64Array,
)

CALIBRATION = "calibration.json"
AUTO, NONE = "auto", "none"
"""Learn from the audit's captions where they can teach; or one fixed threshold."""

MAX_IMAGES = 50_000
"""Images that are scored to calibrate; more change hardly anything, see docs."""

BLOCK = 1024


def sampled(
    sample_ids: npt.NDArray[np.integer], share: float | npt.NDArray[np.float64], seed: int = 0
) -> np.ndarray:
    """Mark a sample of ids; an id is in it or not whatever shard it is read in.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int, shape (n,)
    share : float, or numpy.ndarray of float64, shape (n,)
        In [0, 1].
    seed : int, default 0

    Returns
    -------
    numpy.ndarray of bool, shape (n,)

    References
    ----------
    The mixing is splitmix64: G. Steele, D. Lea, C. Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014.
    """
    mixed = sample_ids.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15 * (seed + 1) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return np.asarray((mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share)


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationData:
    """The embeddings and captions of an audit, as calibration reads them.

    Parameters
    ----------
    source : Dataset
        Offers embeddings.
    shards : tuple of Shard
    text : ShardStore or None
        The text tags of the same shards.
    vocabulary : ConceptVocabulary
    vectors : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors of the concepts.
    max_images : int
        Images to look at, at most.
    """

    source: Dataset
    shards: tuple[Shard, ...]
    text: ShardStore | None
    vocabulary: ConceptVocabulary
    vectors: Float32Array
    max_images: int = MAX_IMAGES

    def histograms(
        self, labels: Labels | None, progress: Progress
    ) -> tuple[Scale, ScoreHistograms, ScoreHistograms]:
        """Score a sample of images; return scale, histograms by caption and by label.

        Labelled images always count for the labels, whether they are in the sample or not.
        """
        share = 1.0
        if self.text is not None:
            n = sum(self.text.read(s.name)["n_samples"] for s in self._readable())
            share = min(1.0, self.max_images / max(n, 1))
        tagging = contrast_vectors(self.vectors)
        moments = Moments.empty(tagging.shape[1])
        progress.start("calibrate", 2 * len(self.shards))
        for shard in self.shards:
            for ids, _, images in self._images(shard):
                moments = moments.with_images(images[sampled(ids, share)])
            progress.advance()
        scale = Scale.of_vectors(moments, tagging)
        by_caption = by_label = ScoreHistograms.empty(len(tagging))
        for shard in self.shards:
            named = self._named(shard)
            for ids, keys, images in self._images(shard):
                chosen = sampled(ids, share)
                labelled = np.array([labels is not None and labels.knows(key) for key in keys])
                used = chosen | labelled
                scores = scale.standardise(images[used] @ tagging.T)
                marks = _marks(named, ids[used], len(tagging))
                inside = np.repeat(chosen[used][:, None], len(tagging), axis=1)
                by_caption = by_caption + count_scores(scores, marks, inside)
                if labels is not None and labelled.any():
                    kept = [key for key, use in zip(keys, used, strict=True) if use]
                    shown, known = labels.tables(kept, len(tagging))
                    by_label = by_label + count_scores(scores, shown, known)
            progress.advance()
        progress.finish()
        return scale, by_caption, by_label

    def _readable(self) -> list[Shard]:
        store = self.text
        if store is None:
            return []
        return [shard for shard in self.shards if store.path(shard.name, ".json").exists()]

    def _images(self, shard: Shard) -> Iterator[tuple[Int64Array, Sequence[str], Float32Array]]:
        for batch in self.source.read(shard, frozenset({EMBEDDING})):
            if batch.embeddings is None:
                continue
            unusable = [drop.sample_id for drop in batch.drops if drop.part == IMAGE]
            rows = np.flatnonzero(~np.isin(batch.sample_ids, unusable))
            for start in range(0, len(rows), BLOCK):
                part = rows[start : start + BLOCK]
                images = unit_rows(batch.embeddings[part])
                if images.shape[1] != self.vectors.shape[1]:
                    raise ConfigError(
                        f"Image embeddings have dimension {images.shape[1]}, concept vectors "
                        f"{self.vectors.shape[1]}: they come from different models."
                    )
                yield batch.sample_ids[part], [batch.keys[row] for row in part], images

    def _named(self, shard: Shard) -> pd.DataFrame:
        empty = pd.DataFrame({"sample_id": np.empty(0, np.int64), "concept_id": []})
        if self.text is None or not self.text.path(shard.name, ".parquet").exists():
            return empty
        path = self.text.path(shard.name, ".parquet")
        return pd.read_parquet(path, columns=["sample_id", "concept_id"])


def _marks(named: pd.DataFrame, sample_ids: Int64Array, n_concepts: int) -> np.ndarray:
    marks = np.zeros((len(sample_ids), n_concepts), dtype=bool)
    rows = pd.Index(sample_ids).get_indexer(pd.Index(named["sample_id"]))
    here = rows >= 0
    marks[rows[here], named["concept_id"].to_numpy(dtype=np.int64)[here]] = True
    return marks


def calibrated_tagger(tagger: ImageTagger, calibration: Calibration) -> ImageTagger:
    """Return a tagger with the calibration's thresholds, for the vectors of `tagger`."""
    return replace(
        tagger,
        concepts=calibration.tagging_vectors(tagger.concepts),
        thresholds=tuple(float(t) for t in calibration.thresholds),
    )


def learned_tagger(
    data: CalibrationData, tagger: ImageTagger, folder: Path, progress: Progress
) -> ImageTagger:
    """Calibrate an audit from its own captions; the tagger is returned as it is if they are few.

    Writes `CALIBRATION` into the run folder.
    """
    scale, by_caption, _ = data.histograms(None, progress)
    if not enough_captions(by_caption):
        return tagger
    calibration = learn(
        "captions", by_caption, scale, vocabulary=data.vocabulary, vectors=data.vectors
    )
    calibration.save(folder / CALIBRATION)
    return calibrated_tagger(tagger, calibration)


def with_corrected(
    frequencies: ConceptFrequencies,
    calibration: Calibration,
    totals: Mapping[str, Int64Array],
    account: Json,
    *,
    level: float,
) -> ConceptFrequencies:
    """Put corrected counts beside the raw ones."""
    n_images = account["image"]["n_used"]
    text = joint = None
    if "text" in totals and "joint" in totals:
        # captions of pictures that could not be used say nothing of the pictures that were
        share = min(1.0, n_images / max(account["text"]["n_used"], 1))
        text = np.maximum(totals["text"] * share, totals["joint"])
        joint = totals["joint"].astype(np.float64)
    counted = Counted(
        n_samples=n_images, image=totals["image"].astype(np.float64), text=text, joint=joint
    )
    corrected = correct_counts(counted, calibration.rates, level=level)
    return replace(frequencies, table=add_corrected(frequencies.table, corrected))


def caption_misalignment(
    calibration: Calibration,
    text: ShardStore,
    image: ShardStore,
    shards: Sequence[Shard],
    *,
    level: float,
    shares: Path | None = None,
) -> Json:
    """Estimate how many captions name nothing that their picture shows; see its module.

    Of a large dataset a sample of captions is looked at, which no cutting of shards changes.
    `shares` has those of the open pairs where captions were counted fast.
    """
    n_captions = sum(text.read(shard.name)["n_used"] for shard in shards)
    part = min(1.0, MAX_CAPTIONS / max(n_captions, 1))
    pairs = named_pairs(_tagged_both(text, image, shards, part, shares))
    return corrected_misalignment(pairs, calibration.rates, calibration.prevalence, level=level)


def _tagged_both(
    text: ShardStore, image: ShardStore, shards: Sequence[Shard], part: float, shares: Path | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    columns = ["sample_id", "concept_id"]
    for shard in shards:
        named, seen = text.path(shard.name, ".parquet"), image.path(shard.name, ".parquet")
        if not named.exists():
            continue
        table = pd.read_parquet(named, columns=columns)
        if shares is not None:
            table = _decided(with_shares(read_pairs(text, image, shard.name), read_shares(shares)))
        table = table[sampled(table["sample_id"].to_numpy(np.int64), part, seed=1)]
        dropped = image.path(shard.name, ".drops.parquet")
        if dropped.exists():
            drops = pd.read_parquet(dropped, columns=["sample_id", "part"])
            lost = drops.loc[drops["part"].isin(["sample", IMAGE]), "sample_id"]
            table = table[~table["sample_id"].isin(lost)]
        tags = pd.read_parquet(seen, columns=columns) if seen.exists() else table.iloc[:0]
        yield table, tags


def _decided(pairs: pd.DataFrame) -> pd.DataFrame:
    """Decide open pairs by lot, each with the probability that its caption names the concept."""
    ids, concepts = (pairs[name].to_numpy(np.int64) for name in ("sample_id", "concept_id"))
    lots = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + concepts.astype(np.uint64)
    return pairs.loc[
        sampled(lots, pairs["share"].to_numpy(np.float64)), ["sample_id", "concept_id"]
    ]


def calibration_notes(folder: Path, *, asked: bool, threshold: float) -> tuple[str, ...]:
    """Say how image thresholds were chosen, for the notes of an audit with images."""
    path = folder / CALIBRATION
    if path.exists():
        found = Calibration.load(path)
        said = (
            f"Image thresholds were calibrated per concept from {found.method} of "
            f"{found.n_images:,} images ({CALIBRATION}); n_image_corrected and n_joint_corrected "
            "carry the tagger's errors."
        )
        return said, *found.notes
    why = "too few captions name concepts to calibrate from" if asked else "not calibrated"
    said = (
        f"Images count from cosine similarity {threshold:g}, one threshold for all concepts "
        f"({why}): image counts compare concepts roughly, at best."
    )
    return (said,)
