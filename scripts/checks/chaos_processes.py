"""Processes of a run that is to be killed: start one, find all that belong to it, end them."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

BURIAL_SECONDS = 150.0
"""Two helpers of Ray call the cluster for 60 seconds before they believe that it is gone."""


def forked(arguments: list[str], log: Path, place: Path, *, die_at: int | None = None) -> int:
    """Start the program in a session of its own; return the process's id.

    Parameters
    ----------
    arguments : list of str
    log : Path
        Where it writes what it says.
    place : Path
        For its temporary files.
    die_at : int or None
        Which file, from 1, it is about to rename into place when it kills its session.
    """
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        _forget_exit_functions()
        with log.open("ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        os.environ["TMPDIR"] = str(place)
        tempfile.tempdir = None
        if die_at is not None:
            _die_at(die_at)
        from conceptaudit.cli.main import main

        code = main(arguments)
    except BaseException:  # noqa: BLE001 -- nothing may leave a forked process but its exit code
        traceback.print_exc()
    finally:
        _leave(code)


def _forget_exit_functions() -> None:
    """Leave to the first process what it has arranged for its own end."""
    from multiprocessing import util

    atexit._clear()  # noqa: SLF001 -- there is no other way
    util._finalizer_registry.clear()  # noqa: SLF001 -- nor for what that module keeps
    atexit.register(util._exit_function)  # noqa: SLF001 -- which ends its helpers


def _leave(code: int) -> None:
    """End like Python does, as far as temporary files go: what is to be done at exit, then out."""
    with suppress(BaseException):
        atexit._run_exitfuncs()  # noqa: SLF001 -- what a forked process else leaves out
    os._exit(code)


def _die_at(number: int) -> None:
    left = [number]

    def hook(event: str, _arguments: object) -> None:
        if event == "os.rename":
            left[0] -= 1
            if not left[0]:
                os.killpg(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def ended(process: int) -> int | None:
    """Return a process's exit code (negative: the signal that ended it), or None if it runs."""
    found, status = os.waitpid(process, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def members(session: int) -> dict[int, tuple[int, str]]:
    """Living processes of a session, each with its parent and its command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] not in "ZX":
                line = (
                    (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
                found[int(entry.name)] = (int(fields[1]), line)
    return found


def workers(session: int) -> list[int]:
    """Those of a session that do the work of others: spawned, forked from a server, or actors."""
    found = members(session)

    def is_server(pid: int) -> bool:
        return "forkserver" in found.get(pid, (0, ""))[1]

    def is_worker(pid: int, parent: int, line: str) -> bool:
        forked_from_server = is_server(pid) and is_server(parent)
        return forked_from_server or "spawn_main" in line or "ray::TaskActor" in line

    return sorted(pid for pid, (parent, line) in found.items() if is_worker(pid, parent, line))


def kill_session(session: int) -> None:
    """End all processes of a session at once, and those that they started meanwhile."""
    while found := members(session):
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def is_buried(session: int) -> bool:
    """Whether all processes of a session end without being killed."""
    return _comes_true(lambda: not members(session))


def is_idle(session: int) -> bool:
    """Whether all workers of a session end without being killed."""
    return _comes_true(lambda: not workers(session))


def _comes_true(asked: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + BURIAL_SECONDS
    while time.monotonic() < deadline:
        if asked():
            return True
        time.sleep(0.02)
    return False
