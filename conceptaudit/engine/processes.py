"""Worker processes on this machine."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from conceptaudit.engine.base import (
    IN_FLIGHT_PER_WORKER,
    AnyTask,
    Item,
    Result,
    available_cpus,
)
from conceptaudit.errors import ConceptAuditError

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Read by numpy, torch and FAISS when they are first imported in a worker."""

_task: AnyTask | None = None


def _receive(task: AnyTask) -> None:
    global _task  # noqa: PLW0603 -- a worker process is sent its task once, not once per item
    _task = task


def _apply(item: Any) -> Any:
    if _task is None:
        raise ConceptAuditError("A worker was given an item before its task.")
    return _task(item)


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
    """Runs items in `workers` processes, started afresh (not forked) so that threads are safe."""

    workers: int

    def run(
        self, task: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """Yield each item with its result as it is done.

        Raises
        ------
        ConceptAuditError
            A worker died, for instance because the system ran out of memory.
        """
        context = multiprocessing.get_context("spawn")
        threads = max(available_cpus() // self.workers, 1)
        with (
            _threads_per_worker(threads),
            ProcessPoolExecutor(
                self.workers, mp_context=context, initializer=_receive, initargs=(task,)
            ) as pool,
        ):
            waiting = iter(items)
            running: dict[Future[Result], Item] = {}
            try:
                while True:
                    while len(running) < self.workers * IN_FLIGHT_PER_WORKER:
                        item = next(waiting, None)
                        if item is None:
                            break
                        running[pool.submit(_apply, item)] = item
                    if not running:
                        return
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield running.pop(future), future.result()
            except BrokenProcessPool as error:
                raise ConceptAuditError(
                    "A worker process died, often because memory ran out. Finished shards are "
                    "kept: run the same command again, with fewer --workers if it recurs."
                ) from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
