"""Calibration from scores alone: what stands out from the bulk of a concept's scores."""

from __future__ import annotations

import numpy as np

from conceptaudit.image.calibration.histograms import (
    WIDTH,
    FloatArray,
    ScoreHistograms,
    bin_centres,
)
from conceptaudit.image.calibration.model import Fitted, fit_model

LEFT = 0.158655
"""Share of a normal law below one standard deviation under its middle."""


def fit_nulls(histograms: ScoreHistograms) -> Fitted:
    """Fit every concept's probability of being shown to the excess of high scores.

    The law of images that do not show the concept is taken to be normal, with the median of all
    scores as its middle and the distance to the 16th percentile as its spread, because the lower
    half is hardly touched by images that do show it. A score's probability of being shown is the
    share of images there that the normal law does not account for; a logistic curve, pooled over
    concepts, smooths it.

    References
    ----------
    B. Efron, "Size, power and false discovery rates", Annals of Statistics 35 (2007).
    """
    total = histograms.total.astype(np.float64)
    n_images = np.maximum(total.sum(axis=1, keepdims=True), 1.0)
    middle, spread = null_law(total)
    distance = (bin_centres() - middle[:, None]) / spread[:, None]
    expected = n_images * WIDTH / spread[:, None] * np.exp(-0.5 * distance**2) / np.sqrt(2 * np.pi)
    excess = np.where(distance > 1.0, np.maximum(total - expected, 0.0), 0.0)
    # beyond the chance of a handful of images the normal law has no tail left to subtract
    whole = np.round(excess).astype(np.int64)
    soft = ScoreHistograms(positive=whole, negative=histograms.total - whole)
    return fit_model(soft, noisy=False)


def null_law(total: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return middle and spread of the bulk of scores, each of shape (n_concepts,).

    A concept whose scores are all the same has the width of a bin as its spread.
    """
    shares = np.cumsum(total, axis=1) / np.maximum(total.sum(axis=1, keepdims=True), 1.0)
    edges = bin_centres() + WIDTH / 2.0
    middle = np.array([np.interp(0.5, row, edges) for row in shares])
    lower = np.array([np.interp(LEFT, row, edges) for row in shares])
    return middle, np.maximum(middle - lower, WIDTH)
