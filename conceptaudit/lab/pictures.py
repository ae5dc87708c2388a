"""Images of scenes: sprites placed on a background, with everything a camera adds."""

import io
import json
import math
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from conceptaudit.lab.concepts import DATA
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.rng import Purpose, SampleRng, generator

TILT = 30.0
"""Degrees by which most things lean to either side."""


@cache
def _sheet() -> tuple[Image.Image, int, dict[str, tuple[int, int]]]:
    index = json.loads((DATA / "sprites.json").read_text(encoding="utf-8"))
    with Image.open(DATA / "sprites.webp") as image:
        sheet = image.convert("RGBA")
    return sheet, index["cell"], {name: tuple(cell) for name, cell in index["cells"].items()}


@cache
def sprite(name: str) -> Image.Image:
    """Cut a concept's image out of the sheet: RGBA, square, transparent around the thing."""
    sheet, cell, cells = _sheet()
    column, row = cells[name]
    return sheet.crop((column * cell, row * cell, (column + 1) * cell, (row + 1) * cell))


def draw_scene(config: LabConfig, index: int, names: list[str], purpose: Purpose) -> Image.Image:
    """Draw the named things, each once per mention, into one RGB picture."""
    rng = SampleRng(seed=config.seed, index=index, purpose=purpose)
    # Pixels come from a stream of their own, far away from that of the rng.
    pixels = generator(config.seed, index, purpose)
    pixels.bit_generator.advance(2**64)  # type: ignore[attr-defined] # PCG64 has it
    size = config.image_size
    canvas = background(rng, pixels, size)
    columns = math.ceil(math.sqrt(len(names)))
    rows = math.ceil(len(names) / columns)
    places = rng.shuffled([(place % columns, place // columns) for place in range(columns * rows)])
    for name, (column, row) in zip(names, places, strict=False):
        extent = size * rng.uniform(0.6, 1.0) / (columns if len(names) > 1 else 1.15)
        picture = _thing(rng, name, max(12, round(extent)))
        left = size * (column + 0.5 + rng.uniform(-0.18, 0.18)) / columns - picture.width / 2
        top = size * (row + 0.5 + rng.uniform(-0.18, 0.18)) / rows - picture.height / 2
        corner = (round(left), round(top))
        canvas.paste(picture, corner, picture)
        if rng.chance(0.15):
            _cover(rng, canvas, corner, picture.width)
    return _photograph(rng, pixels, canvas)


def encode(picture: Image.Image, quality: int) -> bytes:
    """Compress an image as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _thing(rng: SampleRng, name: str, extent: int) -> Image.Image:
    picture = sprite(name).resize((extent, extent), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if rng.chance(0.5):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(picture).astype(np.float32)
    gains = np.array([rng.uniform(0.8, 1.15) for _ in range(3)], dtype=np.float32)
    grey = pixels[:, :, :3].mean(axis=2, keepdims=True)
    saturation = np.float32(rng.uniform(0.6, 1.15))
    pixels[:, :, :3] = np.clip((grey + (pixels[:, :, :3] - grey) * saturation) * gains, 0, 255)
    picture = Image.fromarray(pixels.astype(np.uint8))
    angle = rng.uniform(-180, 180) if rng.chance(0.05) else rng.uniform(-TILT, TILT)
    return picture.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def _cover(rng: SampleRng, canvas: Image.Image, corner: tuple[int, int], extent: int) -> None:
    """Hide up to a sixth of a thing behind something without a name."""
    wide, high = extent * rng.uniform(0.2, 0.4), extent * rng.uniform(0.2, 0.4)
    left = corner[0] + rng.uniform(0, extent - wide)
    top = corner[1] + rng.uniform(0, extent - high)
    box = (left, top, left + wide, top + high)
    draw = ImageDraw.Draw(canvas)
    shape = draw.ellipse if rng.chance(0.5) else draw.rectangle
    shape(box, fill=colour(rng))


def _photograph(rng: SampleRng, generator: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """Add what a camera adds: blur, exposure, sensor noise."""
    if rng.chance(0.1):
        canvas = canvas.filter(ImageFilter.BoxBlur(rng.uniform(0.3, 0.8)))
    exposure = rng.uniform(0.8, 1.15)
    strength = 1 + rng.below(14) if rng.chance(0.6) else 0
    if strength:
        pixels = np.asarray(canvas).astype(np.int16)
        pixels += generator.integers(-strength, strength + 1, pixels.shape, dtype=np.int16)
        canvas = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return canvas.point([min(255, int(level * exposure)) for level in range(256)] * 3)


Float32Array = npt.NDArray[np.float32]

Colour = tuple[int, int, int]


def background(rng: SampleRng, generator: np.random.Generator, size: int) -> Image.Image:
    """Draw one of the kinds of background, `size` pixels square, RGB."""
    kind = rng.below(7)
    if kind == 0:
        return Image.new("RGB", (size, size), (255, 255, 255) if rng.chance(0.4) else colour(rng))
    if kind == 1:
        return _texture(rng, generator, size)
    if kind == 2:
        return _speckle(rng, generator, size)
    return _blend(_pattern(kind, rng, size), rng)


def colour(rng: SampleRng) -> Colour:
    """Draw a colour; every second one is pale, as the backgrounds of product images are."""
    low = 0.65 if rng.chance(0.5) else 0.1
    return (
        int(255 * rng.uniform(low, 1.0)),
        int(255 * rng.uniform(low, 1.0)),
        int(255 * rng.uniform(low, 1.0)),
    )


@lru_cache(maxsize=8)
def _axes(size: int) -> tuple[Float32Array, Float32Array]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _pattern(kind: int, rng: SampleRng, size: int) -> Float32Array:
    """Map each pixel to the share of a second colour, in [0, 1]; shape (size, size)."""
    x, y = _axes(size)
    angle = rng.uniform(0, np.pi)
    slope = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    if kind == 3:  # linear gradient
        return np.asarray(slope * np.float32(0.35) + np.float32(0.5))
    if kind == 4:  # radial gradient
        centre = rng.uniform(-0.5, 0.5)
        distance = np.hypot(x - np.float32(centre), y)
        return np.asarray(np.minimum(distance, 1), dtype=np.float32)
    if kind == 5:  # stripes, or checks where two of them meet
        width = np.float32(rng.uniform(2, 9))
        stripes = np.floor(slope * width) % 2
        if rng.chance(0.4):
            across = np.float32(np.sin(angle)) * x - np.float32(np.cos(angle)) * y
            stripes = (stripes + np.floor(across * width)) % 2
        return (stripes * np.float32(rng.uniform(0.2, 1))).astype(np.float32)
    height = np.float32(rng.uniform(-0.2, 0.6))  # ground under a sky that pales downwards
    sky = (y + 1) * np.float32(0.2) + 0 * x
    return np.asarray(np.where(y > height, 1, sky), dtype=np.float32)


def _blend(share: Float32Array, rng: SampleRng) -> Image.Image:
    first = np.array(colour(rng), dtype=np.float32)
    second = np.array(colour(rng), dtype=np.float32)
    pixels = first + share[:, :, None] * (second - first)
    return Image.fromarray(pixels.astype(np.uint8))


def _texture(rng: SampleRng, generator: np.random.Generator, size: int) -> Image.Image:
    """Smooth blotches around one colour: a few random pixels blown up."""
    cells = 3 + rng.below(8)
    spread = np.float32(rng.uniform(0.2, 0.8))
    rough = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    pixels = np.array(colour(rng), dtype=np.float32) * (1 - spread) + rough * spread
    return Image.fromarray(pixels.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)


def _speckle(rng: SampleRng, generator: np.random.Generator, size: int) -> Image.Image:
    """Grain of one colour: sand, carpet, foliage."""
    grain = 1 + rng.below(3)
    cells = -(-size // grain)
    strength = np.float32(rng.uniform(0.1, 0.5) / 255)
    rough = generator.integers(0, 256, (cells, cells, 1), dtype=np.uint8)
    base = np.array(colour(rng), dtype=np.float32)
    pixels = (base * (1 - rough * strength)).astype(np.uint8)
    blown = pixels.repeat(grain, axis=0).repeat(grain, axis=1)[:size, :size]
    return Image.fromarray(np.ascontiguousarray(blown))
