"""Class names of an evaluation set, by class index: where they are written and how they are read.

A name's place in its list is the label of its images, so nothing here may leave one out, sort a
list or merge two names: a list with a gap is refused.
"""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.vocabulary import shipped_list
from conceptaudit.vocabulary.lines import bare_lines, indexed_entries

CLASS_NAMES = "classnames.txt"
"""File name of CLIP_benchmark's WebDataset folders."""

NAME_FIELDS = ("concept", "name", "class", "classname", "class_name", "label", "category")
INDEX_FIELDS = ("class_index", "class_idx", "index", "id", "label_id")
SYNSET_FIELDS = ("synset", "wnid")
"""Columns of a table of class names, in any case; the first that is there."""

SHOWN = 5
"""Names that a message lists."""


def some(items: Iterable[object], most: int = SHOWN) -> str:
    """List the first few of many for a message.

    >>> some([1, 2, 3], most=2)
    '1, 2 …'
    """
    listed = [str(item) for item in items]
    return ", ".join(listed[:most]) + (" …" if len(listed) > most else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassNames:
    """Names by class index, and the WordNet ids that folders may have in their place."""

    names: tuple[str, ...]
    synsets: tuple[str, ...] = ()  # as many, or none


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetKey:
    """Which dataset's entry to take of a file that has one for each of several."""

    asked: str | None = None  # what the user said (``--dataset-key``)
    name: str = ""  # the evaluation set's own name, which is taken where nothing was said

    def entry_of(self, content: Mapping[str, Any], path: Path, what: str) -> Any:
        """Choose an entry."""
        by_name = {folded(name): value for name, value in content.items()}
        wanted = folded(self.name if self.asked is None else self.asked)
        if wanted in by_name:
            return by_name[wanted]
        if len(content) == 1 and self.asked is None:
            return next(iter(content.values()))
        raise ConfigError(
            f"{path} holds {what} of {quantity(len(content), 'dataset')} "
            f"({some(content, 2 * SHOWN)}). "
            "Say which with --dataset-key."
            + (f" Got {self.asked!r} instead." if self.asked is not None else "")
        )


NO_KEY = DatasetKey()


def named_classes(names: str | Path | Sequence[str], key: DatasetKey = NO_KEY) -> ClassNames:
    """Take class names as they are, from a file, or from a list that ships."""
    if not isinstance(names, str | Path):
        return _complete([str(name) for name in names], "the given class names")
    path = shipped_list(names) or Path(names)
    if path.is_dir():
        path /= CLASS_NAMES
    if not path.is_file():
        raise ConfigError(
            f"There is no file of class names {names} (--class-names). Give one with a name per "
            "line, or 'imagenet' or 'lvis' for the lists that ship."
        )
    ending = path.suffix.lower()
    if ending in {".yaml", ".yml", ".toml"}:
        raise DataError(
            f"Class names (--class-names) are read from text, CSV or JSON. {path} is none of "
            "these: write one name per line."
        )
    printed = None if ending in {".json", ".csv", ".tsv"} else _printed(path)
    if printed is not None:
        return _from_json(printed, path, key)
    if ending == ".json":
        return _from_json(parsed_json(path), path, key)
    if ending in {".csv", ".tsv"} or _has_header(path):
        return _from_table(path, underscores=shipped_list(names) is not None)
    return listed_names(path)


def listed_names(path: Path) -> ClassNames:
    """Read a text file with a class name per line.

    Lines that are all quoted, or all begin with a WordNet id or a class index, are read without
    these.
    """
    lines = [line.strip() for line in text_of(path).splitlines()]
    while lines and not lines[-1]:  # a file may end in line breaks; a class cannot
        lines.pop()
    lines = bare_lines(lines)
    plain = _complete(lines, str(path))
    entries = indexed_entries(lines)
    if entries is None or not all(entries):
        return plain
    first = min(entry["class_index"] for entry in entries)  # some count from 1
    by_index = {entry["class_index"] - first * (first == 1): entry for entry in entries}
    if len(by_index) < len(entries):
        raise DataError(f"{path} gives several names the same class index.")
    names = _by_index({index: entry["concept"] for index, entry in by_index.items()}, path).names
    synsets = tuple(by_index[index].get("synset", "") for index in sorted(by_index))
    return ClassNames(names=names, synsets=synsets if all(synsets) else ())


def _printed(path: Path) -> Any:
    """Read JSON, or a list or mapping as Python prints it (``imagenet1000_clsidx_to_labels.txt``).

    None where the text is neither.
    """
    text = text_of(path).strip()
    if text[:1] not in ("{", "["):
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def _complete(names: Sequence[str], where: str, synsets: Sequence[str] = ()) -> ClassNames:
    """Refuse a list in which a class has no name."""
    nameless = [index for index, name in enumerate(names) if not name.strip()]
    if nameless:
        several = len(nameless) > 1
        raise DataError(
            f"{where} has no name for the class{'es' if several else ''} with index "
            f"{some(nameless)} (line {nameless[0] + 1} is empty). A name's "
            "line is its class index, so the line cannot be left out: write the name there."
        )
    return ClassNames(names=tuple(name.strip() for name in names), synsets=tuple(synsets))


def text_of(path: Path) -> str:
    """Read a text file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read {path}: {error}.") from error


def parsed_json(path: Path) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(text_of(path))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from error


def _from_json(content: Any, path: Path, key: DatasetKey) -> ClassNames:
    if isinstance(content, Mapping) and content:
        values = list(content.values())
        numbered = all(str(name).isdigit() for name in content)
        if numbered and all(isinstance(v, str) for v in values):
            return _by_index({int(i): name for i, name in content.items()}, path)
        if numbered and all(isinstance(v, list) and len(v) == 2 for v in values):
            pairs = {int(i): pair for i, pair in content.items()}
            read = _by_index({i: str(pair[1]).replace("_", " ") for i, pair in pairs.items()}, path)
            return ClassNames(
                names=read.names, synsets=tuple(str(pairs[i][0]) for i in sorted(pairs))
            )
        if all(isinstance(v, int) and not isinstance(v, bool) for v in values):
            if len(set(values)) < len(values):
                raise DataError(f"{path} gives several names the same class index.")
            return _by_index({index: name for name, index in content.items()}, path)
        if all(isinstance(v, list) for v in values):
            content = key.entry_of(content, path, "class names")
    if isinstance(content, list) and all(isinstance(name, str | None) for name in content):
        return _complete([name or "" for name in content], str(path))
    raise DataError(
        "Class names in JSON must be a list of names, a mapping of class index to name, or a "
        f"mapping of datasets to lists of names. {path} is none of these."
    )


def _from_table(path: Path, *, underscores: bool) -> ClassNames:
    text = text_of(path)
    delimiter = _delimiter(text, "\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        raise DataError(f"{path} is not a valid table: {error}.") from error
    columns = {str(column).strip().lower(): column for column in (rows[0] if rows else {})}
    fields = [
        next((columns[name] for name in names if name in columns), None)
        for names in (NAME_FIELDS, INDEX_FIELDS, SYNSET_FIELDS)
    ]
    name, index, synset = fields
    if name is None:
        if len(columns) <= 1 and delimiter not in text:  # a list of names that is called .csv
            return listed_names(path)
        raise DataError(
            f"{path} must have a column of class names called one of {', '.join(NAME_FIELDS)}. "
            f"Got {', '.join(columns) or 'none'} instead."
        )
    names = [(row[name] or "").strip() for row in rows]
    names = [one.replace("_", " ") for one in names] if underscores else names
    synsets = [(row[synset] or "").strip() for row in rows] if synset is not None else []
    if index is None:
        return _complete(names, str(path), synsets)
    labels = [whole_number(row[index] or "") for row in rows]
    if None in labels or len(set(labels)) < len(labels):
        raise DataError(f"The column {index} of {path} must give every class an index of its own.")
    order = {label: row for row, label in enumerate(labels) if label is not None}
    read = _by_index({label: names[row] for label, row in order.items()}, path)
    return ClassNames(
        names=read.names, synsets=tuple(synsets[order[i]] for i in sorted(order)) if synsets else ()
    )


def _delimiter(text: str, usual: str) -> str:
    """Find what parts the columns: what the ending says, unless the header has only another."""
    header = text.partition("\n")[0]
    return usual if usual in header else max(",;\t|", key=header.count)


def _has_header(path: Path) -> bool:
    """Whether a text file is a table: its first line names the column of names and another."""
    text = text_of(path)
    header = text.partition("\n")[0].lower().split(_delimiter(text, ","))
    names = {name.strip().strip('"') for name in header}
    return bool(names & {*NAME_FIELDS}) and bool(names & {*INDEX_FIELDS, *SYNSET_FIELDS})


def _by_index(names: Mapping[int, str], path: Path) -> ClassNames:
    missing = sorted(set(range(max(names, default=-1) + 1)) - set(names))
    if missing or min(names, default=0) < 0:
        raise DataError(
            f"The class indices of {path} must run from 0 without a gap. "
            f"{f'It has none for {missing[0]}.' if missing else 'It has negative ones.'}"
        )
    return _complete([names[index] for index in sorted(names)], str(path))


def folded(name: str) -> str:
    """Fold what differs between a class name and the folder named after it.

    >>> folded("Hot_Dog")
    'hot dog'
    """
    return " ".join(name.replace("_", " ").casefold().split())


def whole_number(text: str) -> int | None:
    """Read a class index, written as an integer or as a float; None for anything else.

    >>> whole_number("3"), whole_number(" 3.0"), whole_number("007"), whole_number("3.5")
    (3, 3, 7, None)
    """
    match = re.fullmatch(r"\+?(\d{1,9})(?:\.0*)?", text.strip(), re.ASCII)
    return int(match[1]) if match else None
