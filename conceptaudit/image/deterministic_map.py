"""Forward passes on processors whose results do not depend on how many of these there are.

A product that several threads share is summed up in another order than one thread's, and rounds
otherwise. So each part of a batch is computed by one thread, and parts side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

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
