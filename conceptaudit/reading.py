"""Reading what somebody else may have written: every fault is a `DataError` that names the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from conceptaudit.artifacts import FORMULA, read_json
from conceptaudit.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def is_text(value: str) -> bool:
    r"""Whether a text can be written: JSON's escapes can make lone surrogates, which cannot.

    Examples
    --------
    >>> is_text("dog"), is_text("\ud800")
    (True, False)
    """
    return all(not 0xD800 <= ord(character) <= 0xDFFF for character in value)


@contextmanager
def reading_parquet(path: Path, what: str = "") -> Iterator[None]:
    """Turn whatever a damaged parquet file makes pyarrow and pandas raise into a `DataError`.

    Parameters
    ----------
    path : Path
    what : str, optional
        What the file holds, for the message.
    """
    import pyarrow as pa

    try:
        yield
    # pyarrow's own errors share one base, and are also NotImplementedError, KeyError …; a damaged
    # schema makes pandas fail in many ways, and a made-up one asks for all memory
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        pa.ArrowException,
    ) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        named = f"{what} {path}" if what else str(path)
        raise DataError(f"Cannot read {named} as parquet: {why}.") from error


def parquet_schema(path: Path) -> pa.Schema:
    """Read the columns of a parquet file and what its writer said of them.

    Raises
    ------
    DataError
        It is missing, damaged, or not parquet.
    """
    import pyarrow.parquet as pq

    with reading_parquet(path):
        return pq.read_schema(path)


def read_parquet(
    path: Path,
    *,
    columns: Sequence[str] | None = None,
    filters: Sequence[tuple[str, str, Any]] | None = None,
) -> pd.DataFrame:
    """Read a parquet table."""
    import pyarrow.parquet as pq

    wanted = None if columns is None else list(columns)
    with reading_parquet(path):
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            read = file.read(wanted) if filters is None else _matching(file, wanted, list(filters))
        read.validate(full=True)  # bad UTF-8 fails long after reading
        twice = [name for name, n in Counter(read.column_names).items() if n > 1]
        if twice:
            raise ValueError(f"it has the column {twice[0]!r} twice")
        table = read.to_pandas()
        lacking = set(columns or ()) - set(table.columns)
        if lacking:  # what pandas calls an index is no column
            raise ValueError(f"it has no column {min(lacking)!r}")
    return table


def _matching(file: pq.ParquetFile, columns: list[str] | None, filters: list[Any]) -> pa.Table:
    """Read the rows that pass filters, group by group.

    A scan of pyarrow's would do the same, and waits for ever on some damaged files.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    passes = pq.filters_to_expression(filters)
    asked = list(dict.fromkeys(column for column, _, _ in filters))
    needed = None if columns is None else list(dict.fromkeys([*columns, *asked]))
    groups = [
        file.read_row_group(number, needed).filter(passes)
        for number in range(file.num_row_groups)
        if file.read_row_group(number, asked).filter(passes).num_rows
    ]
    found = pa.concat_tables(groups) if groups else file.schema_arrow.empty_table()
    return found if columns is None else found.select(columns)


def exact_text(value: Any) -> Any:
    """Take off the apostrophe that `artifacts.inert_text` put before a text.

    Examples
    --------
    >>> exact_text("'=1+1"), exact_text("'tis")
    ('=1+1', "'tis")
    """
    if isinstance(value, str) and value.startswith("'") and FORMULA.match(value[1:]):
        return value[1:]
    return value


def exact_texts(table: pd.DataFrame) -> pd.DataFrame:
    """Take these apostrophes off all texts of a table that was read from CSV."""
    texts = [name for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{str(name): table[name].map(exact_text) for name in texts})


def concept_names(path: Path) -> list[str]:
    """Names in a run's ``concepts.json``, by concept id."""
    rows = read_json(path)
    if not isinstance(rows, list) or not all(
        isinstance(row, dict) and isinstance(row.get("concept"), str) for row in rows
    ):
        raise DataError(f"{path} must be a list of objects with a 'concept'.")
    return [row["concept"] for row in rows]
