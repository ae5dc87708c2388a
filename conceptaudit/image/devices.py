"""Where models compute, and with what numbers; on processors, always with the same result.

A product that several threads share is summed up in another order than one thread's, and rounds
otherwise. So each part of a batch is computed by one thread, and parts side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from conceptaudit.errors import ConfigError

Part = TypeVar("Part")

CPU_BATCH = 16
"""Pictures or texts that one thread passes through a model together; fixed, like `ENCODE_BATCH`."""


def deterministic_map(function: Callable[[Part], Any], parts: Sequence[Part]) -> list[Any]:
    """Apply a function that computes with torch to parts, each in one thread that shares nothing.

    Parameters
    ----------
    function : callable
        Of one part.
    parts : sequence

    Returns
    -------
    list
        Results, in order: the same bits for any number of threads.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # threads that start from here on take this over
    try:
        if threads == 1 or len(parts) < 2:
            return [function(part) for part in parts]
        with ThreadPoolExecutor(min(threads, len(parts))) as pool:
            return list(pool.map(function, parts))
    finally:
        torch.set_num_threads(threads)


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
