"""Class names and prompt templates of an evaluation set: where they are written, how they fit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.prompts import DEFAULT_TEMPLATES
from conceptaudit.reading import read_parquet

CLASS_NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"
"""File names of CLIP_benchmark's WebDataset folders."""

LABEL_COLUMNS = ("label", "labels", "class_index", "cls", "fine_label", "target")
"""Columns of a table that hold the class of an image; the first that is there."""

NAME_COLUMNS = ("name", "label_name", "class_name", "class")
"""Columns of class names beside numeric labels; the first that is there."""

IMAGENET = "imagenet"
"""Asks for open_clip's names or templates of ImageNet."""


def own_templates(root: Path) -> tuple[str, ...]:
    """Templates that lie beside a set, else the default."""
    file = root / TEMPLATES
    return with_braces(lines_of(file)) if file.is_file() else DEFAULT_TEMPLATES


def lines_of(file: Path) -> tuple[str, ...]:
    """Read the lines of a text file that are not empty, without surrounding space.

    Raises
    ------
    DataError
        The file cannot be read as UTF-8.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {file}: {error}.") from error
    return tuple(line.strip() for line in lines if line.strip())


def named_classes(names: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Take class names as they are, from a file, or open_clip's of ImageNet."""
    if isinstance(names, str | Path):
        if str(names) == IMAGENET:
            import open_clip

            return tuple(open_clip.IMAGENET_CLASSNAMES)
        return lines_of(Path(names))
    return tuple(names)


def named_templates(templates: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Take templates as they are, from a file, or open_clip's of ImageNet."""
    if isinstance(templates, str | Path):
        if str(templates) == IMAGENET:
            import open_clip

            return tuple(template("{}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
        return with_braces(lines_of(Path(templates)))
    return with_braces(tuple(templates))


def with_braces(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Write every template with ``{}``.

    Raises
    ------
    ConfigError
        A template has no place for the name, or several.

    Examples
    --------
    >>> with_braces(("a photo of a {c}.",))
    ('a photo of a {}.',)
    """
    plain = tuple(template.replace("{c}", "{}") for template in templates)
    for template in plain:
        if template.count("{}") != 1:
            raise ConfigError(
                "A prompt template must hold '{}' (or '{c}') once, where the class's name goes. "
                f"Got {template!r} instead."
            )
    return plain


def folded(name: str) -> str:
    """Fold what differs between a class name and the folder named after it.

    Examples
    --------
    >>> folded("Hot_Dog")
    'hot dog'
    """
    return " ".join(name.replace("_", " ").casefold().split())


def label_column_of(columns: Sequence[str], wanted: str | None) -> str | None:
    """Return the label column: the one asked for, else the first usual one; None without."""
    if wanted is not None:
        return wanted if wanted in columns else None
    return next((name for name in LABEL_COLUMNS if name in columns), None)


def hugging_face_names(metadata: dict[bytes, bytes], column: str) -> tuple[str, ...] | None:
    """Class names that Hugging Face's ``datasets`` writes into a table's schema."""
    try:
        features: Any = json.loads(metadata[b"huggingface"])["info"]["features"]
        return tuple(str(name) for name in features[column]["names"])
    except (KeyError, ValueError, TypeError):
        return None


def names_beside_labels(files: Sequence[Path], columns: list[str], label: str) -> tuple[str, ...]:
    """Class names from a column of names beside the labels, or from labels that are names.

    Raises
    ------
    DataError
        Labels are numbers without names, or do not run 0, 1, 2 … with one name each.
    """
    import pandas as pd

    beside = next((name for name in NAME_COLUMNS if name in columns), None)
    wanted = [label] if beside in (None, label) else [label, str(beside)]
    table = pd.concat([read_parquet(file, columns=wanted) for file in files])
    if not pd.api.types.is_integer_dtype(table[label]):
        return tuple(sorted({str(value) for value in table[label].dropna()}))
    if len(wanted) == 1:
        raise DataError(
            f"The labels of {files[0]} are numbers and no class names are there. "
            "Give them with --class-names, one per line."
        )
    pairs = table.drop_duplicates(wanted).sort_values(label)
    if pairs[label].duplicated().any() or pairs[label].tolist() != list(range(len(pairs))):
        raise DataError(
            f"The labels of {files[0]} are not 0, 1, 2 … with one name each. "
            "Give the classes' names with --class-names, one per line."
        )
    return tuple(str(value) for value in pairs[wanted[1]])
