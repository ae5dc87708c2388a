"""Whether scores tell images whose captions name a concept from the others, and what follows.

An area under the curve (AUC) of one half is a coin; where it cannot be told from that, scores say
nothing of the concept, and no count of images rests on them. A good AUC is not enough either:
captions that leave out what is shown leave images with high scores unnamed, and whether these show
the concept or look alike no score can tell. Then the count is not identified, and not given.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from conceptaudit.image.calibration.histograms import FloatArray, ScoreHistograms
from conceptaudit.records import Int64Array

LEVEL = 0.9
LEAST_NAMED = 5  # images that captions name, below which a concept's scores say nothing reliable
LEAST_AUC = 0.6  # where the interval of an AUC reaches below this, scores do not separate

LEAST_RECALL = 0.7
"""Share of what is shown that captions must be known to name. Below it the count depends on what
is assumed of look-alikes; at 0.7 the error of single captions' counts on Flickr8k falls from 0.5
to 0.1 (log error, docs/benchmarks-calibration.md)."""

CERTAIN_RECALL = 0.5
"""Lower end of that share's interval, where single captions tell it: three of four images that look
like the named ones say little."""

ENOUGH_REFERENCE = 100
"""Mentions of common nouns from which they alone tell whether a model sees anything."""

IDENTIFIED, NO_SIGNAL, FEW_MENTIONS = "", "no_signal", "few_mentions"
NOT_SEPARATED, RECALL_UNKNOWN, NO_CAPTIONS = "not_separated", "recall_unknown", "no_captions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """How often the several captions of one image agree."""

    per_image: float  # captions of an image, on average
    # shape (n_concepts,): images that exactly one caption, and exactly two captions name
    once: Int64Array
    twice: Int64Array

    @classmethod
    def single(cls, n_concepts: int) -> Repeats:
        """Describe images that have one caption each."""
        none = np.zeros(n_concepts, np.int64)
        return cls(per_image=1.0, once=none, twice=none)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What scores and captions tell of each concept; arrays are of shape (n_concepts,)."""

    # named against unnamed images, with its 90 % interval; NaN where none is named
    auc: FloatArray
    auc_low: FloatArray
    auc_high: FloatArray
    # mean AUC over concepts, each weighted by what is known of it, and its interval
    overall: tuple[float, float, float]
    reasons: tuple[str, ...]  # why a concept's count of images is not given; "" where it is
    # images that show the concept, at most: as if every image as typical as the named ones showed
    # it; NaN where even that is not known
    upper: FloatArray


def measure_signal(
    histograms: ScoreHistograms,
    repeats: Repeats | None = None,
    reference: ScoreHistograms | None = None,
) -> Signal:
    """Measure what scores tell of captions' mentions, and which counts that identifies.

    See J. A. Hanley, B. J. McNeil, "The meaning and use of the area under a ROC curve", Radiology
    143 (1982). A. Chao, "Estimating the population size for capture-recapture data with unequal
    catchability", Biometrics 43 (1987): a lower bound of what no caption names.
    """
    repeats = repeats or Repeats.single(len(histograms.positive))
    auc, errors = _auc(histograms)
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    low, high = np.clip(auc - z * errors, 0.0, 1.0), np.clip(auc + z * errors, 0.0, 1.0)
    judges = histograms
    if reference is not None:
        # where captions hardly name the common nouns, the list's own concepts judge as well
        enough = int(reference.positive.sum()) >= ENOUGH_REFERENCE
        judges = reference if enough else reference.stacked(histograms)
    overall = _overall(*_auc(judges), judges, z)
    named = histograms.positive.sum(axis=1)
    in_region, region = _typical_region(histograms)
    at_least = stats.beta.ppf((1 - LEVEL) / 2, in_region, region - in_region + 1)
    share = in_region / np.maximum(region, 1)
    told = (share >= LEAST_RECALL) & (at_least >= CERTAIN_RECALL)
    told |= _recaptured(named, repeats) >= LEAST_RECALL
    reasons = np.where(
        named < LEAST_NAMED,
        FEW_MENTIONS,
        np.where(~(low >= LEAST_AUC), NOT_SEPARATED, np.where(told, IDENTIFIED, RECALL_UNKNOWN)),
    )
    if overall[1] < LEAST_AUC:
        reasons = np.full(len(named), NO_SIGNAL)
    bounded = (named >= 3) & (low > 0.5) & (reasons != NO_SIGNAL)
    n_images = histograms.total.sum(axis=1)
    upper = named / np.maximum(at_least, 1e-9)
    # that all images may show it is no bound
    upper = np.where(bounded & (upper < n_images), upper, np.nan)
    return Signal(
        auc=auc,
        auc_low=low,
        auc_high=high,
        overall=overall,
        reasons=tuple(map(str, reasons)),
        upper=upper,
    )


def _auc(histograms: ScoreHistograms) -> tuple[FloatArray, FloatArray]:
    """Return the AUC of every concept, ties counting half, and its standard error."""
    positive = histograms.positive.astype(np.float64)
    negative = histograms.negative.astype(np.float64)
    n, m = positive.sum(axis=1), negative.sum(axis=1)
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    with np.errstate(invalid="ignore", divide="ignore"):
        auc = np.where((n > 0) & (m > 0), (positive * below).sum(axis=1) / (n * m), np.nan)
        # a perfect AUC of few images is not known to be perfect
        a = np.minimum(auc, 1.0 - 0.5 / (n + 1.0))
        first, second = a / (2.0 - a), 2.0 * a * a / (1.0 + a)
        variance = a * (1 - a) + (n - 1) * (first - a * a) + (m - 1) * (second - a * a)
        return auc, np.sqrt(np.maximum(variance, 0.0) / (n * m))


def _overall(
    auc: FloatArray, errors: FloatArray, histograms: ScoreHistograms, z: float
) -> tuple[float, float, float]:
    """Average the AUC over concepts; the weight of a frequent one is bounded."""
    weights = np.minimum(histograms.positive.sum(axis=1), 50).astype(np.float64)
    known = np.isfinite(auc) & np.isfinite(errors) & (weights > 0)
    if weights[known].sum() < LEAST_NAMED:
        return (float("nan"),) * 3
    share = weights[known] / weights[known].sum()
    mean = float(share @ auc[known])
    spread = float(np.sqrt((share**2) @ errors[known] ** 2))
    return mean, max(mean - z * spread, 0.0), min(mean + z * spread, 1.0)


def _typical_region(histograms: ScoreHistograms) -> tuple[FloatArray, FloatArray]:
    """Count named images and all images that score at least as the middle named image does."""
    named = np.cumsum(histograms.positive[:, ::-1], axis=1)
    total = np.cumsum(histograms.total[:, ::-1], axis=1)
    half = np.ceil(named[:, -1:] / 2.0)
    place = np.argmax(named >= np.maximum(half, 1), axis=1)
    rows = np.arange(len(named))
    return named[rows, place].astype(np.float64), total[rows, place].astype(np.float64)


def _recaptured(named: Int64Array, repeats: Repeats) -> FloatArray:
    """Estimate the share of shown images that at least one of several captions names."""
    if repeats.per_image < 2.0:
        return np.zeros(len(named))
    unnamed = repeats.once * (repeats.once - 1.0) / (2.0 * (repeats.twice + 1.0))
    unnamed *= (repeats.per_image - 1.0) / repeats.per_image
    return np.asarray(named / np.maximum(named + unnamed, 1e-9), dtype=np.float64)
