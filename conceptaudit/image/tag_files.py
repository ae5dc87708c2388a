"""Files of image tags that another tagger wrote: a row per key and concept, scored or not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import is_text

if TYPE_CHECKING:
    import pyarrow as pa

KEY_NAMES = ("key", "__key__", "uid", "image_id", "image_path", "image", "file_name", "id", "url")
CONCEPT_NAMES = ("concept", "tag", "label", "name", "class", "category")
SCORE_NAMES = ("score", "confidence", "probability", "prob", "similarity", "logit")
ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")

BLOCK_ROWS = 1 << 16
"""Rows read at once: some megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRows:
    """Consecutive rows of a tag file, as columns of equal length.

    Parameters
    ----------
    keys : list of (str or None), length n
        None where the row has no key and belongs to no sample.
    concepts : list of str, length n
        Empty where a row only says that the picture was looked at.
    scores : numpy.ndarray of float64, shape (n,)
        Finite; 1 where the file has no scores.
    """

    keys: list[str | None]
    concepts: list[str]
    scores: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Names:
    key: str
    concept: str
    score: str | None


def read_tag_rows(path: Path, *, scored: bool = False) -> Iterator[TagRows]:
    """Read a file of tags in blocks.

    Parameters
    ----------
    path : Path
        CSV, TSV, parquet or JSON Lines with a column for the key (`KEY_NAMES`), the concept
        (`CONCEPT_NAMES`) and optionally the score (`SCORE_NAMES`), in any case.
    scored : bool, default False
        Whether scores must be there.

    Raises
    ------
    ConfigError
        The file's ending is not known.
    DataError
        The file is missing or damaged, lacks a column, or has a score that is not a finite
        number; the message names the row.
    """
    import pyarrow as pa

    names: _Names | None = None
    row = 0
    try:
        for table in _tables(path):
            names = names or _named(table.column_names, path, scored=scored)
            yield _rows(table, names, path, row)
            row += table.num_rows
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The image tags in {path} cannot be read: {why}. The file must be CSV, TSV, parquet "
            "or JSON Lines in UTF-8, with the columns key, concept and score."
        ) from error
    if names is None:
        raise DataError(f"The file of image tags {path} is empty: it has no rows.")


def _tables(path: Path) -> Iterator[pa.Table]:
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ConfigError(
            f"The 'image_tags' parameter must name a file with one of the endings {list(ENDINGS)}. "
            f"Got {str(path)!r} instead."
        )
    if ending == ".parquet":
        return _parquet_tables(path)
    if ending in (".csv", ".tsv"):
        return _csv_tables(path, "\t" if ending == ".tsv" else ",")
    return _json_tables(path)


def _parquet_tables(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = {*KEY_NAMES, *CONCEPT_NAMES, *SCORE_NAMES}
        names = [name for name in file.schema_arrow.names if name.strip().lower() in wanted]
        for batch in file.iter_batches(BLOCK_ROWS, columns=names):
            yield pa.Table.from_batches([batch])


def _csv_tables(path: Path, delimiter: str) -> Iterator[pa.Table]:
    import pyarrow as pa
    from pyarrow import csv

    parsing = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with path.open("rb") as stream:
        header = stream.readline().decode("utf-8-sig").strip()
    if not header:
        return
    columns = [name.strip().strip('"') for name in header.split(delimiter)]
    # keys such as 000123 are text, and nothing but an empty score is missing
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
    )
    reading = csv.ReadOptions(column_names=columns, skip_rows=1)
    with csv.open_csv(
        path, parse_options=parsing, convert_options=converting, read_options=reading
    ) as reader:
        for batch in reader:
            yield pa.Table.from_batches([batch])


def _json_tables(path: Path) -> Iterator[pa.Table]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"Line {number:,} of {path} is not JSON: {error}.") from error
            if not isinstance(value, dict):
                raise DataError(
                    f"Line {number:,} of {path} must be a record with key, concept and score. "
                    f"Got {type(value).__name__} instead."
                )
            # escapes alone can make what is no text; few lines have any
            if "\\u" in line and not is_text(json.dumps(value, ensure_ascii=False)):
                raise DataError(f"Line {number:,} of {path} holds text that is no valid Unicode.")
            rows.append(value)
            if len(rows) == BLOCK_ROWS:
                yield _json_table(rows)
                rows = []
    if rows:
        yield _json_table(rows)


def _json_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {
        name: [None if row.get(name) is None else str(row[name]) for row in rows] for name in names
    }
    return pa.table({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _named(columns: Sequence[str], path: Path, *, scored: bool) -> _Names:
    lower = {name.strip().lower(): name for name in reversed(columns)}
    found = [
        next((lower[alias] for alias in aliases if alias in lower), None)
        for aliases in (KEY_NAMES, CONCEPT_NAMES, SCORE_NAMES)
    ]
    key, concept, score = found
    if key is None or concept is None or (scored and score is None):
        wanted = "'key', 'concept' and 'score'" if scored else "'key' and 'concept'"
        raise DataError(
            f"A file of image tags must have the columns {wanted}. {path} has {list(columns)} "
            "instead; rename its columns (its first line, if it has none)."
        )
    return _Names(key=key, concept=concept, score=score)


def _rows(table: pa.Table, names: _Names, path: Path, first: int) -> TagRows:
    import pyarrow as pa

    keys, concepts = (
        [value or None for value in table.column(name).cast(pa.string()).to_pylist()]
        for name in (names.key, names.concept)
    )
    scores = np.ones(len(keys))
    if names.score is not None:
        scores = _numbers(table.column(names.score), path, names.score, first)
    looked = np.array([concept is None for concept in concepts], dtype=bool)
    scores[looked] = 1.0
    bad = ~np.isfinite(scores)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        value = table.column(names.score or "")[row].as_py()
        raise DataError(
            f"Scores must be finite numbers. Got {names.score} = {value!r} in row "
            f"{first + row + 1:,} of {path} (key {keys[row]!r}, concept {concepts[row]!r}); mend "
            "or remove it."
        )
    return TagRows(keys=keys, concepts=[concept or "" for concept in concepts], scores=scores)


def _numbers(column: Any, path: Path, name: str, first: int) -> npt.NDArray[np.float64]:
    """Read scores; what is missing is NaN, which the caller refuses by row."""
    values = column.to_pylist()
    numbers = np.empty(len(values))
    for row, value in enumerate(values):
        try:
            numbers[row] = np.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise DataError(
                f"Scores must be numbers. Got {name} = {value!r} in row {first + row + 1:,} of "
                f"{path} instead."
            ) from None
    return numbers
