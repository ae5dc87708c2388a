"""The best candidates of every concept among blocks of a pool, whatever the blocks' order.

Each concept keeps its best images, as many *different* ones as are asked for, with all that tie
with the last of them and copies of each. What is kept depends on the images alone, so shards can
be searched apart and their finds put together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.longtail.finds import TEXTS, Finds, joined_finds, only_pairs
from conceptaudit.longtail.records import Picture
from conceptaudit.longtail.topk import MAX_REPEATS, CandidateLists, ScoredImage
from conceptaudit.records import Float32Array, Int64Array

SLACK = 1e-4
"""Above the float32 error of a cosine: proposals are decided by their float64 product."""

PAIRS_AT_ONCE = 4096
"""Pairs whose exact score is computed at once: 32 MB at 512 dimensions."""

ROOM = 3
"""Pairs held, as a multiple of those wanted, before the surplus is let go."""

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoolBlock:
    """Images of one shard that are compared with the concepts together."""

    shard: int  # position of the shard in the pool
    sample_ids: Int64Array
    keys: Sequence[str]
    contents: Sequence[str]
    texts: dict[str, list[str | None]]
    vectors: Float32Array
    # gives the `Picture` of the image at a position, or None; called for candidates only
    describe: Callable[[int], Picture | None]


class TopKSearch:
    """Keeps the best candidates of every concept while blocks stream by.

    Memory is bounded by about `ROOM` times ``n_concepts * size`` vectors and descriptions.

    `concepts`: shape (n_concepts, dimension): unit vectors. `size`: different images wanted per
    concept, at least 1. `min_score`: smallest score that is kept.
    """

    def __init__(self, concepts: Float32Array, size: int, min_score: float | None = None) -> None:
        self._concepts = np.ascontiguousarray(concepts, dtype=np.float32)
        self._size = size
        floor = -np.inf if min_score is None else min_score
        self._floors: Floats = np.full(len(concepts), floor, dtype=np.float64)
        self._held: list[Finds] = []
        self._n_pairs = 0
        self._room = ROOM * len(concepts) * size

    def add(self, block: PoolBlock, named: Bools | None = None) -> None:
        """Compare a block with the concepts.

        Shapes: `named` (n_rows, n_concepts), or None.
        """
        if not len(block.sample_ids):
            return
        scores = block.vectors @ self._concepts.T
        if named is not None:
            scores[~named] = -np.inf
        limits = np.maximum(self._floors, self._block_floors(scores, block.contents))
        proposed = scores >= (limits - SLACK).astype(np.float32)
        if named is not None:
            proposed &= named
        rows, concepts = np.nonzero(proposed)
        exact = self._exact(block.vectors, rows, concepts)
        good = exact >= limits[concepts]
        kept = np.unique(rows[good])
        if not len(kept):
            return
        places = kept.tolist()
        self._hold(
            Finds(
                sample_ids=block.sample_ids[kept],
                shards=np.full(len(kept), block.shard, dtype=np.int64),
                keys=[block.keys[i] for i in places],
                contents=[block.contents[i] for i in places],
                texts={name: [block.texts[name][i] for i in places] for name in TEXTS},
                pictures=[block.describe(i) for i in places],
                vectors=block.vectors[kept],
                rows=np.searchsorted(kept, rows[good]),
                concepts=concepts[good],
                scores=exact[good],
            )
        )

    def _block_floors(self, scores: Float32Array, contents: Sequence[str]) -> Floats:
        """Score of the last of the `size` best different images of this block, per concept."""
        first = {content: i for i, content in reversed(list(enumerate(contents)))}
        if len(first) <= self._size:
            return np.full(len(self._concepts), -np.inf)
        different = scores if len(first) == len(scores) else scores[sorted(first.values())]
        last = len(different) - self._size
        by_concept = np.ascontiguousarray(different.T)
        floors = np.partition(by_concept, last, axis=1)[:, last].astype(np.float64)
        return floors - SLACK  # float32 may have put the wrong one last

    def _exact(self, vectors: Float32Array, rows: Int64Array, concepts: Int64Array) -> Floats:
        exact = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            left = vectors[rows[part]].astype(np.float64)
            right = self._concepts[concepts[part]].astype(np.float64)
            exact[part] = np.einsum("ij,ij->i", left, right)
        return exact

    def merge(self, finds: Finds) -> None:
        """Take in what another finder found."""
        good = finds.scores >= self._floors[finds.concepts]
        if good.any():
            self._hold(only_pairs(finds, good))

    def _hold(self, finds: Finds) -> None:
        self._held.append(finds)
        self._n_pairs += len(finds.rows)
        if self._n_pairs > self._room:
            self._compact()

    def finds(self) -> Finds:
        """All that is kept; surplus pairs and images are let go first."""
        self._compact()
        return self._held[0]

    def _compact(self) -> None:
        held = joined_finds(self._held, self._concepts.shape[1])
        codes = _codes(held.contents)
        copies = _copy_numbers(held, codes)
        pair_codes = codes[held.rows]
        order = np.lexsort((-held.scores, held.concepts))
        concepts = held.concepts[order]
        fresh = _first_of_each(concepts, pair_codes[order])  # of copies one counts
        total = np.cumsum(fresh, dtype=np.int64)
        ranks = total - total[np.searchsorted(concepts, concepts)] + 1
        last = fresh & (ranks == self._size)
        self._floors[concepts[last]] = held.scores[order][last]
        good = held.scores >= self._floors[held.concepts]
        good &= copies[held.rows] <= MAX_REPEATS
        self._held = [only_pairs(held, good)]
        self._n_pairs = int(good.sum())

    def lists(self, source: Callable[[int, int], str]) -> CandidateLists:
        """Lay out the best images of each concept, best first, each content once."""
        finds = self.finds()
        offers = [_offer(finds, row, source) for row in range(len(finds))]
        pairs = zip(
            finds.scores.tolist(), finds.rows.tolist(), finds.concepts.tolist(), strict=True
        )
        lists = CandidateLists(len(self._concepts), self._size)
        # best first, so that what is noted as a copy does not depend on the pool's order
        for score, row, concept in sorted(
            pairs, key=lambda pair: (-pair[0], offers[pair[1]].key, offers[pair[1]].sample_id)
        ):
            lists.offer(offers[row], {concept: score})
        return lists


def _first_of_each(concepts: Int64Array, codes: Int64Array) -> Bools:
    """Whether each pair is the first of its concept and content, in the order given."""
    first = np.zeros(len(concepts), dtype=bool)
    pairs = concepts * (codes.max(initial=0) + 1) + codes
    first[np.unique(pairs, return_index=True)[1]] = True
    return first


def _codes(contents: Sequence[str]) -> Int64Array:
    """Give contents numbers, equal ones the same."""
    seen: dict[str, int] = {}
    numbers = (seen.setdefault(content, len(seen)) for content in contents)
    return np.fromiter(numbers, dtype=np.int64, count=len(contents))


def _copy_numbers(finds: Finds, codes: Int64Array) -> Int64Array:
    """How many copies with a smaller (key, sample id) each image has."""
    numbers = np.zeros(len(finds), dtype=np.int64)
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    seen: dict[int, int] = {}
    for row in sorted(repeated.tolist(), key=lambda i: (finds.keys[i], finds.sample_ids[i])):
        code = int(codes[row])
        numbers[row] = seen.get(code, 0)
        seen[code] = int(numbers[row]) + 1
    return numbers


def _offer(finds: Finds, row: int, source: Callable[[int, int], str]) -> ScoredImage:
    shard, sample = int(finds.shards[row]), int(finds.sample_ids[row])
    return ScoredImage(
        key=finds.keys[row],
        sample_id=sample,
        content=finds.contents[row],
        shard=shard,
        source=source(shard, sample),
        caption=finds.texts["caption"][row],
        url=finds.texts["url"][row] or "",
        license=finds.texts["license"][row] or "",
        digest=finds.texts["digest"][row] or "",
        vector=finds.vectors[row],
        picture=finds.pictures[row],
    )
