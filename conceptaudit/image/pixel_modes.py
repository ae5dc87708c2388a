"""Pillow's pixel modes to 8-bit RGB: what ``convert("RGB")`` does, and what it gets wrong.

Pillow clips grey values of more than 8 bits at 255 instead of scaling them, so that a 16-bit
photograph turns white, and it has no conversion from LAB or from premultiplied grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIXTEEN_BIT = 65_535
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339
"""Tags of TIFF 6.0, sections 4 and 19."""

WHITE_IS_ZERO = 0
SIGNED = 2


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to 8-bit RGB.

    Alpha is dropped, as ``convert("RGB")`` drops it, because open_clip's preprocessing does. Grey
    values of more than 8 bits are scaled from the range of their format; 32-bit integers and
    floats, whose formats name no range, from the smallest usual one that holds them: 1 (floats),
    255, 65,535, else their own largest value. Values below 0 and NaN become black.

    Parameters
    ----------
    image : PIL.Image.Image
        As `PIL.Image.open` returns it.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``.

    Examples
    --------
    >>> from PIL import Image
    >>> to_rgb(Image.new("I;16", (1, 1), 32_896)).getpixel((0, 0))
    (128, 128, 128)
    """
    if image.mode.startswith("I;16"):
        return _from_sixteen_bits(image)
    if image.mode in {"I", "F"}:
        return _from_wide_values(image)
    if image.mode == "LAB":
        return _from_lab(image)
    if image.mode in {"La", "RGBa"}:  # premultiplied: Pillow converts these to one mode only
        return image.convert("LA" if image.mode == "La" else "RGBA").convert("RGB")
    return image.convert("RGB")


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    # 12-bit TIFF is unpacked into 16 bits without scaling
    highest = 4_095 if _tag(image, BITS_PER_SAMPLE) == 12 else SIXTEEN_BIT
    scale = np.clip(np.rint(np.arange(SIXTEEN_BIT + 1) * (255 / highest)), 0, 255)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:  # which Pillow heeds for 8 bits only
        scale = 255 - scale
    return _grey(scale.astype(np.uint8)[np.asarray(image)])


def _from_wide_values(image: Image.Image) -> Image.Image:
    values = np.asarray(image, dtype=np.float32)
    values = np.where(np.isnan(values), np.float32(0), values)
    grey = np.clip(values * np.float32(255 / _highest_value(image, values)), 0, 255)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        grey = 255 - grey
    return _grey(np.rint(grey).astype(np.uint8))


def _highest_value(image: Image.Image, values: np.ndarray[Any, Any]) -> float:
    """Return the value that means white."""
    if image.format == "PPM" and image.mode == "I":  # Pillow has scaled its maxval to 16 bits
        return SIXTEEN_BIT
    if _tag(image, SAMPLE_FORMAT) == SIGNED and _tag(image, BITS_PER_SAMPLE) == 16:
        return 32_767
    largest = float(values.max(initial=0.0, where=np.isfinite(values)))
    usual = (1, 255, SIXTEEN_BIT) if image.mode == "F" else (255, SIXTEEN_BIT)
    return next((highest for highest in usual if largest <= highest), largest)


def _tag(image: Image.Image, number: int) -> int | None:
    """Return the first value of a TIFF tag; None for other formats."""
    value: Any = getattr(image, "tag_v2", {}).get(number)
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else None


def _grey(pixels: np.ndarray[Any, Any]) -> Image.Image:
    from PIL import Image

    return Image.fromarray(pixels).convert("RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    from PIL import Image, ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    transform = ImageCms.buildTransformFromOpenProfiles(lab, srgb, "LAB", "RGB")
    converted = Image.new("RGB", image.size)
    transform.apply(image, converted)
    return converted
