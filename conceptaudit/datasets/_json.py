"""Rows of JSON Lines files and of whole-file JSON tables."""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any

from conceptaudit.datasets import _delimited
from conceptaudit.datasets._columns import (
    CAPTION_ALIASES,
    KEY_ALIASES,
    LIST,
    NUMBER,
    OTHER,
    TEXT,
    UNKNOWN,
    URL_ALIASES,
)
from conceptaudit.datasets._files import File, open_unpacked, reading, stat_file
from conceptaudit.datasets._rows import Cut, Fault, Rows, even_cuts, holds_captions
from conceptaudit.datasets._sniff import LINES, Dialect
from conceptaudit.errors import DataError

_PEEK_ROWS = 100
MAX_JSON_BYTES = 1 << 31  # captions of ten million images; a packed file may claim to hold any size

_LINES = Dialect(delimiter=LINES, quoted=False, header=False, names=("line",))
_KINDS = {str: TEXT, int: NUMBER, float: NUMBER, bool: NUMBER, type(None): UNKNOWN}


def columns_of_lines(path: str) -> dict[str, str]:
    """Fields of the first objects of a JSON Lines file, with their kinds."""
    found: dict[str, str] = {}
    objects = 0
    with reading(path), open_unpacked(path) as stream:
        for _, fields, _ in islice(_delimited.records(stream, _LINES, path), _PEEK_ROWS):
            value = _parse(fields[0]) if fields else None
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
        found[name] = _merged(found.get(name, UNKNOWN), _kind(item))


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return LIST if holds_captions(value[:9]) else OTHER
    return _KINDS.get(type(value), OTHER)


def _merged(before: str, kind: str) -> str:
    """Join the kinds of two values of a column: a list among texts makes all of them lists."""
    if UNKNOWN in (before, kind):
        return kind if before == UNKNOWN else before
    return LIST if {before, kind} == {LIST, TEXT} else before


def _parse(line: str) -> Any:
    try:
        return parse_json(line)
    except ValueError:
        return None


# Lists in lists that a sample may have; Python's own limit of a thousand is for all callers.
MAX_DEPTH = 64


def parse_json(text: str) -> Any:
    """Parse JSON that everything here can go through: nested no deeper than captions are."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if text.count("[") + text.count("{") > MAX_DEPTH:
        level = [value]
        for _ in range(MAX_DEPTH):
            level = [item for inner in level for item in _items(inner)]
        if level:
            raise ValueError(f"it is nested deeper than {MAX_DEPTH} levels")
    return value


def _items(value: Any) -> list[Any]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [item for item in items if isinstance(item, (dict, list))]


def is_lines(head: bytes) -> bool:
    """Whether a file that begins so has an object per line: its first line is a whole one."""
    first, _, rest = head.partition(b"\n")
    return rest.lstrip()[:1] == b"{" and isinstance(_parse(first.decode("utf-8", "replace")), dict)


def cut_lines(path: str, shard_rows: int) -> list[Cut]:
    """Cut at line ends; see `_delimited.cuts`."""
    return _delimited.cuts(_LINES, path, shard_rows)


def rows_of_lines(path: str, cut: Cut, columns: Sequence[str], batch_rows: int) -> Iterator[Rows]:
    """Read the lines of one cut; a line that is not a JSON object is a fault."""
    for block in _delimited.rows(_LINES, path, cut, ("line",), batch_rows):
        numbers, values, faults = [], [], list(block.faults)
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
        return parse_json(content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape"))
    except ValueError as error:
        raise DataError(
            f"The file {file.path} is not valid JSON: {error}. It may be truncated."
        ) from error


def load(path: str) -> Any:
    """Parse a whole JSON file.

    A file has to be parsed whole to be entered anywhere; the last one stays in memory, so that
    its shards cost one parse per worker.
    """
    return _load(stat_file(path))


# Where the list of samples lies in a file that says more of itself.
_WRAPPERS = ("data", "annotations", "images", "samples", "items", "records", "captions", "rows")


def table(content: Any, path: str) -> dict[str, list[Any]]:
    """Columns of a JSON table.

    An object of equally long lists (SBU); a list of objects, of texts, of pairs of key and
    caption; an object of captions or records by key; or one of these within an object (``data``,
    ``annotations`` …).
    """
    columns = _table(content)
    if columns is not None:
        return columns
    found = list(content)[:10] if isinstance(content, dict) else type(content).__name__
    raise DataError(
        f"The JSON file {path} must be COCO captions, a list of objects, an object of captions by "
        f"key or of equally long lists. Got {found} instead."
    )


def _table(content: Any) -> dict[str, list[Any]] | None:
    if isinstance(content, list):
        return _of_list(content)
    if not isinstance(content, dict):
        return None
    lower = {str(name).lower(): value for name, value in content.items()}
    named = [lower[name] for name in (*KEY_ALIASES, *URL_ALIASES) if name in lower]
    if any(isinstance(value, (str, int)) for value in named) and {*lower} & {*CAPTION_ALIASES}:
        return _of_list([content])  # a single sample
    for name in _WRAPPERS:
        inner = lower.get(name)
        if isinstance(inner, list) and inner and all(isinstance(item, dict) for item in inner):
            return _of_list(inner)
    lists = {name: value for name, value in content.items() if isinstance(value, list)}
    if lists and len({len(value) for value in lists.values()}) == 1 and _are_columns(lists):
        return lists
    inner = next((lower[name] for name in _WRAPPERS if isinstance(lower.get(name), dict)), None)
    return _by_key(inner if inner is not None else content)


def _are_columns(lists: Mapping[str, Any]) -> bool:
    """Whether an object of lists holds columns, and not the captions of each key."""
    known = {*CAPTION_ALIASES, *KEY_ALIASES, *URL_ALIASES}
    return any(name.strip().lower() in known for name in lists)


def _of_list(items: list[Any]) -> dict[str, list[Any]] | None:
    if all(isinstance(item, dict) for item in items):
        names = dict.fromkeys(name for item in items for name in item)
        return {name: [item.get(name) for item in items] for name in names}
    if all(isinstance(item, (str, type(None))) for item in items):
        return {"caption": items}
    if all(isinstance(item, list) and len(item) == 2 for item in items):
        return {"key": [item[0] for item in items], "caption": [item[1] for item in items]}
    return None


def _by_key(content: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Read captions, lists of captions or records that stand under their image's key."""
    keys, values = list(content), list(content.values())
    if values and all(isinstance(value, dict) for value in values):
        records = _of_list(values) or {}
        return records if {"key", "__key__"} & records.keys() else {"key": keys, **records}
    kinds = {_kind(value) for value in values}
    return {"key": keys, "caption": values} if values and kinds <= {TEXT, LIST, UNKNOWN} else None


def columns_of_table(path: str) -> dict[str, str]:
    """Fields of a JSON table with their kinds."""
    kinds: dict[str, str] = {}
    for name, values in table(load(path), path).items():
        kinds[name] = UNKNOWN
        for value in values:
            kinds[name] = _merged(kinds[name], _kind(value))
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
