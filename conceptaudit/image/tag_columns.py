"""Files of image tags in their formats, as columns of rows that are not looked into yet."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from conceptaudit.datasets._columns import KEY_ALIASES, URL_ALIASES
from conceptaudit.datasets._files import open_unpacked, suffix
from conceptaudit.datasets._sniff import shape_of
from conceptaudit.datasets._tar import index_samples, read_member, seekable
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import is_text

if TYPE_CHECKING:
    import pyarrow as pa

KEY_NAMES = (*KEY_ALIASES, *URL_ALIASES)
"""In the order in which a dataset's own key is chosen, so that a dataset's tags join its rows."""

CONCEPT_NAMES = (
    "concept", "tag", "label", "name", "class", "category", "class_name", "concepts", "tags",
    "labels", "names", "classes", "categories", "class_names", "objects", "detections", "entities",
)  # fmt: skip
SCORE_NAMES = (
    "score", "confidence", "probability", "prob", "similarity", "logit", "scores", "confidences",
    "probabilities", "probs", "similarities", "logits", "conf",
)  # fmt: skip
ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson", ".json", ".tar")

BLOCK_ROWS = 1 << 16
"""Rows read at once: some megabytes."""

SEPARATOR = " | "
"""RAM writes the tags of an image in one text: ``dog | grass | run``."""


Columns = dict[str, list[Any]]
"""Rows of a file as they stand: columns of equal length."""


def tag_columns(path: Path) -> Iterator[Columns]:
    """Read a file of tags in blocks of rows; see `tag_files.read_tag_rows`."""
    ending = suffix(path.name)
    if ending not in ENDINGS:
        raise ConfigError(
            f"--image-tags must name files with one of the endings {list(ENDINGS)}. "
            f"Got {str(path)!r} instead."
        )
    if ending == ".parquet":
        return _of_parquet(path)
    if ending == ".tar":
        return _of_archive(path)
    if ending == ".json":
        return _of_json(path)
    if ending in (".jsonl", ".ndjson"):
        return _of_records(_json_lines(path))
    with open_unpacked(str(path)) as stream:
        head = [stream.readline(_LONGEST).decode("utf-8-sig") for _ in range(20)]
    delimiter = "\t" if ending == ".tsv" or (ending == ".txt" and "\t" in head[0]) else ","
    return (
        _of_lists(path, delimiter) if _is_headerless(head, delimiter) else _of_csv(path, delimiter)
    )


_LONGEST = 1 << 20


def _of_parquet(path: Path) -> Iterator[Columns]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        wanted = {*KEY_NAMES, *CONCEPT_NAMES, *SCORE_NAMES}
        names = [name for name in file.schema_arrow.names if name.strip().lower() in wanted]
        # a dataset's column of images may be called as its key is; it is not read
        names = [n for n in names if not _holds_bytes(file.schema_arrow.field(n).type)]
        rows = BLOCK_ROWS if not any(map(_is_nested, file.schema_arrow.types)) else 1 << 12
        for batch in file.iter_batches(rows, columns=names):
            yield {name: batch.column(name).to_pylist() for name in batch.schema.names}


def _is_nested(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_nested(kind))


def _holds_bytes(kind: pa.DataType) -> bool:
    from pyarrow import types

    return types.is_struct(kind) and any(field.name == "bytes" for field in kind)


def _of_csv(path: Path, delimiter: str) -> Iterator[Columns]:
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    parsing = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    with open_unpacked(str(path)) as stream:
        header = stream.readline().decode("utf-8-sig").strip()
    if not header:
        return
    names = [name.strip().strip('"') for name in header.split(delimiter)]
    # keys such as 000123 are text, and nothing but an empty score is missing
    converting = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    reading = arrow_csv.ReadOptions(column_names=names, skip_rows=1)
    with (
        open_unpacked(str(path)) as stream,
        arrow_csv.open_csv(
            cast("Any", pa.PythonFile(cast("Any", stream), "r")),
            parse_options=parsing,
            convert_options=converting,
            read_options=reading,
        ) as reader,
    ):
        for batch in reader:
            yield {name: batch.column(name).to_pylist() for name in names}


def _is_headerless(head: Sequence[str], delimiter: str) -> bool:
    """Whether the first line is data: no name that is known, and a key in front of every line."""
    lines = [line.strip() for line in head if line.strip()]
    if not lines:
        return False
    first = [field.strip().strip('"').lower() for field in lines[0].split(delimiter)]
    if first[0] in KEY_NAMES or {*first} & {"key", "concept", "score", "tags", "image_id"}:
        return False
    keys = [line.split(delimiter)[0].strip().strip('"') for line in lines]
    return all(shape_of(key) or any(c.isdigit() for c in key) for key in keys)


def _of_lists(path: Path, delimiter: str) -> Iterator[Columns]:
    """Read RAM's annotations: a key, then its tags; or a key, a tag and a score."""
    with open_unpacked(str(path)) as stream:
        lines = (line.decode("utf-8-sig") for line in stream)
        rows = (row for row in csv.reader(lines, delimiter=delimiter) if row)
        scored: bool | None = None
        while block := list(islice(rows, BLOCK_ROWS)):
            if scored is None:
                scored = all(len(row) == 3 and shape_of(row[2]) == "number" for row in block)
            keys = [row[0].strip() for row in block]
            if scored:
                wrong = next((row for row in block if len(row) != 3), None)
                if wrong is not None:
                    raise DataError(
                        f"The file of image tags {path} has a key, a tag and a score in each row, "
                        f"and no header. Got {wrong[:5]} instead."
                    )
                yield {
                    "key": keys,
                    "concept": [row[1] for row in block],
                    "score": [row[2] for row in block],
                }
            else:
                tags = [
                    [tag.strip() for field in row[1:] for tag in field.split(SEPARATOR)]
                    for row in block
                ]
                yield {"key": keys, "tags": tags}


