"""Encoded image files to RGB images, or the reason why not.

Pillow's ``convert("RGB")`` clips grey values of more than 8 bits at 255 instead of scaling them, so
that a 16-bit photograph turns white, and it has no conversion from LAB or from premultiplied grey.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

SIXTEEN_BIT = 65_535
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF 6.0, sections 4 and 19

WHITE_IS_ZERO = 0
SIGNED = 2


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to 8-bit RGB.

    Alpha is dropped, as ``convert("RGB")`` drops it, because open_clip's preprocessing does. Grey
    values of more than 8 bits are scaled from the range of their format; 32-bit integers and
    floats, whose formats name no range, from the smallest usual one that holds them: 1 (floats),
    255, 65,535, else their own largest value. Values below 0 and NaN become black.

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


MAX_PIXELS = 89_478_485
"""Largest image that is opened: Pillow's own limit (a quarter of a GiB of 24-bit pixels)."""

MAX_ASPECT = 1_000
"""Longest side over shortest: beyond it, scaling the short side to a model's input makes a bomb."""

PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow hands to another program (Ghostscript): never opened."""


class UndecodableImageError(Exception):
    """Carries the reason code for one image that cannot be used; never leaves the stage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_image(data: bytes) -> Image.Image:
    """Decode an image file to RGB as open_clip's preprocessing sees it, or raise the reason.

    The first frame of an animation is used; `to_rgb` converts its pixels;
    EXIF rotation is not applied, because training did not apply it.

    >>> from PIL import Image
    >>> stream = io.BytesIO()
    >>> Image.new("L", (4, 3), 255).save(stream, "PNG")
    >>> decode_image(stream.getvalue()).getpixel((0, 0))
    (255, 255, 255)
    """
    with quiet_pillow():
        return decode_quietly(data)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings; entered by one thread, since Python's filters are the process's.

    What Pillow warns of (odd metadata, large images) either does not matter here or is refused
    with a reason.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def decode_quietly(data: bytes) -> Image.Image:
    """Decode as `decode_image` does; the caller, or another thread, holds `quiet_pillow`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            _check_size(*image.size)
            return to_rgb(image)
    except UndecodableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UndecodableImageError("not_an_image", f"{len(data):,} bytes") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UndecodableImageError("decompression_bomb", str(error)) from error
    except Exception as error:
        # Pillow's plugins raise OSError, SyntaxError, struct.error, ValueError … for broken files
        raise UndecodableImageError("broken_image", f"{type(error).__name__}: {error}") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UndecodableImageError(
            "decompression_bomb", f"{width} x {height} pixels; limit {MAX_PIXELS:,}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UndecodableImageError(
            "extreme_shape", f"{width} x {height} pixels; at most {MAX_ASPECT:,} times as long"
        )


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in Image.ID if name not in PROGRAMS)
