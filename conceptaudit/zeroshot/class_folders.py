"""Folders that stand for classes: their order, and which class each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.zeroshot.class_names import SHOWN, ClassNames, folded

_NUMBERED = re.compile(r"(\D*)(\d{1,9})(?:\.0+)?", re.ASCII)
_PREFIXED = re.compile(r"\d{1,9}[\s._-]+(\D.*)", re.ASCII)
"""``001.Black_footed_Albatross``, ``0_ant``: the name after its index."""
_WORDLESS = re.compile(
    r"(?:(?:class|label|category|cls|id|target|index|idx|no)?[\s_-]*\d+(?:\.\d*)?|n\d{8})",
    re.ASCII | re.IGNORECASE,
)
"""Numbers, "class 7", and WordNet ids."""


def folder_numbers(folders: Iterable[str]) -> dict[str, int] | None:
    """Return the number of each folder; None unless all are numbers after one and the same prefix.

    >>> folder_numbers(["class_2", "class_10"]), folder_numbers(["737-200", "dc-10"])
    ({'class_2': 2, 'class_10': 10}, None)
    """
    matches = {folder: _NUMBERED.fullmatch(folder) for folder in folders}
    numbers = {folder: int(match[2]) for folder, match in matches.items() if match}
    prefixes = {match[1] for match in matches.values() if match}
    distinct = len(set(numbers.values())) == len(numbers)
    return numbers if len(numbers) == len(matches) and len(prefixes) == 1 and distinct else None


def ordered_folders(folders: Iterable[str]) -> tuple[str, ...]:
    """Sort folders as numbers where all are numbered, else as text.

    >>> ordered_folders(["10", "9", "0"]), ordered_folders(["b", "a10", "a9"])
    (('0', '9', '10'), ('a10', 'a9', 'b'))
    """
    listed = list(folders)
    numbers = folder_numbers(listed)
    return tuple(sorted(listed) if numbers is None else sorted(listed, key=numbers.__getitem__))


def says_nothing(name: str) -> bool:
    """Whether a class name is a number or an id, of which no prompt can be made.

    >>> [says_nothing(name) for name in ("0", "class 7", "n01440764", "dog", "Boeing 747")]
    [True, True, True, False, False]
    """
    return _WORDLESS.fullmatch(name.strip()) is not None


def folders_of_classes(
    folders: Sequence[str], own_names: Sequence[str], given: ClassNames, location: str
) -> tuple[tuple[str, ...], str | None]:
    """Find the folder of each class that a user named.

    By name where every folder has one; else by WordNet id; else by the folders' numbers where all
    are class indices; else in the folders' order where there are as many names.
    """
    names = given.names
    by_name = {folded(name): folder for name, folder in zip(own_names, folders, strict=True)}
    after_index = {folder: _PREFIXED.fullmatch(folder) for folder in folders}
    if all(after_index.values()):
        by_name |= {folded(match[1]): folder for folder, match in after_index.items() if match}
    by_name |= {folded(folder): folder for folder in folders}
    matched = tuple(by_name.get(folded(name), "") for name in names)
    if set(folders) <= set(matched):
        return matched, None
    by_synset = tuple(by_name.get(synset, "") for synset in given.synsets)
    if by_synset and set(folders) <= set(by_synset):
        return by_synset, f"Folders were given the names of their WordNet ids: {len(folders):,}."
    numbers = folder_numbers(folders)
    if numbers is not None and all(number < len(names) for number in numbers.values()):
        by_number = {number: folder for folder, number in numbers.items()}
        found = tuple(by_number.get(index, "") for index in range(len(names)))
        return found, f"Folders are class indices: {_pairs(found, names)}."
    misplaced = [f for f, m in zip(folders, matched, strict=False) if f in matched and f != m]
    if len(names) == len(folders) and not misplaced:
        order = "sorted" if numbers is None else "numeric"
        return tuple(folders), (
            f"Folders were given the names in {order} order: {_pairs(folders, names)}."
        )
    missing = sorted(set(folders) - set(matched))
    raise ConfigError(
        f"Class names (--class-names) must match the folders of {location} by name, or be as many "
        f"as they are ({len(folders):,}) in their order. Got {quantity(len(names), 'name')}"
        f"{', in another order' if len(names) == len(folders) else ''}, none of which is the "
        f"folder {missing[0]!r}'s."
    )


def _pairs(folders: Sequence[str], names: Sequence[str]) -> str:
    pairs = [f"{f!r} is {name!r}" for f, name in zip(folders, names, strict=True) if f]
    if len(pairs) <= SHOWN:
        return ", ".join(pairs)
    return ", ".join([*pairs[: SHOWN - 2], "…", pairs[-1]])
