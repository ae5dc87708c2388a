"""One interface for serial and parallel runs.

A task is a picklable callable that a worker receives once and applies to many items, so that what
it loads on first use (a spaCy pipeline, an open_clip model) is loaded once per worker.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from conceptaudit.errors import ConfigError

Item = TypeVar("Item")
Result = TypeVar("Result")
AnyTask = Callable[[Any], Any]

IN_FLIGHT_PER_WORKER = 3
"""Items handed out ahead of each worker: enough to keep it busy, few enough to stay small."""


class Engine(Protocol):
    """Runs a task over items."""

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is done, in any order."""


class SerialEngine:
    """Runs everything in this process, in order."""

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in order."""
        for item in items:
            yield item, task(item)


def available_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_engine(workers: int | None = None, *, n_items: int | None = None) -> Engine:
    """Choose the engine for a number of workers.

    Parameters
    ----------
    workers : int or None, default None
        Number of worker processes, at least 1; 1 runs in this process. None takes one per
        processor, and no more than there are items.
    n_items : int or None, default None
        How many items will be run, where known.

    Raises
    ------
    ConfigError
        `workers` is less than 1.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"The 'workers' parameter must be at least 1. Got {workers} instead.")
    wanted = available_cpus() if workers is None else workers
    if n_items is not None:
        wanted = min(wanted, max(n_items, 1))
    if wanted == 1:
        return SerialEngine()
    from conceptaudit.engine.processes import ProcessEngine

    return ProcessEngine(workers=wanted)
