"""Braces in a location, as shells and WebDataset write lists of archives: ``{00000..00099}.tar``.

A quoted pattern reaches the program with its braces, since the shell does not look inside quotes.
"""

import re
from collections.abc import Iterator
from itertools import product

from conceptaudit.errors import ConfigError

MAX_NAMES = 1_000_000
"""More shards than anybody has: a slip such as ``{0..99999999}`` must not fill the memory."""

_GROUP = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{},]*(?:,[^{},]*)+)\}")


def has_braces(location: str) -> bool:
    """Whether a location holds a range ``{00..12}`` or a list ``{train,val}``."""
    return _GROUP.search(location) is not None


def starred(location: str) -> str:
    """Write ``*`` for every range and list."""
    return _GROUP.sub("*", location)


def expand_braces(location: str) -> list[str]:
    """Write out the names that a location with braces stands for, in order.

    Parameters
    ----------
    location : str
        Ranges count up or down; a bound that begins with 0 sets the number of digits. Braces that
        are neither range nor list stand for themselves.

    Raises
    ------
    ConfigError
        There would be more than `MAX_NAMES` names.

    Examples
    --------
    >>> expand_braces("data/{098..101}.tar")
    ['data/098.tar', 'data/099.tar', 'data/100.tar', 'data/101.tar']
    >>> expand_braces("{train,val}/*.{jpg,png}")
    ['train/*.jpg', 'train/*.png', 'val/*.jpg', 'val/*.png']
    """
    parts: list[range | list[str]] = []
    digits: list[int] = []
    texts: list[str] = []
    total, place = 1, 0
    for found in _GROUP.finditer(location):
        texts.append(location[place : found.start()])
        place = found.end()
        if found[3] is not None:
            parts.append(found[3].split(","))
            digits.append(0)
        else:
            first, last = int(found[1]), int(found[2])
            step = 1 if first <= last else -1
            parts.append(range(first, last + step, step))
            padded = any(bound[0] == "0" and len(bound) > 1 for bound in (found[1], found[2]))
            digits.append(max(len(found[1]), len(found[2])) if padded else 0)
        total *= len(parts[-1])
    if total > MAX_NAMES:
        raise ConfigError(
            f"The 'location' parameter of open_dataset must name at most {MAX_NAMES:,} files. Got "
            f"{location!r} instead, which stands for {total:,}."
        )
    return [
        "".join(text + one for text, one in zip(texts, chosen, strict=True)) + location[place:]
        for chosen in product(*(_written(part, n) for part, n in zip(parts, digits, strict=True)))
    ]


def _written(part: range | list[str], digits: int) -> Iterator[str]:
    for one in part:
        yield f"{one:0{digits}d}" if isinstance(one, int) else one


def check_all_there(location: str, wanted: int, missing: list[str]) -> None:
    """Refuse a location some of whose names lead to no file: its counts would be too small.

    Raises
    ------
    ConfigError
        Some names lead nowhere.
    """
    if not missing:
        return
    if len(missing) == wanted:
        raise ConfigError(
            "The 'location' parameter of open_dataset must be an existing file, folder, glob "
            f"pattern or fsspec URL. Got {location!r} instead, which names nothing that exists."
        )
    raise ConfigError(
        f"{len(missing):,} of the {wanted:,} files that {location!r} stands for do not exist: "
        f"{', '.join(missing[:3])}{', …' if len(missing) > 3 else '.'} Name those that do, or all "
        f"that are there: {starred(location)!r}."
    )
