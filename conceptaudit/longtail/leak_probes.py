"""One shard of pretraining data against all candidates: what a worker does in a leak check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.datasets.identities import PHASH, URL, read_identities
from conceptaudit.errors import DataError
from conceptaudit.image.altered import AlteredSearch
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.longtail.alike import Looks
from conceptaudit.longtail.picture import describe_picture
from conceptaudit.longtail.records import (
    LEAK_ALTERED,
    LEAK_HASH,
    LEAK_PHASH,
    LEAK_PIXELS,
    LEAK_URL,
    Picture,
)
from conceptaudit.records import SampleBatch

HASH_DIGITS = 16

Positions = Mapping[str, tuple[int, ...]]


def positions(pairs: Iterable[tuple[str, int]]) -> Positions:
    """Gather the candidates that share a value; an empty value is none.

    >>> positions([("a", 0), ("", 1), ("a", 2)])
    {'a': (0, 2)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for value, i in pairs:
        if value:
            found[value] = (*found.get(value, ()), i)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A candidate (by position) and the pretraining image that it leaks from."""

    candidate: int
    reason: str  # one of the leak reasons
    key: str  # of the pretraining image
    distance: float = 0.0  # how far apart the two are, for the choice among several; 0 for equality
    detail: str = ""  # the distance in words


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What comparing with some pretraining images gave; adds up in the order of shards."""

    hits: tuple[Hit, ...] = ()
    n_compared: int = 0
    n_unusable: int = 0
    skipped: tuple[str, ...] = ()

    def __add__(self, other: Probed) -> Probed:
        return Probed(
            hits=self.hits + other.hits,
            n_compared=self.n_compared + other.n_compared,
            n_unusable=self.n_unusable + other.n_unusable,
            skipped=self.skipped + other.skipped,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureProbe:
    """Compares the images of a shard by file, pixels and perceptual hash."""

    dataset: Dataset  # with images
    # candidates (by position) by the SHA-256 of their file and of their pixels
    files: Positions
    pixels: Positions
    rows: npt.NDArray[np.int64]  # shape (n,): candidates that have an image
    looks: Looks  # their perceptual hashes and thumbnails
    altered: AlteredSearch | None  # finds altered copies of them; None for no check
    distance: int  # bits in which hashes of copies may differ; negative for no check
    skip_unreadable: bool = False  # whether a damaged file is told instead of raised

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        pictures: Sequence[Picture | None],
        *,
        distance: int,
        skip_unreadable: bool = False,
    ) -> PictureProbe:
        """Prepare a probe for candidates' images, in their order."""
        seen = [(i, picture) for i, picture in enumerate(pictures) if picture is not None]
        looks = Looks.of([picture for _, picture in seen])
        return cls(
            dataset=dataset,
            files=positions((picture.sha256, i) for i, picture in seen),
            pixels=positions((picture.pixels, i) for i, picture in seen),
            rows=np.array([i for i, _ in seen], dtype=np.int64),
            looks=looks,
            altered=AlteredSearch.of(looks.thumbnails) if distance >= 0 else None,
            distance=distance,
            skip_unreadable=skip_unreadable,
        )

    def __call__(self, shard: Shard) -> Probed:
        """Compare one shard."""
        probed = Probed()
        try:
            for batch in self.dataset.read(shard, frozenset({IMAGE})):
                probed += self._batch(batch)
        except DataError as error:
            if not self.skip_unreadable:
                raise
            probed += Probed(skipped=(f"skipped: {error}",))
        return probed

    def _batch(self, batch: SampleBatch) -> Probed:
        keys: list[str] = []
        pictures: list[Picture] = []
        n_given = 0
        for key, data in zip(batch.keys, batch.images or (), strict=False):
            if data is None:
                continue
            n_given += 1
            try:
                pictures.append(describe_picture(data, decode_image(data)))
            except UndecodableImageError:
                continue
            keys.append(key)
        hits = [*self._equal(keys, pictures), *self._near(keys, pictures)]
        return Probed(
            hits=tuple(hits), n_compared=len(pictures), n_unusable=n_given - len(pictures)
        )

    def _equal(self, keys: Sequence[str], pictures: Sequence[Picture]) -> Iterator[Hit]:
        for key, picture in zip(keys, pictures, strict=True):
            same = self.files.get(picture.sha256, ())
            for i in self.pixels.get(picture.pixels, ()):
                detail = "the same file" if i in same else "the same pixels"
                yield Hit(candidate=i, reason=LEAK_PIXELS, key=key, detail=detail)

    def _near(self, keys: Sequence[str], pictures: Sequence[Picture]) -> Iterator[Hit]:
        looks = Looks.of(pictures)
        yield from near_looks(self.rows, self.looks, keys, looks, self.distance)
        if self.altered is None:
            return
        pairs = self.altered.copies_of(looks.thumbnails)
        for i, (image, candidate) in enumerate(
            zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)
        ):
            yield Hit(
                candidate=int(self.rows[candidate]),
                reason=LEAK_ALTERED,
                key=keys[image],
                distance=1.0 - float(pairs.scores[i]),
                detail=pairs.describe(i),
            )


