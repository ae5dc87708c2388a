"""Which network a model is: all that decides its vectors, and its preprocessing.

Two networks can have the same weights and give other vectors: another activation, another image
size, mean, or interpolation, another tokenizer. Of each, what it does is recorded rather than what
it is called, so that one network has one identity whichever name it was loaded by.
"""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocessing:
    """A model's preprocessing in two halves: per image while decoding, per block before the model.

    open_clip's transform ends in ``ToTensor, Normalize``. Left to the block, those two cost one
    pass over it instead of two per image, and a block travels to a GPU as bytes, not as floats.
    Both are elementwise, so the result is the same to the last bit.
    """

    prepare: Callable[[Any], Any]  # RGB image to tensor, shape (3, height, width)
    # block of these, shape (n, 3, height, width), to what the model takes
    finish: Callable[[Any], Any]

    @classmethod
    def of(cls, transform: Any) -> Preprocessing:
        """Split an open_clip transform; one of another make is used whole, per image."""
        from torchvision.transforms import Normalize, ToTensor
        from torchvision.transforms.functional import pil_to_tensor

        steps = list(getattr(transform, "transforms", ()))
        ends = [type(step) for step in steps[-2:]]
        if ends != [ToTensor, Normalize]:
            return cls(prepare=transform, finish=lambda pixels: pixels)
        *geometry, _, normalize = steps

        def prepare(image: Any) -> Any:
            for step in geometry:
                image = step(image)
            return pil_to_tensor(image)

        def finish(pixels: Any) -> Any:
            return normalize(pixels.float().div_(255))

        return cls(prepare=prepare, finish=finish)
