"""Rows of a parquet file, a range at a time and in bounded memory."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from conceptaudit.datasets._columns import (
    BINARY,
    IMAGE_LIST,
    IMAGE_STRUCT,
    LIST,
    NUMBER,
    OTHER,
    TEXT,
    UNKNOWN,
)
from conceptaudit.datasets._files import open_file, reading
from conceptaudit.datasets._rows import Cut, Rows, even_cuts, struct_has_text
from conceptaudit.display import quantity
from conceptaudit.errors import DataError

# A range within a row group decodes the rows before it, so more cuts cost more than they save.
MAX_CUTS_PER_ROW_GROUP = 64

_BUFFER_BYTES = 1 << 20

# Writers stop at some megabytes; a value in it may stand in a million rows.
MAX_DICTIONARY_BYTES = 1 << 28

# Of a column of a row group, whose rows each repeat a value of its dictionary: a minute's work.
MAX_DECODED_BYTES = 1 << 36

MAX_BATCH_BYTES = 1 << 29  # of a batch whose rows all hold the whole dictionary

# A column that unpacks to more, times its size and in all, holds nothing that was said.
MAX_RATIO, MIN_BOMB_BYTES = 200, 1 << 30

# No writer puts four billion rows in one file; a few bytes of nulls can claim any number.
MAX_ROWS = 1 << 32


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(path, "parquet file"):
        try:
            # A buffer makes pyarrow stream a column chunk instead of loading a giant one whole.
            with (
                open_file(path) as stream,
                pq.ParquetFile(
                    stream,
                    buffer_size=_BUFFER_BYTES,
                    pre_buffer=False,
                    page_checksum_verification=True,
                ) as file,
            ):
                yield file
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise DataError(
                f"The parquet file {path} cannot be read: "
                f"{str(error).splitlines()[0].rstrip('.')}. "
                "It is truncated, damaged or not a parquet file; fetch or write it again."
            ) from error


def columns_of(path: str) -> dict[str, str]:
    """Each column's name and kind, in file order."""
    with _opened(path) as file:
        return {field.name: _kind(field.type) for field in file.schema_arrow}


def _kind(data_type: Any) -> str:
    from pyarrow import types

    if types.is_dictionary(data_type):
        data_type = data_type.value_type
    tests = {
        UNKNOWN: (types.is_null,),
        TEXT: (types.is_string, types.is_large_string, types.is_string_view),
        BINARY: (types.is_binary, types.is_large_binary, types.is_binary_view),
        NUMBER: (types.is_integer, types.is_floating, types.is_boolean, types.is_decimal),
    }
    for kind, checks in tests.items():
        if any(check(data_type) for check in checks):
            return kind
    if types.is_struct(data_type):
        return IMAGE_STRUCT if {"bytes", "path"} <= _fields(data_type) else OTHER
    if not (
        types.is_list(data_type)
        or types.is_large_list(data_type)
        or types.is_fixed_size_list(data_type)
    ):
        return OTHER
    inner = data_type.value_type
    if types.is_struct(inner) and struct_has_text(sorted(_fields(inner))):
        return LIST
    # a list of lists of texts, as a list of nothing where all are empty, is one of captions too
    lists = {TEXT: LIST, UNKNOWN: LIST, LIST: LIST, BINARY: IMAGE_LIST, IMAGE_STRUCT: IMAGE_LIST}
    return lists.get(_kind(inner), OTHER)


def _fields(struct: Any) -> set[str]:
    return {struct.field(i).name for i in range(struct.num_fields)}


def row_count(path: str) -> int:
    """Count the rows, from the footer."""
    with _opened(path) as file:
        return int(file.metadata.num_rows)


