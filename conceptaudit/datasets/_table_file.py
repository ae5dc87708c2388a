"""One table file of any format: its columns, where to cut it, and its rows."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from conceptaudit.datasets import _delimited, _json, _parquet
from conceptaudit.datasets._columns import (
    CAPTION_ALIASES,
    NUMBER,
    TEXT,
    UNKNOWN,
    URL,
    Choice,
    Columns,
    extra_columns,
    first_column,
    resolve,
)
from conceptaudit.datasets._files import open_unpacked, reading, suffix
from conceptaudit.datasets._rows import CAPTIONS_PER_ROW, Cut, Rows, spread
from conceptaudit.datasets._sniff import Dialect
from conceptaudit.errors import DataError

PARQUET, JSON, JSON_LINES, TEXT_FILE = "parquet", "json", "jsonl", "text"
_FORMATS = {
    ".parquet": PARQUET, ".jsonl": JSON_LINES, ".ndjson": JSON_LINES,
    ".csv": TEXT_FILE, ".tsv": TEXT_FILE, ".tab": TEXT_FILE,
}  # fmt: skip
_PEEK_BYTES = 1 << 16


class Format(NamedTuple):
    """The three things that are asked of a table file, whatever it is written in."""

    columns: Callable[[str], dict[str, str]]  # path to names and kinds of the columns
    cuts: Callable[[str, int], list[Cut]]  # path and rows per shard to row ranges
    # path, row range, columns and rows per block to blocks of rows
    rows: Callable[[str, Cut, Sequence[str], int], Iterator[Rows]]


FORMATS = {
    PARQUET: Format(_parquet.columns_of, _parquet.cuts, _parquet.rows),
    JSON: Format(_json.columns_of_table, _json.cut_table, _json.rows_of_table),
    JSON_LINES: Format(_json.columns_of_lines, _json.cut_lines, _json.rows_of_lines),
}


def delimited(dialect: Dialect) -> Format:
    """Return how CSV, TSV and lists of captions in this dialect are read."""
    return Format(
        lambda _: _delimited.columns_of(dialect),
        partial(_delimited.cuts, dialect),
        partial(_delimited.rows, dialect),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One table file and the columns that matter in it.

    `has_captions` is False where there is no caption column, or nothing but nulls in it or in
    one that would be taken before it: another table of the dataset may tell.
    """

    path: str
    kind: str
    columns: Columns
    dialect: Dialect | None = None
    has_captions: bool = True

    @property
    def ids_per_row(self) -> int:
        """How many sample ids a row takes up."""
        return CAPTIONS_PER_ROW if self.columns.several else 1

    @property
    def format(self) -> Format:
        """How its kind of file is read."""
        return FORMATS[self.kind] if self.dialect is None else delimited(self.dialect)

    def names(self) -> list[str]:
        """All its columns."""
        return list(self.format.columns(self.path))

    def cuts(self, shard_rows: int) -> list[Cut]:
        """Row ranges of about `shard_rows` rows."""
        return self.format.cuts(self.path, shard_rows)

    def rows(self, cut: Cut, names: Sequence[str], batch_rows: int) -> Iterator[Rows]:
        """Read one cut's columns; where a row has several captions, each is a row."""
        caption = self.columns.caption
        if not self.columns.several or caption is None:
            return self.format.rows(self.path, cut, names, batch_rows)
        # which rows there are depends on the captions, whatever is asked for
        asked = list(dict.fromkeys((*names, caption)))
        return spread(self.format.rows(self.path, cut, asked, batch_rows), caption)


def format_of(path: str) -> str:
    """Find a table's format: what its name says, or else its first bytes."""
    known = _FORMATS.get(suffix(path))
    if known is not None:
        return known
    with reading(path), open_unpacked(path) as stream:
        head = stream.read(_PEEK_BYTES)
    if head.startswith(b"PAR1"):
        return PARQUET
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"{" and _json.is_lines(text):
        return JSON_LINES
    if suffix(path) == ".json" or text[:1] in (b"{", b"["):
        return JSON
    return TEXT_FILE


def open_table_file(
    path: str, choice: Choice, *, usual: Choice | None = None, required: bool = True
) -> TableFile:
    """Find the columns of one table file; `usual` and `required` as for `_columns.resolve`."""
    with reading(path):  # parsing what was read may fail as well
        return _open(path, choice, usual, required=required)


def _open(path: str, choice: Choice, usual: Choice | None, *, required: bool) -> TableFile:
    kind, dialect = format_of(path), None
    if kind == TEXT_FILE:
        named = [name for name in (choice.caption, choice.key, choice.url) if name]
        dialect = _delimited.inspect(path, named)
    found = (FORMATS[kind] if dialect is None else delimited(dialect)).columns(path)
    if not found:
        raise DataError(f"The table {path} is empty: it has no rows and no column names.")
    columns = resolve(found, choice, path, usual=usual, required=required)
    plain = [name for name, type_ in found.items() if type_ in (TEXT, NUMBER)]
    extra = extra_columns(plain)
    for name in choice.extra:
        column = first_column((name.strip().lower(),), plain)
        extra |= {} if column is None else {name: column}
    if columns.url is not None:
        extra[URL] = columns.url
    empty = [name for name, type_ in found.items() if type_ == UNKNOWN]
    has_captions = columns.caption is not None and columns.caption == first_column(
        CAPTION_ALIASES, [columns.caption, *empty]
    )
    has_captions = has_captions and columns.caption not in empty
    columns = replace(columns, extra=tuple(sorted(extra.items())))
    return TableFile(
        path=path, kind=kind, columns=columns, dialect=dialect, has_captions=has_captions
    )
