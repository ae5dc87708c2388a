"""The labels of a table: which column holds them, whether they are indices or names."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.reading import parquet_schema, read_parquet
from conceptaudit.zeroshot.class_folders import ordered_folders
from conceptaudit.zeroshot.class_names import SHOWN, folded, whole_number

LABEL_COLUMNS = ("label", "labels", "class_index", "cls", "fine_label", "target")
"""Columns of a table that hold the class of an image; the first that is there."""

NAME_COLUMNS = ("name", "label_name", "class_name", "class")
"""Columns of class names beside numeric labels; the first that is there."""


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
        f"{', '.join(map(repr, strange[:SHOWN]))}{' …' if len(strange) > SHOWN else ''}."
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
    import pandas as pd

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
