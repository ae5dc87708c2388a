"""One table file of any format: its columns, where to cut it, and its rows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from conceptaudit.datasets import _delimited, _json, _parquet
from conceptaudit.datasets._columns import NUMBER, TEXT, Choice, Columns, resolve
from conceptaudit.datasets._extra import URL, extra_columns
from conceptaudit.datasets._files import suffix
from conceptaudit.datasets._rows import Cut, Rows
from conceptaudit.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One table file and the columns that matter in it."""

    path: str
    columns: Columns
    dialect: _delimited.Dialect | None = None

    def cuts(self, shard_rows: int) -> list[Cut]:
        """Row ranges of about `shard_rows` rows."""
        kind = suffix(self.path)
        if kind == ".parquet":
            return _parquet.cuts(self.path, shard_rows)
        if self.dialect is not None:
            return _delimited.cuts(self.path, self.dialect, shard_rows)
        if kind == ".json":
            return _json.cut_table(self.path, shard_rows)
        return _json.cut_lines(self.path, shard_rows)

    def rows(self, cut: Cut, names: Sequence[str], batch_rows: int) -> Iterator[Rows]:
        """Read one cut's columns."""
        kind = suffix(self.path)
        if kind == ".parquet":
            return _parquet.rows(self.path, cut.start, cut.stop, names, batch_rows)
        if self.dialect is not None:
            return _delimited.rows(self.path, self.dialect, cut, names, batch_rows)
        if kind == ".json":
            return _json.rows_of_table(self.path, cut, names, batch_rows)
        return _json.rows_of_lines(self.path, cut, names, batch_rows)


def open_table_file(path: str, choice: Choice, *, required: bool = True) -> TableFile:
    """Find the columns of one table file; `required` as for `_columns.resolve`.

    Raises
    ------
    DataError
        The file is damaged, or no caption or image column is among its columns.
    ConfigError
        A column that the user named is not there.
    """
    kind, dialect = suffix(path), None
    if kind == ".parquet":
        found = _parquet.columns_of(path)
    elif kind in {".jsonl", ".ndjson"}:
        found = _json.columns_of_lines(path)
    elif kind == ".json":
        found = _json.columns_of_table(path)
    else:
        named = [name for name in (choice.caption, choice.key, choice.url) if name]
        dialect = _delimited.inspect(path, named)
        found = _delimited.columns_of(dialect)
    if not found:
        raise DataError(f"The table {path} is empty: it has no rows and no column names.")
    columns = resolve(found, choice, path, required=required)
    extra = extra_columns([name for name, type_ in found.items() if type_ in (TEXT, NUMBER)])
    if columns.url is not None:
        extra[URL] = columns.url
    columns = replace(columns, extra=tuple(sorted(extra.items())))
    return TableFile(path=path, columns=columns, dialect=dialect)
