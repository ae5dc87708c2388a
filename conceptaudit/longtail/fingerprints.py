"""What an image is recognised by: file, pixels, perceptual hash, thumbnail.

Let It Wag! (arXiv 2404.04125) takes hashes within 10 of 64 bits for copies. Up to 6 bits that is
nearly always right; beyond, images of plain ground or of little size come as near by chance, and
a thumbnail of 8 × 8 colours tells them apart. docs/benchmarks-longtail.md has the figures.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.image.thumbnails import Thumbnails, colour_vectors, thumbnail_of
from conceptaudit.image.vectors import reaches, row_products
from conceptaudit.records import Int64Array

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

# Low frequencies per axis that make up the 64 bits.
HASH_SIDE = 8

# Pixels per axis that the image is shrunk to before its frequencies are taken.
SAMPLE_SIDE = 32

# Decimals kept of coefficients of up to 10⁶: makes the rounding noise of flat images zero.
ZERO_DIGITS = 6

# Hashes within so many bits need no thumbnail.
SURE_BITS = 6

# Correlation of thumbnails that confirms hashes that differ in more bits.
SAME_LOOK = 0.9

_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}

Hashes = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What is remembered of a decoded image; its fields are columns of the table of candidates."""

    sha256: str  # of the file's bytes, in hex
    pixels: str  # SHA-256 of size and RGB pixels, in hex
    phash: int  # 64 bits, see `perceptual_hash`
    width: int
    height: int
    extension: str  # for the file's actual format, without the dot
    md5: str = ""  # of the file's bytes, in hex: some tables of pretraining data carry it
    thumbnail: bytes = b""  # see `conceptaudit.image.thumbnails`; empty where unknown


def perceptual_hash(image: Image.Image) -> int:
    """Hash what an image looks like; similar images differ in few of the 64 bits.

    The DCT hash as the ``imagehash`` package defines it (``phash``): grey, 32 × 32 (Lanczos),
    DCT-II, the 8 × 8 lowest frequencies, one bit each for above their median, the lowest first.

    >>> from PIL import Image
    >>> f"{perceptual_hash(Image.linear_gradient('L')):016x}"
    '8000800080008000'
    """
    from PIL.Image import Resampling
    from scipy.fft import dctn

    grey = image.convert("L").resize((SAMPLE_SIDE, SAMPLE_SIDE), Resampling.LANCZOS)
    low = dctn(np.asarray(grey, dtype=np.float64), type=2)[:HASH_SIDE, :HASH_SIDE]
    low = np.round(low, ZERO_DIGITS)
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def fingerprint_of(data: bytes, image: Image.Image) -> Fingerprint:
    """Describe a file and the same image decoded to RGB."""
    width, height = image.size
    pixels = hashlib.sha256(f"{width}x{height}:".encode())
    pixels.update(image.tobytes())
    return Fingerprint(
        sha256=hashlib.sha256(data).hexdigest(),
        pixels=pixels.hexdigest(),
        phash=perceptual_hash(image),
        width=width,
        height=height,
        extension=_extension(data),
        md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
        thumbnail=thumbnail_of(image),
    )


def _extension(data: bytes) -> str:
    from PIL.Image import open as open_image

    with warnings.catch_warnings():
        # the image has been decoded once already: what is odd about the file was said then
        warnings.simplefilter("ignore")
        with open_image(io.BytesIO(data)) as image:
            name = image.format or "img"
    plain = "".join(char for char in name.lower() if char.isascii() and char.isalnum())
    return _EXTENSIONS.get(name, plain)


def hamming(left: Hashes, right: Hashes) -> npt.NDArray[np.uint8]:
    """Count the bits in which hashes differ, shapes (n,) and (m,) to (n, m).

    >>> hamming(np.array([0b1011], dtype=np.uint64), np.array([0b0010, 3], dtype=np.uint64))
    array([[2, 1]], dtype=uint8)
    """
    counts: npt.NDArray[np.uint8] = np.bitwise_count(left[:, None] ^ right[None, :])
    return counts


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Looks:
    """Perceptual hashes and thumbnails of n images; without a thumbnail the hash decides alone."""

    hashes: Hashes  # shape (n,)
    thumbnails: Thumbnails

    @classmethod
    def of(cls, images: pd.DataFrame) -> Looks:
        """Take those of a table with the columns ``phash`` and ``thumbnail``."""
        return cls(
            hashes=images["phash"].to_numpy(dtype=np.uint64),
            thumbnails=Thumbnails.of(images["thumbnail"].tolist()),
        )

    @classmethod
    def of_hashes(cls, hashes: Sequence[int]) -> Looks:
        """Take hashes of which nothing else is known."""
        return cls(
            hashes=np.array(hashes, dtype=np.uint64),
            thumbnails=Thumbnails.of([b""] * len(hashes)),
        )

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, rows: Int64Array) -> Looks:
        return Looks(hashes=self.hashes[rows], thumbnails=self.thumbnails[rows])

    def alike(
        self, other: Looks, distance: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.uint8]]:
        """Find which of these n images are copies of which m others, and the bits that differ.

        Hashes of copies differ in at most `distance` bits. Both results have shape (n, m).
        """
        bits = hamming(self.hashes, other.hashes)
        alike = bits <= distance
        unsure = alike & (bits > SURE_BITS)
        unsure &= self.thumbnails.known[:, None] & other.thumbnails.known
        i, j = np.nonzero(unsure)
        if len(i):
            left = colour_vectors(self.thumbnails.colours[i])
            right = colour_vectors(other.thumbnails.colours[j])
            alike[i, j] = reaches(row_products(left, right), SAME_LOOK)
        return alike, bits
