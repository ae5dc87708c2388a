"""Counts from a judged sample: what the model says of every image, put right by what was looked at.

Images fall into four cells by what captions and tags say of a concept. The sizes of the cells are
known, a sample of images was judged, and a prediction says which share of each cell shows the
concept. Two estimators combine these:

- with at least `MANY` judged images that show the concept and as many that do not, the difference
  estimator with power tuning (PPI++): right whatever the predictions are, for a large sample;
- with fewer, a posterior of each cell's share: a shift and a slope put the predictions right in
  log odds, with Jeffreys' prior on the shares themselves, so that nothing seen among few images
  still means that there may be some.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import LEVEL, FloatArray

# Cells: image and caption, caption alone, image tag alone, neither.
BOTH, NAMED, TAGGED, NEITHER = range(4)
N_CELLS = 4
MANY = 30  # with 10, three counts of eight left their intervals: what predictions miss is rare
DIFFERENCE, POSTERIOR = "difference", "posterior"
# Grids of the posterior, in log odds; a slope of zero lets predictions tell nothing.
SHIFTS = np.linspace(-6.0, 6.0, 49)
SLOPES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
SLOPE_PRIOR = np.array([0.1, 0.15, 0.2, 0.25, 0.3])
# Nearly no opinion; developed on single captions of half of Flickr8k's photographs, see docs.
SHIFT_SPREAD = 4.0
DRAWS = 400
EXACT_UP_TO = 2_000  # captions that were not judged, up to which each is decided on its own


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSample:
    """Judged images of one concept, and the sizes of its cells."""

    sizes: FloatArray  # (4,): images in each cell
    # (4,): share of each cell that shows the concept, as far as a model knows, in [0, 1]
    predicted: FloatArray
    cells: np.ndarray  # (n,): of the judged images
    present: np.ndarray  # (n,): whether they show it
    # (n,): of which stratum of the design they were drawn; all zero for a simple random sample
    strata: np.ndarray
    stratum_sizes: FloatArray  # (n_strata,): images in each stratum

    def __post_init__(self) -> None:
        if not len(self.cells) == len(self.present) == len(self.strata):
            raise ConfigError("There must be one cell, answer and stratum per judged image.")

    @property
    def weights(self) -> FloatArray:
        """Images that each judged one stands for."""
        drawn = np.bincount(self.strata, minlength=len(self.stratum_sizes))
        return np.asarray(self.stratum_sizes[self.strata] / np.maximum(drawn[self.strata], 1))


Interval = tuple[float, float, float]  # an estimate, and the ends of its interval


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCount:
    """Images that show a concept, and those of which a caption names it too, with intervals."""

    image: Interval
    joint: Interval
    method: str  # {"difference", "posterior"}
    n_judged: int
    n_present: int  # judged images that show it


def count_judged(sample: JudgedSample, *, level: float = LEVEL, seed: int = 0) -> JudgedCount:
    """Estimate how many images show a concept.

    See A. N. Angelopoulos, J. C. Duchi, T. Zrnic, "PPI++: efficient prediction-powered inference",
    arXiv:2311.01453 (2023). C.-E. Särndal, B. Swensson, J. Wretman, "Model assisted survey
    sampling" (1992), chapter 6.
    """
    n, n_present = len(sample.present), int(sample.present.sum())
    if n == 0:
        raise ConfigError("A concept of which no image was judged has no judged count.")
    if min(n_present, n - n_present) >= MANY:
        image = _difference(sample, sample.present, sample.predicted, level)
        named = np.isin(sample.cells, (BOTH, NAMED))
        inside = np.array([1.0, 1.0, 0.0, 0.0])
        joint = _difference(sample, sample.present & named, sample.predicted * inside, level)
        # what lies in a cell bounds it, however few of the cell were judged
        limit = float(sample.sizes[[BOTH, NAMED]].sum())
        joint = (min(joint[0], limit), min(joint[1], limit), min(joint[2], limit))
        method = DIFFERENCE
    else:
        image, joint = _posterior(sample, level, np.random.default_rng(seed))
        method = POSTERIOR
    return JudgedCount(image=image, joint=joint, method=method, n_judged=n, n_present=n_present)


def _difference(
    sample: JudgedSample, present: np.ndarray, predicted: FloatArray, level: float
) -> Interval:
    """Estimate by predictions plus what they miss in the sample, both weighted by tuning."""
    y, p = present.astype(np.float64), predicted[sample.cells]
    n_strata = len(sample.stratum_sizes)
    drawn = np.bincount(sample.strata, minlength=n_strata).astype(np.float64)
    sizes = sample.stratum_sizes
    factor = sizes**2 / np.maximum(drawn, 1) * np.maximum(1 - drawn / np.maximum(sizes, 1), 0)
    together = _covariance(y, p, sample.strata, n_strata)
    alone = _covariance(p, p, sample.strata, n_strata)
    tuning = float(np.clip((factor @ together) / max(float(factor @ alone), 1e-12), 0.0, 1.0))
    residual = y - tuning * p
    missed = float(sample.weights @ residual)
    total = tuning * float(sample.sizes @ predicted) + missed
    spread = np.sqrt(float(factor @ _covariance(residual, residual, sample.strata, n_strata)))
    reach = float(stats.t.ppf((1 + level) / 2, max(len(y) - n_strata, 1))) * spread
    seen, unseen = float(y.sum()), float((1 - y).sum())
    most = float(sample.sizes.sum()) - unseen
    total = min(max(total, seen), most)
    return float(total), float(max(total - reach, seen)), float(min(total + reach, most))


def _covariance(a: FloatArray, b: FloatArray, strata: np.ndarray, n_strata: int) -> FloatArray:
    """Covariance within each stratum; that of all of them where a stratum has one image."""
    drawn = np.bincount(strata, minlength=n_strata)
    means = [np.bincount(strata, x, minlength=n_strata) / np.maximum(drawn, 1) for x in (a, b)]
    products = (a - means[0][strata]) * (b - means[1][strata])
    within = np.bincount(strata, products, minlength=n_strata) / np.maximum(drawn - 1, 1)
    pooled = float(products.sum()) / max(len(a) - int((drawn > 0).sum()), 1)
    return np.where(drawn > 1, within, pooled)


def _posterior(
    sample: JudgedSample, level: float, rng: np.random.Generator
) -> tuple[Interval, Interval]:
    """Estimate from the posterior of cells' shares; named and other cells shift on their own."""
    weights = sample.weights
    total_weight = np.bincount(sample.cells, weights, minlength=N_CELLS)
    squares = np.bincount(sample.cells, weights**2, minlength=N_CELLS)
    judged = np.bincount(sample.cells, minlength=N_CELLS)
    # an unequal design tells as much as this many images drawn alike (Kish)
    effective = np.where(squares > 0, total_weight**2 / np.maximum(squares, 1e-12), 0.0)
    shares = np.bincount(sample.cells, weights * sample.present, minlength=N_CELLS)
    positive = effective * shares / np.maximum(total_weight, 1e-12)
    remaining = np.maximum(sample.sizes - judged, 0.0)
    odds = np.clip(sample.predicted, 1e-3, 1 - 1e-3)
    logits = np.log(odds) - np.log1p(-odds)
    seen = np.bincount(sample.cells, sample.present, minlength=N_CELLS)
    groups = [np.array([BOTH, NAMED]), np.array([TAGGED, NEITHER])]
    tables = [
        _group(logits[g], sample.sizes[g], effective[g], positive[g], remaining[g]) for g in groups
    ]
    log_weight = (
        tables[0][0][:, :, None] + tables[1][0][:, None, :] + np.log(SLOPE_PRIOR)[:, None, None]
    )
    probability = np.exp(log_weight - log_weight.max())
    probability /= probability.sum()
    chosen = rng.choice(probability.size, size=DRAWS, p=probability.ravel())
    slope, first, second = np.unravel_index(chosen, probability.shape)
    parts = [
        _drawn(table[1][slope, place], table[2][slope, place], rng)
        for table, place in zip(tables, (first, second), strict=True)
    ]
    limits = [float(remaining[g].sum()) for g in groups]
    parts = [np.minimum(part, limit) for part, limit in zip(parts, limits, strict=True)]
    known = [float(seen[g].sum()) for g in groups]
    return (
        _summary(sum(known), parts[0] + parts[1], level),
        _summary(known[0], parts[0], level),
    )


