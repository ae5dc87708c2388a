"""From guesses to accuracies, and from pairs to recall: over all, by class and by concept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.records import Float32Array, Int64Array

BoolArray = npt.NDArray[np.bool_]

FEWEST_FOR_FIVE = 6
"""With fewer classes the first five guesses hold every class: acc5 is no measure of anything."""

BLOCK = 1_024
"""Queries compared at once, which bounds memory: a block against all items."""

IMAGE_RETRIEVAL = "image_retrieval_recall"
TEXT_RETRIEVAL = "text_retrieval_recall"
"""CLIP_benchmark's names: captions that find their image; images that find a caption of theirs."""


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


def per_class(counts: Tally, names: Sequence[str]) -> pd.DataFrame:
    """Lay the results out, a row per class that has images.

    Columns: ``concept, class_index, n_correct, n_images, acc1, n_correct5, acc5``.
    """
    present = np.flatnonzero(counts.n_images)
    n = counts.n_images[present]
    told = np.nan if len(names) < FEWEST_FOR_FIVE else 1.0
    return pd.DataFrame(
        {
            "concept": [names[i] for i in present.tolist()],
            "class_index": present,
            "n_correct": pd.array(counts.n_correct[present], dtype="Int64"),
            "n_images": pd.array(n, dtype="Int64"),
            "acc1": counts.n_correct[present] / n,
            "n_correct5": pd.array(counts.n_correct5[present], dtype="Int64"),
            "acc5": told * counts.n_correct5[present] / n,
        }
    )


def with_labels(labels: Mapping[str, str], table: pd.DataFrame) -> pd.DataFrame:
    """Put columns that say whose results these are before a table's own."""
    labelled = table.copy()
    for position, (column, value) in enumerate(labels.items()):
        labelled.insert(position, column, value)
    return labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedVectors:
    """Images and the captions that describe them, embedded."""

    images: Float32Array  # shape (n_images, dimension): unit vectors, one per image
    texts: Float32Array  # shape (n_texts, dimension): unit vectors
    image_of: Int64Array  # shape (n_texts,): row of `images` that each caption describes

    def __post_init__(self) -> None:
        if self.images.shape[1:] != self.texts.shape[1:]:
            raise ConfigError(
                f"Images and texts must be embedded by one model. Got {self.images.shape[1:]} "
                f"and {self.texts.shape[1:]} numbers instead."
            )
        if len(self.image_of) != len(self.texts):
            raise ConfigError("There must be one image per text.")
        if not len(self.texts) or not len(self.images):
            raise DataError("Retrieval needs at least one image with a caption.")


def retrieved(pairs: PairedVectors, ks: Sequence[int]) -> dict[str, BoolArray]:
    """Tell for every query whether the k nearest items hold one of its own."""
    most = max(ks, default=0)
    if min(ks, default=0) < 1:
        raise ConfigError(f"Recall is taken at k of 1 or more. Got {list(ks)} instead.")
    texts_at = _first_own(pairs.texts, pairs.images, [[i] for i in pairs.image_of.tolist()], most)
    owned: list[list[int]] = [[] for _ in range(len(pairs.images))]
    for text, image in enumerate(pairs.image_of.tolist()):
        owned[image].append(text)
    images_at = _first_own(pairs.images, pairs.texts, owned, most)
    found = {f"{IMAGE_RETRIEVAL}@{k}": texts_at < k for k in ks}
    return found | {f"{TEXT_RETRIEVAL}@{k}": images_at < k for k in ks}


def _first_own(
    queries: Float32Array, items: Float32Array, owned: Sequence[Sequence[int]], most: int
) -> Int64Array:
    """Rank, from 0, of the first of each query's own items among the `most` nearest, or `most`."""
    first = np.full(len(queries), most, dtype=np.int64)
    k = min(most, len(items))
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ items.T
        nearest = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, nearest, axis=1), axis=1, kind="stable")
        nearest = np.take_along_axis(nearest, order, axis=1)
        for row, ranked in enumerate(nearest):
            places = np.flatnonzero(np.isin(ranked, owned[start + row]))
            if len(places):
                first[start + row] = places[0]
    return first


def recall_by_concept(
    found: BoolArray, concepts: Sequence[Sequence[str]], metric: str
) -> pd.DataFrame:
    """Recall over the queries that name each concept.

    Shapes: `found` (n_queries,), `concepts` (n_queries,).

    >>> table = recall_by_concept(np.array([True, False]), [["dog"], ["dog", "cat"]], "recall@1")
    >>> table[["concept", "n_correct", "n_images"]].values.tolist()
    [['cat', 0, 1], ['dog', 1, 2]]
    """
    rows = [
        (name, hit) for hit, names in zip(found.tolist(), concepts, strict=True) for name in names
    ]
    table = pd.DataFrame(rows, columns=["concept", "hit"]).astype({"concept": "str"})
    grouped = table.groupby("concept")["hit"]
    counted = pd.DataFrame({"n_correct": grouped.sum(), "n_images": grouped.size()}).reset_index()
    counted = counted.astype({"n_correct": "Int64", "n_images": "Int64"})
    ratio = counted["n_correct"].to_numpy(np.float64) / counted["n_images"].to_numpy(np.float64)
    return counted.assign(accuracy=ratio, metric=metric)
