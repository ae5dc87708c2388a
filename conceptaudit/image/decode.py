"""Encoded image files to RGB pictures, or the reason why not."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 89_478_485
"""Largest picture that is opened: Pillow's own limit (a quarter of a GiB of 24-bit pixels)."""


class UndecodableImageError(Exception):
    """Carries the reason code for one picture that cannot be used; never leaves the stage."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def decode_image(data: bytes) -> Image.Image:
    """Decode an image file to RGB as open_clip's preprocessing would see it.

    The first frame of an animation is used; palette, CMYK, 16-bit and alpha are converted by
    Pillow's ``convert("RGB")``; EXIF rotation is not applied, because training did not apply it.

    Raises
    ------
    UndecodableImageError
        With reason ``"not_an_image"``, ``"decompression_bomb"`` or ``"broken_image"``.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as picture:
                width, height = picture.size
                if width * height > MAX_PIXELS:
                    raise UndecodableImageError(
                        "decompression_bomb", f"{width} x {height} pixels; limit {MAX_PIXELS:,}"
                    )
                return picture.convert("RGB")
    except UndecodableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UndecodableImageError("not_an_image", f"{len(data):,} bytes") from error
    except Image.DecompressionBombError as error:
        raise UndecodableImageError("decompression_bomb", str(error)) from error
    except Exception as error:
        # Pillow's plugins raise OSError, SyntaxError, struct.error, ValueError … for broken files
        raise UndecodableImageError("broken_image", f"{type(error).__name__}: {error}") from error
