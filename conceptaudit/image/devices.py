"""Where models compute, and with what numbers."""

from __future__ import annotations

from typing import Any

from conceptaudit.errors import ConfigError

BFLOAT16_FROM, FLOAT16_FROM = 8, 7
"""Compute capabilities (major) from which tensor cores take these types: Ampere and Volta."""


def find_device(name: str) -> str:
    """Resolve a name such as ``"auto"``.

    Raises
    ------
    ConfigError
        There is no such device.
    """
    import torch

    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"The device (--device) is {name!r}, but torch sees no CUDA device. "
            "Use 'cpu' or 'auto'."
        )
    return name


def precision_on(device: str) -> Any:
    """Type that a device computes with: on GPUs the half precision that its tensor cores have."""
    import torch

    if not device.startswith("cuda"):
        return torch.float32
    if torch.cuda.get_device_capability(device)[0] >= BFLOAT16_FROM:
        return torch.bfloat16
    return (
        torch.float16
        if torch.cuda.get_device_capability(device)[0] >= FLOAT16_FROM
        else torch.float32
    )


def like_weights(pixels: Any, device: str) -> Any:
    """Give pixels the type and the order in memory that the model has on its device."""
    import torch

    if not device.startswith("cuda"):
        return pixels
    return pixels.to(precision_on(device), memory_format=torch.channels_last)


def placed(model: Any, device: str) -> Any:
    """Cast weights once, rather than at every pass, and order convolutions as tensor cores do."""
    import torch

    if not device.startswith("cuda"):
        return model
    return model.to(precision_on(device), memory_format=torch.channels_last)
