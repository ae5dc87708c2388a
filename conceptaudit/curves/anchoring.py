"""Move a curve to what is known of a dataset, and bound what is left.

Intervals about an anchored curve come from datasets held out and anchored in the same way, so they
hold what is left once the level is known.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit, logit

from conceptaudit.curves.conformal import Band, new_dataset
from conceptaudit.curves.predictor import HeldOut
from conceptaudit.curves.prepared import NAMES_HELP, Prepared
from conceptaudit.curves.statistics import FloatArray, IntArray, group_means

N_DRAWS = 5
"""Draws of labelled classes from each held-out dataset, to calibrate intervals on."""

EDGE = 0.01
"""Accuracies are kept this far from 0 and 1 on the logit scale."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the anchors say of one dataset.

    Parameters
    ----------
    mean : float or None
        Its mean accuracy.
    labelled : numpy.ndarray of int
        Positions, among the dataset's rows, of classes whose accuracy is known.
    accuracy : numpy.ndarray of float64
        Their accuracies.
    shift : float
        Distance on the logit scale by which the model differs from the fitted one.
    """

    mean: float | None
    labelled: IntArray
    accuracy: FloatArray
    shift: float


def anchored(
    prepared: Prepared, known: Known, expected: FloatArray, level: float
) -> tuple[FloatArray, Band]:
    """Move the expectations of one dataset to its anchors, and bound what is left.

    Parameters
    ----------
    prepared : Prepared
    known : Known
    expected : numpy.ndarray of float64, shape (n,)
        Without anchors.
    level : float

    Returns
    -------
    expected : numpy.ndarray of float64, shape (n,)
    band : Band
    """
    held = prepared.by_dataset
    said = []
    if known.shift:
        expected = expit(safe_logit(expected) + known.shift)
        said.append("the model's ImageNet accuracy given")
    if known.mean is not None:
        expected = shifted_to(expected, known.mean)
        held = _with_means(held)
        said.append("its mean accuracy given")
    elif len(known.labelled):
        level_sd, row_sd = _spreads(held)
        offsets = known.accuracy - expected[known.labelled]
        expected = np.clip(expected + _shrunken(offsets, level_sd, row_sd), 0.0, 1.0)
        held = _with_labels(held, len(known.labelled), prepared.estimator.seed)
        said.append(f"{len(known.labelled)} of its classes labelled")
    band = new_dataset(held, level, anchor=f" ({', '.join(said)})")
    remark = NAMES_HELP if held.names_help else ""
    return expected, replace(band, basis=band.basis + remark)


def shifted_to(expected: FloatArray, mean: float) -> FloatArray:
    """Add one number to all expectations, within [0, 1], so that they have this mean.

    Examples
    --------
    >>> shifted_to(np.array([0.1, 0.3, 1.0]), 0.6).round(2).tolist()
    [0.3, 0.5, 1.0]
    """
    low, high = -1.0, 1.0
    usable = expected[np.isfinite(expected)]
    if not len(usable):
        return expected
    for _ in range(50):
        middle = (low + high) / 2
        if np.clip(usable + middle, 0.0, 1.0).mean() < mean:
            low = middle
        else:
            high = middle
    return np.clip(expected + (low + high) / 2, 0.0, 1.0)


def _spreads(held: HeldOut) -> tuple[float, float]:
    """Estimate the spread of dataset levels about the curve, and of concepts about those."""
    n = int(held.dataset.max()) + 1
    sizes = np.bincount(held.dataset, minlength=n)
    means = group_means(held.residual, held.dataset, n)
    within = held.residual - means[held.dataset]
    present = sizes > 0
    row = float(within @ within) / max(len(within) - int(present.sum()), 1)
    between = float(np.mean(means[present] ** 2 - row / sizes[present]))
    return float(np.sqrt(max(between, 0.0))), float(np.sqrt(row))


def _shrunken(offsets: FloatArray, level_sd: float, row_sd: float) -> float:
    """Level of a dataset from the offsets of a few of its concepts."""
    total = level_sd**2 + row_sd**2 / len(offsets)
    return float(offsets.mean()) * (level_sd**2 / total if total > 0 else 1.0)


def _with_means(held: HeldOut) -> HeldOut:
    """Residuals of held-out datasets whose means are known."""
    centre = np.empty_like(held.centre)
    outcome = held.centre + held.residual
    for position in np.unique(held.dataset):
        members = held.dataset == position
        centre[members] = shifted_to(held.centre[members], float(outcome[members].mean()))
    return replace(held, centre=centre, residual=outcome - centre)


def _with_labels(held: HeldOut, n_labelled: int, seed: int) -> HeldOut:
    """Residuals of held-out datasets of which some classes, drawn at random, are labelled."""
    rng = np.random.default_rng(seed)
    level_sd, row_sd = _spreads(held)
    outcome = held.centre + held.residual
    centres, residuals, datasets = [], [], []
    for position in np.unique(held.dataset):
        members = np.flatnonzero(held.dataset == position)
        k = min(n_labelled, len(members) - 1)
        if k < 1:
            continue
        for _ in range(N_DRAWS):
            drawn = rng.permutation(members)
            labelled, rest = drawn[:k], drawn[k:]
            offset = _shrunken(held.residual[labelled], level_sd, row_sd)
            centre = np.clip(held.centre[rest] + offset, 0.0, 1.0)
            centres.append(centre)
            residuals.append(outcome[rest] - centre)
            datasets.append(held.dataset[rest])
    return replace(
        held,
        centre=np.concatenate(centres),
        residual=np.concatenate(residuals),
        dataset=np.concatenate(datasets),
    )


def safe_logit(accuracy: FloatArray) -> FloatArray:
    """Take the logit of accuracies kept away from 0 and 1, shape (n,).

    Examples
    --------
    >>> safe_logit(np.array([0.0, 0.5])).round(2).tolist()
    [-4.6, 0.0]
    """
    value: FloatArray = logit(np.clip(accuracy, EDGE, 1.0 - EDGE))
    return value
