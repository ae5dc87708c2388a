"""Rows of JSON Lines files and of whole-file JSON tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from conceptaudit.datasets import _delimited
from conceptaudit.datasets._columns import NUMBER, OTHER, TEXT
from conceptaudit.datasets._files import File, open_unpacked, reading, stat_file
from conceptaudit.datasets._rows import Cut, Fault, Rows, even_cuts
from conceptaudit.errors import DataError

_PEEK_ROWS = 100
MAX_JSON_BYTES = 1 << 31
"""Captions of ten million images; a packed file may claim to hold any size."""

_LINES = _delimited.Dialect(delimiter="\n", quoted=False, header=False)
_KINDS = {str: TEXT, int: NUMBER, float: NUMBER, bool: NUMBER, type(None): TEXT}


def columns_of_lines(path: str) -> dict[str, str]:
    """Fields of the first objects of a JSON Lines file, with their kinds."""
    found: dict[str, str] = {}
    objects = 0
    with reading(path), open_unpacked(path) as stream:
        for _, (line,) in islice(_delimited.records(stream, _LINES, path), _PEEK_ROWS):
            value = _parse(line)
            if isinstance(value, dict):
                objects += 1
                _merge_kinds(found, value)
    if not objects and stat_file(path).size:
        raise DataError(
            f"The file {path} must hold one JSON object per line. None of its first "
            f"{_PEEK_ROWS} lines is one."
        )
    return found


def _merge_kinds(found: dict[str, str], value: Mapping[str, Any]) -> None:
    for name, item in value.items():
        kind = _KINDS.get(type(item), OTHER)
        # One list among texts is a bad row, not a list column: the first real value decides.
        if name not in found or item is not None:
            found.setdefault(name, kind)


def _parse(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def cut_lines(path: str, shard_rows: int) -> list[Cut]:
    """Cut at line ends; see `_delimited.cuts`."""
    return _delimited.cuts(path, _LINES, shard_rows)


def rows_of_lines(path: str, cut: Cut, columns: Sequence[str], batch_rows: int) -> Iterator[Rows]:
    """Read the lines of one cut; a line that is not a JSON object is a fault."""
    dialect = _delimited.Dialect(delimiter="\n", quoted=False, header=False, names=("line",))
    for block in _delimited.rows(path, dialect, cut, ("line",), batch_rows):
        numbers, values, faults = [], [], []
        for row, line in zip(block.numbers, block.columns["line"], strict=True):
            value = _parse(line)
            if isinstance(value, dict):
                numbers.append(row)
                values.append(value)
            else:
                faults.append(Fault(row=row, reason="invalid_json", detail=line[:80]))
        yield Rows(
            numbers=numbers,
            columns={name: [value.get(name) for value in values] for name in columns},
            faults=tuple(faults),
        )


@lru_cache(maxsize=1)
def _load(file: File) -> Any:
    with reading(file.path), open_unpacked(file.path) as stream:
        content = stream.read(MAX_JSON_BYTES)
    if len(content) == MAX_JSON_BYTES:
        raise DataError(
            f"The file {file.path} holds more than {MAX_JSON_BYTES >> 30} GB of JSON, which has to "
            "be read whole. Write it as JSON Lines (.jsonl)."
        )
    try:
        return json.loads(content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"The file {file.path} is not valid JSON: {error}. It may be truncated."
        ) from error


def load(path: str) -> Any:
    """Parse a whole JSON file.

    A file has to be parsed whole to be entered anywhere; the last one stays in memory, so that
    its shards cost one parse per worker.
    """
    return _load(stat_file(path))


def table(content: Any, path: str) -> dict[str, list[Any]]:
    """Columns of a JSON table: an object of equally long lists (SBU) or a list of objects."""
    if isinstance(content, dict):
        columns = {name: value for name, value in content.items() if isinstance(value, list)}
        if columns and len({len(value) for value in columns.values()}) == 1:
            return columns
    elif isinstance(content, list) and all(isinstance(item, dict) for item in content):
        names = dict.fromkeys(name for item in content for name in item)
        return {name: [item.get(name) for item in content] for name in names}
    found = list(content)[:10] if isinstance(content, dict) else type(content).__name__
    raise DataError(
        f"The JSON file {path} must be COCO captions, a list of objects or an object of equally "
        f"long lists. Got {found} instead."
    )


def columns_of_table(path: str) -> dict[str, str]:
    """Fields of a JSON table with their kinds."""
    kinds: dict[str, str] = {}
    for name, values in table(load(path), path).items():
        first = next((value for value in values if value is not None), None)
        kinds[name] = _KINDS.get(type(first), OTHER)
    return kinds


def cut_table(path: str, shard_rows: int) -> list[Cut]:
    """Ranges of a JSON table's rows."""
    columns = table(load(path), path)
    return even_cuts(len(next(iter(columns.values()), [])), shard_rows)


def rows_of_table(path: str, cut: Cut, columns: Sequence[str], batch_rows: int) -> Iterator[Rows]:
    """Rows of one cut of a JSON table."""
    content = table(load(path), path)
    length = len(next(iter(content.values()), []))
    stop = length if cut.stop < 0 else min(cut.stop, length)
    for first in range(cut.start, stop, batch_rows):
        last = min(first + batch_rows, stop)
        empty: list[Any] = [None] * (last - first)
        yield Rows(
            numbers=range(first, last),
            columns={
                name: content[name][first:last] if name in content else empty for name in columns
            },
        )
