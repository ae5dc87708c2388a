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

from conceptaudit.errors import ConfigError
from conceptaudit.image.altered import copies_among
from conceptaudit.image.similarity_join import EXACT_PAIRS, Matches, find_matches, match_among
from conceptaudit.image.thumbnails import SAME_COLOURS, Thumbnails, colour_vectors
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

ANY_VECTORS = npt.NDArray[np.float16] | Float32Array

PAIRS_AT_ONCE = 8192
"""Pairs whose similarity is computed at once: 32 MB of vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateGroups:
    """Pictures in groups, as columns with one entry per picture.

    Parameters
    ----------
    representative : numpy.ndarray of int64, shape (n,)
        Position of the picture that stands for the group; its own where nothing resembles it.
    exact : numpy.ndarray of bool, shape (n,)
        Whether the picture has its representative's identity.
    similarity : numpy.ndarray of float32, shape (n,)
        Cosine similarity to the representative.
    approximate : bool
        Whether near duplicates were looked for in neighbouring cells only.
    """

    representative: Int64Array
    exact: npt.NDArray[np.bool_]
    similarity: Float32Array
    approximate: bool = False

    @property
    def n_unique(self) -> int:
        """Number of groups, counting pictures that nothing resembles as groups of one."""
        return len(np.unique(self.representative))


def find_duplicates(
    vectors: ANY_VECTORS,
    threshold: float | None = None,
    *,
    identities: Sequence[str] | None = None,
    thumbnails: Thumbnails | None = None,
    altered_threshold: float | None = None,
    exact_pairs: int = EXACT_PAIRS,
) -> DuplicateGroups:
    """Group pictures that repeat.

    Parameters
    ----------
    vectors : numpy.ndarray of float, shape (n, dimension)
        Not zero; need not be of length one. May be memory-mapped.
    threshold : float or None, default None
        Cosine similarity in (0, 1] from which two pictures are near duplicates; None looks for
        exact ones only.
    identities : sequence of str, length n, or None
        What makes two pictures the same, such as a digest of the file; None takes the vectors'
        bytes.
    thumbnails : Thumbnails or None
        See `conceptaudit.image.thumbnails`. With them near duplicates must also look the same,
        which is what tells a copy from another image of the same thing.
    altered_threshold : float or None, default None
        With thumbnails: cosine similarity from which an image may be a mirrored, turned, cropped
        or framed copy of another, see `conceptaudit.image.altered`; None for `threshold`.
    exact_pairs : int
        Compare every pair up to this many, beyond it only neighbouring cells; see `match_among`.

    Returns
    -------
    DuplicateGroups
        The same for the same order of pictures, whatever the number of threads.

    Raises
    ------
    ConfigError
        The threshold is out of range, or `identities` has another length.

    Examples
    --------
    >>> picture = np.array([[1, 0], [1, 0], [0.99, 0.1], [0, 1]], dtype=np.float32)
    >>> find_duplicates(picture).representative.tolist()
    [0, 0, 2, 3]
    >>> find_duplicates(picture, 0.95).representative.tolist()
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
    vectors: ANY_VECTORS,
    thumbnails: Thumbnails,
    threshold: float,
    altered_threshold: float,
    exact_pairs: int,
) -> Matches:
    """Pairs that look the same, with their embeddings' similarity."""

    def similar(rows: Int64Array, columns: Int64Array) -> npt.NDArray[np.bool_]:
        return similarity_of(vectors, rows, columns) >= np.float32(threshold)

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
    good = scores >= np.float32(min(threshold, altered_threshold))
    return Matches(
        rows=rows[good], columns=columns[good], scores=scores[good], approximate=same.approximate
    )


def similarity_of(vectors: ANY_VECTORS, rows: Int64Array, columns: Int64Array) -> Float32Array:
    """Cosine similarity of pairs of rows, shape (n_pairs,), in bounded memory."""
    scores = np.empty(len(rows), dtype=np.float32)
    for start in range(0, len(rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        left, right = (
            unit_rows(np.asarray(vectors[at[part]], dtype=np.float32)) for at in (rows, columns)
        )
        scores[part] = np.einsum("ij,ij->i", left, right)
    return scores


def first_occurrence(identities: Sequence[object]) -> Int64Array:
    """Position at which each identity occurs first, shape (n,).

    Examples
    --------
    >>> first_occurrence(["a", "b", "a"]).tolist()
    [0, 1, 0]
    """
    seen: dict[object, int] = {}
    return np.fromiter(
        (seen.setdefault(identity, row) for row, identity in enumerate(identities)),
        dtype=np.int64,
        count=len(identities),
    )


def _row_bytes(vectors: ANY_VECTORS) -> list[bytes]:
    from hashlib import blake2b

    return [blake2b(row.tobytes(), digest_size=16).digest() for row in vectors]


def stars(matches: Matches, n: int) -> tuple[Int64Array, Float32Array]:
    """Cut a graph of resemblance into stars, around those that resemble most others first.

    Parameters
    ----------
    matches : Matches
        Pairs among n pictures, each once.
    n : int
        Pictures.

    Returns
    -------
    centre : numpy.ndarray of int64, shape (n,)
        The star's centre; itself for pictures that belong to none.
    score : numpy.ndarray of float32, shape (n,)
        Similarity to the centre.

    Examples
    --------
    A chain of four, each like the next: the ends are not taken for the same picture.

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


__all__ = ["DuplicateGroups", "Matches", "find_duplicates", "find_matches", "first_occurrence"]
