"""Which candidates are the same picture: by pixels, by perceptual hash, by embedding.

Each check goes through the candidates from the best to the worst, within and across classes, and
removes those that equal or resemble one that stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.longtail.options import LongTailOptions
from conceptaudit.longtail.records import (
    NEAR_EMBEDDING,
    NEAR_PHASH,
    SAME_PIXELS,
    Candidate,
    Picture,
    Removal,
)
from conceptaudit.records import Float32Array, Int64Array

BLOCK = 512
"""Candidates compared at once with all that stay."""

Resemblance = Callable[[Int64Array, Int64Array], npt.NDArray[np.bool_]]
"""Tells which of the rows (first axis) resemble which of the others (second axis)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleaned:
    """Candidates that differ from each other, best first, and what was removed."""

    candidates: tuple[Candidate, ...]
    removals: tuple[Removal, ...]


def hamming(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint8]:
    """Count the bits in which hashes differ.

    Parameters
    ----------
    left, right : numpy.ndarray of uint64, shapes (n,) and (m,)

    Returns
    -------
    numpy.ndarray of uint8, shape (n, m)

    Examples
    --------
    >>> hamming(np.array([0b1011], dtype=np.uint64), np.array([0b0010, 3], dtype=np.uint64))
    array([[2, 1]], dtype=uint8)
    """
    counts: npt.NDArray[np.uint8] = np.bitwise_count(left[:, None] ^ right[None, :])
    return counts


def first_resembling(n: int, resemble: Resemblance, *, block: int = BLOCK) -> Int64Array:
    """For each item, the first better item that stays and resembles it, or -1 where it stays.

    Parameters
    ----------
    n : int
        Items, best first.
    resemble : callable
        Symmetric.
    block : int
        Items compared at once; does not change the answer.

    Returns
    -------
    numpy.ndarray of int64, shape (n,)

    Examples
    --------
    >>> values = np.array([1.0, 5.0, 1.2, 1.4])
    >>> near = lambda rows, others: np.abs(values[rows][:, None] - values[others]) < 0.3
    >>> first_resembling(4, near).tolist()
    [-1, -1, 0, -1]
    """
    owner = np.full(n, -1, dtype=np.int64)
    stay = np.empty(0, dtype=np.int64)
    for start in range(0, n, block):
        rows = np.arange(start, min(start + block, n), dtype=np.int64)
        if len(stay):
            alike = resemble(rows, stay)
            hit = alike.any(axis=1)
            owner[rows[hit]] = stay[alike[hit].argmax(axis=1)]
        free = rows[owner[rows] < 0]
        alike = resemble(free, free)
        for i, row in enumerate(free):
            if owner[row] < 0:
                later = free[i + 1 :][alike[i, i + 1 :]]
                owner[later[owner[later] < 0]] = row
        stay = np.concatenate([stay, free[owner[free] < 0]])
    return owner


def remove_duplicates(
    candidates: Sequence[Candidate],
    vectors: Float32Array,
    names: Sequence[str],
    options: LongTailOptions,
) -> Cleaned:
    """Keep one of every group of duplicates: the one that ranks best.

    Parameters
    ----------
    candidates : sequence of Candidate
        Best first.
    vectors : numpy.ndarray of float32, shape (n_candidates, dimension)
        Unit vectors, in the same order.
    names : sequence of str
        Names of the classes.
    options : LongTailOptions
        Of which `phash_distance` and `embedding_similarity` matter here.
    """
    removals: list[Removal] = []
    stay = np.arange(len(candidates), dtype=np.int64)
    seen = [candidate.picture for candidate in candidates]
    pictures = [picture for picture in seen if picture is not None]
    checks: list[tuple[str, Resemblance, Callable[[int, int], str]]] = []
    if len(pictures) == len(candidates):
        checks += [_by_pixels(pictures), _by_hash(pictures, options.phash_distance)]
    checks.append(_by_embedding(vectors, options.embedding_similarity))
    for reason, resemble, describe in checks:
        owner = first_resembling(len(stay), _among(stay, resemble))
        pairs = zip(stay[owner >= 0].tolist(), stay[owner[owner >= 0]].tolist(), strict=True)
        for loser, winner in pairs:
            lost, kept = candidates[loser], candidates[winner]
            other = "" if lost.class_id == kept.class_id else f", in {names[kept.class_id]}"
            removals.append(
                Removal(
                    key=lost.entry.key,
                    source=lost.entry.source,
                    concept=names[lost.class_id],
                    reason=reason,
                    detail=describe(loser, winner) + other,
                    duplicate_of=kept.entry.key,
                )
            )
        stay = stay[owner < 0]
    return Cleaned(candidates=tuple(candidates[i] for i in stay.tolist()), removals=tuple(removals))


def _among(stay: Int64Array, resemble: Resemblance) -> Resemblance:
    return lambda rows, others: resemble(stay[rows], stay[others])


def _by_pixels(
    pictures: Sequence[Picture],
) -> tuple[str, Resemblance, Callable[[int, int], str]]:
    _, codes = np.unique([picture.pixels for picture in pictures], return_inverse=True)
    return (
        SAME_PIXELS,
        lambda rows, others: codes[rows][:, None] == codes[others],
        lambda loser, _: f"{pictures[loser].width} x {pictures[loser].height} pixels",
    )


def _by_hash(
    pictures: Sequence[Picture], distance: int
) -> tuple[str, Resemblance, Callable[[int, int], str]]:
    codes = np.array([picture.phash for picture in pictures], dtype=np.uint64)
    return (
        NEAR_PHASH,
        lambda rows, others: hamming(codes[rows], codes[others]) <= distance,
        lambda loser, winner: f"distance {hamming(codes[[loser]], codes[[winner]])[0, 0]}",
    )


def _by_embedding(
    vectors: Float32Array, similarity: float
) -> tuple[str, Resemblance, Callable[[int, int], str]]:
    return (
        NEAR_EMBEDDING,
        lambda rows, others: vectors[rows] @ vectors[others].T >= similarity,
        lambda loser, winner: f"similarity {float(vectors[loser] @ vectors[winner]):.4f}",
    )
