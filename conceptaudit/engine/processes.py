"""Worker processes on this machine."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from conceptaudit.engine.base import (
    THREAD_VARIABLES,
    AnyTask,
    Item,
    Result,
    available_cpus,
)
from conceptaudit.engine.dispatcher import Dispatcher, keep, take
from conceptaudit.engine.fork_server import start_context, start_fork_server
from conceptaudit.engine.worker_process import WorkerProcess
from conceptaudit.errors import ConceptAuditError
from conceptaudit.process import claim_process

_task: AnyTask | None = None
_stopping = False


def _prepare() -> None:
    """Prepare a worker process."""
    # Ctrl-C in a terminal reaches every process: the first one decides what becomes of the others
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    claim_process()


def _receive(task: AnyTask) -> int:
    """Take the task of a run, which is sent once, not once per item; return the process's id."""
    global _task  # noqa: PLW0603 -- a worker process has no other place that outlives a call
    _task = task
    return os.getpid()


def _leave(*_: object) -> None:
    """Drop the item by an exception, which removes the partial files that a kill would leave."""
    global _stopping  # noqa: PLW0603 -- items that are queued behind this one are dropped as well
    _stopping = True
    sys.exit(128 + signal.SIGTERM)


def _die_with_parent() -> None:
    """End this process when the one that started it is gone, however it ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _apply(item: Any) -> Any:
    if _stopping:
        sys.exit(128 + signal.SIGTERM)
    if _task is None:
        raise ConceptAuditError("A worker was given an item before its task.")
    return _task(item)


class ProcessWorker:
    """One worker process: an idle one, or a new one."""

    def __init__(self, task: AnyTask, *, threads: int) -> None:
        self._task = task
        self._threads = threads
        self._kind = ("process", threads)
        self._pool: WorkerProcess = take(self._kind) or _pool_of_one(threads)
        self._pid: Future[int] | None = None

    def greet(self) -> Future[Any]:
        """Send it the task, which starts a new process; done when it can take items."""
        try:
            self._pid = self._pool.submit(_receive, self._task)
        except BrokenProcessPool:  # it died while it was idle
            self._pool = _pool_of_one(self._threads)
            self._pid = self._pool.submit(_receive, self._task)
        return self._pid

    def submit(self, item: Any) -> Future[Any]:
        """Hand it an item."""
        return self._pool.submit(_apply, item)

    def is_loss(self, error: BaseException) -> bool:
        """Whether the process died, or memory ran out in it."""
        return isinstance(error, BrokenProcessPool | MemoryError)

    def cause(self, error: BaseException) -> BaseException:
        """Return the error as it is."""
        return error

    def interrupt(self) -> None:
        """Make the process drop what it is busy with."""
        pid = self._pid
        if pid is not None and pid.done() and pid.exception() is None:
            with suppress(ProcessLookupError):
                os.kill(pid.result(), signal.SIGTERM)

    def release(self) -> None:
        """Keep the process for the next run, or end it."""
        if not keep(self._kind, self._pool, self.stop):
            self.stop()

    def stop(self) -> None:
        """End the process."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _pool_of_one(threads: int) -> WorkerProcess:
    return WorkerProcess(start_context(threads), _prepare)


@contextmanager
def _threads_per_worker(count: int) -> Iterator[None]:
    """Share the processors among the workers, which inherit the environment."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    for name, value in before.items():
        if value is None:
            os.environ[name] = str(count)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessEngine:
    """Runs items in `workers` processes, none of them forked from this one and its threads."""

    workers: int

    @property
    def _threads(self) -> int:
        return max(available_cpus() // self.workers, 1)

    def expect(self, loaders: Sequence[str]) -> None:
        """Begin in the background to load what the workers of later runs will need."""
        if self._threads == 1:
            with _threads_per_worker(1):
                start_fork_server(loaders)

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is done."""
        with _threads_per_worker(self._threads):
            start = partial(ProcessWorker, task, threads=self._threads)
            yield from Dispatcher(start, items).run(self.workers)
