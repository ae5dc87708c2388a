"""Hand items to workers, again where a worker is lost, and keep workers from run to run.

A worker is lost when its process dies (killed, or by the system where memory runs out) or when
memory runs out inside it. Workers take their items in order, so the oldest item of a lost worker
is the one that it was busy with: that one is charged, all go to a new worker.

A worker takes seconds to start, and longer to load a pipeline and to meet the words of a corpus.
Within `workers_kept` a run that ends well leaves its workers idle for the next.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol

from conceptaudit.engine.base import IN_FLIGHT_PER_WORKER, Item
from conceptaudit.errors import ConceptAuditError

# Times that an item may cost a worker, or that a worker may fail to start, before that is told.
TRIES = 3

PATIENCE = 600.0  # seconds in which at least one worker has to start


class Worker(Protocol):
    """A process that applies its task to items, one after the other."""

    def greet(self) -> Future[Any]:
        """Start it; done when it can take items."""

    def submit(self, item: Any) -> Future[Any]:
        """Hand it an item."""

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error means that the worker is lost, and not that its task failed."""

    def cause(self, error: BaseException) -> BaseException:
        """Return the error that the task raised, without what the worker wrapped it in."""

    def interrupt(self) -> None:
        """Make it drop what it is busy with."""

    def release(self) -> None:
        """Let go of it when all is done; it may be kept for the next run."""

    def stop(self) -> None:
        """End it, after what it is busy with."""


@dataclass(slots=True, eq=False)
class _Try(Generic[Item]):
    item: Item
    number: int
    losses: int = 0


@dataclass(slots=True, eq=False)
class _Slot(Generic[Item]):
    worker: Worker
    ready: bool = False
    pending: list[_Try[Item]] = field(default_factory=list)
    lost: list[_Try[Item]] = field(default_factory=list)


class Dispatcher(Generic[Item]):
    """Workers for one run over items."""

    def __init__(self, start: Callable[[], Worker], items: Sequence[Item]) -> None:
        self._start = start
        self._n_items = self._left = len(items)
        self._handed_out = 0
        self._waiting = (_Try(item, number) for number, item in enumerate(items))
        self._again: deque[_Try[Item]] = deque()
        self._slots: list[_Slot[Item]] = []
        self._done: SimpleQueue[tuple[_Slot[Item], _Try[Item] | None, Future[Any]]] = SimpleQueue()
        self._false_starts = 0

    def run(self, n_workers: int) -> Iterator[tuple[Item, Any]]:
        """Yield each item with its result as it is done."""
        whole = False
        try:
            for _ in range(min(n_workers, self._left)):
                self._hire()
            while self._left:
                yield from self._next()
            whole = True
        finally:
            for slot in self._slots if not whole else ():
                slot.worker.interrupt()
            for slot in self._slots:
                (slot.worker.release if whole and slot.ready else slot.worker.stop)()

    def _hire(self) -> None:
        slot = _Slot[Item](self._start())
        self._slots.append(slot)
        self._watch(slot, None, slot.worker.greet())

    def _watch(self, slot: _Slot[Item], attempt: _Try[Item] | None, future: Future[Any]) -> None:
        future.add_done_callback(lambda done: self._done.put((slot, attempt, done)))

    def _fill(self, slot: _Slot[Item]) -> None:
        while slot.ready and len(slot.pending) < self._ahead():
            attempt = self._again.popleft() if self._again else next(self._waiting, None)
            if attempt is None:
                return
            slot.pending.append(attempt)
            self._handed_out += 1
            try:
                future = slot.worker.submit(attempt.item)
            except Exception as error:  # noqa: BLE001 -- told apart below, like a worker's own
                future = Future()
                future.set_exception(error)
            self._watch(slot, attempt, future)

    def _ahead(self) -> int:
        """Items for a worker to hold: towards the end one, lest a slow one keep others waiting."""
        waiting = self._n_items - self._handed_out
        return IN_FLIGHT_PER_WORKER if waiting > IN_FLIGHT_PER_WORKER * len(self._slots) else 1

    def _next(self) -> Iterator[tuple[Item, Any]]:
        try:
            anyone = any(slot.ready for slot in self._slots)
            slot, attempt, future = self._done.get(timeout=None if anyone else PATIENCE)
        except Empty:
            raise ConceptAuditError(
                f"No worker has started in {PATIENCE:.0f} s: there is no free processor or GPU "
                "for one. Wait for other jobs, or take fewer --workers."
            ) from None
        error = future.exception()
        if attempt is None:
            self._greeted(slot, error)
            return
        slot.pending.remove(attempt)
        if error is not None:
            if not slot.worker.is_loss(error):
                raise slot.worker.cause(error)
            slot.lost.append(attempt)
        else:
            self._left -= 1
        if not slot.lost:
            self._fill(slot)
        elif not slot.pending:
            self._replace(slot)
        if error is None:
            yield attempt.item, future.result()

    def _greeted(self, slot: _Slot[Item], error: BaseException | None) -> None:
        if error is None:
            slot.ready = True
            self._fill(slot)
            return
        if not slot.worker.is_loss(error):
            raise slot.worker.cause(error)
        self._false_starts += 1
        if self._false_starts >= TRIES:
            raise ConceptAuditError(
                f"Worker processes die when they start ({error}). Memory may be too small for "
                "--workers, or the installation is incomplete: --engine serial shows the error."
            ) from error
        self._replace(slot)

    def _replace(self, slot: _Slot[Item]) -> None:
        self._slots.remove(slot)
        slot.worker.stop()
        lost = sorted(slot.lost, key=lambda attempt: attempt.number)
        if lost:
            lost[0].losses += 1
            if lost[0].losses >= TRIES:
                raise ConceptAuditError(
                    f"{TRIES} workers died while they worked on {item_name(lost[0].item)}, often "
                    "because memory ran out. Finished shards are kept: run the same command again, "
                    "with fewer --workers if it recurs."
                )
        self._again.extend(lost)
        self._handed_out -= len(lost)
        self._hire()


def item_name(item: object) -> str:
    """Name an item in an error message: shards have a name.

    Examples
    --------
    >>> item_name("0000003")
    "'0000003'"
    """
    for attribute in ("name", "shard"):
        name = getattr(item, attribute, None)
        if isinstance(name, str):
            return f"shard {name}"
    return repr(item)[:80]


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
