"""Which images repeat: the same image again, or one so near that it counts as the same.

Equal identities (a file's digest, or the vector itself) are exact duplicates. Near duplicates are
vectors whose cosine similarity reaches a threshold. Similarity is not transitive, and following it
from neighbour to neighbour would in the end chain a whole corpus together; so a group is a star:
every member resembles the group's representative itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.altered import copies_among
from conceptaudit.image.similarity_join import EXACT_PAIRS, AnyVectors, Matches, match_among
from conceptaudit.image.thumbnails import SAME_COLOURS, Thumbnails, colour_vectors
from conceptaudit.image.vectors import reaches, row_products, unit_rows
from conceptaudit.records import Float32Array, Int64Array

PAIRS_AT_ONCE = 8192  # pairs whose similarity is computed at once: 32 MB of vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroups:
    """Images in groups, as columns with one entry per image."""

    # shape (n,): position of the image that stands for the group; its own where it is alone
    representative: Int64Array
    # shape (n,): whether the image has its representative's identity
    exact: npt.NDArray[np.bool_]
    similarity: Float32Array  # shape (n,): cosine similarity to the representative
    approximate: bool = False  # whether near duplicates were looked for in neighbouring cells only

    @property
    def n_unique(self) -> int:
        """Number of groups, counting images that nothing resembles as groups of one."""
        return len(np.unique(self.representative))


def find_duplicates(
    vectors: AnyVectors,
    threshold: float | None = None,
    *,
    identities: Sequence[str] | None = None,
    thumbnails: Thumbnails | None = None,
    altered_threshold: float | None = None,
    exact_pairs: int = EXACT_PAIRS,
) -> DuplicateGroups:
    """Group images that repeat: the same groups whatever the number of threads.

    Vectors, shape (n, dimension), may be memory-mapped. Equal identities, or equal vectors where
    there are none, are exact duplicates; a threshold in (0, 1] looks for near ones, too. With
    thumbnails these must also look the same, which is what tells a copy from another image of the
    same thing; or be altered copies (see `conceptaudit.image.altered`) whose embeddings reach
    `altered_threshold`.

    >>> image = np.array([[1, 0], [1, 0], [0.99, 0.1], [0, 1]], dtype=np.float32)
    >>> find_duplicates(image).representative.tolist()
    [0, 0, 2, 3]
    >>> find_duplicates(image, 0.95).representative.tolist()
    [0, 0, 0, 3]
    """
    if threshold is not None and not 0.0 < threshold <= 1.0:
        raise ConfigError(
            "The 'threshold' parameter of find_duplicates is a cosine similarity and must lie in "
            f"(0, 1]. Got {threshold} instead."
        )
    if identities is not None and len(identities) != len(vectors):
        raise ConfigError(
            f"There must be one identity per vector ({len(vectors):,}). "
            f"Got {len(identities):,} instead."
        )
    first = first_occurrence(identities if identities is not None else _row_bytes(vectors))
    similarity = np.ones(len(vectors), dtype=np.float32)
    if threshold is None:
        exact = np.ones(len(vectors), dtype=bool)
        return DuplicateGroups(representative=first, exact=exact, similarity=similarity)
    unique = np.flatnonzero(first == np.arange(len(first)))
    rows = vectors if len(unique) == len(vectors) else vectors[unique]
    if thumbnails is None:
        found = match_among(rows, threshold, exact_pairs=exact_pairs)
    else:
        lowest = threshold if altered_threshold is None else altered_threshold
        found = _alike(rows, thumbnails[unique], threshold, lowest, exact_pairs)
    centre, score = stars(found, len(unique))
    place = np.searchsorted(unique, first)
    representative = unique[centre][place]
    return DuplicateGroups(
        representative=representative,
        exact=first == first[representative],
        similarity=score[place],
        approximate=found.approximate,
    )


def _alike(
    vectors: AnyVectors,
    thumbnails: Thumbnails,
    threshold: float,
    altered_threshold: float,
    exact_pairs: int,
) -> Matches:
    """Pairs that look the same, with their embeddings' similarity."""

    def similar(rows: Int64Array, columns: Int64Array) -> npt.NDArray[np.bool_]:
        return reaches(similarity_of(vectors, rows, columns), threshold)

    same = match_among(
        colour_vectors(thumbnails.colours).astype(np.float16),
        SAME_COLOURS,
        confirm=similar,
        exact_pairs=exact_pairs,
    )
    altered = copies_among(thumbnails)
    pairs = np.concatenate(
        [np.stack([same.rows, same.columns]), np.stack([altered.rows, altered.columns])], axis=1
    )
    rows, columns = np.unique(pairs, axis=1)
    scores = similarity_of(vectors, rows, columns)
    good = reaches(scores, min(threshold, altered_threshold))
    return Matches(
        rows=rows[good], columns=columns[good], scores=scores[good], approximate=same.approximate
    )


