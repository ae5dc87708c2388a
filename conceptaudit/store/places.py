"""Where a run writes: a place of this machine, and none that it reads from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from conceptaudit.errors import ArtifactMismatchError, ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")  # a URL; `Path` takes the second slash away

_WILD = re.compile(r"[*?\[{]")
_BRACES = re.compile(r"\{([^{}]*)\}")


def output_path(out: str | Path) -> Path:
    """Return a place to write to, with ``~`` written out.

    Examples
    --------
    >>> output_path("s3://bucket/run")
    Traceback (most recent call last):
    ...
    conceptaudit.errors.ConfigError: Results are written to a file system. Got 's3://bucket/run'...
    """
    if _URL.match(str(out)):
        # as it was typed: a `Path` has lost one of the two slashes
        typed = re.sub(r":/+", "://", str(out), count=1)
        raise ConfigError(
            f"Results are written to a file system. Got {typed!r} instead: name a folder or "
            "file of this machine, or one that is mounted, and copy it from there."
        )
    if any("\ud800" <= character <= "\udfff" for character in str(out)):
        raise ConfigError(
            f"The output {str(out)!a} has a name that is not UTF-8, to which tables and "
            "indexes cannot be written. Name another place."
        )
    try:
        return Path(out).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{out} names a home that is not known: {error}") from error


def folder_of(name: str | None) -> str | None:
    """Return the folder that an option names which also takes plain names, such as a model's.

    Examples
    --------
    >>> folder_of("lab"), folder_of("models/mine")
    (None, 'models/mine')
    """
    return name if name is not None and os.sep in name else None


def check_apart(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Refuse outputs that are inputs, lie in inputs or hold inputs.

    Links are followed. What is no place of this machine (a URL, a name of a model) is passed over.
    """
    read = [str(source) for source in inputs if source is not None]
    for out in outputs:
        if out is None:
            continue
        written = os.path.realpath(Path(out).expanduser())
        for source in read:
            overlap = _overlap(written, source)
            if overlap is not None:
                raise ArtifactMismatchError(
                    f"The output {out} {overlap} {source}, which this command reads. Nothing was "
                    "written: name another place for the output."
                )


def _overlap(written: str, source: str) -> str | None:
    """How an output lies to an input: ``"is"``, ``"holds"``, ``"lies in"``, or None for apart."""
    if _URL.match(source) or "\0" in source:
        return None
    source = str(Path(source).expanduser()) if source.startswith("~") else source
    if os.path.lexists(source):
        return _relation(written, os.path.realpath(source))
    wild = _WILD.search(source)
    if wild is None:  # no file, but the name of a model, a layout, …
        return None
    fixed, slash, rest = source[: wild.start()].rpartition(os.sep)
    start = os.path.realpath(fixed + slash or os.curdir)
    if _relation(written, start) in ("is", "holds"):
        return "holds"
    # a folder that matches is read, and so is all that lies in it
    patterns = [str(Path(start, one)) for one in _alternatives(rest + source[wild.start() :])]
    above = [written, *map(str, Path(written).parents)]
    matched = any(fnmatchcase(place, pattern) for place in above for pattern in patterns)
    return "lies in" if matched else None


def _relation(written: str, read: str) -> str | None:
    if read == written:
        return "is"
    if _inside(read, written):
        return "holds"
    return "lies in" if _inside(written, read) else None


def _inside(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def _alternatives(pattern: str) -> list[str]:
    """Write braces out: ``{a,b}`` as two patterns, and a range as anything."""
    braces = _BRACES.search(pattern)
    if braces is None:
        return [pattern]
    inner = braces[1].split(",") if "," in braces[1] else ["*"]
    before, after = pattern[: braces.start()], pattern[braces.end() :]
    return [one for part in inner for one in _alternatives(before + part + after)]
