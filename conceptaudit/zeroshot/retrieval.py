"""Retrieval: whether a caption finds its image among all, and an image one of its captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Float32Array, Int64Array

BoolArray = npt.NDArray[np.bool_]

BLOCK = 1_024
"""Queries compared at once, which bounds memory: a block against all items."""

IMAGE_RETRIEVAL = "image_retrieval_recall"
TEXT_RETRIEVAL = "text_retrieval_recall"
"""CLIP_benchmark's names: captions that find their image; images that find a caption of theirs."""


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
