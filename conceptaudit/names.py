"""Spellings of class names: what is the same name in two lists."""

import re
import unicodedata
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\s_\-\u2010-\u2015]+")


def normalise_name(name: str) -> str:
    """Fold what differs between two spellings of one class name.

    Unicode compatibility forms and case are folded; runs of spaces, underscores and hyphens
    become one space.

    Examples
    --------
    >>> normalise_name("Golden_Retriever") == normalise_name("golden-retriever ")
    True
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFC", folded)).strip()


def name_keys(names: Iterable[object]) -> list[str]:
    """Fold a column of names: tables are joined by these, and not by what is written."""
    return [normalise_name(str(name)) for name in names]


def class_keys(datasets: Iterable[object], concepts: Iterable[object]) -> list[tuple[str, str]]:
    """Fold the names of classes, each with its evaluation set."""
    return list(zip(name_keys(datasets), name_keys(concepts), strict=True))
