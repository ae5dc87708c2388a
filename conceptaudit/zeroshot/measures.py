"""From guesses to accuracies: per class, over all, and what is mistaken for what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.records import Int64Array

N_RESAMPLES = 2_000
"""Resamples behind an interval: its ends move by about 2 % of its width from seed to seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A number with its bootstrap interval; all in [0, 1], NaN where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Images and right answers by class.

    Parameters
    ----------
    n_images, n_correct, n_correct5 : numpy.ndarray of int64, shape (n_classes,)
        `n_correct5`: the class is among the first five guesses.
    """

    n_images: Int64Array
    n_correct: Int64Array
    n_correct5: Int64Array


def tally(guesses: pd.DataFrame, n_classes: int) -> Tally:
    """Count images and right answers by class.

    Parameters
    ----------
    guesses : pandas.DataFrame
        ``class_index, guess_1 …``, a row per image.
    n_classes : int
    """
    truth = guesses["class_index"].to_numpy(np.int64)
    named = [column for column in guesses if str(column).startswith("guess_")]
    first = guesses["guess_1"].to_numpy(np.int64) == truth
    among = (guesses[named].to_numpy(np.int64) == truth[:, None]).any(axis=1)
    counts = [
        np.bincount(truth[right], minlength=n_classes).astype(np.int64)
        for right in (np.ones(len(truth), dtype=bool), first, among)
    ]
    return Tally(n_images=counts[0], n_correct=counts[1], n_correct5=counts[2])


def overall(counts: Tally, *, level: float = 0.9, seed: int = 0) -> dict[str, Score]:
    """Compute acc1, acc5 and mean per-class recall with bootstrap intervals.

    Images are resampled with replacement from the whole set, so the intervals are for another
    sample of images of the same classes, not for other classes.

    Parameters
    ----------
    counts : Tally
    level : float
        Coverage of the intervals, in (0, 1).
    seed : int

    Returns
    -------
    dict of str to Score
        ``acc1``, ``acc5`` (NaN below five classes) and ``mean_per_class_recall`` (over classes
        that have images), as CLIP_benchmark defines them.
    """
    has = counts.n_images > 0
    n, right, right5 = counts.n_images[has], counts.n_correct[has], counts.n_correct5[has]
    total = int(n.sum())
    cells = np.concatenate([right, right5 - right, n - right5])
    draws = np.random.default_rng(seed).multinomial(total, cells / total, size=N_RESAMPLES)
    first, then, missed = np.split(draws, 3, axis=1)
    images = first + then + missed
    with np.errstate(invalid="ignore"):
        recalls = first / images  # a class may draw no image at all
    samples = {
        "acc1": first.sum(axis=1) / total,
        "acc5": (first + then).sum(axis=1) / total,
        "mean_per_class_recall": np.nanmean(recalls, axis=1),
    }
    values = {
        "acc1": right.sum() / total,
        "acc5": right5.sum() / total,
        "mean_per_class_recall": float(np.mean(right / n)),
    }
    tail = (1.0 - level) / 2.0
    scores = {}
    for name, sample in samples.items():
        low, high = np.quantile(sample, [tail, 1.0 - tail])
        scores[name] = Score(value=float(values[name]), low=float(low), high=float(high))
    if len(counts.n_images) < 5:
        scores["acc5"] = Score(value=np.nan, low=np.nan, high=np.nan)
    return scores


def confusions(guesses: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """List what each class is mistaken for, most frequent first.

    Returns
    -------
    pandas.DataFrame
        ``concept, predicted, n, share`` (of the concept's images).
    """
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
