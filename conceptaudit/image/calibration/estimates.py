"""From a fit to what is asked of it: how many images show a concept, and where to cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from conceptaudit.errors import ConfigError
from conceptaudit.image.calibration.histograms import (
    HIGHEST,
    LOWEST,
    N_BINS,
    WIDTH,
    FloatArray,
    ScoreHistograms,
)
from conceptaudit.image.calibration.model import Fitted

RULES = ("count", "f1")
"""``"count"``: as many images are tagged as show the concept, so precision equals recall;
``"f1"``: best F1."""

DRAWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Expected numbers of images that show each concept.

    Parameters
    ----------
    image, joint : numpy.ndarray of float64, shape (n_concepts,) or (n_draws, n_concepts)
        All images, and those whose caption names the concept.
    """

    image: FloatArray
    joint: FloatArray


def posterior(
    fitted: Fitted, parameters: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Compute how likely an image shows the concept, given its score and its caption.

    Returns
    -------
    named, unnamed : numpy.ndarray of float64, shape (n_concepts, N_BINS)
        Where the caption names the concept, and where it does not.
    """
    shown = fitted.shown(parameters)
    recall, mistake = fitted.caption_rates(parameters)
    if not fitted.noisy:
        return shown, shown
    named = np.clip(mistake + (recall - mistake) * shown, 1e-300, 1.0 - 1e-12)
    return recall * shown / named, (1.0 - recall) * shown / (1.0 - named)


def count_shown(
    fitted: Fitted, histograms: ScoreHistograms, parameters: FloatArray | None = None
) -> Shown:
    """Estimate how many images show each concept."""
    named, unnamed = posterior(fitted, parameters)
    joint = (histograms.positive * named).sum(axis=1)
    return Shown(image=joint + (histograms.negative * unnamed).sum(axis=1), joint=joint)


def draw_shown(
    fitted: Fitted, histograms: ScoreHistograms, *, n_draws: int = DRAWS, seed: int = 0
) -> Shown:
    """Draw numbers of images that show each concept: what the parameters leave open, and chance.

    Each draw takes other parameters, then decides every image by its probability (by a normal
    law with the same mean and variance).

    Returns
    -------
    Shown
        Arrays of shape (n_draws, n_concepts), never negative.
    """
    rng = np.random.default_rng(seed)
    image, joint = [], []
    for _ in range(n_draws):
        named, unnamed = posterior(fitted, fitted.draws(rng))
        sums = []
        for counts, shares in ((histograms.positive, named), (histograms.negative, unnamed)):
            mean = (counts * shares).sum(axis=1)
            spread = np.sqrt((counts * shares * (1.0 - shares)).sum(axis=1))
            drawn = mean + spread * rng.standard_normal(len(mean))
            sums.append(np.clip(drawn, 0.0, counts.sum(axis=1)))
        joint.append(sums[0])
        image.append(sums[0] + sums[1])
    return Shown(image=np.stack(image), joint=np.stack(joint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """A threshold per concept and what is to be expected of it.

    Parameters
    ----------
    thresholds : numpy.ndarray of float64, shape (n_concepts,)
        Standardised scores.
    precision, recall : numpy.ndarray of float64, shape (n_concepts,)
        In [0, 1]; NaN where nothing is tagged, or nothing expected.
    """

    thresholds: FloatArray
    precision: FloatArray
    recall: FloatArray


def choose_cuts(fitted: Fitted, histograms: ScoreHistograms, *, rule: str = "count") -> Cuts:
    """Choose a threshold per concept.

    Raises
    ------
    ConfigError
        The rule is not known.
    """
    if rule not in RULES:
        raise ConfigError(
            f"The 'rule' parameter must be one of {list(RULES)}. Got {rule!r} instead."
        )
    named, unnamed = posterior(fitted)
    right = histograms.positive * named + histograms.negative * unnamed
    tagged_from = _from_above(histograms.total)
    right_from = _from_above(right)
    expected = right_from[:, 0]
    if rule == "count":
        edges = _edges_at(tagged_from, expected)
    else:
        f1 = 2.0 * right_from / np.maximum(tagged_from + expected[:, None], 1e-12)
        # where hardly anything is shown, no threshold has an F1 to speak of
        edges = np.where(
            expected < 1.0, _edges_at(tagged_from, expected), np.argmax(f1, axis=1)
        ).astype(np.float64)
    tagged, hit = _at(tagged_from, edges), _at(right_from, edges)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(tagged > 0.5, hit / tagged, np.nan)
        recall = np.where(expected > 0.5, hit / expected, np.nan)
    return Cuts(
        thresholds=np.minimum(LOWEST + WIDTH * edges, HIGHEST),
        precision=np.clip(precision, 0.0, 1.0),
        recall=np.clip(recall, 0.0, 1.0),
    )


def rates_at(
    fitted: Fitted,
    histograms: ScoreHistograms,
    thresholds: FloatArray,
    parameters: FloatArray | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Return the shares of shown and of other images at or above thresholds (recall, false alarm).

    Returns
    -------
    recall, false_alarm : numpy.ndarray of float64, shape (n_concepts,)
        0 where there is no such image.
    """
    named, unnamed = posterior(fitted, parameters)
    right = histograms.positive * named + histograms.negative * unnamed
    wrong = histograms.total - right
    edges = (thresholds - LOWEST) / WIDTH
    shares = []
    for part in (right, wrong):
        above = _from_above(part)
        shares.append(np.clip(_at(above, edges) / np.maximum(above[:, 0], 1e-12), 0.0, 1.0))
    return shares[0], shares[1]


def _from_above(counts: np.ndarray) -> FloatArray:
    """Count what lies at or above every bin's lower edge, shape (n_concepts, N_BINS + 1)."""
    above = np.cumsum(counts[:, ::-1].astype(np.float64), axis=1)[:, ::-1]
    return np.hstack([above, np.zeros((len(above), 1))])


def _edges_at(above: FloatArray, wanted: FloatArray) -> FloatArray:
    """Find where (in bins from the lowest edge) just `wanted` images lie above, linearly."""
    upper = (above > wanted[:, None]).sum(axis=1).clip(1, N_BINS)
    rows = np.arange(len(above))
    more, less = above[rows, upper - 1], above[rows, upper]
    inside = np.where(more > less, (more - wanted) / np.maximum(more - less, 1e-12), 0.0)
    return np.asarray(upper - 1 + np.clip(inside, 0.0, 1.0), dtype=np.float64)


def _at(above: FloatArray, edges: FloatArray) -> FloatArray:
    """Read a table of `_from_above` between edges, linearly."""
    edges = np.clip(edges, 0.0, N_BINS)
    low = np.minimum(edges.astype(np.int64), N_BINS - 1)
    part = edges - low
    rows = np.arange(len(above))
    return np.asarray(above[rows, low] * (1.0 - part) + above[rows, low + 1] * part)
