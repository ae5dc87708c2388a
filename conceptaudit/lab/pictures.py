"""Pictures of scenes: sprites placed on a background, with everything a camera adds."""

import io
import json
import math
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from conceptaudit.lab.backgrounds import background, colour
from conceptaudit.lab.concepts import DATA
from conceptaudit.lab.config import LabConfig
from conceptaudit.lab.dice import Dice, Purpose, generator

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
    """Cut a concept's picture out of the sheet: RGBA, square, transparent around the thing."""
    sheet, cell, cells = _sheet()
    column, row = cells[name]
    return sheet.crop((column * cell, row * cell, (column + 1) * cell, (row + 1) * cell))


def draw_scene(config: LabConfig, index: int, names: list[str], purpose: Purpose) -> Image.Image:
    """Draw the named things, each once per mention, into one RGB picture.

    Parameters
    ----------
    config : LabConfig
        Its seed and image size are used.
    index : int
        The sample, or the picture of a test set.
    names : list of str
        Concept names; a name that occurs twice is drawn twice.
    purpose : Purpose
        The random stream to draw from.
    """
    dice = Dice(seed=config.seed, index=index, purpose=purpose)
    # Pixels come from a stream of their own, far away from that of the dice.
    pixels = generator(config.seed, index, purpose)
    pixels.bit_generator.advance(2**64)  # type: ignore[attr-defined] # PCG64 has it
    size = config.image_size
    canvas = background(dice, pixels, size)
    columns = math.ceil(math.sqrt(len(names)))
    rows = math.ceil(len(names) / columns)
    places = dice.shuffled([(place % columns, place // columns) for place in range(columns * rows)])
    for name, (column, row) in zip(names, places, strict=False):
        extent = size * dice.uniform(0.6, 1.0) / (columns if len(names) > 1 else 1.15)
        picture = _thing(dice, name, max(12, round(extent)))
        left = size * (column + 0.5 + dice.uniform(-0.18, 0.18)) / columns - picture.width / 2
        top = size * (row + 0.5 + dice.uniform(-0.18, 0.18)) / rows - picture.height / 2
        corner = (round(left), round(top))
        canvas.paste(picture, corner, picture)
        if dice.chance(0.15):
            _cover(dice, canvas, corner, picture.width)
    return _photograph(dice, pixels, canvas)


def encode(picture: Image.Image, quality: int) -> bytes:
    """Compress a picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _thing(dice: Dice, name: str, extent: int) -> Image.Image:
    picture = sprite(name).resize((extent, extent), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if dice.chance(0.5):
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    pixels = np.asarray(picture).astype(np.float32)
    gains = np.array([dice.uniform(0.8, 1.15) for _ in range(3)], dtype=np.float32)
    grey = pixels[:, :, :3].mean(axis=2, keepdims=True)
    saturation = np.float32(dice.uniform(0.6, 1.15))
    pixels[:, :, :3] = np.clip((grey + (pixels[:, :, :3] - grey) * saturation) * gains, 0, 255)
    picture = Image.fromarray(pixels.astype(np.uint8))
    angle = dice.uniform(-180, 180) if dice.chance(0.05) else dice.uniform(-TILT, TILT)
    return picture.rotate(angle, Image.Resampling.BILINEAR, expand=True)


def _cover(dice: Dice, canvas: Image.Image, corner: tuple[int, int], extent: int) -> None:
    """Hide up to a sixth of a thing behind something without a name."""
    wide, high = extent * dice.uniform(0.2, 0.4), extent * dice.uniform(0.2, 0.4)
    left = corner[0] + dice.uniform(0, extent - wide)
    top = corner[1] + dice.uniform(0, extent - high)
    box = (left, top, left + wide, top + high)
    draw = ImageDraw.Draw(canvas)
    shape = draw.ellipse if dice.chance(0.5) else draw.rectangle
    shape(box, fill=colour(dice))


def _photograph(dice: Dice, generator: np.random.Generator, canvas: Image.Image) -> Image.Image:
    """Add what a camera adds: blur, exposure, sensor noise."""
    if dice.chance(0.1):
        canvas = canvas.filter(ImageFilter.BoxBlur(dice.uniform(0.3, 0.8)))
    exposure = dice.uniform(0.8, 1.15)
    strength = 1 + dice.below(14) if dice.chance(0.6) else 0
    if strength:
        pixels = np.asarray(canvas).astype(np.int16)
        pixels += generator.integers(-strength, strength + 1, pixels.shape, dtype=np.int16)
        canvas = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return canvas.point([min(255, int(level * exposure)) for level in range(256)] * 3)
