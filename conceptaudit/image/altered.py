"""Copies of images that were mirrored, turned, cropped, framed or put above a caption.

A perceptual hash survives encoding, scaling and recolouring, but no change of geometry. So the
geometry is changed here: of every image 57 altered versions are hashed, and compared with the
plain hashes of the others, both ways (a crop's original is no crop of the crop). A version of a
grey thumbnail is a linear map of it, and so are the frequencies that a hash is made of: one matrix
product hashes all versions of many images. What hashes propose, the correlation of the altered
thumbnail with the other one decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from conceptaudit.image.thumbnails import COLOUR_BYTES, COLOUR_SIDE, GREY_SIDE, Thumbnails
from conceptaudit.records import Float32Array, Int64Array

PAIRS_AT_ONCE = 1 << 20  # pairs of hashes compared at once

BAND_BITS = 16
"""Bits of a quarter of a hash. Proposed are pairs of which one quarter differs in at most one bit:
all within 7 bits, 96 % within 8, 78 % of those that differ in 10."""

_BANDS = tuple(np.uint64(shift) for shift in range(0, 64, BAND_BITS))
_FLIPS = np.array([0, *(1 << bit for bit in range(BAND_BITS))], dtype=np.int64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HashTable:
    """Hashes in order of each of their quarters, to find those that are near."""

    hashes: npt.NDArray[np.uint64]
    orders: tuple[Int64Array, ...]  # shape (n,): by quarter
    # shape (65537,): where each value of a quarter begins in its order
    starts: tuple[Int64Array, ...]

    @classmethod
    def of(cls, hashes: npt.NDArray[np.uint64]) -> HashTable:
        """Sort hashes."""
        quarters = [_quarter(hashes, shift) for shift in _BANDS]
        orders = tuple(np.argsort(values, kind="stable") for values in quarters)
        values = np.arange((1 << BAND_BITS) + 1)
        starts = tuple(
            np.searchsorted(quarter[order], values)
            for quarter, order in zip(quarters, orders, strict=True)
        )
        return cls(hashes=hashes, orders=orders, starts=starts)

    def near(
        self, queries: npt.NDArray[np.uint64], bits: int
    ) -> Iterator[tuple[Int64Array, Int64Array]]:
        """Yield positions of queries and hashes that differ in few bits, blocks at a time.

        A pair may come several times.
        """
        for shift, order, starts in zip(_BANDS, self.orders, self.starts, strict=True):
            quarter = _quarter(queries, shift)
            for flip in _FLIPS.tolist():
                value = quarter ^ flip
                first = starts[value]
                counts = starts[value + 1] - first
                asking = np.flatnonzero(counts)
                total = np.cumsum(counts[asking])
                n_blocks = -(-int(total[-1]) // PAIRS_AT_ONCE) if len(asking) else 0
                for block in np.array_split(asking, n_blocks) if n_blocks else []:
                    each = counts[block]
                    query = np.repeat(block, each)
                    offset = np.arange(len(query)) - np.repeat(np.cumsum(each) - each, each)
                    other = order[np.repeat(first[block], each) + offset]
                    near = np.bitwise_count(queries[query] ^ self.hashes[other]) <= bits
                    if near.any():
                        yield query[near], other[near]


def _quarter(hashes: npt.NDArray[np.uint64], shift: np.uint64) -> Int64Array:
    quarter: Int64Array = ((hashes >> shift) & np.uint64((1 << BAND_BITS) - 1)).astype(np.int64)
    return quarter


HASH_SIDE = 8  # low frequencies per axis that make up the 64 bits, as in `imagehash.phash`
ALTERED_BITS = 10  # bits in which an altered version's hash may differ from a copy's

SAME_GREYS = 0.95
"""Correlation of an altered version with its copy at `COMPARED_SIDE` cells a side; see
docs/benchmarks-longtail.md."""

SAME_TINT = 9.0
"""Mean difference in tint, in levels per cell and channel, up to which one drawing on two grounds
is not taken for a crop: altered photographs differ by 0 to 8.6."""

GREY_TINT = 2.0  # mean tint below which an image counts as grey, and has no tint to compare
COMPARED_SIDE = 12  # cells a side: 24 would ask for more sharpness than a crop, magnified, has

PLAIN_SPREAD = 6.0
"""Standard deviation, in levels of grey, below which a version is plain ground: like any other."""

SEEN = 0.99  # share of a version's cell that must lie inside the original to be compared

EXACT_SUM = (1 << 17) - 1
"""Largest sum of a row of integer weights: times 128 it stays below 2²⁴, so that float32 sums are
exact and hashes do not depend on the order of summation."""

IMAGES_AT_ONCE = 1024  # grey thumbnails hashed at once: 13 MB of coefficients


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One way to alter an image."""

    name: str
    mirror: bool = False
    turn: float = 0.0  # degrees
    cut: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)  # shares cut off left, top, right and bottom

    def sampling(self, side: int = GREY_SIDE) -> npt.NDArray[np.float64]:
        """Weights of the original's cells in those of the version, shape (side², side²)."""
        left, top, right, bottom = self.cut
        centres = (np.arange(side) + 0.5) / side
        x, y = np.meshgrid(left + (1 - left - right) * centres, top + (1 - top - bottom) * centres)
        angle = np.deg2rad(self.turn)
        dx, dy = x - 0.5, y - 0.5
        x = 0.5 + np.cos(angle) * dx - np.sin(angle) * dy
        y = 0.5 + np.sin(angle) * dx + np.cos(angle) * dy
        x = 1.0 - x if self.mirror else x
        inside = (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
        weights = np.zeros((side**2, side, side))
        column, row = (np.clip(at * side - 0.5, 0, side - 1) for at in (x, y))
        cell = np.arange(side**2)
        j, i = (np.minimum(at.astype(int), side - 2) for at in (column, row))
        for down, share in ((0, 1 - (row - i)), (1, row - i)):
            for across, part in ((0, 1 - (column - j)), (1, column - j)):
                weight = (share * part * inside).ravel()
                weights[cell, (i + down).ravel(), (j + across).ravel()] += weight
        return weights.reshape(side**2, side**2)


def _versions() -> tuple[Version, ...]:
    versions = [Version(name="framed or encoded anew"), Version(name="mirrored", mirror=True)]
    versions += [Version(name="turned", turn=turn) for turn in (-7.0, -5.0, -3.0, 3.0, 5.0, 7.0)]
    cuts: list[tuple[float, ...]] = []
    cuts += [(share, share, share, share) for share in (0.03, 0.05, 0.08, 0.1, 0.13, 0.16, 0.2)]
    for share in (0.06, 0.1, 0.15):  # as many pixels off every edge of a 4 : 3 image
        cuts += [(share, share * 4 / 3) * 2, (share * 4 / 3, share) * 2]
    for share in (0.06, 0.125, 0.2):
        cuts += [tuple(share * (side == edge) for edge in range(4)) for side in range(4)]
        cuts += [
            (share * x, share * y, share * (1 - x), share * (1 - y)) for x in (0, 1) for y in (0, 1)
        ]
    for most, least in ((0.1, 0.05), (0.2, 0.1)):
        cuts += [
            (x, y, most + least - x, most + least - y) for x in (least, most) for y in (least, most)
        ]
    cuts += [tuple(0.1 if edge == side else 0.2 for edge in range(4)) for side in range(4)]
    return (*versions, *(Version(name="cropped", cut=cut) for cut in cuts))


VERSIONS = _versions()  # the plain one first


@cache
def _hash_weights() -> Float32Array:
    """Integer weights of a grey thumbnail in the versions' frequencies, (versions × 64, 576)."""
    from scipy.fft import dct

    low = dct(np.eye(GREY_SIDE), axis=0, norm="ortho")[:HASH_SIDE]
    frequencies = np.kron(low, low)
    weights = np.concatenate([frequencies @ version.sampling() for version in VERSIONS])
    weights *= EXACT_SUM / np.abs(weights).sum(axis=1).max() * 0.999
    return weights.round().astype(np.float32)


@cache
def _compared_weights() -> Float32Array:
    """Weights of a grey thumbnail in the cells that are compared, shape (versions, 144, 576)."""
    step = GREY_SIDE // COMPARED_SIDE
    mean = np.kron(np.eye(COMPARED_SIDE), np.full((1, step), 1 / step))
    pooled = np.kron(mean, mean)
    return np.stack([pooled @ version.sampling() for version in VERSIONS]).astype(np.float32)


def version_hashes(
    greys: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Hash all versions of grey thumbnails, shape (m, 576), and say which are more than ground.

    Both results have shape (m, n_versions). A bit says whether one of the 64 lowest frequencies is
    above their median.
    """
    hashes = np.empty((len(greys), len(VERSIONS)), dtype=np.uint64)
    usable = np.empty(hashes.shape, dtype=bool)
    weights = _hash_weights()
    unit = float(np.abs(weights[0]).sum()) / GREY_SIDE  # one, before they were scaled
    for start in range(0, len(greys), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        pixels = greys[part].astype(np.float32) - 128.0
        low = (pixels @ weights.T).reshape(len(pixels), len(VERSIONS), HASH_SIDE**2)
        middle = np.partition(low, HASH_SIDE**2 // 2 - 1, axis=2)[:, :, HASH_SIDE**2 // 2 - 1]
        bits = np.packbits(low > middle[:, :, None], axis=2)
        hashes[part] = np.ascontiguousarray(bits).view(">u8")[..., 0]
        energy = np.einsum("nvk,nvk->nv", low[:, :, 1:], low[:, :, 1:])
        usable[part] = np.sqrt(energy) >= PLAIN_SPREAD * GREY_SIDE * unit
    return hashes, usable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlteredPairs:
    """Pairs of an image and its altered copy, in order of row, then column."""

    rows: Int64Array
    columns: Int64Array
    scores: Float32Array  # shape (n,): correlation of the altered thumbnail with the other
    versions: Int64Array  # shape (n,): positions in `VERSIONS`

    def __len__(self) -> int:
        return len(self.rows)

    def describe(self, pair: int) -> str:
        """Say how a copy was altered, and how alike the thumbnails are then."""
        return f"{VERSIONS[self.versions[pair]].name}, correlation {self.scores[pair]:.2f}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AlteredSearch:
    """Finds images that are altered copies of some, or of which these are altered copies."""

    thumbnails: Thumbnails
    hashes: npt.NDArray[np.uint64]  # shape (m, n_versions): of their grey thumbnails
    usable: npt.NDArray[np.bool_]  # shape (m, n_versions)
    # of the usable ones among the first version, and among all
    plain: HashTable
    altered: HashTable

    @classmethod
    def of(cls, thumbnails: Thumbnails) -> AlteredSearch:
        """Hash and sort the thumbnails of images."""
        hashes, usable = version_hashes(thumbnails.views[:, COLOUR_BYTES:])
        return cls(
            thumbnails=thumbnails,
            hashes=hashes,
            usable=usable,
            plain=HashTable.of(hashes[:, 0][usable[:, 0]]),
            altered=HashTable.of(hashes[usable]),
        )

    def copies_of(self, others: Thumbnails) -> AlteredPairs:
        """Compare with other images, both ways."""
        hashes, usable = version_hashes(others.views[:, COLOUR_BYTES:])
        pairs = _Confirmed(others, self.thumbnails)
        own, own_version = np.nonzero(self.usable)
        plain = np.flatnonzero(usable[:, 0])
        for query, near in self.altered.near(hashes[plain, 0], ALTERED_BITS):
            pairs.add(plain[query], own[near], own_version[near], altered_row=False)
        other, version = np.nonzero(usable)
        plain = np.flatnonzero(self.usable[:, 0])
        for query, near in self.plain.near(hashes[usable], ALTERED_BITS):
            pairs.add(other[query], plain[near], version[query], altered_row=True)
        return pairs.result()


def copies_among(thumbnails: Thumbnails) -> AlteredPairs:
    """Compare images with each other; columns come before their rows."""
    hashes, usable = version_hashes(thumbnails.views[:, COLOUR_BYTES:])
    pairs = _Confirmed(thumbnails, thumbnails)
    view, version = np.nonzero(usable)
    plain = np.flatnonzero(usable[:, 0])
    for query, near in HashTable.of(hashes[plain, 0]).near(hashes[usable], ALTERED_BITS):
        pairs.add(view[query], plain[near], version[query], altered_row=True)
    return pairs.result(among=True)


class _Confirmed:
    """Collects the proposed pairs whose thumbnails correlate, each with its best version."""

    def __init__(self, rows: Thumbnails, columns: Thumbnails) -> None:
        self.rows, self.columns = rows, columns
        self.parts: list[tuple[Int64Array, Int64Array, Float32Array, Int64Array]] = []

    def add(
        self, row: Int64Array, column: Int64Array, version: Int64Array, *, altered_row: bool
    ) -> None:
        """Take proposals between grey thumbnails; `altered_row` says whose version it is."""
        left, right = self.rows.owners[row], self.columns.owners[column]
        if self.rows is self.columns:
            apart = left != right
            row, column, version, left, right = (
                values[apart] for values in (row, column, version, left, right)
            )
        once = np.unique(np.stack([row, column, version]), axis=1, return_index=True)[1]
        row, column, version, left, right = (
            values[once] for values in (row, column, version, left, right)
        )
        altered, plain = self.rows.views[row], self.columns.views[column]
        if not altered_row:
            altered, plain = plain, altered
        score = correlations(altered[:, COLOUR_BYTES:], plain[:, COLOUR_BYTES:], version)
        difference = tint_differences(altered[:, :COLOUR_BYTES], plain[:, :COLOUR_BYTES], version)
        same = (score >= np.float32(SAME_GREYS)) & (difference <= SAME_TINT)
        self.parts.append((left[same], right[same], score[same], version[same]))

    def result(self, *, among: bool = False) -> AlteredPairs:
        """Keep every pair once."""
        none = np.empty(0, np.int64)
        parts = [(none, none, np.empty(0, np.float32), none), *self.parts]
        rows, columns, scores, versions = map(np.concatenate, zip(*parts, strict=True))
        if among:
            rows, columns = np.maximum(rows, columns), np.minimum(rows, columns)
        order = np.lexsort((versions, -scores, columns, rows))  # a pair's best version comes first
        pairs = np.stack([rows, columns])[:, order]
        first = order[np.append(True, (pairs[:, 1:] != pairs[:, :-1]).any(axis=0))[: len(order)]]
        return AlteredPairs(
            rows=rows[first],
            columns=columns[first],
            scores=scores[first],
            versions=versions[first],
        )


def correlations(
    altered: npt.NDArray[np.uint8], plain: npt.NDArray[np.uint8], versions: Int64Array
) -> Float32Array:
    """Correlate versions of grey thumbnails, (n, 576), with others, where they show the original.

    `versions`, shape (n,), says how each of `altered` is altered.
    """
    weights = _compared_weights()
    scores = np.zeros(len(altered), dtype=np.float32)
    for version in np.unique(versions).tolist():
        rows = np.flatnonzero(versions == version)
        seen = weights[version].sum(axis=1) > SEEN
        for start in range(0, len(rows), IMAGES_AT_ONCE):
            part = rows[start : start + IMAGES_AT_ONCE]
            left = _centred(altered[part], weights[version][seen])
            right = _centred(plain[part], weights[0][seen])
            product = np.einsum("ij,ij->i", left, right)
            norms = np.einsum("ij,ij->i", left, left) * np.einsum("ij,ij->i", right, right)
            scores[part] = product / np.sqrt(np.maximum(norms, 1e-9))
    return scores


def _centred(greys: npt.NDArray[np.uint8], weights: Float32Array) -> npt.NDArray[np.float64]:
    cells = greys.astype(np.float64) @ weights.T.astype(np.float64)
    centred: npt.NDArray[np.float64] = cells - cells.mean(axis=1, keepdims=True)
    return centred


@cache
def _tint_weights() -> Float32Array:
    """Weights of a colour thumbnail's cells in those of a version, shape (versions, 64, 64)."""
    return np.stack([version.sampling(COLOUR_SIDE) for version in VERSIONS]).astype(np.float32)


def tint_differences(
    altered: npt.NDArray[np.uint8], plain: npt.NDArray[np.uint8], versions: Int64Array
) -> Float32Array:
    """Compare the tint of versions, (n, 192), with others: what is left of colours less their grey.

    Mean difference in levels; 0 where one of the two is grey.
    """
    differences = np.zeros(len(altered), dtype=np.float32)
    for start in range(0, len(altered), IMAGES_AT_ONCE):
        part = slice(start, start + IMAGES_AT_ONCE)
        left, right = (_tints(colours[part]) for colours in (altered, plain))
        weights = _tint_weights()[versions[part]]
        seen = weights.sum(axis=2) > SEEN
        left = np.einsum("npk,nck->ncp", weights, left)
        apart = (np.abs(left - right).mean(axis=1) * seen).sum(axis=1) / seen.sum(axis=1)
        tinted = np.minimum(*(np.abs(tints).mean(axis=(1, 2)) for tints in (left, right)))
        differences[part] = np.where(tinted > GREY_TINT, apart, 0.0)
    return differences


def _tints(colours: npt.NDArray[np.uint8]) -> Float32Array:
    channels = colours.reshape(len(colours), 3, COLOUR_SIDE**2).astype(np.float32)
    tints: Float32Array = channels - channels.mean(axis=1, keepdims=True)
    return tints
