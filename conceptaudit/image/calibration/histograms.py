"""Scores of every concept as histograms, kept apart by what is known of the pair.

They are all that calibration needs of a dataset: they add up over shards and do not grow with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Float32Array, Int64Array

LOWEST, HIGHEST, WIDTH = -6.0, 18.0, 0.125
"""Range and width of the bins, in standard deviations of the concept's scores over the data."""

N_BINS = round((HIGHEST - LOWEST) / WIDTH)

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Mean and spread of every concept's scores, which make them comparable."""

    # shape (n_concepts,): in cosine similarity; a spread is never zero
    means: FloatArray
    spreads: FloatArray

    @classmethod
    def of_vectors(cls, moments: Moments, concepts: Float32Array) -> Scale:
        """Derive the scale from the moments of the image vectors, without scoring any image."""
        wide = concepts.astype(np.float64)
        variances = np.einsum("cd,de,ce->c", wide, moments.covariance, wide, optimize=True)
        spreads = np.sqrt(np.maximum(variances, 0.0))
        return cls(means=wide @ moments.mean, spreads=np.where(spreads > 1e-9, spreads, 1.0))

    def rows(self, chosen: slice) -> Scale:
        """Take some of the concepts."""
        return Scale(means=self.means[chosen], spreads=self.spreads[chosen])

    def standardise(self, similarities: npt.ArrayLike) -> FloatArray:
        """Turn cosine similarities, shape (…, n_concepts), into standard deviations."""
        return np.asarray((np.asarray(similarities) - self.means) / self.spreads)

    def similarity(self, standardised: npt.ArrayLike) -> FloatArray:
        """Undo `standardise`."""
        return np.asarray(np.asarray(standardised) * self.spreads + self.means)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Mean and covariance of image vectors, added up in float64."""

    n: int
    total: FloatArray  # shape (dimension,)
    products: FloatArray  # shape (dimension, dimension)

    @classmethod
    def empty(cls, dimension: int) -> Moments:
        """Start with no image."""
        return cls(n=0, total=np.zeros(dimension), products=np.zeros((dimension, dimension)))

    def with_images(self, images: Float32Array) -> Moments:
        """Add image vectors, shape (n, dimension)."""
        wide = images.astype(np.float64)
        return Moments(
            n=self.n + len(images),
            total=self.total + wide.sum(axis=0),
            products=self.products + wide.T @ wide,
        )

    @property
    def mean(self) -> FloatArray:
        """Mean vector; zeros where no image was seen."""
        return np.asarray(self.total / max(self.n, 1), dtype=np.float64)

    @property
    def covariance(self) -> FloatArray:
        """Covariance matrix (divided by n)."""
        mean = self.mean
        central = self.products / max(self.n, 1) - mean[:, None] * mean[None, :]
        return np.asarray(central, dtype=np.float64)


def bin_centres() -> FloatArray:
    """Return the middle of every bin, in standard deviations, shape (N_BINS,)."""
    return np.asarray(LOWEST + WIDTH * (np.arange(N_BINS) + 0.5), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreHistograms:
    """How many images have which score, by concept and by what is known of the pair."""

    # shape (n_concepts, N_BINS): captions: images whose caption names the concept, and those whose
    # caption does not. Labels: images known to show the concept, and those known not to
    positive: Int64Array
    negative: Int64Array

    @classmethod
    def empty(cls, n_concepts: int) -> ScoreHistograms:
        """Start with no image."""
        shape = (n_concepts, N_BINS)
        return cls(positive=np.zeros(shape, np.int64), negative=np.zeros(shape, np.int64))

    def __add__(self, other: ScoreHistograms) -> ScoreHistograms:
        return ScoreHistograms(
            positive=self.positive + other.positive, negative=self.negative + other.negative
        )

    @property
    def total(self) -> Int64Array:
        """All images, shape (n_concepts, N_BINS)."""
        return self.positive + self.negative

    def rows(self, chosen: slice) -> ScoreHistograms:
        """Take some of the concepts."""
        return ScoreHistograms(positive=self.positive[chosen], negative=self.negative[chosen])

    def stacked(self, other: ScoreHistograms) -> ScoreHistograms:
        """Put other concepts below these."""
        return ScoreHistograms(
            positive=np.vstack([self.positive, other.positive]),
            negative=np.vstack([self.negative, other.negative]),
        )

    def resampled(self, rng: np.random.Generator) -> ScoreHistograms:
        """Draw a bootstrap replicate: every cell from a Poisson law with its count as mean."""
        return ScoreHistograms(
            positive=rng.poisson(self.positive), negative=rng.poisson(self.negative)
        )


def count_scores(
    standardised: FloatArray, positive: BoolArray, known: BoolArray | None = None
) -> ScoreHistograms:
    """Count scores of one block of images; tables have shape (n_images, n_concepts).

    Positive pairs are named or known to be true; only known ones count, by default all. Scores
    outside the bins count in the outermost ones.

    >>> counted = count_scores(np.array([[0.0], [3.0]]), np.array([[False], [True]]))
    >>> int(counted.positive.sum()), int(counted.negative.sum())
    (1, 1)
    """
    if positive.shape != standardised.shape:
        raise ConfigError(
            f"There must be one mark per score ({standardised.shape}). "
            f"Got {positive.shape} instead."
        )
    if not bool(np.isfinite(standardised).all()):
        raise DataError(
            "Scores must be finite to be calibrated. An image or concept vector holds NaN or "
            "infinity; embed the data again."
        )
    n_concepts = standardised.shape[1]
    places = np.clip(((standardised - LOWEST) / WIDTH).astype(np.int64), 0, N_BINS - 1)
    cells = places + np.arange(n_concepts) * N_BINS
    counted = []
    for mask in (positive, ~positive):
        chosen = cells[mask if known is None else mask & known]
        counts = np.bincount(chosen, minlength=n_concepts * N_BINS)
        counted.append(counts.reshape(n_concepts, N_BINS).astype(np.int64))
    return ScoreHistograms(positive=counted[0], negative=counted[1])
