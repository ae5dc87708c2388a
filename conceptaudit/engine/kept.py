"""Workers that outlive one run: the stages of an audit share them, and what they have loaded.

A worker takes seconds to start, and longer to load a pipeline and to meet the words of a corpus.
Within `workers_kept` a run that ends well leaves its workers idle for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Idle:
    """Idle workers by kind, each with the function that ends it."""

    depth: int = 0
    workers: dict[Hashable, list[tuple[Any, Callable[[], None]]]] = field(default_factory=dict)


_idle = _Idle()


@contextmanager
def workers_kept() -> Iterator[None]:
    """Keep workers from one run to the next until the (outermost) block ends."""
    _idle.depth += 1
    try:
        yield
    finally:
        _idle.depth -= 1
        if not _idle.depth:
            end_idle()


def take(kind: Hashable) -> Any | None:
    """Return an idle worker of a kind, or None.

    Where there is none, those of other kinds are ended: they hold memory, and on a cluster
    processors, that new ones need.
    """
    found = _idle.workers.get(kind)
    if found:
        worker, _ = found.pop()
        return worker
    end_idle()
    return None


def keep(kind: Hashable, worker: Any, end: Callable[[], None]) -> bool:
    """Keep a worker for the next run; False where nobody wants that."""
    if not _idle.depth:
        return False
    _idle.workers.setdefault(kind, []).append((worker, end))
    return True


def end_idle() -> None:
    """End all idle workers."""
    workers = [entry for kind in _idle.workers.values() for entry in kind]
    _idle.workers.clear()
    for _, end in workers:
        end()
