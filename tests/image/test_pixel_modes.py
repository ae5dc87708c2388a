"""Every pixel mode of Pillow becomes the picture that it holds, held against a known scene."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from conceptaudit.image.clip import find_clip
from conceptaudit.image.decode import decode_image, to_rgb

REPORTS = Path(__file__).parents[2].parent / "shared" / "reports"

RAMP = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
"""Every grey value: the reference for grey modes."""

COLOURS = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 90)], axis=2)
"""The reference for modes with colour."""


def grey(mode: str) -> Image.Image:
    """The ramp in a grey mode, at the mode's own depth."""
    if mode.startswith("I;16"):
        order = ">u2" if mode == "I;16B" else "<u2"
        data = (RAMP.astype(np.uint16) * 257).astype(order).tobytes()
        return Image.frombytes(mode, (256, 16), data)
    wide = {
        "I": RAMP.astype(np.int32) * 257,
        "F": RAMP.astype(np.float32) / 255,
        "1": RAMP > 127,
        "L": RAMP,
    }
    if mode in wide:
        return Image.fromarray(wide[mode])
    return Image.fromarray(RAMP).convert("LA").convert(mode)


def coloured(mode: str) -> Image.Image:
    """The coloured scene in a mode that can hold colours."""
    image = Image.fromarray(COLOURS)
    if mode == "LAB":
        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        return ImageCms.applyTransform(
            image, ImageCms.buildTransformFromOpenProfiles(*profiles, "RGB", "LAB")
        )
    if mode == "PA":
        return image.quantize(256).convert("PA")
    if mode == "P":
        return image.quantize(256)
    if mode == "RGBa":
        return image.convert("RGBA").convert("RGBa")
    return image.convert(mode)


GREY = {"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
TOLERANCE = {"1": 0.0, "YCbCr": 2.0, "HSV": 4.0, "LAB": 6.0, "P": 8.0, "PA": 8.0}
"""Levels that a mode itself may lose, on average over the scene."""


def test_every_mode_is_held_against_the_scene() -> None:
    assert set(Image.MODES) >= GREY
    for mode in Image.MODES:
        image = grey(mode) if mode in GREY else coloured(mode)
        assert image.mode == mode
        converted = to_rgb(image)
        assert (converted.mode, converted.size) == ("RGB", image.size)
        want = np.repeat(RAMP[:, :, None], 3, axis=2) if mode in GREY else COLOURS
        if mode == "1":
            want = np.where(want > 127, 255, 0)
        off = np.abs(np.asarray(converted, np.float64) - want)
        assert off.mean() <= TOLERANCE.get(mode, 0.0), mode


def chunk(name: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + crc


def png(pixels: np.ndarray, colour_type: int) -> bytes:
    """Write a 16-bit PNG by hand, since Pillow writes no 16-bit colour."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(pixels: np.ndarray, photometric: int, order: str, sample_format: int = 1) -> bytes:
    """Write an uncompressed TIFF of 16 bits by hand, in either byte order."""
    pixels = np.atleast_3d(pixels)
    height, width, samples = pixels.shape
    data = pixels.astype(f"{order}{'i' if sample_format == 2 else 'u'}2").tobytes()
    bits_at, data_at = 8, 8 + 2 * samples
    bits = (3, samples, bits_at) if samples > 2 else (3, samples, 16)
    tags = {
        256: (4, 1, width), 257: (4, 1, height), 258: bits, 259: (3, 1, 1),
        262: (3, 1, photometric), 273: (4, 1, data_at), 277: (3, 1, samples),
        278: (4, 1, height), 279: (4, 1, len(data)), 339: (3, 1, sample_format),
    }  # fmt: skip
    entries = b""
    for tag, (kind, count, value) in tags.items():
        inline = kind == 3 and count == 1
        packed = struct.pack(order + "HH", value, 0) if inline else struct.pack(order + "I", value)
        entries += struct.pack(order + "HHI", tag, kind, count) + packed
    directory = struct.pack(order + "H", len(tags)) + entries + b"\0\0\0\0"
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, data_at + len(data))
    return head + struct.pack(order + "H", 16) * samples + data + directory


def saved(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


DEEP_RAMP = RAMP.astype(np.uint16) * 257
DEEP_COLOURS = COLOURS.astype(np.uint16) * 257
OPAQUE = np.full((*RAMP.shape, 1), 65_535, np.uint16)

FILES = {
    "PNG grey": (png(DEEP_RAMP, 0), "grey"),
    "PNG grey with alpha": (png(np.dstack([DEEP_RAMP, OPAQUE]), 4), "grey"),
    "PNG colour": (png(DEEP_COLOURS, 2), "colour"),
    "PNG colour with alpha": (png(np.dstack([DEEP_COLOURS, OPAQUE]), 6), "colour"),
    "TIFF grey, little end": (tiff(DEEP_RAMP, 1, "<"), "grey"),
    "TIFF grey, big end": (tiff(DEEP_RAMP, 1, ">"), "grey"),
    "TIFF grey, white is zero": (tiff(65_535 - DEEP_RAMP, 0, "<"), "grey"),
    "TIFF colour, little end": (tiff(DEEP_COLOURS, 2, "<"), "colour"),
    "TIFF colour, big end": (tiff(DEEP_COLOURS, 2, ">"), "colour"),
    "TIFF signed": (tiff(RAMP.astype(np.float64) * 32_767 / 255, 1, "<", 2), "grey"),
    "TIFF 32 bits": (saved(Image.fromarray(RAMP.astype(np.int32) * 257), "TIFF"), "grey"),
    "TIFF float to 1": (saved(Image.fromarray(RAMP.astype(np.float32) / 255), "TIFF"), "grey"),
    "TIFF float to 255": (saved(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "grey"),
    "PGM": (b"P5 256 16 65535\n" + DEEP_RAMP.astype(">u2").tobytes(), "grey"),
    "PGM of 12 bits": (
        b"P5 256 16 4095\n" + np.rint(RAMP * (4095 / 255)).astype(">u2").tobytes(),
        "grey",
    ),
    "JPEG 2000": (saved(grey("I;16"), "JPEG2000"), "grey"),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_of_more_than_eight_bits(kind: str) -> None:
    data, scene = FILES[kind]
    want = np.repeat(RAMP[:, :, None], 3, axis=2) if scene == "grey" else COLOURS
    got = np.asarray(decode_image(data), np.int64)
    assert np.abs(got - want).max() <= 1


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    dark = np.full((8, 8), 2_570, np.uint16)
    assert decode_image(png(dark, 0)).getpixel((0, 0)) == (10, 10, 10)


def test_floats_that_are_no_numbers_do_not_spoil_the_rest() -> None:
    values = np.array([[np.nan, 0.5], [-1.0, np.inf]], np.float32)
    converted = np.asarray(to_rgb(Image.fromarray(values)))[:, :, 0]
    assert converted.tolist() == [[0, 128], [0, 255]]


@pytest.mark.skipif(not REPORTS.is_dir(), reason="the reported inputs are not at hand")
def test_a_photograph_in_sixteen_bits_is_embedded_as_in_eight() -> None:
    files = [REPORTS / "images" / name for name in ("e_grey.png", "f_16bit.png")]
    vectors = find_clip("lab", device="cpu").encode_images(
        [decode_image(file.read_bytes()) for file in files]
    )
    assert float(vectors[0] @ vectors[1]) >= 0.99
