"""What a decoded image is recognised by: file, pixels, perceptual hash, thumbnail."""

from __future__ import annotations

import hashlib
import io
import warnings
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.image.thumbnails import thumbnail_of
from conceptaudit.longtail.records import Picture

if TYPE_CHECKING:
    from PIL import Image

HASH_SIDE = 8
"""Low frequencies per axis that make up the 64 bits."""

SAMPLE_SIDE = 32
"""Pixels per axis that the image is shrunk to before its frequencies are taken."""

ZERO_DIGITS = 6
"""Decimals kept of coefficients of up to 10⁶: makes the rounding noise of flat images zero."""

_EXTENSIONS = {"JPEG": "jpg", "MPO": "jpg", "TIFF": "tif"}


def perceptual_hash(image: Image.Image) -> int:
    """Hash what an image looks like; similar images differ in few bits.

    The DCT hash as the ``imagehash`` package defines it (``phash``): grey, 32 × 32 (Lanczos),
    DCT-II, the 8 × 8 lowest frequencies, one bit each for above their median.

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


def describe_picture(data: bytes, image: Image.Image) -> Picture:
    """Gather what is remembered of an image."""
    width, height = image.size
    pixels = hashlib.sha256(f"{width}x{height}:".encode())
    pixels.update(image.tobytes())
    return Picture(
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
    from PIL.Image import open as open_picture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with open_picture(io.BytesIO(data)) as picture:
            name = picture.format or "img"
    plain = "".join(char for char in name.lower() if char.isascii() and char.isalnum())
    return _EXTENSIONS.get(name, plain)