def similarity_of(vectors: AnyVectors, rows: Int64Array, columns: Int64Array) -> Float32Array:
    """Cosine similarity of pairs of rows, shape (n_pairs,), in bounded memory."""
    scores = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        left, right = (
            unit_rows(np.asarray(vectors[at[part]], dtype=np.float32)) for at in (rows, columns)
        )
        scores[part] = row_products(left, right)
    return scores


def first_occurrence(identities: Sequence[object]) -> Int64Array:
    """Position at which each identity occurs first, shape (n,).

    >>> first_occurrence(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    seen: dict[object, int] = {}
    return np.fromiter(
        (seen.setdefault(identity, row) for row, identity in enumerate(identities)),
        dtype=np.int64,
        count=len(identities),
    )


def _row_bytes(vectors: AnyVectors) -> list[bytes]:
    from hashlib import blake2b

    return [blake2b(row.tobytes(), digest_size=16).digest() for row in vectors]


def stars(matches: Matches, n: int) -> tuple[Int64Array, Float32Array]:
    """Cut a graph of resemblance into stars, around those that resemble most others first.

    Returns each image's centre (itself where it is alone) and its similarity to that.

    A chain of four, each like the next: the ends are not taken for the same image.

    >>> chain = Matches(
    ...     rows=np.array([1, 2, 3]), columns=np.array([0, 1, 2]),
    ...     scores=np.full(3, 0.9, dtype=np.float32),
    ... )
    >>> stars(chain, 4)[0].tolist()
    [1, 1, 1, 3]
    """
    ends = np.concatenate([matches.rows, matches.columns])
    others = np.concatenate([matches.columns, matches.rows])
    scores = np.concatenate([matches.scores, matches.scores])
    order = np.lexsort((others, ends))
    ends, others, scores = ends[order], others[order], scores[order]
    degree = np.bincount(ends, minlength=n)
    start = np.concatenate([[0], np.cumsum(degree)])
    centre = np.arange(n, dtype=np.int64)
    score = np.ones(n, dtype=np.float32)
    free = np.ones(n, dtype=bool)
    linked = np.flatnonzero(degree)
    for node in linked[np.lexsort((linked, -degree[linked]))].tolist():
        if not free[node]:
            continue
        free[node] = False
        part = slice(start[node], start[node + 1])
        near = others[part]
        taken = free[near]
        members = near[taken]
        centre[members] = node
        score[members] = scores[part][taken]
        free[members] = False
    return centre, score


NULL_SAMPLE = 2_000
"""Images whose nearest neighbour is looked for: evenly spaced, so that no dice are needed."""

NULL_SHARE = 0.01  # share of unrelated images that may be taken for a copy of another one

LOWEST, HIGHEST = 0.9, 0.9999
LEAST = 20  # images below which no distribution can be told


def null_threshold(vectors: AnyVectors, share: float = NULL_SHARE) -> float:
    """Choose a threshold for near duplicates from the distances to nearest neighbours.

    The smallest of many distances follows a Weibull law near zero. Its two parameters are taken
    from the 10 % and 50 % quantiles, which real duplicates, being few, move little, and the
    distance is extrapolated at which `share` of unrelated images would have a neighbour.
    Where a model sees little difference between scenes, that is close to 1 and finds few copies:
    the model cannot tell better.

    Vectors, shape (n, dimension), are of distinct images. The result lies in [0.9, 0.9999]. See
    S. Coles, "An Introduction to Statistical Modeling of Extreme Values" (2001), chapter 3.
    """
    if len(vectors) < LEAST:
        raise DataError(
            f"A threshold for near duplicates cannot be chosen from {len(vectors):,} distinct "
            f"images; at least {LEAST} are needed. Name it: --near-duplicates 0.95."
        )
    distances = np.sqrt(np.maximum(2.0 - 2.0 * _nearest(vectors), 1e-9))
    low, middle = np.quantile(distances, [0.1, 0.5])
    # F(d) = 1 - exp(-(d/scale)^shape): straight in these coordinates
    x = np.log([low, middle])
    y = np.log(-np.log1p(-np.array([0.1, 0.5])))
    shape = (y[1] - y[0]) / max(x[1] - x[0], 1e-6)
    distance = np.exp(x[0] + (np.log(-np.log1p(-share)) - y[0]) / shape)
    return float(np.round(np.clip(1.0 - distance**2 / 2.0, LOWEST, HIGHEST), 4))


def _nearest(vectors: AnyVectors) -> npt.NDArray[np.float64]:
    """Similarity of sampled images to their nearest neighbour among all."""
    step = max(len(vectors) // NULL_SAMPLE, 1)
    rows = np.arange(0, len(vectors), step)
    sample = unit_rows(np.asarray(vectors[rows], dtype=np.float32))
    best = np.full(len(rows), -1.0, dtype=np.float32)
    for start in range(0, len(vectors), 8192):
        block = unit_rows(np.asarray(vectors[start : start + 8192], dtype=np.float32))
        scores = sample @ block.T
        own = (rows >= start) & (rows < start + len(block))
        scores[np.flatnonzero(own), rows[own] - start] = -1.0
        np.maximum(best, scores.max(axis=1), out=best)
    return best.astype(np.float64)
