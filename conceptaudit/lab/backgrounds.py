"""Backgrounds of scenes: plain, gradients, stripes, checks, noise textures, horizons."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from conceptaudit.lab.dice import Dice

Float32Array = npt.NDArray[np.float32]

Colour = tuple[int, int, int]


def background(dice: Dice, generator: np.random.Generator, size: int) -> Image.Image:
    """Draw one of the kinds of background, `size` pixels square, RGB."""
    kind = dice.below(7)
    if kind == 0:
        return Image.new("RGB", (size, size), (255, 255, 255) if dice.chance(0.4) else colour(dice))
    if kind == 1:
        return _texture(dice, generator, size)
    if kind == 2:
        return _speckle(dice, generator, size)
    return _blend(_pattern(kind, dice, size), dice)


def colour(dice: Dice) -> Colour:
    """Draw a colour; every second one is pale, as the backgrounds of product pictures are."""
    low = 0.65 if dice.chance(0.5) else 0.1
    return (
        int(255 * dice.uniform(low, 1.0)),
        int(255 * dice.uniform(low, 1.0)),
        int(255 * dice.uniform(low, 1.0)),
    )


@lru_cache(maxsize=8)
def _axes(size: int) -> tuple[Float32Array, Float32Array]:
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    return axis[None, :], axis[:, None]


def _pattern(kind: int, dice: Dice, size: int) -> Float32Array:
    """Map each pixel to the share of a second colour, in [0, 1]; shape (size, size)."""
    x, y = _axes(size)
    angle = dice.uniform(0, np.pi)
    slope = np.float32(np.cos(angle)) * x + np.float32(np.sin(angle)) * y
    if kind == 3:  # linear gradient
        return np.asarray(slope * np.float32(0.35) + np.float32(0.5))
    if kind == 4:  # radial gradient
        centre = dice.uniform(-0.5, 0.5)
        distance = np.hypot(x - np.float32(centre), y)
        return np.asarray(np.minimum(distance, 1), dtype=np.float32)
    if kind == 5:  # stripes, or checks where two of them meet
        width = np.float32(dice.uniform(2, 9))
        stripes = np.floor(slope * width) % 2
        if dice.chance(0.4):
            across = np.float32(np.sin(angle)) * x - np.float32(np.cos(angle)) * y
            stripes = (stripes + np.floor(across * width)) % 2
        return (stripes * np.float32(dice.uniform(0.2, 1))).astype(np.float32)
    height = np.float32(dice.uniform(-0.2, 0.6))  # ground under a sky that pales downwards
    sky = (y + 1) * np.float32(0.2) + 0 * x
    return np.asarray(np.where(y > height, 1, sky), dtype=np.float32)


def _blend(share: Float32Array, dice: Dice) -> Image.Image:
    first = np.array(colour(dice), dtype=np.float32)
    second = np.array(colour(dice), dtype=np.float32)
    pixels = first + share[:, :, None] * (second - first)
    return Image.fromarray(pixels.astype(np.uint8))


def _texture(dice: Dice, generator: np.random.Generator, size: int) -> Image.Image:
    """Smooth blotches around one colour: a few random pixels blown up."""
    cells = 3 + dice.below(8)
    spread = np.float32(dice.uniform(0.2, 0.8))
    rough = generator.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    pixels = np.array(colour(dice), dtype=np.float32) * (1 - spread) + rough * spread
    return Image.fromarray(pixels.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)


def _speckle(dice: Dice, generator: np.random.Generator, size: int) -> Image.Image:
    """Grain of one colour: sand, carpet, foliage."""
    grain = 1 + dice.below(3)
    cells = -(-size // grain)
    strength = np.float32(dice.uniform(0.1, 0.5) / 255)
    rough = generator.integers(0, 256, (cells, cells, 1), dtype=np.uint8)
    base = np.array(colour(dice), dtype=np.float32)
    pixels = (base * (1 - rough * strength)).astype(np.uint8)
    blown = pixels.repeat(grain, axis=0).repeat(grain, axis=1)[:size, :size]
    return Image.fromarray(np.ascontiguousarray(blown))