def _of_json(path: Path) -> Iterator[Columns]:
    with open_unpacked(str(path)) as stream:
        text = stream.read().decode("utf-8-sig")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"The file of image tags {path} is not JSON: {error}.") from error
    if isinstance(content, dict):  # tags by key
        content = [
            {"key": key, **value}
            if isinstance(value, dict) and not value.keys().isdisjoint(CONCEPT_NAMES)
            else {"key": key, "tags": value}
            for key, value in content.items()
        ]
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise DataError(
            f"The file of image tags {path} must hold records with key, concept and score, or "
            "tags by key."
        )
    _check_text(text, content, str(path))
    return _of_records(iter(content))


def _check_text(line: str, value: Any, where: str) -> None:
    # escapes alone can make what is no text; few lines have any
    if "\\u" in line and not is_text(json.dumps(value, ensure_ascii=False)):
        raise DataError(f"{where} holds text that is no valid Unicode.")


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with open_unpacked(str(path)) as stream:
        for number, raw in enumerate(stream, 1):
            line = raw.decode("utf-8-sig")
            if not line.strip():
                continue
            where = f"Line {number:,} of {path}"
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{where} is not JSON: {error}.") from error
            if not isinstance(value, dict):
                raise DataError(
                    f"{where} must be a record with key, concept and score. "
                    f"Got {type(value).__name__} instead."
                )
            _check_text(line, value, where)
            yield value


def _of_archive(path: Path) -> Iterator[Columns]:
    """Read the ``.json`` members of an archive, whose key is that of the sample."""

    def records() -> Iterator[dict[str, Any]]:
        with seekable(str(path)) as stream:
            fetch = partial(read_member, stream)
            for group in index_samples(stream, str(path)).samples:
                if "json" not in group.members:
                    continue
                try:
                    value = json.loads(fetch(group.members["json"]))
                except (ValueError, RecursionError, tarfile.TarError):
                    continue  # the reader of the dataset counts it
                if isinstance(value, dict):
                    yield {**value, "key": group.key}

    return _of_records(records())


def _of_records(records: Iterator[Mapping[str, Any]]) -> Iterator[Columns]:
    wanted = {*KEY_NAMES, *CONCEPT_NAMES, *SCORE_NAMES}
    while block := list(islice(records, BLOCK_ROWS)):
        names = dict.fromkeys(name for row in block for name in row)
        known = [name for name in names if name.strip().lower() in wanted] or list(names)[:9]
        yield {name: [row.get(name) for row in block] for name in known}