def near_looks(
    rows: npt.NDArray[np.int64],
    looks: Looks,
    keys: Sequence[str],
    trained: Looks,
    distance: int,
) -> Iterator[Hit]:
    """Find the candidates that look like one of some pretraining images."""
    if distance < 0 or not len(trained) or not len(looks):
        return
    alike, bits = trained.alike(looks, distance)
    for image, column in zip(*np.nonzero(alike), strict=True):
        yield Hit(
            candidate=int(rows[column]),
            reason=LEAK_PHASH,
            key=keys[int(image)],
            distance=float(bits[image, column]),
            detail=f"distance {int(bits[image, column])}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableProbe:
    """Looks the addresses and digests of a shard of a table up among the candidates'."""

    dataset: Dataset  # A table
    known: Mapping[str, Positions]  # by kind, candidates (by position) by their address or digest
    # perceptual hashes of the candidates, where the table has some
    hashes: Mapping[int, int] | None
    distance: int
    skip_unreadable: bool = False

    def __call__(self, shard: Shard) -> Probed:
        """Compare one shard."""
        probed = Probed()
        try:
            for block in read_identities(self.dataset, shard):
                hits = [
                    Hit(
                        candidate=candidate,
                        reason=LEAK_URL if kind == URL else LEAK_HASH,
                        key=block.keys[row],
                        detail=f"equal {kind}",
                    )
                    for kind in self.known
                    for row, value in enumerate(block.columns.get(kind, []))
                    for candidate in (self.known[kind].get(value, ()) if value else ())
                ]
                hits += self._near(block.keys, block.columns.get(PHASH, []))
                probed += Probed(hits=tuple(hits), n_compared=len(block.keys))
        except DataError as error:
            if not self.skip_unreadable:
                raise
            probed += Probed(skipped=(f"skipped: {error}",))
        return probed

    def _near(self, keys: Sequence[str], values: Sequence[str | None]) -> Iterator[Hit]:
        told = [(i, code) for i, code in enumerate(map(_hash, values)) if code is not None]
        if self.hashes is None or not told:
            return
        yield from near_looks(
            np.fromiter(self.hashes, dtype=np.int64),
            Looks.of_hashes(np.array(list(self.hashes.values()), dtype=np.uint64)),
            [keys[i] for i, _ in told],
            Looks.of_hashes(np.array([code for _, code in told], dtype=np.uint64)),
            self.distance,
        )


def _hash(value: str | None) -> int | None:
    """Read 64 bits in hex, as imagehash and our own manifest.csv write them."""
    if value is None or len(value) != HASH_DIGITS or set(value) - set("0123456789abcdef"):
        return None
    return int(value, HASH_DIGITS)
