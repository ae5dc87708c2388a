"""One interface for serial and parallel runs.

A task is a picklable callable that a worker receives once and applies to many items, so that what
it loads on first use (a spaCy pipeline, an open_clip model) is loaded once per worker.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
AnyTask = Callable[[Any], Any]

# Items handed out ahead of each worker: enough to keep it busy, few enough to stay small.
IN_FLIGHT_PER_WORKER = 3


# Read by numpy, torch and FAISS when they are first imported in a worker.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Engine(Protocol):
    """Runs a task over items."""

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is done, in any order."""

    def expect(self, loaders: Sequence[str]) -> None:
        """Begin in the background to get workers ready, where there are any."""


@dataclass(frozen=True, slots=True)
class SerialEngine:
    """Runs everything in this process, in order."""

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result, in order."""
        for item in items:
            yield item, task(item)

    def expect(self, loaders: Sequence[str]) -> None:
        """Do nothing: there are no workers."""


def available_cpus() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
