"""The process that workers are forked from, where that is safe.

A worker that starts afresh spends seconds on imports, and on a pipeline that every other one loads
as well. The standard library's fork server is a process that does this once and then waits: it has
one thread, never computes, and knows no GPU, so that forking it is safe. It starts while the first
process still plans, ends with it, and belongs to the whole process that starts it; so only
processes that are ours alone have one (`ownership`); for others workers start afresh.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import forkserver, resource_tracker, util
from multiprocessing.context import BaseContext

from conceptaudit.engine.base import THREAD_VARIABLES
from conceptaudit.engine.worker_process import collect_warnings
from conceptaudit.process import is_own_process
from conceptaudit.store.partials import ScratchFolder

_LOADERS = "CONCEPTAUDIT_FORK_SERVER"  # tells the fork server, and nobody after it, what to load

# Keeps Arrow from starting a thread of its allocator's as soon as it is imported.
_ALONE = ("JE_ARROW_MALLOC_CONF", "background_thread:false")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class _ForkServer:
    """Whether there is a fork server; None while nobody has asked for one."""

    runs: bool | None = None


_server = _ForkServer()


def start_context(threads: int) -> BaseContext:
    """Return how a worker that may use some threads starts: forked, or afresh."""
    forked = threads == 1 and start_fork_server()
    return multiprocessing.get_context("forkserver" if forked else "spawn")


def start_fork_server(loaders: Sequence[str] = ()) -> bool:
    """Start the fork server in the background, unless there is one."""
    if _server.runs is None:
        _server.runs = _may_fork() and _launch(loaders)
    return _server.runs


def _may_fork() -> bool:
    single = all(os.environ.get(name) == "1" for name in THREAD_VARIABLES)
    first = multiprocessing.parent_process() is None
    return sys.platform == "linux" and first and single and is_own_process()


def _launch(loaders: Sequence[str]) -> bool:
    before = {name: os.environ.get(name) for name in (_LOADERS, _ALONE[0])}
    os.environ |= {_LOADERS: ",".join(loaders), _ALONE[0]: _ALONE[1]}
    # first: it would let through what is held back below
    resource_tracker.ensure_running()
    # until the new process can answer them: it would say on standard error what interrupted it
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        forkserver.set_forkserver_preload([__name__])
        _make_temp_dir()
        forkserver.ensure_running()
    except OSError:  # its socket's path may be too long
        return False
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return True


def _make_temp_dir() -> None:
    """Have the server's socket where it goes when this process is killed."""
    folder = ScratchFolder()
    util.Finalize(None, folder.close, exitpriority=-200)  # after what is in it, at -100
    usual, tempfile.tempdir = tempfile.tempdir, str(folder.path)
    try:
        util.get_temp_dir()
    finally:
        tempfile.tempdir = usual


def _load(loaders: Sequence[str]) -> None:
    """Load what workers need, in the fork server."""
    # Ctrl-C and a scheduler reach every process: the first one decides what becomes of the others
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    collect_warnings()
    parent = os.getppid()
    for loader in loaders:
        if os.getppid() != parent:
            os._exit(1)
        module, _, function = loader.partition(":")
        with suppress(Exception):  # whoever needs it will be told
            getattr(import_module(module), function)()
    # what is there will stay: collecting garbage would look at it, and copy what all share
    gc.collect()
    gc.freeze()


if (_wanted := os.environ.pop(_LOADERS, None)) is not None:  # this is the fork server
    _load(_wanted.split(",") if _wanted else ())
