"""How many captions name nothing that their picture shows, corrected for the tagger's misses.

A tag that is missing is weak evidence, because the tagger misses much of what is shown. How much
it weighs follows from a calibration. Two ways of going wrong are kept apart: captions that have
nothing to do with their picture, and single concepts that are named by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.frequency.intervals import LEVEL, FloatArray, wilson_interval
from conceptaudit.records import Int64Array

STEPS = 60
MAX_CAPTIONS = 50_000
"""Captions that are looked at, about and at most: a random sample of more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPairs:
    """The concepts that captions name, and whether the picture is tagged with them."""

    starts: Int64Array  # (n_captions,): where each caption's concepts begin
    concept_ids: Int64Array  # (n,)
    tagged: np.ndarray  # (n,)


def named_pairs(shards: Iterable[tuple[pd.DataFrame, pd.DataFrame]]) -> NamedPairs:
    """Gather what captions name from the text and image tags of shards."""
    parts: list[pd.DataFrame] = []
    for text, image in shards:
        pairs = text[["sample_id", "concept_id"]].merge(
            image[["sample_id", "concept_id"]].assign(tagged=True),
            on=["sample_id", "concept_id"],
            how="left",
        )
        parts.append(pairs.sort_values(["sample_id", "concept_id"]))
    empty = pd.DataFrame({"sample_id": [], "concept_id": [], "tagged": []})
    table = pd.concat(parts, ignore_index=True) if parts else empty
    samples = table["sample_id"].to_numpy(dtype=np.int64)
    starts = np.flatnonzero(np.diff(samples, prepend=samples[:1] - 1)).astype(np.int64)
    return NamedPairs(
        starts=starts,
        concept_ids=table["concept_id"].to_numpy(dtype=np.int64),
        tagged=table["tagged"].notna().to_numpy(),
    )


def corrected_misalignment(
    pairs: NamedPairs,
    rates: Mapping[str, FloatArray],
    prevalence: FloatArray,
    *,
    level: float = LEVEL,
) -> Json:
    """Estimate the share of captions that name concepts none of which the picture shows.

    Shapes: `rates` (n_concepts, 1 + n_draws); `prevalence` (n_concepts,). ``n_captions``,
    ``unrelated_captions`` (share), ``mistaken_mentions`` (share of mentions in other captions),
    ``nothing_named_is_shown`` (share of captions) with ``_low`` and ``_high``; shares are None
    where no caption names a concept.
    """
    n = len(pairs.starts)
    names = ("unrelated_captions", "mistaken_mentions", "nothing_named_is_shown")
    bounds = ("nothing_named_is_shown_low", "nothing_named_is_shown_high")
    if n == 0:
        return {"n_captions": 0, **dict.fromkeys((*names, *bounds))}
    estimates = [
        _estimate(pairs, rates["recall"][:, draw], rates["false_alarm"][:, draw], prevalence)
        for draw in range(rates["recall"].shape[1])
    ]
    tail = (1.0 - level) / 2.0
    shares = [estimate[2] for estimate in estimates]
    low, high = np.quantile(shares, [tail, 1.0 - tail])
    sampling = wilson_interval(round(shares[0] * n), n, level)
    # independent sources of error: their distances from the estimate add as squares
    down = np.hypot(max(shares[0] - low, 0.0), shares[0] - sampling[0])
    up = np.hypot(max(high - shares[0], 0.0), sampling[1] - shares[0])
    return {
        "n_captions": n,
        **dict(zip(names, estimates[0], strict=True)),
        bounds[0]: float(max(shares[0] - down, 0.0)),
        bounds[1]: float(min(shares[0] + up, 1.0)),
    }


def _estimate(
    pairs: NamedPairs, recall: FloatArray, alarm: FloatArray, prevalence: FloatArray
) -> tuple[float, float, float]:
    """Return shares of unrelated captions, of mistaken mentions, of captions that show nothing."""
    ids = pairs.concept_ids
    recall, alarm = np.clip(recall, 1e-4, 1 - 1e-4), np.clip(alarm, 1e-6, 1 - 1e-6)
    ratio = np.where(pairs.tagged, (recall / alarm)[ids], ((1 - recall) / (1 - alarm))[ids])
    chance = prevalence[ids]
    by_chance = _product(chance * ratio + 1 - chance, pairs.starts)
    absent = _product(1 - chance, pairs.starts)
    sizes = np.diff(pairs.starts, append=len(ids))
    unrelated, mistaken = 0.05, 0.05
    for _ in range(STEPS):
        mixed = (1 - mistaken) * ratio + mistaken
        related = _product(mixed, pairs.starts)
        weight = unrelated * by_chance
        is_unrelated = weight / (weight + (1 - unrelated) * related)
        wrong = np.repeat(1 - is_unrelated, sizes) * mistaken / mixed
        unrelated = float(np.clip(is_unrelated.mean(), 1e-6, 1 - 1e-6))
        mistaken = float(np.clip(wrong.sum() / ((1 - is_unrelated) * sizes).sum(), 1e-6, 1 - 1e-6))
    all_wrong = mistaken ** sizes.astype(np.float64)
    nothing = unrelated * absent + (1 - unrelated) * all_wrong
    either = unrelated * by_chance + (1 - unrelated) * related
    return unrelated, mistaken, float((nothing / either).mean())


def _product(values: FloatArray, starts: Int64Array) -> FloatArray:
    return np.asarray(np.multiply.reduceat(values, starts))
