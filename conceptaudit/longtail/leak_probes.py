"""One shard of pretraining data against all candidates: what a worker does in a leak check."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.datasets.identities import PHASH, URL, Identities, read_identities
from conceptaudit.errors import DataError
from conceptaudit.image.altered import AlteredSearch
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.thumbnails import Thumbnails
from conceptaudit.longtail.fingerprints import Fingerprint, Looks, fingerprint_of
from conceptaudit.longtail.records import (
    LEAK_ALTERED,
    LEAK_HASH,
    LEAK_PHASH,
    LEAK_PIXELS,
    LEAK_URL,
)
from conceptaudit.records import SampleBatch

HASH_DIGITS = 16

Positions = Mapping[str, tuple[int, ...]]


def positions(values: Iterable[str]) -> Positions:
    """Gather the positions of each value; an empty value is none.

    >>> positions(["a", "", "a"])
    {'a': (0, 2)}
    """
    found: dict[str, tuple[int, ...]] = {}
    for i, value in enumerate(values):
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


def _added(parts: Iterator[Probed], *, skip_unreadable: bool) -> Probed:
    """Add up what a shard gives; a damaged file ends it, reported or raised."""
    probed = Probed()
    try:
        for part in parts:
            probed += part
    except DataError as error:
        if not skip_unreadable:
            raise
        probed += Probed(skipped=(f"skipped: {error}",))
    return probed


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureProbe:
    """Compares the images of a shard by file, pixels and perceptual hash."""

    dataset: Dataset  # with images
    # candidates, by position, by the SHA-256 of their file and of their pixels
    files: Positions
    pixels: Positions
    looks: Looks  # perceptual hashes and thumbnails of the candidates
    altered: AlteredSearch | None  # finds altered copies of them; None for no check
    distance: int  # bits in which hashes of copies may differ; negative for no check
    skip_unreadable: bool = False  # whether a damaged file is reported instead of raised

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        images: pd.DataFrame,
        *,
        distance: int,
        skip_unreadable: bool = False,
    ) -> PictureProbe:
        """Prepare a probe for a table of candidates with the columns of `Fingerprint`."""
        looks = Looks.of(images)
        return cls(
            dataset=dataset,
            files=positions(images["sha256"]),
            pixels=positions(images["pixels"]),
            looks=looks,
            altered=AlteredSearch.of(looks.thumbnails) if distance >= 0 else None,
            distance=distance,
            skip_unreadable=skip_unreadable,
        )

    def __call__(self, shard: Shard) -> Probed:
        """Compare one shard."""
        batches = self.dataset.read(shard, frozenset({IMAGE}))
        return _added(map(self._batch, batches), skip_unreadable=self.skip_unreadable)

    def _batch(self, batch: SampleBatch) -> Probed:
        keys: list[str] = []
        images: list[Fingerprint] = []
        n_given = 0
        for key, data in zip(batch.keys, batch.images or (), strict=False):
            if data is None:
                continue
            n_given += 1
            try:
                images.append(fingerprint_of(data, decode_image(data)))
            except UndecodableImageError:
                continue
            keys.append(key)
        hits = [*self._equal(keys, images), *self._near(keys, images)]
        return Probed(hits=tuple(hits), n_compared=len(images), n_unusable=n_given - len(images))

    def _equal(self, keys: Sequence[str], images: Sequence[Fingerprint]) -> Iterator[Hit]:
        for key, image in zip(keys, images, strict=True):
            same = self.files.get(image.sha256, ())
            for i in self.pixels.get(image.pixels, ()):
                detail = "the same file" if i in same else "the same pixels"
                yield Hit(candidate=i, reason=LEAK_PIXELS, key=key, detail=detail)

    def _near(self, keys: Sequence[str], images: Sequence[Fingerprint]) -> Iterator[Hit]:
        looks = Looks(
            hashes=np.array([image.phash for image in images], dtype=np.uint64),
            thumbnails=Thumbnails.of([image.thumbnail for image in images]),
        )
        yield from near_looks(self.looks, keys, looks, self.distance)
        if self.altered is None:
            return
        pairs = self.altered.copies_of(looks.thumbnails)
        for i, (image, candidate) in enumerate(
            zip(pairs.rows.tolist(), pairs.columns.tolist(), strict=True)
        ):
            yield Hit(
                candidate=candidate,
                reason=LEAK_ALTERED,
                key=keys[image],
                distance=1.0 - float(pairs.scores[i]),
                detail=pairs.describe(i),
            )


def near_looks(
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
            candidate=int(column),
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
    hashes: Sequence[int] | None  # perceptual hashes of the candidates, where the table has some
    distance: int
    skip_unreadable: bool = False

    def __call__(self, shard: Shard) -> Probed:
        """Compare one shard."""
        blocks = read_identities(self.dataset, shard)
        return _added(map(self._block, blocks), skip_unreadable=self.skip_unreadable)

    def _block(self, block: Identities) -> Probed:
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
        return Probed(hits=tuple(hits), n_compared=len(block.keys))

    def _near(self, keys: Sequence[str], values: Sequence[str | None]) -> Iterator[Hit]:
        known = [(i, code) for i, code in enumerate(map(_hash, values)) if code is not None]
        if self.hashes is None or not known:
            return
        yield from near_looks(
            Looks.of_hashes(self.hashes),
            [keys[i] for i, _ in known],
            Looks.of_hashes([code for _, code in known]),
            self.distance,
        )


def _hash(value: str | None) -> int | None:
    """Read 64 bits in hex, as imagehash and our own manifest.csv write them."""
    if value is None or len(value) != HASH_DIGITS or set(value) - set("0123456789abcdef"):
        return None
    return int(value, HASH_DIGITS)
