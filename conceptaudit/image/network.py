"""Which network a model is: its weights, and everything else that decides its vectors.

Two networks can have the same weights and give other vectors: another activation, another image
size, mean, or interpolation, another tokenizer. Of each, what it does is recorded rather than what
it is called, so that one network has one identity whichever name it was loaded by.
"""

from __future__ import annotations

import hashlib
from collections import Counter
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
    """Describe what decides a network's vectors beside its weights.

    Parameters
    ----------
    model : torch.nn.Module
        As open_clip makes it.
    tokenizer : callable

    Returns
    -------
    dict
        JSON values only.
    """
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
