"""Class lists that ship with the package, by the name that a user gives instead of a path."""

from pathlib import Path

SHIPPED = ("imagenet", "lvis")
"""ImageNet-1k with open_clip's names (1,000 classes), and LVIS v1 with its synonyms (1,203)."""

_FOLDER = Path(__file__).parent / "lists"


def shipped_list(name: object) -> Path | None:
    """Return the file of a list that ships; None for every other name or path.

    A file of the user's that is called like one is reached as ``./imagenet``.

    >>> shipped_list("imagenet").name, shipped_list("classes.txt")
    ('imagenet.csv', None)
    """
    return _FOLDER / f"{name}.csv" if isinstance(name, str) and name in SHIPPED else None