def cuts(path: str, shard_rows: int) -> list[Cut]:
    """Cut the file into row ranges, aligned to nothing."""
    with _opened(path) as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        if not 0 <= sum(groups) <= MAX_ROWS or min(groups, default=0) < 0:
            raise DataError(
                f"The parquet file {path} claims to hold {quantity(sum(groups), 'row')}: its "
                "footer is damaged. Fetch or write it again."
            )
    rows = max(shard_rows, -(-max(groups, default=0) // MAX_CUTS_PER_ROW_GROUP))
    return even_cuts(sum(groups), rows)


def rows(path: str, cut: Cut, columns: Sequence[str], batch_rows: int) -> Iterator[Rows]:
    """Rows of a range, reading only the row groups that hold them.

    A column ``"image.path"`` is the field ``path`` of the struct column ``image``.
    """
    start, stop = cut.start, cut.stop
    with _opened(path) as file:
        groups: list[int] = []
        first = base = 0
        for group in range(file.num_row_groups):
            end = first + file.metadata.row_group(group).num_rows
            if end > start and (stop < 0 or first < stop):
                base = base if groups else first
                groups.append(group)
            first = end
        stop = first if stop < 0 else stop
        if not groups:
            return
        row = base
        chosen = _minimal(columns)
        _check_names(file, chosen, path)
        batch_rows = min(batch_rows, _rows_that_fit(file, path, groups, chosen))
        for batch in file.iter_batches(batch_rows, row_groups=groups, columns=chosen):
            low, high = max(start - row, 0), min(stop - row, batch.num_rows)
            if low < high:
                part = batch.slice(low, high - low)
                yield Rows(
                    numbers=range(row + low, row + high),
                    columns={name: _values(part, name) for name in columns},
                )
            row += batch.num_rows
            if row >= stop:
                return


def _check_names(file: Any, columns: Sequence[str], path: str) -> None:
    """Refuse a file that has a column twice: nothing says which of them is meant."""
    names = file.schema_arrow.names
    twice = next((name for name in columns if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"The parquet file {path} has {names.count(twice)} columns {twice!r}. Write it again "
            "with one of them, or under different names."
        )


def _rows_that_fit(file: Any, path: str, groups: Sequence[int], columns: Sequence[str]) -> int:
    """Rows of a batch that fit in memory even where each holds its column's whole dictionary."""
    longest = 1
    names = [file.schema.column(number).path for number in range(len(file.schema))]
    chosen = [
        number
        for number, name in enumerate(names)
        if any(name == one or name.startswith(f"{one}.") for one in columns)
    ]
    for group in groups:
        about = file.metadata.row_group(group)
        if not about.num_rows:
            continue
        # pyarrow ends the process where it is asked about a column whose footer is damaged, and
        # raises where it is to read it: so a row is read first
        next(file.iter_batches(1, row_groups=[group], columns=list(columns)), None)
        for number in chosen:
            name, column = names[number], about.column(number)
            packed, unpacked = column.total_compressed_size, column.total_uncompressed_size
            size, n_values = _dictionary(path, column.dictionary_page_offset)
            decoded = size * about.num_rows // max(n_values, 1)
            if (
                size > MAX_DICTIONARY_BYTES
                or decoded > MAX_DECODED_BYTES
                or unpacked > max(MAX_RATIO * packed, MIN_BOMB_BYTES)
            ):
                raise DataError(
                    f"The column {name!r} of the parquet file {path} unpacks from {packed:,} to "
                    f"{max(unpacked, size, decoded):,} bytes: it is made to fill memory. Remove "
                    "the file, or write it again."
                )
            longest = max(longest, size)
    return max(MAX_BATCH_BYTES // longest, 1)


_NUMBER = rb"\x15([\x80-\xff]{0,4}[\x00-\x7f])"
_PAGE_HEADER = re.compile(_NUMBER * 3 + rb"(?:" + _NUMBER + rb")?[\x3c\x4c]" + _NUMBER, re.DOTALL)


def _dictionary(path: str, offset: int | None) -> tuple[int, int]:
    """Size of a dictionary page once it is unpacked, and its values; 0 where there is none.

    pyarrow does not say them. A page begins with its type, this size and its packed one, perhaps a
    checksum, and a record that begins with the number of values (PageHeader in parquet.thrift),
    as numbers of Thrift's compact protocol.
    """
    if not offset or offset < 0:
        return 0, 0
    with open_file(path) as stream:
        stream.seek(offset)
        match = _PAGE_HEADER.match(stream.read(40))
    if match is None:
        return 0, 0  # and Arrow says what is wrong
    return _unsigned(match[2]), _unsigned(match[5])


def _unsigned(written: bytes) -> int:
    """Read a zigzag varint that is not negative."""
    return sum((byte & 0x7F) << (7 * i) for i, byte in enumerate(written)) >> 1


def _minimal(columns: Sequence[str]) -> list[str]:
    """Leave out a struct's field where the struct itself is read."""
    return [name for name in columns if name.rpartition(".")[0] not in columns]


def _values(batch: Any, name: str) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in batch.schema.names:
        array = batch.column(name)
    else:
        parent, _, field = name.rpartition(".")
        array = pc.struct_field(batch.column(parent), field)
    try:
        return list(array.to_pylist())
    except UnicodeDecodeError:  # parquet does not check that a string column holds UTF-8
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        return list(array.cast(pa.large_binary()).to_pylist())
