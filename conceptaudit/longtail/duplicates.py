"""Which candidates are the same image: by pixels, hash, altered versions, embedding.

Each check goes through the candidates from the best to the worst, within and across classes, and
removes those that equal or resemble one that stays.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.image.altered import copies_among
from conceptaudit.image.duplicates import first_occurrence
from conceptaudit.image.vectors import pair_scores, reaches
from conceptaudit.longtail.candidates import mark, remaining, vectors_of
from conceptaudit.longtail.fingerprints import Looks
from conceptaudit.longtail.records import (
    NEAR_ALTERED,
    NEAR_EMBEDDING,
    NEAR_PHASH,
    SAME_PIXELS,
)
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import Float32Array, Int64Array

# Candidates compared at once with those that stay.
BLOCK = 512

# Of those that stay, so many at once: a block of scores stays in a processor's cache.
TILE = 2048

# Well above the float32 error of a block's products: what comes this near is decided pair by pair,
# so that no answer depends on the block that a pair is in.
UNSURE = 1e-5

# Principal axes that near embeddings are looked for on, before the whole vectors decide.
SHORT_AXES = 63

# Vectors that the axes are taken from; others would only make more pairs worth a second look.
AXIS_SAMPLE = 4096

# Tells which of the rows (first axis) resemble which of the others (second axis).
Resemblance = Callable[[Int64Array, Int64Array], npt.NDArray[np.bool_]]

# A reason; what each of some candidates duplicates among them, or -1; how a pair is described.
_Check = tuple[str, Callable[[Int64Array], Int64Array], Callable[[int, int], str]]


def first_resembling(n: int, resemble: Resemblance, *, block: int = BLOCK) -> Int64Array:
    """For each item, the first better item that stays and resembles it, or -1 where it stays.

    Shapes: result (n,).

    >>> values = np.array([1.0, 5.0, 1.2, 1.4])
    >>> near = lambda rows, others: np.abs(values[rows][:, None] - values[others]) < 0.3
    >>> first_resembling(4, near).tolist()
    [-1, -1, 0, -1]
    """
    owner = np.full(n, -1, dtype=np.int64)
    stay = np.empty(n, dtype=np.int64)
    n_stay = 0
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n), dtype=np.int64)
        for first in range(0, n_stay, TILE):
            others = stay[first : min(first + TILE, n_stay)]
            alike = resemble(rows, others)
            hit = alike.any(axis=1)
            if hit.any():  # of earlier tiles none resembled, so this is the first
                owner[rows[hit]] = others[alike[hit].argmax(axis=1)]
                rows = rows[~hit]
        alike = resemble(rows, rows)
        for i in np.flatnonzero(np.triu(alike, 1).any(axis=1)).tolist():
            if owner[rows[i]] < 0:
                later = rows[i + 1 :][alike[i, i + 1 :]]
                owner[later[owner[later] < 0]] = rows[i]
        free = rows[owner[rows] < 0]
        stay[n_stay : n_stay + len(free)] = free
        n_stay += len(free)
    return owner


def remove_duplicates(table: pd.DataFrame, vectors: Float32Array, options: LongTailOptions) -> None:
    """Mark all but the best of every group of duplicates.

    The table has the best candidates first; `vectors` are those that its column ``vector`` points
    into.
    """
    candidates = remaining(table)
    checks: list[_Check] = []
    if "pixels" in candidates:
        checks.append(_by_pixels(candidates))
        if options.phash_distance >= 0:
            looks = Looks.of(candidates)
            checks.append(_by_hash(looks, options.phash_distance))
            checks.append(_by_altered_version(looks))
    if options.embedding_similarity <= 1.0 + UNSURE:
        own = vectors_of(candidates, vectors)
        checks.append(_by_embedding(own, options.embedding_similarity))
    concepts, keys = candidates["concept"].tolist(), candidates["key"].tolist()
    stay = np.arange(len(candidates), dtype=np.int64)
    for reason, find, describe in checks:
        owner = find(stay)
        losers, winners = stay[owner >= 0].tolist(), stay[owner[owner >= 0]].tolist()
        details = []
        for loser, winner in zip(losers, winners, strict=True):
            same = concepts[loser] == concepts[winner]
            details.append(describe(loser, winner) + ("" if same else f", in {concepts[winner]}"))
        originals = [keys[winner] for winner in winners]
        mark(table, candidates.index[losers], reason, details, originals)
        stay = stay[owner < 0]


def _by_pixels(candidates: pd.DataFrame) -> _Check:
    pixels = candidates["pixels"].tolist()
    sizes = list(zip(candidates["width"], candidates["height"], strict=True))

    def find(stay: Int64Array) -> Int64Array:
        first = first_occurrence([pixels[i] for i in stay.tolist()])
        return np.where(first == np.arange(len(first)), -1, first)

    return (
        SAME_PIXELS,
        find,
        lambda loser, _: f"{sizes[loser][0]} x {sizes[loser][1]} pixels",
    )


def _by_hash(looks: Looks, distance: int) -> _Check:
    def find(stay: Int64Array) -> Int64Array:
        here = looks[stay]
        return first_resembling(
            len(here), lambda rows, others: here[rows].alike(here[others], distance)[0]
        )

    def bits(loser: int, winner: int) -> int:
        return (int(looks.hashes[loser]) ^ int(looks.hashes[winner])).bit_count()

    return (
        NEAR_PHASH,
        find,
        lambda loser, winner: (
            f"distance {int(np.bitwise_count(looks.hashes[loser] ^ looks.hashes[winner]))}"
        ),
    )


def _by_altered_version(looks: Looks) -> _Check:
    pairs: dict[tuple[int, int], str] = {}

    def find(stay: Int64Array) -> Int64Array:
        found = copies_among(looks.thumbnails[stay])
        owner = np.full(len(stay), -1, dtype=np.int64)
        for number, (later, earlier) in enumerate(
            zip(found.rows.tolist(), found.columns.tolist(), strict=True)
        ):  # in order of row: whether the earlier one stays is known by then
            if owner[later] < 0 and owner[earlier] < 0:
                owner[later] = earlier
                pairs[int(stay[later]), int(stay[earlier])] = found.describe(number)
        return owner

    return NEAR_ALTERED, find, lambda loser, winner: pairs[loser, winner]


def _by_embedding(vectors: Float32Array, similarity: float) -> _Check:
    def find(stay: Int64Array) -> Int64Array:
        here = vectors[stay]
        short = shortened(here)

        def similar(rows: Int64Array, others: Int64Array) -> npt.NDArray[np.bool_]:
            alike = short[rows] @ short[others].T >= np.float32(similarity - UNSURE)
            i, j = np.divmod(np.flatnonzero(alike), max(len(others), 1))
            alike[i, j] = reaches(pair_scores(here, rows[i], here, others[j]), similarity)
            return alike

        return first_resembling(len(here), similar)

    return (
        NEAR_EMBEDDING,
        find,
        lambda loser, winner: f"similarity {float(vectors[loser] @ vectors[winner]):.4f}",
    )


def shortened(vectors: Float32Array, n_axes: int = SHORT_AXES) -> Float32Array:
    """Shorten unit vectors so that their products are never below those of the whole vectors.

    The vectors' coordinates on their principal axes, and the length of what is left: by Cauchy and
    Schwarz the product of two remainders is at most that of their lengths. So a pair whose short
    product stays below a limit is below it, and only the others need a second look.

    Shapes: `vectors` (n, dimension), result (n, n_axes + 1).

    >>> vectors = np.array([[0.6, 0.8, 0], [0, 0.6, 0.8]], dtype=np.float32)
    >>> short = shortened(vectors, 1)
    >>> short.shape, bool((short @ short.T)[0, 1] >= 0.48 - 1e-6)
    ((2, 2), True)
    """
    if vectors.shape[1] <= n_axes + 1 or not len(vectors):
        return vectors
    sample = vectors[:: max(len(vectors) // AXIS_SAMPLE, 1)].astype(np.float64)
    _, axes = np.linalg.eigh(sample.T @ sample)
    kept = vectors @ axes[:, : -n_axes - 1 : -1].astype(np.float32)
    whole = np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64)
    left = whole - np.einsum("ij,ij->i", kept, kept, dtype=np.float64)
    rest = np.sqrt(np.maximum(left, 0.0)).astype(np.float32)
    return np.ascontiguousarray(np.column_stack([kept, rest]))
