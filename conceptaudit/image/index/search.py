"""The images behind search results: told from samples, fetched from the dataset that holds them.

An image with five captions is five samples of an index, with one key and one vector.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import IMAGE
from conceptaudit.errors import ConfigError
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from conceptaudit.image.index.store import VectorIndex


SAME_SCORE = 1e-5  # products of one vector differ by less, wherever in a block it is multiplied

MOST_SAMPLES = 100
"""Samples looked at per image wanted: more captions of one image are not gone through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """An image that a search found."""

    key: str
    sample_id: int  # of the first of its samples
    score: float  # cosine similarity to the query
    n_samples: int = 1  # samples among the nearest that are this image: its captions


def nearest_images(index: VectorIndex, vectors: Float32Array, k: int) -> list[list[Hit]]:
    """Find the nearest images of each vector, each image once.

    Samples are one image where both key and score agree; a key alone says little, as archives
    may number their members alike.
    """
    most, asked = min(len(index), k * MOST_SAMPLES), k
    while True:
        found = index.search(vectors, asked)
        keys = index.keys(found.sample_ids.ravel().tolist())
        hits = [
            _once(ids, scores, keys)
            for ids, scores in zip(found.sample_ids.tolist(), found.scores.tolist(), strict=True)
        ]
        # the last image found may go on behind the last sample that was asked for
        if asked >= most or all(len(row) > k for row in hits):
            return [row[:k] for row in hits]
        asked = min(asked * 4, most)


def _once(ids: list[int], scores: list[float], keys: dict[int, str]) -> list[Hit]:
    hits: list[Hit] = []
    for sample_id, score in zip(ids, scores, strict=True):
        if sample_id < 0:  # FAISS pads with -1 where it finds fewer
            continue
        key = keys.get(sample_id, "")
        same = next((i for i in range(len(hits)) if key and _is_same(hits[i], key, score)), None)
        if same is None:
            hits.append(Hit(key=key, sample_id=sample_id, score=score))
        else:
            one = hits[same]
            hits[same] = replace(one, n_samples=one.n_samples + 1)
    return hits


def _is_same(hit: Hit, key: str, score: float) -> bool:
    return hit.key == key and abs(hit.score - score) <= SAME_SCORE


def fetch_images(location: str | Path, keys: Collection[str]) -> dict[str, bytes]:
    """Read the encoded images of some samples, by key, in one pass that stops at the last."""
    dataset = open_dataset(location)
    if IMAGE not in dataset.provides:
        raise ConfigError(
            f"{location} ({dataset.layout}) holds no images to show, only "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Name the dataset whose images "
            "were embedded with --images."
        )
    wanted = set(keys)
    found: dict[str, bytes] = {}
    for shard in dataset.shards():
        if not wanted:
            break
        for batch in dataset.read(shard, frozenset({IMAGE})):
            for key, data in zip(batch.keys, batch.images or (), strict=True):
                if key in wanted and data is not None:
                    found[key] = data
                    wanted.discard(key)
            if not wanted:
                break
    return found
