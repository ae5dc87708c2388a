"""Samples that were picked by hand: kept while the server runs, and taken away as a file."""

from __future__ import annotations

import threading
from collections.abc import Iterable

MOST = 5_000
"""Samples in a selection: more are a filter's work."""


class Selection:
    """Samples by run, in the order in which they were taken; of all who look at this server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken: dict[tuple[str, int], str] = {}

    def __len__(self) -> int:
        return len(self._taken)

    def has(self, run: str, sample: int) -> bool:
        """Whether a sample is taken."""
        return (run, sample) in self._taken

    def take(self, run: str, samples: Iterable[int], why: str = "") -> None:
        """Take samples, as many as there is room for."""
        with self._lock:
            for sample in samples:
                if len(self._taken) < MOST:
                    self._taken.setdefault((run, sample), why)

    def drop(self, run: str, sample: int) -> None:
        """Put a sample back."""
        with self._lock:
            self._taken.pop((run, sample), None)

    def clear(self) -> None:
        """Put all back."""
        with self._lock:
            self._taken.clear()

    def by_run(self) -> dict[str, list[tuple[int, str]]]:
        """List samples with why they were taken, by run."""
        with self._lock:
            taken = list(self._taken.items())
        runs: dict[str, list[tuple[int, str]]] = {}
        for (run, sample), why in taken:
            runs.setdefault(run, []).append((sample, why))
        return runs
