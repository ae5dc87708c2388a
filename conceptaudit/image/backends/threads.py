"""Work on a block's rows, shared among as many threads as the matrix product uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from conceptaudit.engine.base import available_cpus

Result = TypeVar("Result")

MIN_ITEMS = 256
"""Fewer than this per thread are not worth waking it."""


def thread_count() -> int:
    """Return the number of threads that numpy, torch and FAISS are told to use."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return max(min(int(asked), available_cpus()), 1) if asked.isdigit() else available_cpus()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="conceptaudit-search")


def in_parts(n: int, work: Callable[[int, int], Result]) -> list[Result]:
    """Apply `work` to consecutive ranges that cover ``range(n)``, and return the results in order.

    Parameters
    ----------
    n : int
        Number of items.
    work : callable
        Called with start and stop, in several threads at once. numpy lets go of the interpreter
        while it compares, gathers and multiplies, so the threads do run side by side.
    """
    threads = max(min(thread_count(), n // MIN_ITEMS), 1)
    edges = [n * i // threads for i in range(threads + 1)]
    if threads == 1:
        return [work(0, n)]
    return list(_pool(threads).map(work, edges[:-1], edges[1:]))
