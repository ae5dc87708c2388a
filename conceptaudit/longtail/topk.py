"""The best candidates of every concept, kept while a pool streams by."""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from conceptaudit.longtail.records import Entry, Picture
from conceptaudit.records import Float32Array

MAX_REPEATS = 1000
"""Copies that are remembered per image; the web has images with millions."""

SPARE = 4096
"""Vectors held beyond those in use before the unused ones are let go."""


Order = tuple[float, str, int]


class TopK:
    """The best `size` different images of one concept, best first.

    Two files with the same content count once: the one with the better order stays. What is kept
    depends on the entries offered, not on their order.

    `size`: at least 1. `floor`: scores below it are never kept.

    >>> top = TopK(2)
    >>> for score, key in ((0.1, "a"), (0.9, "b"), (0.5, "c")):
    ...     _ = top.offer(Entry(score=score, key=key, sample_id=0, content=key, shard=0))
    >>> [entry.key for entry in top.entries], top.floor
    (['b', 'c'], 0.5)
    """

    def __init__(self, size: int, floor: float = -np.inf) -> None:
        self.entries: list[Entry] = []
        self.floor = floor
        self._orders: list[Order] = []
        self._size = size
        self._by_content: dict[str, Entry] = {}

    def offer(self, entry: Entry) -> Entry | None:
        """Take an entry if it is good enough; return the copy of it that another one beats."""
        if entry.score < self.floor:
            return None
        order = entry.order
        held = self._by_content.get(entry.content)
        if held is not None:
            if held.order <= order:
                return entry
            self._remove(bisect_left(self._orders, held.order))
        place = bisect_left(self._orders, order)
        if place >= self._size:
            return None
        self._orders.insert(place, order)
        self.entries.insert(place, entry)
        self._by_content[entry.content] = entry
        if len(self.entries) > self._size:
            self._remove(self._size)
        if len(self.entries) == self._size:
            self.floor = self.entries[-1].score
        return held

    def _remove(self, place: int) -> None:
        del self._orders[place]
        del self._by_content[self.entries.pop(place).content]

    def drop(self, contents: frozenset[str]) -> None:
        """Let go of some images; nothing moves up."""
        for place in range(len(self.entries) - 1, -1, -1):
            if self.entries[place].content in contents:
                self._remove(place)

    def __contains__(self, content: str) -> bool:
        return content in self._by_content


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredImage:
    """One image of the pool, ready to be offered to several concepts."""

    key: str
    sample_id: int
    content: str
    shard: int
    source: str
    caption: str | None
    vector: Float32Array  # shape (dimension,): unit length
    picture: Picture | None  # none where the pool has vectors only
    url: str = ""
    license: str = ""
    digest: str = ""


class CandidateLists:
    """A `TopK` per concept, with the vectors and images of what is in any of them.

    Memory is bounded by ``n_concepts * size`` vectors and images' descriptions, whatever the
    size of the pool.

    `n_concepts, size`: at least 1. `min_score`: smallest score that is kept. `floors`: shape
    (n_concepts,): score that each concept's next candidate must reach.
    """

    def __init__(self, n_concepts: int, size: int, min_score: float | None = None) -> None:
        floor = -np.inf if min_score is None else min_score
        self.lists = tuple(TopK(size, floor) for _ in range(n_concepts))
        self.vectors: dict[str, Float32Array] = {}
        self.pictures: dict[str, Picture | None] = {}
        self.repeats: dict[str, dict[int, Entry]] = defaultdict(dict)
        self.floors = np.full(n_concepts, floor, dtype=np.float64)
        self._most = n_concepts * size + SPARE

    def offer(self, image: ScoredImage, scores: dict[int, float]) -> None:
        """ScoredImage an image to concepts (by position), with its score for each."""
        used = False
        for concept, score in scores.items():
            top = self.lists[concept]
            entry = Entry(
                score=score,
                key=image.key,
                sample_id=image.sample_id,
                content=image.content,
                shard=image.shard,
                source=image.source,
                caption=image.caption,
                url=image.url,
                license=image.license,
                digest=image.digest,
            )
            beaten = top.offer(entry)
            self.floors[concept] = top.floor
            if beaten is not None and len(self.repeats[image.content]) < MAX_REPEATS:
                self.repeats[image.content][beaten.sample_id] = beaten
            used = used or image.content in top
        if used and image.content not in self.vectors:
            # a copy, because a view would hold the whole block that it is a row of
            self.vectors[image.content] = image.vector.copy()
            self.pictures[image.content] = image.picture
            if len(self.vectors) > self._most:
                self._prune()

    def drop(self, contents: frozenset[str]) -> None:
        """Let go of some images, after all have been offered."""
        for top in self.lists:
            top.drop(contents)
        self._prune()

    def _prune(self) -> None:
        alive = {entry.content for top in self.lists for entry in top.entries}
        for store in (self.vectors, self.pictures, self.repeats):
            for content in [key for key in store if key not in alive]:
                del store[content]
