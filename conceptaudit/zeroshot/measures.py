"""From guesses to accuracies: per class, over all, and what is mistaken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.records import Int64Array

FEWEST_FOR_FIVE = 6
"""With fewer classes the first five guesses hold every class: acc5 is no measure of anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number with its interval; all in [0, 1], NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Images and right answers by class."""

    # shape (n_classes,): `n_correct5`: the class is among the first five guesses
    n_images: Int64Array
    n_correct: Int64Array
    n_correct5: Int64Array


def tally(guesses: pd.DataFrame, n_classes: int) -> Tally:
    """Count images and right answers by class."""
    truth = guesses["class_index"].to_numpy(np.int64)
    named = [column for column in guesses if str(column).startswith("guess_")]
    first = guesses["guess_1"].to_numpy(np.int64) == truth
    among = (guesses[named].to_numpy(np.int64) == truth[:, None]).any(axis=1)
    counts = [
        np.bincount(truth[right], minlength=n_classes).astype(np.int64)
        for right in (np.ones(len(truth), dtype=bool), first, among)
    ]
    return Tally(n_images=counts[0], n_correct=counts[1], n_correct5=counts[2])


def overall(counts: Tally, *, level: float = 0.9) -> dict[str, Score]:
    """Compute acc1, acc5 and mean per-class recall with their intervals.

    The intervals are for another sample of images of the same classes, not for other classes.
    They are Wilson's, which have a width where all answers are right, or none.

    >>> five = np.array([5, 5])
    >>> score = overall(Tally(n_images=five, n_correct=five, n_correct5=five))["acc1"]
    >>> score.value, round(score.low, 2), score.high
    (1.0, 0.79, 1.0)
    """
    has = counts.n_images > 0
    n, right, right5 = counts.n_images[has], counts.n_correct[has], counts.n_correct5[has]
    total = int(n.sum())
    recall = float(np.mean(right / n))
    shares = {
        "acc1": (int(right.sum()) / total, total),
        "acc5": (int(right5.sum()) / total, total),
        "mean_per_class_recall": (recall, _telling_images(right, n)),
    }
    scores = {name: _score(value, trials, level) for name, (value, trials) in shares.items()}
    if len(counts.n_images) < FEWEST_FOR_FIVE:
        scores["acc5"] = Score(value=np.nan, low=np.nan, high=np.nan)
    return scores


def _score(value: float, trials: float, level: float) -> Score:
    low, high = wilson_interval(value * trials, trials, level)
    return Score(value=value, low=min(low, value), high=max(high, value))


def _telling_images(right: Int64Array, n: Int64Array) -> float:
    """Count the images of a single class that would tell as much as these do of the mean recall.

    Each class's recall has the variance that its right answers show; that of a class with a
    single image is unknown and taken as the largest that the mean recall allows.
    """
    recalls = right / n
    mean, even = float(recalls.mean()), len(n) ** 2 / float((1 / n).sum())
    single = mean * (1 - mean)
    own = np.where(n > 1, recalls * (1 - recalls) / np.maximum(n - 1, 1), single)
    variance = float(own.sum()) / len(n) ** 2
    return single / variance if variance > 0 else even


def confusions(guesses: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """List what each class is mistaken for, most frequent first."""
    n_images = guesses.groupby("class_index").size()
    wrong = guesses[guesses["class_index"] != guesses["guess_1"]]
    pairs = wrong.groupby(["class_index", "guess_1"]).size().rename("n").reset_index()
    table = pd.DataFrame(
        {
            "concept": [names[i] for i in pairs["class_index"]],
            "predicted": [names[i] for i in pairs["guess_1"]],
            "n": pairs["n"],
            "share": pairs["n"].to_numpy() / n_images.loc[pairs["class_index"]].to_numpy(),
        }
    )
    ordered = table.sort_values(["n", "concept", "predicted"], ascending=[False, True, True])
    return ordered.reset_index(drop=True)
