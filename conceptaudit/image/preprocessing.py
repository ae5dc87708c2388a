"""A model's preprocessing in two halves: per picture while decoding, per block before the model.

open_clip's transform ends in ``ToTensor, Normalize``. Left to the block, those two cost one pass
over it instead of two per picture, and a block travels to a GPU as bytes, not as floats. Both are
elementwise, so the result is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

ToPixels = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The two halves.

    Parameters
    ----------
    prepare : callable
        RGB picture to tensor, shape (3, height, width).
    finish : callable
        Block of these, shape (n, 3, height, width), to what the model takes.
    """

    prepare: ToPixels
    finish: ToPixels

    @classmethod
    def of(cls, transform: Any) -> Preprocessing:
        """Split an open_clip transform; one of another make is used whole, per picture."""
        from torchvision.transforms import Normalize, ToTensor

        steps = list(getattr(transform, "transforms", ()))
        if (
            len(steps) < 2
            or not isinstance(steps[-2], ToTensor)
            or not isinstance(steps[-1], Normalize)
        ):
            return cls(prepare=transform, finish=_unchanged)
        return cls(prepare=_Geometry(steps=tuple(steps[:-2])), finish=_Scale(normalize=steps[-1]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Geometry:
    """Scale and crop: everything before the pixels become numbers."""

    steps: tuple[ToPixels, ...]

    def __call__(self, image: Any) -> Any:
        from torchvision.transforms.functional import pil_to_tensor

        for step in self.steps:
            image = step(image)
        return pil_to_tensor(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """To [0, 1], then the model's mean and spread."""

    normalize: ToPixels

    def __call__(self, pixels: Any) -> Any:
        return self.normalize(pixels.float().div_(255))


def _unchanged(pixels: Any) -> Any:
    return pixels
