"""The file formats that lists of concepts come in, as plain records."""

import csv
import io
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Concept

COLUMNS = {
    "name": ("concept", "name", "class", "classname", "class_name", "label", "category", "term"),
    "aliases": ("aliases", "alias", "synonyms", "alternates"),
    "prompts": ("prompts", "prompt", "templates"),
    "synset": ("synset", "wnid"),
    "dataset": ("dataset",),
    "class_index": ("class_index", "class_idx", "index"),
}
"""Accepted names of each field; ``name`` and ``synonyms`` are LVIS's."""

_LISTS = ("concepts", "classes", "classnames", "class_names", "names", "metadata")
_CLASSNAMES = "classnames.txt"
_TEMPLATES = "zeroshot_classification_templates.txt"
"""File names and the ``{c}`` placeholder are CLIP_benchmark's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of a list: the concept, or None where it has no name, and where it stands."""

    place: str
    concept: Concept | None


def read_source(path: Path) -> Iterator[Record]:
    """Read a concept file or a CLIP_benchmark folder.

    Raises
    ------
    ConfigError
        There is no such file, or no column of names in it.
    DataError
        The file cannot be parsed.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise ConfigError(
            "The 'source' parameter of read_concepts must be a list of names or an existing file "
            f"or folder. Got {str(path)!r} instead, which does not exist."
        )
    text = _text(path)
    ending = path.suffix.lower()
    if ending in {".csv", ".tsv", ".tab"}:
        return _table(text, path)
    parse = _PARSERS.get(ending)
    return _lines(text, ()) if parse is None else records_of(parse(text, path), str(path))


def _text(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"The concept file {path} must be UTF-8 text. Got byte "
            f"{error.object[error.start]:#04x} at position {error.start:,} instead; "
            "save it as UTF-8."
        ) from error
    except OSError as error:
        raise DataError(f"The concept file {path} cannot be read: {error.strerror}.") from error
    return text


def _parse_json(text: str, path: Path) -> Any:
    return _parsed(json.loads, text, path, "JSON")


def _parse_json_lines(text: str, path: Path) -> Any:
    return [_parse_json(line, path) for line in text.splitlines() if line.strip()]


def _parse_toml(text: str, path: Path) -> Any:
    return _parsed(tomllib.loads, text, path, "TOML")


def _parse_yaml(text: str, path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"The concept file {path} is not valid YAML: {found}.") from error


def _parsed(parse: Callable[[str], Any], text: str, path: Path, kind: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The concept file {path} is not valid {kind}: {error}.") from error


_PARSERS = {
    ".json": _parse_json,
    ".jsonl": _parse_json_lines,
    ".ndjson": _parse_json_lines,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": _parse_toml,
}


def _read_folder(path: Path) -> Iterator[Record]:
    names = path / _CLASSNAMES
    if not names.is_file():
        raise ConfigError(
            "The 'source' parameter of read_concepts must be a file or a CLIP_benchmark folder "
            f"with {_CLASSNAMES}. Got the folder {str(path)!r} without it instead."
        )
    file = path / _TEMPLATES
    templates = tuple(line.strip() for line in _text(file).splitlines()) if file.is_file() else ()
    templates = tuple(template for template in templates if template)
    odd = [template for template in templates if "{c}" not in template]
    if odd:
        raise DataError(
            f"Every template of {file} must hold {{c}}, where the name goes. "
            f"Got {odd[0]!r} instead."
        )
    return _lines(_text(names), templates)


def _lines(text: str, templates: Sequence[str]) -> Iterator[Record]:
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    for number, line in enumerate(lines):
        name = line.strip()
        prompts = tuple(template.replace("{c}", name) for template in templates)
        concept = Concept(name=name, prompts=prompts, class_index=number) if name else None
        yield Record(place=f"line {number + 1}", concept=concept)


def _table(text: str, path: Path) -> Iterator[Record]:
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"The concept file {path} is not a valid table: {error}.") from error
    if not rows:
        return iter(())
    names = [name.strip() for name in rows[0]]
    if _column(names, "name") is None:
        if len(names) == 1:  # a list of names that is called .csv
            return _lines("\n".join(" ".join(row) for row in rows), ())
        raise ConfigError(
            f"The table {path} must have a column of names called one of "
            f"{list(COLUMNS['name'])}. Got the columns {names} instead."
        )
    wide = next((i for i, row in enumerate(rows) if len(row) > len(names)), None)
    if wide is not None:
        raise DataError(
            f"Row {wide + 1} of {path} has {len(rows[wide])} fields instead of {len(names)}. Put "
            "names that hold the delimiter in quotation marks."
        )
    return records_of([dict(zip(names, row, strict=False)) for row in rows[1:]], str(path), 2)


def records_of(content: Any, where: str, first: int = 1) -> Iterator[Record]:
    """Make records of parsed content.

    Parameters
    ----------
    content : object
        A list of names or of records; a mapping of name to aliases, record or count; or a
        mapping that holds one of these under ``concepts``, ``classes`` or ``names``.
    where : str
        The source, for error messages.
    first : int
        Number of the first entry, for error messages.
    """
    if isinstance(content, Mapping):
        listed = next((key for key in content if str(key).lower() in _LISTS), None)
        if listed is not None and isinstance(content[listed], (list, Mapping)):
            return records_of(content[listed], where)
        entries = [_from_pair(str(key), value) for key, value in content.items()]
    elif isinstance(content, Sequence) and not isinstance(content, (str, bytes)):
        entries = list(content)
    else:
        raise ConfigError(
            f"A concept list must be a list of names or a mapping. Got "
            f"{type(content).__name__} in {where} instead."
        )
    return _numbered(entries, where, first)


def _numbered(entries: Sequence[Any], where: str, first: int) -> Iterator[Record]:
    for number, entry in enumerate(entries, start=first):
        yield Record(place=f"entry {number}", concept=_concept(entry, where, number))


def _from_pair(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return {"concept": key, **value} if _column(list(value), "name") is None else value
    if key.isdigit() and isinstance(value, str):  # class index → name
        return {"concept": value, "class_index": int(key)}
    if key.isdigit() and isinstance(value, list) and len(value) == 2:
        # Keras's imagenet_class_index.json: index → [synset, name]
        return {"concept": value[1], "synset": value[0], "class_index": int(key)}
    if isinstance(value, (list, tuple, str)):
        return {"concept": key, "aliases": value}
    return {"concept": key}  # name → count, as in the paper's files


def _concept(entry: Any, where: str, number: int) -> Concept | None:
    if isinstance(entry, Concept):
        return entry
    if isinstance(entry, Mapping):
        fields = {field: _column([str(name) for name in entry], field) for field in COLUMNS}
        if fields["name"] is None:
            raise ConfigError(
                f"Entry {number} of {where} must have a field called one of "
                f"{list(COLUMNS['name'])}. Got {[str(name) for name in entry]} instead."
            )
        values = {str(name): value for name, value in entry.items()}
        found = {field: values[name] if name else None for field, name in fields.items()}
    elif entry is None or isinstance(entry, (str, int, float)):
        found = {**dict.fromkeys(COLUMNS), "name": entry}
    else:
        raise ConfigError(
            f"Entry {number} of {where} must be a name or a record. Got "
            f"{type(entry).__name__} instead."
        )
    name = _plain(found["name"])
    if not name:
        return None
    return Concept(
        name=name,
        aliases=_several(found["aliases"]),
        prompts=_several(found["prompts"]),
        synset=_plain(found["synset"]) or None,
        dataset=_plain(found["dataset"]) or None,
        class_index=_index(found["class_index"], where, number),
    )


def _column(names: Sequence[Any], field: str) -> str | None:
    lower = {str(name).strip().lower(): str(name) for name in reversed(names)}
    return next((lower[name] for name in COLUMNS[field] if name in lower), None)


def _plain(value: Any) -> str:
    """Text without lone surrogates, which JSON escapes can make and no file can hold.

    Raises
    ------
    DataError
        It is a list or a mapping. Their text can be of any size: YAML's references make a list of
        lists of lists out of a few lines.
    """
    if isinstance(value, (list, tuple, set, Mapping)):
        raise DataError(
            "Names, aliases and prompts of a concept list must be text. Got a "
            f"{type(value).__name__} within one instead."
        )
    return "" if value is None else str(value).strip().encode(errors="replace").decode()


def _several(value: Any) -> tuple[str, ...]:
    """Split at ``|``, or take the list (or the names of a mapping) as it is."""
    items = value.split("|") if isinstance(value, str) else value if value is not None else ()
    if not isinstance(items, (list, tuple, Mapping)):
        items = (items,)
    return tuple(text for item in items if (text := _plain(item)))


def _index(value: Any, where: str, number: int) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"The class_index of entry {number} of {where} must be a whole number. "
            f"Got {repr(value)[:40] if isinstance(value, (str, float)) else type(value).__name__} "
            "instead."
        ) from error
