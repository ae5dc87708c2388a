"""Encoded image files to RGB pictures, or the reason why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from conceptaudit.image.pixel_modes import to_rgb

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 89_478_485
"""Largest picture that is opened: Pillow's own limit (a quarter of a GiB of 24-bit pixels)."""

MAX_ASPECT = 1_000
"""Longest side over shortest: beyond it, scaling the short side to a model's input makes a bomb."""

PROGRAMS = frozenset({"EPS"})
"""Formats that Pillow hands to another program (Ghostscript): never opened."""


class UndecodableImageError(Exception):
    """Carries the reason code for one picture that cannot be used; never leaves the stage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_image(data: bytes) -> Image.Image:
    """Decode an image file to RGB as open_clip's preprocessing would see it.

    The first frame of an animation is used; `conceptaudit.image.pixel_modes` converts its pixels;
    EXIF rotation is not applied, because training did not apply it.

    Parameters
    ----------
    data : bytes
        An image file in any format that Pillow decodes by itself.

    Returns
    -------
    PIL.Image.Image
        Mode ``"RGB"``, at most `MAX_PIXELS` pixels.

    Raises
    ------
    UndecodableImageError
        With reason ``"not_an_image"``, ``"decompression_bomb"``, ``"extreme_shape"`` or
        ``"broken_image"``.

    Examples
    --------
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

    What Pillow warns of (odd metadata, large pictures) either does not matter here or is refused
    with a reason.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def decode_quietly(data: bytes) -> Image.Image:
    """Decode as `decode_image` does; the caller, or another thread, holds `quiet_pillow`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as picture:
            _check_size(*picture.size)
            return to_rgb(picture)
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
