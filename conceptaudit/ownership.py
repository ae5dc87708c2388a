"""Whether this process runs nothing but this package, as the program and its workers do.

Then what only other code could want of it may be left out, or be arranged as suits us; within a
user's own program it may not. The mark is in the environment, so that child processes have it too.
"""

import os

_MARK = "CONCEPTAUDIT_OWN_PROCESS"


def claim_process() -> None:
    """Say that this process, and those that it starts, run nothing but this package."""
    os.environ[_MARK] = "1"


def is_own_process() -> bool:
    """Tell whether this process, or the one that started it, has been claimed."""
    return _MARK in os.environ
