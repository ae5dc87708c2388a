"""The file formats that lists of concepts come in."""

import ast
import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
import tomllib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.store.checking import check_written
from conceptaudit.vocabulary._entries import (
    COLUMNS,
    PLACEHOLDER,
    Source,
    column,
    records_of,
    templates_for_names,
)
from conceptaudit.vocabulary.lines import ENTITY, entries_of_lines

_CLASSNAMES = "classnames.txt"
_TEMPLATES = "zeroshot_classification_templates.txt"
"""File names and the ``{c}`` placeholder are CLIP_benchmark's."""

_UNPACK: Mapping[str, Callable[[Path], Any]] = {
    ".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open
}  # fmt: skip
MAX_LIST_BYTES = 1 << 28
"""A million concepts with aliases and prompts have less; a few packed kilobytes can hold more."""

_ASSIGNMENT = re.compile(r"\A(?:\s*#.*\n)*\s*[A-Za-z_]\w*\s*=\s*(?=[\[{(])")
"""``CLASSES = [``: a list that was cut out of a program."""

_TABLES = (".csv", ".tsv", ".tab")
_DELIMITERS = ",;\t|"
_COMMENT = re.compile(r"\s*#\s+\S")
_ZIP, _PARQUET = b"PK\x03\x04", b"PAR1"


def read_source(path: Path, dataset_key: str | None = None) -> Source:
    """Read a concept file or a CLIP_benchmark folder."""
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise ConfigError(
            "The 'source' parameter of read_concepts must be a list of names or an existing file "
            f"or folder. Got {str(path)!r} instead, which does not exist."
        )
    check_written(path)
    packed = path.suffix.lower() in _UNPACK
    ending = Path(path.stem if packed else path.name).suffix.lower()
    if ending == ".parquet":
        return records_of(_parquet(path), str(path))
    text = _text(path)
    parse = _PARSERS.get(ending)
    if parse is not None:
        return records_of(parse(text, path), str(path), dataset_key=dataset_key)
    text = _ASSIGNMENT.sub("", text)
    # lists pasted into a .txt, as JSON or as Python prints them
    if ending not in _TABLES and text.lstrip()[:1] in ("[", "{", "("):
        return records_of(_literal(text), str(path), dataset_key=dataset_key)
    if dataset_key is not None:
        raise ConfigError(
            f"--dataset-key {dataset_key!r} chooses among the lists of several datasets in a JSON, "
            f"YAML or TOML file, and {path} is none. Leave it out."
        )
    delimiter = _delimiter(text, ending)
    if ending in _TABLES or delimiter is not None:
        return _table(text, path, delimiter or ",")
    return _of_lines(text.split("\n"), path)


def _text(path: Path) -> str:
    try:
        with _UNPACK.get(path.suffix.lower(), partial(Path.open, mode="rb"))(path) as stream:
            content: bytes = stream.read(MAX_LIST_BYTES + 1)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"The concept file {path} cannot be read: {why}.") from error
    if len(content) > MAX_LIST_BYTES:
        raise DataError(
            f"The concept file {path} holds more than {MAX_LIST_BYTES >> 20} MB: it is no list of "
            "concepts. Name the file that is."
        )
    encoding = "utf-8-sig"
    if content[:4] in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):  # begins as UTF-16's does
        encoding = "utf-32"
    elif content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        encoding = "utf-16"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        what = "is a workbook or an archive" if content.startswith(_ZIP) else "must be UTF-8 text"
        remedy = "save it as CSV" if content.startswith(_ZIP) else "save its names as UTF-8 text"
        raise DataError(
            f"The concept file {path} {what}. Got byte "
            f"{error.object[error.start]:#04x} at position {error.start:,} instead; "
            f"{remedy}."
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    from conceptaudit.reading import reading_parquet

    with reading_parquet(path, "the concept file"), pq.ParquetFile(path) as file:
        names = {name for name in file.schema_arrow.names if _is_known(name)}
        rows: list[dict[str, Any]] = file.read(sorted(names)).to_pylist()
        columns = file.schema_arrow.names
    if column(columns, "name") is None:
        raise _no_names(path, columns)
    return rows


def _is_known(name: str) -> bool:
    return any(column([name], field) is not None for field in COLUMNS)


def _no_names(path: Path, columns: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"The table {path} must have a column of names called one of "
        f"{list(COLUMNS['name'])}. Got the columns {list(columns)[:20]} instead."
    )


def _parse_json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].lstrip()[:1] in ("{", '"') and _is_json(lines[0]):
            return _parse_json_lines(text, path)
        raise DataError(f"The concept file {path} is not valid JSON: {error}.") from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _parse_json_lines(text: str, path: Path) -> Any:
    return [_parsed(json.loads, line, path, "JSON") for line in text.splitlines() if line.strip()]


def _parse_toml(text: str, path: Path) -> Any:
    return _parsed(tomllib.loads, text, path, "TOML")


