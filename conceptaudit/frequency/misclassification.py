"""Counts and alignment corrected for what the tagger and the captions get wrong.

Tags and captions are two imperfect witnesses of what an image shows. How often each errs comes
from a calibration; how often they name a concept alone and together comes from the counts. From
both follows how many images show it.

A tag that is missing is weak evidence that a caption has nothing to do with its image, because the
tagger misses much of what is shown. Two ways of going wrong are kept apart: captions that have
nothing to do with their image, and single concepts that are named by mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import LEVEL, FloatArray, poisson_interval, wilson_interval
from conceptaudit.records import Int64Array

STEPS = 100
CHANCE_DRAWS = 25  # draws of chance per draw of error rates

Table = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Raw counts of a dataset, (n_concepts,) each."""

    n_samples: int  # samples with a usable image
    image: FloatArray  # images tagged with the concept
    text: FloatArray | None = None  # captions that name it; None where they were not audited
    joint: FloatArray | None = None


# Columns that a correction adds to a table of frequencies.
CORRECTED_COLUMNS = tuple(
    f"n_{side}_corrected{end}" for side in ("image", "joint") for end in ("", "_low", "_high")
)


def correct_counts(
    counted: Counted, rates: Table, *, level: float = LEVEL, seed: int = 0
) -> dict[str, FloatArray]:
    """Correct counts for misclassification; returns `CORRECTED_COLUMNS`, (n_concepts,) each.

    `rates` are (n_concepts, 1 + n_draws), the best estimate first. ``n_image_corrected`` estimates
    the images that show a concept, ``n_joint_corrected`` those whose caption names it too (NaN
    without captions). Never negative. Intervals hold the uncertainty of the
    rates, which images happen to show the concept, and sampling; none is narrower than the Poisson
    interval of the estimate. See W. J. Rogan, B. Gladen, "Estimating prevalence from the results of
    a screening test", American Journal of Epidemiology 107 (1978). S. L. Hui, S. D. Walter,
    "Estimating the error rates of diagnostic tests", Biometrics 36 (1980).
    """
    if len(rates["recall"]) != len(counted.image):
        raise ConfigError(
            f"There must be error rates for {quantity(len(counted.image), 'concept')}. "
            f"Got {len(rates['recall']):,} instead."
        )
    rng = np.random.default_rng(seed)
    estimates = [
        _estimate(counted, {name: values[:, draw] for name, values in rates.items()})
        for draw in range(rates["recall"].shape[1])
    ]
    image = _interval([e[0] for e in estimates], [e[2] for e in estimates], level, rng)
    named = [estimate[1] for estimate in estimates if estimate[1] is not None]
    joint = [np.full(len(counted.image), np.nan)] * 3
    if named:
        joint = _interval(named, [estimate[3] for estimate in estimates], level, rng)
    return dict(zip(CORRECTED_COLUMNS, [*image, *joint], strict=True))


_Estimate = tuple[FloatArray, FloatArray | None, FloatArray, FloatArray]


def _estimate(counted: Counted, rates: Table) -> _Estimate:
    """Return numbers of shown images, of those that are named, and the variances of both."""
    recall, alarm = rates["recall"], rates["false_alarm"]
    if counted.text is None or counted.joint is None:
        share, spread = _adjusted(counted.image, float(counted.n_samples), recall, alarm)
        return share, None, spread, spread
    unnamed = counted.n_samples - counted.text
    if "caption_recall" not in rates:
        joint, joint_var = _adjusted(counted.joint, counted.text, recall, alarm)
        rest, rest_var = _adjusted(counted.image - counted.joint, unnamed, recall, alarm)
        return joint + rest, joint, joint_var + rest_var, joint_var
    named, mistaken = rates["caption_recall"], rates["caption_mistake"]
    cells = (
        (counted.joint, named * recall, mistaken * alarm),
        (counted.text - counted.joint, named * (1 - recall), mistaken * (1 - alarm)),
        (counted.image - counted.joint, (1 - named) * recall, (1 - mistaken) * alarm),
        (unnamed - (counted.image - counted.joint), (1 - named) * (1 - recall), None),
    )
    share = np.clip((counted.text + 0.5) / (counted.n_samples + 1.0), 1e-12, 1.0 - 1e-12)
    parts: list[FloatArray] = []
    odds: list[FloatArray] = []
    for _ in range(STEPS):
        odds = []
        for _, if_shown, if_not in cells:
            other = (1 - mistaken) * (1 - alarm) if if_not is None else if_not
            weight = share * if_shown
            odds.append(weight / np.maximum(weight + (1 - share) * other, 1e-300))
        parts = [np.maximum(cell[0], 0.0) * p for cell, p in zip(cells, odds, strict=True)]
        share = np.clip(sum(parts) / max(counted.n_samples, 1), 1e-15, 1.0 - 1e-12)
    variances = [part * (1 - p) for part, p in zip(parts, odds, strict=True)]
    joint = parts[0] + parts[1]
    return (
        joint + parts[2] + parts[3],
        joint,
        np.asarray(sum(variances)),
        variances[0] + variances[1],
    )


def _adjusted(
    tagged: FloatArray, n: FloatArray | float, recall: FloatArray, alarm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Correct tags alone (Rogan and Gladen), clipped to what is possible, with the variance."""
    gain = np.maximum(recall - alarm, 1e-3)
    shown = np.clip((tagged - alarm * n) / gain, 0.0, n)
    rest = np.maximum(np.asarray(n) - shown, 0.0)
    return shown, (shown * recall * (1 - recall) + rest * alarm * (1 - alarm)) / gain**2


def _interval(
    values: list[FloatArray],
    variances: list[FloatArray],
    level: float,
    rng: np.random.Generator,
) -> list[FloatArray]:
    """Mix draws of the rates, of what is shown, and of sampling."""
    tail = (1.0 - level) / 2.0
    drawn = []
    for value, variance in zip(values[1:] or values, variances[1:] or variances, strict=True):
        chance = rng.standard_normal((CHANCE_DRAWS, len(value)))
        realised = np.maximum(value + chance * np.sqrt(variance), 0.0)
        drawn.append(rng.gamma(realised + 0.5))
    low, high = np.quantile(np.concatenate(drawn), [tail, 1.0 - tail], axis=0)
    # the exact Poisson bounds of a count of which the estimate is the nearest whole number
    least, most = poisson_interval(np.round(values[0]), level)
    low = np.where(values[0] < 0.5, 0.0, np.minimum(low, least))
    return [values[0], np.minimum(low, values[0]), np.maximum(np.maximum(high, most), values[0])]


ROUNDS = 60
MAX_CAPTIONS = 50_000  # captions that are looked at, about and at most: a random sample of more


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPairs:
    """The concepts that captions name, and whether the image is tagged with them."""

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
    """Estimate the share of captions that name concepts none of which the image shows.

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
        _estimate_shares(pairs, rates["recall"][:, draw], rates["false_alarm"][:, draw], prevalence)
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


def _estimate_shares(
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
    for _ in range(ROUNDS):
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