def _group(
    logits: FloatArray,
    sizes: FloatArray,
    judged: FloatArray,
    positive: FloatArray,
    remaining: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lay out log weight, mean and variance of what is left, shape (slopes, shifts)."""
    shape = (len(SLOPES), len(SHIFTS))
    if sizes.sum() <= 0:
        # one shift stands for all: there is nothing to shift
        return np.where(np.arange(shape[1]) == 0, 0.0, -np.inf) * np.ones(shape), *(
            np.zeros(shape),
        ) * 2
    share = sizes / sizes.sum()
    mean = float(share @ (1 / (1 + np.exp(-logits))))
    centre = np.log(mean) - np.log1p(-mean)
    place = centre + SLOPES[:, None, None] * (logits - centre) + SHIFTS[None, :, None]
    rate = 1 / (1 + np.exp(-place))
    overall = rate @ share
    weight = (positive * np.log(rate) + (judged - positive) * np.log1p(-rate)).sum(axis=-1)
    weight -= 0.5 * (SHIFTS / SHIFT_SPREAD) ** 2
    weight += 0.5 * (np.log(overall) + np.log1p(-overall))
    return weight, rate @ remaining, (rate * (1 - rate)) @ remaining


def _drawn(mean: FloatArray, variance: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Draw numbers of images with these means and variances, never negative."""
    scale = np.maximum(variance, 1e-9) / np.maximum(mean, 1e-9)
    return np.asarray(rng.gamma(np.maximum(mean, 1e-9) / scale, scale))


def _summary(known: float, drawn: FloatArray, level: float) -> Interval:
    """Return the median of a count and its interval, in whole images.

    The median and not the mean: of a rare concept the posterior has a long upper tail, and its
    mean lies far above what is there in most cases.
    """
    low, middle, high = np.quantile(drawn, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return known + float(middle), known + float(np.floor(low)), known + float(np.ceil(high))


def share_judged(
    size: float, n_judged: int, n_relevant: int, *, level: float = LEVEL
) -> tuple[float, float, float]:
    """Estimate how many of `size` captions mean the concept, from a simple random sample.

    Jeffreys' posterior of the share, and of each caption that was not judged.
    """
    remaining = max(round(size) - n_judged, 0)
    a, b = n_relevant + 0.5, n_judged - n_relevant + 0.5
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    if remaining > EXACT_UP_TO:
        # among many captions their own chance is nothing beside that of the share
        tails = remaining * np.asarray(stats.beta.ppf(ends, a, b))
    else:
        tails = np.asarray(stats.betabinom.ppf(ends, remaining, a, b))
    value = n_relevant + remaining * a / (a + b)
    return value, float(n_relevant + tails[0]), float(n_relevant + tails[1])


def predicted_shares(rates: dict[str, FloatArray], prevalence: FloatArray) -> FloatArray:
    """Return which share of each cell a calibration expects to show each concept, (n_concepts, 4).

    Shapes: `rates` (n_concepts, 1 + n_draws); `prevalence` (n_concepts,).
    """
    recall, alarm = rates["recall"][:, 0], rates["false_alarm"][:, 0]
    said = rates.get("caption_recall", np.full((len(recall), 1), 0.7))[:, 0]
    mistaken = rates.get("caption_mistake", 0.1 * prevalence[:, None])[:, 0]
    columns = []
    # in the order of the cells: named and tagged, named alone, tagged alone, neither
    for named in (True, False):
        for tagged in (True, False):
            shown = (said if named else 1 - said) * (recall if tagged else 1 - recall)
            other = (mistaken if named else 1 - mistaken) * (alarm if tagged else 1 - alarm)
            both = prevalence * shown
            columns.append(both / np.maximum(both + (1 - prevalence) * other, 1e-12))
    return np.clip(np.stack(columns, axis=1), 1e-3, 1 - 1e-3)


# Shares of the cells where no calibration predicts them; the sample puts them right.
ASSUMED = np.array([0.9, 0.6, 0.4, 0.01])
