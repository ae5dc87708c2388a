"""Pictures of every kind reach the model as open_clip's own preprocessing would show them."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from conceptaudit.image.clip import find_clip
from conceptaudit.image.decode import MAX_ASPECT, UndecodableImageError, decode_image


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def scene(mode: str = "RGB", seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, 255, (7, 9, 3), dtype=np.uint8)).resize((90, 70))
    return image.convert(mode)


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn a quarter
    return saved(scene(), "JPEG", exif=exif)


def animated(kind: str) -> bytes:
    frames = [scene(seed=i) for i in range(3)]
    return saved(frames[0], kind, save_all=True, append_images=frames[1:])


def transparent_palette() -> bytes:
    image = scene("P")
    return saved(image, "PNG", transparency=bytes(range(256)))


KINDS: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(scene(), "JPEG"),
    "grey": lambda: saved(scene("L"), "JPEG"),
    "cmyk": lambda: saved(scene("CMYK"), "JPEG"),
    "palette": lambda: saved(scene("P"), "PNG"),
    "palette with transparency": transparent_palette,
    "one bit": lambda: saved(scene("1"), "PNG"),
    "alpha": lambda: saved(scene("RGBA"), "PNG"),
    "grey with alpha": lambda: saved(scene("LA"), "PNG"),
    "exif rotation": rotated,
    "animated gif": lambda: animated("GIF"),
    "animated webp": lambda: animated("WEBP"),
    "multi-page tiff": lambda: animated("TIFF"),
    "bmp": lambda: saved(scene(), "BMP"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:Palette images with Transparency")
def test_as_open_clip_sees_it(kind: str, tiny_clip: Path) -> None:
    data = KINDS[kind]()
    clip = find_clip(str(tiny_clip), device="cpu")
    _, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tiny_clip}", device="cpu")
    with Image.open(io.BytesIO(data)) as picture:
        want = transform(picture.convert("RGB"))
    pixels = clip._loaded().pixels
    got = pixels.finish(torch.stack([clip.prepare(decode_image(data))]))[0]
    assert torch.equal(got, want)


def chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def header_only(width: int, height: int) -> bytes:
    """A PNG that announces a size."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", ihdr) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (saved(scene(), "JPEG")[:900], "broken_image"),
        (saved(scene(), "PNG")[:900], "broken_image"),
        (animated("GIF")[:1500], "broken_image"),
        (b"<!DOCTYPE html>", "not_an_image"),
        (b"", "not_an_image"),
        (header_only(60_000, 60_000), "decompression_bomb"),
        (header_only(9_500, 9_500), "decompression_bomb"),  # Pillow would only warn of it
        (saved(Image.new("RGB", (MAX_ASPECT * 2 + 2, 2)), "PNG"), "extreme_shape"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(run) show\n", "not_an_image"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UndecodableImageError) as caught:
        decode_image(data)
    assert caught.value.reason == reason
    assert caught.value.detail


def test_the_longest_shape_that_is_opened() -> None:
    image = decode_image(saved(Image.new("RGB", (MAX_ASPECT, 1)), "PNG"))
    assert image.size == (MAX_ASPECT, 1)