def _parse_yaml(text: str, path: Path) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """Takes every scalar for text: no, on, yes, null and 1999 are names."""

    Plain.yaml_implicit_resolvers = {}

    try:
        loader = Plain(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        found = " ".join(str(error).split())
        raise DataError(f"The concept file {path} is not valid YAML: {found}.") from error


def _parsed(parse: Callable[[str], Any], text: str, path: Path, kind: str) -> Any:
    try:
        return parse(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The concept file {path} is not valid {kind}: {error}.") from error


def _literal(text: str) -> Any:
    """Read JSON, or a list or mapping as Python prints it (the ImageNet labels of many a gist)."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return entries_of_lines(text.rstrip("\n").split("\n"))


_PARSERS = {
    ".json": _parse_json,
    ".jsonl": _parse_json_lines,
    ".ndjson": _parse_json_lines,
    ".yaml": _parse_yaml,
    ".yml": _parse_yaml,
    ".toml": _parse_toml,
}


def _read_folder(path: Path) -> Source:
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
    return _of_lines(_text(names).split("\n"), names, templates)


def _of_lines(lines: Sequence[str], path: Path, templates: Sequence[str] = ()) -> Source:
    # empty lines at the end are no classes; those between are, and keep their index
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    names = [line for line in lines if not _COMMENT.match(line)]
    n_comments = len(lines) - len(names)
    lines = names or lines
    if lines and all(PLACEHOLDER.search(line) for line in lines):
        raise templates_for_names(str(path), lines[0].strip())
    entries = entries_of_lines(lines)
    if len(lines) == 1 and lines[0].count(",") > 1 and entries[0]["concept"] == lines[0].strip():
        raise DataError(
            f"The concept list {path} is one line with commas ({lines[0][:60]!r}), which would be "
            "one name that no caption holds. Write a name per line, or a JSON list."
        )
    for entry in entries:
        if entry is not None and templates:
            entry["prompts"] = [template.replace("{c}", entry["concept"]) for template in templates]
    source = records_of(entries, str(path), unit="line")
    if n_comments and names:
        note = f"Left out as comments: {quantity(n_comments, 'line')} beginning with '# '."
        source = replace(source, notes=(*source.notes, note))
    return source


def _delimiter(text: str, ending: str) -> str | None:
    """Find what parts the columns of a table; None where the text is a list of lines.

    A text file is a table where its first line is a header that names the column of names.
    """
    header = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=header.count)
    if not header.count(delimiter):
        return None
    names = [name.strip().strip('"') for name in header.split(delimiter)]
    return delimiter if ending in _TABLES or column(names, "name") is not None else None


def _table(text: str, path: Path, delimiter: str) -> Source:
    try:
        rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"The concept file {path} is not a valid table: {error}.") from error
    if not rows:
        return records_of([], str(path))
    names = [name.strip() for name in rows[0]]
    if column(names, "name") is None:
        if len(names) == 1:  # a list of names that is called .csv
            return _of_lines([" ".join(row) for row in rows], path)
        headerless = _headerless(rows)
        if headerless is None:
            raise _no_names(path, names)
        return records_of(headerless, str(path))
    # a comma within an unquoted name would shift the columns after it, silently
    wide = next((i for i, row in enumerate(rows) if len(row) > len(names)), None)
    if wide is not None:
        raise DataError(
            f"Row {wide + 1} of {path} has {len(rows[wide])} fields instead of {len(names)}. Put "
            "names that hold the delimiter in quotation marks."
        )
    return records_of([dict(zip(names, row, strict=False)) for row in rows[1:]], str(path), first=2)


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def _headerless(rows: Sequence[Sequence[str]]) -> list[Any] | None:
    """Read a table whose first row is data: ids or numbers, and one column of names.

    OpenImages' ``class-descriptions.csv`` is ``/m/011k07,Tortoise``.
    """
    columns = list(zip(*(row for row in rows if len(row) == len(rows[0])), strict=True))
    ids = [i for i, values in enumerate(columns) if all(map(ENTITY.fullmatch, values))]
    numbers = [i for i, values in enumerate(columns) if all(map(_NUMBER.fullmatch, values))]
    names = [i for i in range(len(columns)) if i not in (*ids, *numbers)]
    if len(names) != 1 or not (ids or numbers):
        return None
    counted = list(map(int, columns[numbers[0]])) if _are_index(columns, numbers) else None
    return [
        {
            "concept": row[names[0]],
            **({"synset": row[ids[0]]} if ids else {}),
            **({"class_index": counted[number]} if counted and number < len(counted) else {}),
        }
        for number, row in enumerate(row for row in rows if len(row) == len(rows[0]))
    ]


def _are_index(columns: Sequence[Sequence[str]], numbers: Sequence[int]) -> bool:
    """Whether the first column of numbers counts the rows, from 0 or 1."""
    if not numbers or not all(value.isdigit() for value in columns[numbers[0]]):
        return False
    values = sorted(int(value) for value in columns[numbers[0]])
    return values[0] <= 1 and values == list(range(values[0], values[0] + len(values)))
