"""Paths whose names come out of a file that somebody else wrote, or that is damaged."""

from __future__ import annotations

import errno
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
    try:
        return path.is_file()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
