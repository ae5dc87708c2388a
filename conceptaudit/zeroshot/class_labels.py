"""Which class an image is of: folders that stand for classes, columns that hold labels."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import parquet_schema, read_parquet
from conceptaudit.zeroshot.class_names import SHOWN, ClassNames, folded, some, whole_number

_NUMBERED = re.compile(r"(\D*)(\d{1,9})(?:\.0+)?", re.ASCII)
_PREFIXED = re.compile(r"\d{1,9}[\s._-]+(\D.*)", re.ASCII)
"""``001.Black_footed_Albatross``, ``0_ant``: the name after its index."""
_WORDLESS = re.compile(
    r"(?:(?:class|label|category|cls|id|target|index|idx|no)?[\s_-]*\d+(?:\.\d*)?|n\d{8})",
    re.ASCII | re.IGNORECASE,
)
"""Numbers, "class 7", and WordNet ids."""

LABEL_COLUMNS = ("label", "labels", "class_index", "cls", "fine_label", "target")
"""Columns of a table that hold the class of an image; the first that is there."""

NAME_COLUMNS = ("name", "label_name", "class_name", "class")
"""Columns of class names beside numeric labels; the first that is there."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """How the labels of a table are read."""

    column: str
    names: tuple[str, ...]  # by class
    first: int = 0  # label of the first class
    are_names: bool = False  # whether labels that look like numbers are names
    from_labels: bool = False  # whether the names are the labels themselves
    notes: tuple[str, ...] = ()


def read_label_column(
    files: Sequence[Path], label_column: str | None, given: Sequence[str] | None
) -> Labels | list[str]:
    """Find the label column of parquet files and how to read it."""
    schema = parquet_schema(files[0])
    column = _label_column(schema.names, label_column)
    if column is None:
        return list(schema.names)
    labels = _distinct(files, column)
    numbers = _indices(labels, files[0], column)
    names = given or _hugging_face_names(schema.metadata or {}, column)
    if numbers is None:
        return _named(column, labels, given)
    if names is None:
        names = _names_beside(files, schema.names, column)
    if all(isinstance(label, str) and label.strip() in set(names) for label in labels):
        return Labels(column=column, names=tuple(names), are_names=True)
    first = int(min(numbers) == 1 and max(numbers) == len(names))
    counted = f"Labels of {files[0].name} run from 1 to {len(names):,}: they count classes from 1."
    return Labels(column=column, names=tuple(names), first=first, notes=(counted,) if first else ())


def _label_column(columns: Sequence[str], wanted: str | None) -> str | None:
    if wanted is not None:
        return wanted if wanted in columns else None
    return next((name for name in LABEL_COLUMNS if name in columns), None)


def _distinct(files: Sequence[Path], column: str) -> list[Any]:
    """Return the different labels, without missing ones."""
    labels: set[Any] = set()
    for file in files:
        try:
            labels |= set(read_parquet(file, columns=[column])[column].dropna().tolist())
        except TypeError as error:
            raise DataError(
                f"Column {column} of {file} must hold one class per image, as a number or as "
                "text. Got lists or records instead."
            ) from error
    labels = {label for label in labels if str(label).strip()}
    if not labels:
        raise DataError(f"Column {column} of {files[0]} holds no label.")
    return list(labels)


def _indices(labels: Sequence[Any], file: Path, column: str) -> list[int] | None:
    """Return labels that are all class indices as such; None where they are names.

    -1 stands for an image without a label, as Hugging Face's ``datasets`` has it.
    """
    numbers = [label for label in labels if not isinstance(label, str | bytes | bool)]
    fractions = [n for n in numbers if not math.isfinite(n) or float(n) != int(n)]
    if fractions:
        raise DataError(
            f"Column {column} of {file} holds {fractions[0]!r}, which is no class index. Labels "
            "are whole numbers (also written 3.0) or names."
        )
    indices = [
        whole_number(label) if isinstance(label, str) else int(label)
        for label in labels
        if not isinstance(label, bool | bytes)
    ]
    usable = [index for index in indices if index is not None and index >= 0]
    if len(indices) < len(labels) or None in indices or not usable:
        return None
    return usable


def _named(column: str, labels: Sequence[Any], given: Sequence[str] | None) -> Labels:
    """Read labels that are names: the given ones decide which classes there are."""
    texts = {str(label).strip() for label in labels}
    if given is None:
        return Labels(column=column, names=ordered_folders(texts), are_names=True, from_labels=True)
    known = {folded(name) for name in given}
    strange = sorted(text for text in texts if folded(text) not in known)
    note = (
        f"{quantity(len(strange), 'label is', 'labels are')} none of the class names and their "
        "images in no number: "
        f"{some(map(repr, strange))}."
    )
    notes = (note,) if strange else ()
    return Labels(column=column, names=tuple(given), are_names=True, notes=notes)


def _hugging_face_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face's ``datasets`` writes into a table's schema."""
    try:
        features: Any = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return None


def _names_beside(files: Sequence[Path], columns: Sequence[str], label: str) -> tuple[str, ...]:
    """Class names from a column of names beside numeric labels."""
    beside = next((name for name in NAME_COLUMNS if name in columns and name != label), None)
    if beside is None:
        raise DataError(
            f"The labels of {files[0]} are numbers and no class names are there. "
            "Give them with --class-names, one per line."
        )
    table = pd.concat([read_parquet(file, columns=[label, beside]) for file in files]).dropna()
    table[label] = [whole_number(str(value)) for value in table[label]]
    pairs = table.dropna().drop_duplicates().sort_values(label)
    numbers = pairs[label].astype(int).tolist()
    if numbers not in (list(range(len(numbers))), list(range(1, len(numbers) + 1))):
        raise DataError(
            f"The labels of {files[0]} are not 0, 1, 2 … with one name each. "
            "Give the classes' names with --class-names, one per line."
        )
    return tuple(str(value).strip() for value in pairs[beside])
