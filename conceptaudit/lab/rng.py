"""Random choices that depend on the seed, the sample and the purpose, and on nothing else."""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Item = TypeVar("Item")

_BLOCK = 48
"""Uniform numbers drawn at once: a call into numpy costs more than the numbers."""


class Purpose(IntEnum):
    """Independent streams of one sample: a knob that uses one does not disturb the others."""

    FLAGS = 0
    SCENE = 1
    PICTURE = 2
    CAPTION = 3
    COPY = 4
    OTHER_SCENE = 5
    METADATA = 6
    ORDER = 7
    TEST_SET = 8


def generator(seed: int, index: int, purpose: Purpose) -> np.random.Generator:
    """Open the stream of one sample for one purpose.

    Philox is counter based: the key names the sample and the top word of the counter the
    purpose, so any sample can be drawn by any worker without drawing those before it.
    """
    bits = np.random.Philox(
        key=np.array([seed, index], dtype=np.uint64),
        counter=np.array([0, 0, 0, int(purpose)], dtype=np.uint64),
    )
    return np.random.Generator(bits)


class SampleRng:
    """Cheap scalar draws from one stream, built on uniform doubles only.

    Uniform doubles are the one thing that numpy promises to keep; its other distributions may
    change between releases.

    >>> rng = SampleRng(seed=1, index=2, purpose=Purpose.CAPTION)
    >>> rng.pick(["a", "b"]) in ("a", "b"), 0 <= rng.below(3) < 3
    (True, True)
    """

    __slots__ = ("_generator", "_next", "_pool")

    def __init__(self, *, seed: int, index: int, purpose: Purpose) -> None:
        self._generator = generator(seed, index, purpose)
        self._pool: list[float] = []
        self._next = 0

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Draw from [low, high)."""
        if self._next == len(self._pool):
            self._pool = self._generator.random(_BLOCK).tolist()
            self._next = 0
        self._next += 1
        return low + (high - low) * self._pool[self._next - 1]

    def chance(self, probability: float) -> bool:
        """Draw True with the given probability; always uses one number."""
        return self.uniform() < probability

    def below(self, stop: int) -> int:
        """Draw a whole number from [0, stop)."""
        return int(self.uniform() * stop)

    def pick(self, items: Sequence[Item]) -> Item:
        """Draw one of the items, all equally likely."""
        return items[int(self.uniform() * len(items))]

    def locate(self, cumulative: npt.NDArray[np.float64]) -> int:
        """Draw a position from cumulative probabilities that end in 1."""
        position = int(np.searchsorted(cumulative, self.uniform(), side="right"))
        return min(position, len(cumulative) - 1)

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        """Return the items in random order."""
        rest = list(items)
        for last in range(len(rest) - 1, 0, -1):
            other = self.below(last + 1)
            rest[last], rest[other] = rest[other], rest[last]
        return rest
