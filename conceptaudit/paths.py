"""Paths whose names come out of a file that somebody else wrote, or that is damaged."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path


def is_there(path: Path) -> bool:
    """Whether a path is a file.

    `Path.is_file` fails for a name that is longer than a file system allows. No such file can be
    there, so the answer is no; what else goes wrong is still raised.

    Examples
    --------
    >>> is_there(Path("x" * 5000))
    False
    """
    return _unless_too_long(path.is_file)


def exists(path: Path) -> bool:
    """Whether a path is anything; a name that is too long is nothing, as in `is_there`.

    Examples
    --------
    >>> exists(Path("x" * 5000)), exists(Path("."))
    (False, True)
    """
    return _unless_too_long(path.exists)


def _unless_too_long(ask: Callable[[], bool]) -> bool:
    try:
        return ask()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
