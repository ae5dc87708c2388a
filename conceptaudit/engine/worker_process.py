"""One process that applies functions, whose answers are futures and carry what it warned of.

`concurrent.futures` does the same with queues, whose semaphores have names in the system: a killed
run leaves them behind. A pipe has none, and ends with the last process that holds it. A worker that
wrote its warnings to standard error itself would say the same as every other one, in the middle of
the progress line; it collects them instead.
"""

from __future__ import annotations

import logging
import signal
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from queue import Empty, SimpleQueue
from traceback import format_exc
from typing import Any

# Wait until a new process has said what it does about them.
QUIET_AT_START = (signal.SIGINT, signal.SIGTERM)

Call = tuple[Callable[[Any], Any], Any]


class _News(Enum):
    END = "nothing more will be asked for"
    DEATH = "the process is gone"


class WorkerProcess:
    """A process that does one thing after another."""

    def __init__(self, context: BaseContext, prepare: Callable[[], None]) -> None:
        self._context = context
        self._prepare = prepare
        self._calls: SimpleQueue[tuple[Future[Any], Call] | _News] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._broken: BrokenProcessPool | None = None

    def submit(self, function: Callable[[Any], Any], argument: Any) -> Future[Any]:
        """Have it apply a function; the first call starts it."""
        future: Future[Any] = Future()
        with self._lock:
            if self._broken is not None:
                raise self._broken
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, daemon=True)
                self._thread.start()
            self._calls.put((future, (function, argument)))
        return future

    def shutdown(self, *, wait: bool = True, cancel_futures: bool = False) -> None:
        """End the process after what it is busy with, or after all that it was told."""
        with self._lock:
            waiting = self._taken_back() if cancel_futures else []
            self._calls.put(_News.END)
        for future in waiting:
            future.cancel()
        if wait and self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        """Pass calls on one by one; a thread of the process that asks."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(  # type: ignore[attr-defined]  # each context has one
            target=_work, args=(theirs, self._prepare), daemon=True
        )
        resource_tracker.ensure_running()  # first: it would let through what is held back next
        signal.pthread_sigmask(signal.SIG_BLOCK, QUIET_AT_START)  # this thread's, and inherited
        with ours:
            try:
                process.start()
                theirs.close()
                threading.Thread(target=self._watch, args=(process,), daemon=True).start()
                while (entry := self._calls.get()) is not _News.END:
                    if entry is _News.DEATH:
                        raise EOFError
                    future, call = entry
                    if not future.set_running_or_notify_cancel():
                        continue
                    if not self._answered(ours, process.sentinel, future, call):
                        return
            except BaseException as error:  # noqa: BLE001 -- told to whoever waits for an answer
                self._fail(error)
            finally:
                ours.close()
                if process.pid is not None:
                    process.join()

    def _watch(self, process: BaseProcess) -> None:
        """Tell when the process is gone, also where nobody waits for an answer."""
        wait([process.sentinel])
        self._calls.put(_News.DEATH)

    def _answered(self, pipe: Connection, sentinel: int, future: Future[Any], call: Call) -> bool:
        """Have a call done; False where the process died over it."""
        try:
            message = ForkingPickler.dumps(call)
        except Exception as error:  # noqa: BLE001 -- it cannot be sent: the caller's to know
            future.set_exception(error)
            return True
        try:
            pipe.send_bytes(message)
            if pipe not in wait([pipe, sentinel]):
                raise EOFError
            reply = pipe.recv_bytes()
        except (EOFError, OSError) as error:
            self._fail(error, future)
            return False
        try:
            done, value, warned = ForkingPickler.loads(reply)
        except Exception as error:  # noqa: BLE001 -- an answer that cannot be read is an error
            done, value, warned = False, error, []
        repeat_warnings(warned)
        if done:
            future.set_result(value)
        else:
            future.set_exception(value)
        return True

    def _fail(self, error: BaseException, future: Future[Any] | None = None) -> None:
        broken = BrokenProcessPool("A worker process died.")
        broken.__cause__ = error
        with self._lock:
            self._broken = broken
            left = [one for one in self._taken_back() if one.set_running_or_notify_cancel()]
        for one in left if future is None else [future, *left]:
            one.set_exception(broken)

    def _taken_back(self) -> list[Future[Any]]:
        """Return what was not begun, and never will be."""
        found = []
        with suppress(Empty):
            while True:
                entry = self._calls.get_nowait()
                if not isinstance(entry, _News):
                    found.append(entry[0])
        return found


def _work(pipe: Connection, prepare: Callable[[], None]) -> None:
    """Do what is asked for; the process's own part."""
    collect_warnings()
    prepare()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, QUIET_AT_START)
    with pipe, suppress(EOFError, OSError):
        while True:
            function, argument = pipe.recv()
            try:
                answer = (True, function(argument))
            except Exception as error:  # noqa: BLE001 -- every error goes back to who asked
                error.add_note(f"In a worker process:\n{format_exc()}")
                answer = (False, error)
            try:
                message = ForkingPickler.dumps((*answer, take_warnings()))
            except Exception as error:  # noqa: BLE001 -- a result that cannot be sent is an error
                message = ForkingPickler.dumps((False, TypeError(f"{answer[1]!r}: {error}"), []))
            pipe.send_bytes(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerWarning:
    """A warning, or a log record of level WARNING or above."""

    message: str
    category: type[Warning] | None  # none for a log record
    path: str  # where it came up
    line: int
    logger: str = ""  # of a log record
    level: int = logging.WARNING


_collected: list[WorkerWarning] = []
# Warnings that this process has shown, as `warnings` notes them per module.
_shown: dict[Any, Any] = {}


class _Collector(logging.Handler):
    """Collects log records."""

    def emit(self, record: logging.LogRecord) -> None:
        _collected.append(
            WorkerWarning(
                message=record.getMessage(), category=None, path=record.pathname,
                line=record.lineno, logger=record.name, level=record.levelno,
            )
        )  # fmt: skip


def _collect(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001 -- the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001
) -> None:
    _collected.append(
        WorkerWarning(message=str(message), category=category, path=filename, line=lineno)
    )


def collect_warnings() -> None:
    """Collect from here on, in a worker process; once is enough."""
    if warnings.showwarning is _collect:  # inherited from the process that it was forked from
        return
    warnings.showwarning = _collect
    logging.getLogger().addHandler(_Collector(logging.WARNING))


def take_warnings() -> list[WorkerWarning]:
    """Return what was collected since the last call."""
    taken = list(_collected)
    _collected.clear()
    return taken


def repeat_warnings(taken: list[WorkerWarning]) -> None:
    """Warn in this process of what came up in a worker, each distinct warning once."""
    for one in taken:
        if one.category is not None:
            with suppress(one.category):  # a filter that makes errors of them is the worker's
                warnings.warn_explicit(
                    one.message, one.category, one.path, one.line, registry=_shown
                )
            continue
        record = logging.LogRecord(
            one.logger, one.level, one.path, one.line, one.message, None, None
        )
        logging.getLogger(one.logger).handle(record)
