"""Calibration as a step of an audit: learned from its own captions, or taken from a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.auditing.calibration_data import CalibrationData, ImageCells, ImageIndex, sampled
from conceptaudit.datasets.base import IMAGE, Shard
from conceptaudit.display import quantity
from conceptaudit.frequency.ambiguous_pairs import read_pairs, read_shares, with_shares
from conceptaudit.frequency.misclassification import (
    CORRECTED_COLUMNS,
    MAX_CAPTIONS,
    Counted,
    correct_counts,
    corrected_misalignment,
    named_pairs,
)
from conceptaudit.image.calibration import (
    Calibration,
    enough_captions,
    learn,
)
from conceptaudit.image.stages import ImageTagger
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptFrequencies

CALIBRATION = "calibration.json"
SIGNAL_COLUMNS = (
    "n_image_reason", "n_image_upper", "tag_precision", "tag_precision_low", "tag_precision_high",
    "tag_recall", "tag_recall_low", "tag_recall_high", "auc", "auc_low", "auc_high",
)  # fmt: skip
AUTO, NONE = "auto", "none"
"""Learn from the audit's captions where they can teach; or one fixed threshold."""


def calibrated_tagger(tagger: ImageTagger, calibration: Calibration) -> ImageTagger:
    """Return a tagger with the calibration's thresholds, for the vectors of `tagger`."""
    return replace(
        tagger,
        concepts=calibration.tagging_vectors(tagger.concepts),
        thresholds=tuple(float(t) for t in calibration.thresholds),
    )


def learned_calibration(
    data: CalibrationData, index: ImageIndex | None, progress: Progress
) -> Calibration | None:
    """Learn a calibration from an audit's own captions; None where they are too few."""
    scores = data.scores(None, index, progress)
    taught = scores.by_caption
    if not enough_captions(
        taught if scores.reference is None else taught.stacked(scores.reference)
    ):
        return None
    return learn(
        "captions",
        scores.by_caption,
        scores.scale,
        vocabulary=data.vocabulary,
        vectors=data.vectors,
        background=data.background,
        reference=scores.reference,
        repeats=scores.repeats,
    )


def with_corrected(
    frequencies: ConceptFrequencies,
    calibration: Calibration,
    cells: ImageCells,
    *,
    has_text: bool,
    level: float,
) -> ConceptFrequencies:
    """Put counts of images beside the raw ones, where captions identify them.

    Without any signal the raw counts of images are taken back too: they would be noise.
    """
    counted = Counted(
        n_samples=cells.n_images,
        image=cells.tagged.astype(np.float64),
        text=cells.named.astype(np.float64) if has_text else None,
        joint=cells.both.astype(np.float64) if has_text else None,
    )
    table = frequencies.table.assign(**correct_counts(counted, calibration.rates, level=level))
    unknown = ~calibration.identified
    table.loc[unknown, list(CORRECTED_COLUMNS)] = np.nan
    table = table.assign(**dict(zip(SIGNAL_COLUMNS, _signal(calibration, cells), strict=True)))
    if not calibration.has_signal:
        raw = [f"n_{side}{end}" for side in ("image", "joint") for end in ("", "_low", "_high")]
        for name in raw:
            table[name] = table[name].mask(np.ones(len(table), dtype=bool))
    return replace(frequencies, table=table)


def caption_misalignment(
    calibration: Calibration,
    text: ShardStore,
    image: ShardStore,
    shards: Sequence[Shard],
    *,
    level: float,
    shares: Path | None = None,
) -> Json:
    """Estimate how many captions name nothing that their image shows; see its module.

    Of a large dataset a sample of captions is looked at, which no cutting of shards changes.
    `shares` has those of the open pairs where captions were counted fast.
    """
    n_captions = sum(text.read(shard.name)["n_used"] for shard in shards)
    # a sample by hash: no cutting into shards changes who is in it
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
            table = _decided(
                pd.DataFrame(with_shares(read_pairs(text, image, shard.name), read_shares(shares)))
            )
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


def _signal(calibration: Calibration, cells: ImageCells) -> list[Any]:
    """Lay out what is known of each concept's scores and tags, in the order of `SIGNAL_COLUMNS`."""
    unknown = ~calibration.identified
    recall = calibration.rates["recall"][:, 0]
    return [
        pd.array([reason or None for reason in calibration.reasons], dtype="str"),
        np.where(unknown, np.ceil(calibration.upper * cells.n_images), np.nan),
        np.where(unknown, np.nan, calibration.precision),
        calibration.precision_low,
        calibration.precision_high,
        np.where(unknown, np.nan, recall),
        calibration.recall_low,
        calibration.recall_high,
        calibration.auc,
        calibration.auc_low,
        calibration.auc_high,
    ]


def calibration_notes(
    calibration: Calibration | None, cells: ImageCells | None, *, asked: bool, threshold: float
) -> tuple[str, ...]:
    """Say how image thresholds were chosen, for the notes of an audit with images."""
    if calibration is None:
        why = "too few captions name concepts to calibrate from" if asked else "not calibrated"
        uncalibrated = (
            f"Images count from cosine similarity {threshold:g}, one threshold for all concepts "
            f"({why}): image counts compare concepts roughly, at best."
        )
        return (uncalibrated,)
    mean, low, high = calibration.overall_auc
    if not calibration.has_signal:
        refused = (
            "No image counts: this model's scores do not tell the images whose captions name a "
            f"concept from the others (AUC {mean:.2f}, {low:.2f} to {high:.2f}; 0.5 is a coin). "
            "Either the model is untrained, or images, captions and concept vectors do not belong "
            "together."
        )
        return (refused,)
    n_known, n = int(calibration.identified.sum()), len(calibration.concepts)
    because = Counter(reason for reason in calibration.reasons if reason)
    others = "; ".join(
        f"{k:,} {REASONS[reason]} ({reason})" for reason, k in sorted(because.items())
    )
    calibrated = (
        f"Image thresholds were calibrated per concept from {calibration.method} of "
        f"{quantity(calibration.n_images, 'image')} ({CALIBRATION}), centred on "
        f"{calibration.background}; AUC {mean:.2f} ({low:.2f} to {high:.2f})."
    )
    given = f"n_image_corrected is given for {n_known:,} of {quantity(n, 'concept')}" + (
        f"; not for {others}. Judge a sample: conceptaudit judge RUN." if others else "."
    )
    notes = [calibrated, given]
    if cells is not None:
        notes.append(
            "Several samples share an image: n_image_corrected and n_joint_corrected count "
            f"{quantity(cells.n_images, 'image')}, each once; n_text, n_image and n_joint count "
            "samples."
        )
    return *notes, *calibration.notes


REASONS = {
    "few_mentions": "that captions hardly name",
    "not_separated": "whose scores do not tell what captions name",
    "recall_unknown": "that captions may often leave out",
    "no_captions": "without captions",
}
"""Reason codes in words."""
