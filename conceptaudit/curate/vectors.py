"""What embeddings say of samples: how dense it is around them, and how typical they are.

A product that several threads share rounds differently from one thread's, so BLAS has one thread
here: the weights are the same bits from every engine. Shards are what runs side by side.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from conceptaudit.artifacts import ShardStore, write_npy
from conceptaudit.curate.drawing import LeftSamples
from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.errors import DataError
from conceptaudit.image.similarity_join import find_matches
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

FEATURES = 4_096
"""Random Fourier features: the density's error falls with their square root, and is about 2 % of a
dense region's."""

MOST_SAMPLED = 100_000
PER_CLUSTER = 256
"""Vectors per cluster from which centres are learned; FAISS takes as many."""

ITERATIONS = 20

LEAST_DENSITY = 0.01
"""Share of the mean density below which a region counts as no sparser: no weight is above 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedSamples:
    """The embeddings of the samples that are left.

    Parameters
    ----------
    source : Dataset
    shards : tuple of Shard
        Of the embeddings; they carry the names of the dataset's shards.
    left : LeftSamples
    """

    source: Dataset
    shards: tuple[Shard, ...]
    left: LeftSamples

    def blocks(self, shard: Shard) -> Iterator[tuple[Int64Array, Float32Array]]:
        """Yield positions among a shard's screened samples, and unit vectors."""
        ids, inside = self.left.ids(shard.name)
        for batch in self.source.read(shard, frozenset({EMBEDDING})):
            if batch.embeddings is None or not len(batch) or not len(ids):
                continue
            place = np.minimum(np.searchsorted(ids, batch.sample_ids), len(ids) - 1)
            usable = (ids[place] == batch.sample_ids) & inside[place]
            usable &= batch.embeddings.any(axis=1)
            if usable.any():
                yield place[usable].astype(np.int64), unit_rows(batch.embeddings[usable])

    def sample(self, size: int) -> Float32Array:
        """Take about as many vectors, evenly from all shards.

        Raises
        ------
        DataError
            There are none.
        """
        per_shard = max(1, -(-size // max(len(self.shards), 1)))
        step = max(1, len(self.shards) // size)
        parts: list[Float32Array] = []
        for shard in self.shards[::step]:
            rows = 0
            for _, vectors in self.blocks(shard):
                parts.append(vectors[: per_shard - rows])
                rows += len(parts[-1])
                if rows >= per_shard:
                    break
        if not parts:
            raise DataError("None of the samples that are left has an embedding.")
        return np.concatenate(parts)[:size]


@dataclass(frozen=True, slots=True, kw_only=True)
class FourierFeatures:
    """Random features whose inner products are a Gaussian kernel's values, on average.

    Parameters
    ----------
    frequencies : numpy.ndarray of float32, shape (dimension, n_features)
    phases : numpy.ndarray of float32, shape (n_features,)

    References
    ----------
    Rahimi and Recht, "Random features for large-scale kernel machines" (2007).
    """

    frequencies: Float32Array
    phases: Float32Array

    @classmethod
    def draw(cls, dimension: int, bandwidth: float, seed: int) -> FourierFeatures:
        """Draw features of the kernel exp(-d² / 2h²)."""
        rng = np.random.default_rng([seed, 7])
        frequencies = rng.standard_normal((dimension, FEATURES)) / bandwidth
        phases = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
        return cls(frequencies=frequencies.astype(np.float32), phases=phases.astype(np.float32))

    def of(self, vectors: Float32Array) -> Float32Array:
        """Return the features of vectors, shape (n, n_features)."""
        angles = vectors @ self.frequencies + self.phases
        return np.asarray(np.cos(angles) * np.float32(np.sqrt(2.0 / FEATURES)), dtype=np.float32)


def median_distance(vectors: Float32Array) -> float:
    """Median distance of pairs of unit vectors: of neighbours in a shuffled order.

    Raises
    ------
    DataError
        They are all the same.
    """
    order = np.random.default_rng(0).permutation(len(vectors))
    cosines = np.einsum("ij,ij->i", vectors[order], vectors[np.roll(order, 1)])
    median = float(np.sqrt(np.maximum(2.0 - 2.0 * np.median(cosines), 0.0)))
    if median <= 1e-6:
        raise DataError("The embeddings are all alike: there is no density to weigh by.")
    return median


@dataclass(frozen=True, slots=True, kw_only=True)
class SumFeatures:
    """Adds up the features of one shard: the first pass of a density."""

    samples: EmbeddedSamples
    features: FourierFeatures
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Add up a shard and write its record."""
        total, n = np.zeros(FEATURES), 0
        with threadpool_limits(1, user_api="blas"):
            for _, vectors in self.samples.blocks(shard):
                total += self.features.of(vectors).sum(axis=0, dtype=np.float64)
                n += len(vectors)
        path = self.store.path(shard.name, ".npy")
        write_npy(path, total)
        self.store.write(shard.name, shard.fingerprint, {"n": n}, {".npy": path})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighByDensity:
    """Weighs the samples of one shard by one over the density around them: the second pass.

    Samples without an embedding weigh as much as one in a region of mean density, which is 1.
    """

    samples: EmbeddedSamples
    features: FourierFeatures
    mean: Float32Array
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Weigh a shard and write its record."""
        ids, _ = self.samples.left.ids(shard.name)
        weights = np.ones(len(ids))
        typical = float(np.dot(self.mean.astype(np.float64), self.mean.astype(np.float64)))
        with threadpool_limits(1, user_api="blas"):
            for place, vectors in self.samples.blocks(shard):
                density = self.features.of(vectors) @ self.mean
                weights[place] = typical / np.maximum(density, LEAST_DENSITY * typical)
        path = self.store.path(shard.name, ".npy")
        write_npy(path, weights)
        self.store.write(shard.name, shard.fingerprint, {"n": len(ids)}, {".npy": path})


def cluster_centres(vectors: Float32Array, k: int, seed: int) -> Float32Array:
    """Learn unit centres by spherical k-means.

    Parameters
    ----------
    vectors : numpy.ndarray of float32, shape (n, dimension)
        Unit vectors.
    k : int
        Clusters; no more than there are vectors.
    seed : int

    Returns
    -------
    numpy.ndarray of float32, shape (k, dimension)
    """
    rng = np.random.default_rng([seed, 11])
    k = min(k, len(vectors))
    centres = vectors[np.sort(rng.choice(len(vectors), size=k, replace=False))]
    for _ in range(ITERATIONS):
        with threadpool_limits(1, user_api="blas"):
            nearest = np.argmax(vectors @ centres.T, axis=1)
        sums = np.zeros_like(centres, dtype=np.float64)
        np.add.at(sums, nearest, vectors)
        empty = ~np.isin(np.arange(k), nearest)
        moved = unit_rows(sums.astype(np.float32))
        moved[empty] = centres[empty]
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureDistance:
    """Measures how far each image of one shard is from its cluster's centre."""

    samples: EmbeddedSamples
    centres: Float32Array
    store: ShardStore

    def __call__(self, shard: Shard) -> None:
        """Measure a shard: one minus the cosine, NaN where a sample has no embedding."""
        ids, _ = self.samples.left.ids(shard.name)
        distance = np.full(len(ids), np.nan, dtype=np.float32)
        with threadpool_limits(1, user_api="blas"):
            for place, vectors in self.samples.blocks(shard):
                distance[place] = 1.0 - (vectors @ self.centres.T).max(axis=1)
        path = self.store.path(shard.name, ".npy")
        write_npy(path, distance)
        self.store.write(shard.name, shard.fingerprint, {"n": len(ids)}, {".npy": path})


def pruned_ids(
    ids: Sequence[Int64Array], distances: Sequence[Float32Array], share: float, *, hard: bool
) -> Int64Array:
    """Choose the images to prune: those nearest to their centre, or farthest from it.

    Parameters
    ----------
    ids, distances : sequences of arrays
        By shard; images without a distance are never pruned.
    share : float
        Of the images with a distance, rounded down.
    hard : bool
        Whether the hard ones, far from the centre, stay.

    References
    ----------
    Sorscher et al., "Beyond neural scaling laws" (2022), section 5: keep hard examples where data
    are plenty, easy ones where they are few.

    Examples
    --------
    >>> ids, far = [np.array([1, 2, 3, 4])], [np.array([0.3, 0.1, np.nan, 0.2], dtype=np.float32)]
    >>> pruned_ids(ids, far, 0.5, hard=True).tolist()
    [2]
    """
    known = np.concatenate([np.empty(0, np.int64), *ids])
    far = np.concatenate([np.empty(0, np.float32), *distances])
    there = ~np.isnan(far)
    known, far = known[there], far[there]
    order = np.lexsort((known, far if hard else -far))
    return np.sort(known[order[: int(share * len(known))]])


def matching_rows(
    vectors: Float32Array, others: Float32Array, similarity: float
) -> npt.NDArray[np.bool_]:
    """Tell which unit vectors are as similar as that to any of some others."""
    matches = np.zeros(len(vectors), dtype=bool)
    every_pair = len(vectors) * len(others)
    one_each = find_matches(vectors, others, similarity, limit=1, exact_pairs=every_pair)
    matches[one_each.rows] = True
    return matches
