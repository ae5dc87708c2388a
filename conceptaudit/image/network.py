"""What a loaded network is: its preprocessing, and the identity of all that decides its vectors."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conceptaudit.artifacts import Json, digest_of

PROBES = (
    "a photo of a dog.",
    "A  Photo of THE Golden-Retriever's puppy, no. 12,345!",
    "Zürich naïve 東京 🐶 &amp; <b>ß</b>",
    "word " * 200,
)
"""Texts whose tokens tell tokenizers apart: case, spaces, marks, scripts, length, truncation."""

POOLING = ("pool_type", "text_pool_type", "global_pool", "attn_pool_type", "final_ln_after_pool")
"""Attributes of open_clip's and timm's towers that say how tokens become one vector."""


def configuration_of(model: Any, tokenizer: Any) -> Json:
    """Describe what decides a network's vectors beside its weights."""
    modules = list(model.modules())
    tokens = tokenizer(list(PROBES))
    return {
        "network": type(model).__name__,
        "activations": dict(sorted(Counter(filter(None, map(_activation, modules))).items())),
        "heads": [int(m.num_heads) for m in modules if isinstance(_own(m, "num_heads"), int)],
        "norm_eps": sorted({float(m.eps) for m in modules if isinstance(_own(m, "eps"), float)}),
        "pooling": sorted(
            f"{type(m).__name__}.{name}={_own(m, name)}"
            for m in modules
            for name in POOLING
            if isinstance(_own(m, name), str | bool)
        ),
        "preprocessing": _plain(getattr(model.visual, "preprocess_cfg", {})),
        "context_length": int(tokens.shape[1]),
        "tokenizer": digest_of(tokens.tolist()),
    }


def network_digest(model: Any, configuration: Json) -> str:
    """Compute the SHA-256 of weights and configuration."""
    digest = hashlib.sha256(digest_of(configuration).encode())
    for key, tensor in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


def _activation(module: Any) -> str | None:
    """Name an activation, with what it approximates; None for every other module."""
    import torch

    kind = type(module)
    named = kind.__name__.lower().endswith(("gelu", "gelutanh", "silu", "relu", "swish", "mish"))
    if next(module.children(), None) is not None:
        return None
    if not named and kind.__module__ != torch.nn.GELU.__module__:
        return None
    return f"{kind.__name__}({_own(module, 'approximate') or ''})"


def _own(module: Any, name: str) -> Any:
    return vars(module).get(name)


def _plain(value: Any) -> Any:
    """Make JSON of a configuration: tuples become lists."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in sorted(value.items())}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


ToPixels = Callable[[Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """The two halves."""

    prepare: ToPixels  # RGB picture to tensor, shape (3, height, width)
    finish: ToPixels  # block of these, shape (n, 3, height, width), to what the model takes

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
