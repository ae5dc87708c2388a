"""Counts of images corrected for what the tagger and the captions get wrong.

Tags and captions are two imperfect witnesses of what an image shows. How often each errs comes
from a calibration; how often they name a concept alone and together comes from the counts. From
both follows how many images show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import LEVEL, FloatArray, poisson_interval

STEPS = 100
CHANCE_DRAWS = 25
"""Draws of chance per draw of error rates."""

Table = Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Raw counts of a dataset."""

    n_samples: int  # samples with a usable image
    image: FloatArray
    # (n_concepts,): captions that name the concept, images tagged with it, and both; text and joint
    # are None where captions were not audited
    text: FloatArray | None = None
    joint: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Estimated numbers of images that show each concept, shape (n_concepts,), with intervals."""

    image: FloatArray
    image_low: FloatArray
    image_high: FloatArray
    # images that show it and whose caption names it; None without captions
    joint: FloatArray | None = None
    joint_low: FloatArray | None = None
    joint_high: FloatArray | None = None


def correct_counts(
    counted: Counted, rates: Table, *, level: float = LEVEL, seed: int = 0
) -> Corrected:
    """Correct counts for misclassification.

    Shapes: `rates` (n_concepts, 1 + n_draws). Never negative. Intervals hold the uncertainty of the
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
    if not named:
        return Corrected(image=image[0], image_low=image[1], image_high=image[2])
    joint = _interval(named, [estimate[3] for estimate in estimates], level, rng)
    return Corrected(
        image=image[0],
        image_low=image[1],
        image_high=image[2],
        joint=joint[0],
        joint_low=joint[1],
        joint_high=joint[2],
    )


def add_corrected(table: pd.DataFrame, corrected: Corrected) -> pd.DataFrame:
    """Put ``n_image_corrected``, ``n_joint_corrected`` and their bounds beside the raw counts."""
    added = table.copy()
    for side in ("image", "joint"):
        for ending in ("", "_low", "_high"):
            values = getattr(corrected, f"{side}{ending}")
            added[f"n_{side}_corrected{ending}"] = np.nan if values is None else values
    return added


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
) -> tuple[FloatArray, FloatArray, FloatArray]:
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
    return values[0], np.minimum(low, values[0]), np.maximum(np.maximum(high, most), values[0])
