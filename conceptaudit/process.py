"""The process itself: its answer to Ctrl-C and SIGTERM, and whether it is ours alone.

An interruption is one line and exit code 130, from the program's first line to its last. A process
that is ours alone, as the program and its workers are, may leave out what only other code could
want of it; a user's own program may not.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
INTERRUPTED = "Interrupted. Run the same command again to go on."
SAME_INTERRUPTION_SECONDS = 1.0
LOOK_AGAIN_SECONDS = 0.05
PATIENCE_SECONDS = 2.0


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM.

    A class of its own, because Python remembers a plain `KeyboardInterrupt` that passes through
    ``exec`` (as data classes use it) and, though it was caught, ends the process by the signal.
    """


class Interruption:
    """Turns Ctrl-C and SIGTERM into `Interrupted`, so that both clean up on the way out.

    A terminal and a scheduler may send both, or one twice: what follows within a second is the
    same interruption, and must not break off the cleaning up. While a module is being imported
    the exception waits: extension modules swallow it or abort the process. If that takes longer
    than `PATIENCE_SECONDS`, or who asks asks again, the process leaves on the spot; what it leaves
    behind then is what a kill leaves, and goes with the next run.
    """

    def __init__(self) -> None:
        self._last = float("-inf")
        self._waits = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Raise `Interrupted`, now or when the import is over."""
        now = time.monotonic()
        if number != signal.SIGALRM:
            if now - self._last <= SAME_INTERRUPTION_SECONDS:
                return
            if self._waits:
                leave(number, frame)
            self._last = now
        self._waits = _is_importing(frame)
        if not self._waits:
            raise Interrupted
        if now - self._last > PATIENCE_SECONDS:
            leave(number, frame)
        signal.signal(signal.SIGALRM, self)
        signal.setitimer(signal.ITIMER_REAL, LOOK_AGAIN_SECONDS)


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """End the process on the spot, where nothing has been begun that wants cleaning up."""
    with suppress(OSError):  # a terminal that is gone
        os.write(2, f"{INTERRUPTED}\n".encode())
    os._exit(EXIT_INTERRUPTED)


def leave_when_asked() -> None:
    """Answer Ctrl-C and SIGTERM by `leave`, unless they are ignored (as `nohup` leaves them)."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, leave)


@contextmanager
def interruptible() -> Iterator[None]:
    """Clean up before leaving, within this block; for the program, and not for who imports it."""
    ours = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is leave]
    answer = Interruption()
    for number in ours:
        signal.signal(number, answer)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGALRM) is answer:  # it waits no longer: the block has ended
            signal.signal(signal.SIGALRM, signal.SIG_IGN)
            signal.setitimer(signal.ITIMER_REAL, 0)
        for number in ours:
            signal.signal(number, leave)


# in the environment, so that child processes have it too
_MARK = "CONCEPTAUDIT_OWN_PROCESS"


def claim_process() -> None:
    """Say that this process, and those that it starts, run nothing but this package."""
    os.environ[_MARK] = "1"


def is_own_process() -> bool:
    """Tell whether this process, or the one that started it, has been claimed."""
    return _MARK in os.environ
