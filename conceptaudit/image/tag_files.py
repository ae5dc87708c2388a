"""Files of image tags that another tagger wrote: by row or by list, with scores or without."""

from __future__ import annotations

import csv
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.datasets._columns import KEY_ALIASES, URL_ALIASES
from conceptaudit.datasets._files import open_unpacked, suffix
from conceptaudit.datasets._samples import key_text
from conceptaudit.datasets._sniff import shape_of
from conceptaudit.datasets._tar import index_samples, read_member, seekable
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.reading import is_text, reading_parquet

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
KNOWN_NAMES = frozenset({*KEY_NAMES, *CONCEPT_NAMES, *SCORE_NAMES})
ENDINGS = (".csv", ".tsv", ".txt", ".parquet", ".jsonl", ".ndjson", ".json", ".tar")

BLOCK_ROWS = 1 << 16  # rows read at once: some megabytes
SEPARATOR = " | "  # RAM writes the tags of an image in one text: ``dog | grass | run``


Columns = dict[str, list[Any]]  # rows of a file as they stand: columns of equal length


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
    rows = _text_rows(path, delimiter)
    return _listed(rows, path) if _is_headerless(head, delimiter) else _headed(rows)


_LONGEST = 1 << 20


def _of_parquet(path: Path) -> Iterator[Columns]:
    import pyarrow.parquet as pq
    from pyarrow import types

    with reading_parquet(path, "the image tags in"), pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        # a dataset's column of images may be called as its key is; it is not read
        names = [
            field.name
            for field in schema
            if field.name.strip().lower() in KNOWN_NAMES
            and not (types.is_struct(field.type) and any(f.name == "bytes" for f in field.type))
        ]
        rows = 1 << 12 if any(map(types.is_nested, schema.types)) else BLOCK_ROWS
        for batch in file.iter_batches(rows, columns=names):
            yield {name: batch.column(name).to_pylist() for name in batch.schema.names}


def _text_rows(path: Path, delimiter: str) -> Iterator[list[str]]:
    with open_unpacked(str(path)) as stream:
        lines = (line.decode("utf-8-sig") for line in stream)
        yield from (row for row in csv.reader(lines, delimiter=delimiter) if row)


def _headed(rows: Iterator[list[str]]) -> Iterator[Columns]:
    names = [name.strip() for name in next(rows, ())]
    while block := list(islice(rows, BLOCK_ROWS)):
        wrong = next((row for row in block if len(row) != len(names)), None)
        if wrong is not None:
            raise csv.Error(
                f"a row has {quantity(len(wrong), 'field')} for the columns {names}: {wrong[:5]}"
            )
        yield dict(zip(names, map(list, zip(*block, strict=True)), strict=True))


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


def _listed(rows: Iterator[list[str]], path: Path) -> Iterator[Columns]:
    """Read RAM's annotations: a key, then its tags; or a key, a tag and a score."""
    scored: bool | None = None
    while block := list(islice(rows, BLOCK_ROWS)):
        if scored is None:
            scored = all(len(row) == 3 and shape_of(row[2]) == "number" for row in block)
        keys = [row[0].strip() for row in block]
        if not scored:
            tags = [
                [tag.strip() for field in row[1:] for tag in field.split(SEPARATOR)]
                for row in block
            ]
            yield {"key": keys, "tags": tags}
            continue
        wrong = next((row for row in block if len(row) != 3), None)
        if wrong is not None:
            raise DataError(
                f"The file of image tags {path} has a key, a tag and a score in each row, and no "
                f"header. Got {wrong[:5]} instead."
            )
        yield {
            "key": keys,
            "concept": [row[1] for row in block],
            "score": [row[2] for row in block],
        }


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
    while block := list(islice(records, BLOCK_ROWS)):
        names = dict.fromkeys(name for row in block for name in row)
        known = [name for name in names if name.strip().lower() in KNOWN_NAMES] or list(names)[:9]
        yield {name: [row.get(name) for row in block] for name in known}


@dataclass(frozen=True, slots=True, kw_only=True)
class TagRows:
    """Consecutive rows of a tag file, as columns of equal length."""

    keys: list[str | None]  # None where the row has no key and belongs to no sample
    concepts: list[str]  # empty where a row only says that the image was looked at
    scores: npt.NDArray[np.float64]  # shape (n,): finite; 1 where the file has no scores


_Names = tuple[str, str, str | None]  # columns of key, concept and score, as the file calls them


def read_tag_rows(paths: Path | Sequence[Path], *, scored: bool = False) -> Iterator[TagRows]:
    """Read files of tags in blocks: `ENDINGS`, all but parquet and archives also compressed.

    They have the columns `KEY_NAMES`, `CONCEPT_NAMES` and optionally `SCORE_NAMES`, in any case.
    Concepts may be lists, with a list of scores, or lists of records with one each; in an archive
    the ``.json`` members hold them. A text file without a header has the key first, then tags.
    """
    for path in [paths] if isinstance(paths, Path) else paths:
        yield from _read(path, scored=scored)


def _read(path: Path, *, scored: bool) -> Iterator[TagRows]:
    import pyarrow as pa

    names: _Names | None = None
    row = 0
    try:
        for columns in tag_columns(path):
            names = names or _named(columns, path, scored=scored)
            yield _rows(columns, names, path, row)
            row += len(columns[names[0]])
    except (OSError, EOFError, pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"The image tags in {path} cannot be read: {why}. The file must be CSV, TSV, parquet, "
            "JSON or JSON Lines in UTF-8, with the columns key, concept and score."
        ) from error
    if names is None:
        raise DataError(f"The file of image tags {path} is empty: it has no rows.")


def _named(columns: Columns, path: Path, *, scored: bool) -> _Names:
    lower = {name.strip().lower(): name for name in reversed(columns)}
    key, concept, score = (
        next((lower[alias] for alias in aliases if alias in lower), None)
        for aliases in (KEY_NAMES, CONCEPT_NAMES, SCORE_NAMES)
    )
    values = columns[concept][:100] if concept is not None else []
    inside = any(
        isinstance(item, Mapping)
        for value in values
        for item in (value if isinstance(value, list) else [value])
    )
    inside = inside or not any(values)  # nothing that could have a score
    if key is None or concept is None or (scored and score is None and not inside):
        wanted = "'key', 'concept' and 'score'" if scored else "'key' and 'concept'"
        raise DataError(
            f"A file of image tags must have the columns {wanted}. {path} has {list(columns)} "
            "instead; rename its columns (its first line, if it has none)."
        )
    return key, concept, score


def _rows(columns: Columns, names: _Names, path: Path, first: int) -> TagRows:
    key_name, concept_name, score_name = names
    concepts = columns[concept_name]
    given = columns[score_name] if score_name is not None else [1.0] * len(concepts)
    keys = [key_text(key, -1) if key not in (None, "") else None for key in columns[key_name]]
    owners: Sequence[int] = range(len(concepts))
    tags, numbers = [concept or "" for concept in concepts], given
    if not all(type(tag) is str and SEPARATOR not in tag for tag in tags):
        where = f"{path}, row {first + 1:,} and further"
        owners, tags, numbers = _spread(concepts, given, where)
    numbers = [number if tag else 1.0 for tag, number in zip(tags, numbers, strict=True)]
    scores = np.array([_number(number) for number in numbers])
    bad = ~np.isfinite(scores)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"Scores must be finite numbers. Got {score_name or 'score'} = {numbers[at]!r} in row "
            f"{first + owners[at] + 1:,} of {path} (key {keys[owners[at]]!r}, concept "
            f"{tags[at]!r}); mend or remove it."
        )
    return TagRows(keys=[keys[row] for row in owners], concepts=tags, scores=scores)


def _spread(
    concepts: Sequence[Any], given: Sequence[Any], where: str
) -> tuple[list[int], list[str], list[Any]]:
    """Make a row of each tag of a list; a row without tags stays one, without."""
    owners: list[int] = []
    tags: list[str] = []
    numbers: list[Any] = []
    for row, (concept, score) in enumerate(zip(concepts, given, strict=True)):
        for tag, number in _pairs(concept, score, where) or [("", 1.0)]:
            owners.append(row)
            tags.append(tag)
            numbers.append(number)
    return owners, tags, numbers


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _pairs(concept: Any, score: Any, where: str) -> list[tuple[str, Any]]:
    """Pair the tags of a row with their scores."""
    if isinstance(concept, Mapping):
        record = _record(concept, score)
        # a record of one tag, or scores by tag
        return [record] if record is not None else [(str(t), s) for t, s in concept.items()]
    if isinstance(concept, str):
        concept = [tag.strip() for tag in concept.split(SEPARATOR)]
    elif not isinstance(concept, (list, tuple)):
        concept = [] if concept is None else [concept]
    scores = score if isinstance(score, (list, tuple)) else [score] * len(concept)
    if len(scores) != len(concept):
        raise DataError(
            "A row of image tags must have as many scores as tags. Got "
            f"{quantity(len(concept), 'tag')} ({str(concept)[:80]}) and "
            f"{quantity(len(scores), 'score')} instead ({where})."
        )
    pairs = [
        _record(tag, number) if isinstance(tag, Mapping) else (str(tag or ""), number)
        for tag, number in zip(concept, scores, strict=True)
    ]
    return [pair for pair in pairs if pair is not None and pair[0]]


def _record(record: Mapping[str, Any], score: Any) -> tuple[str, Any] | None:
    lower = {str(name).lower(): value for name, value in record.items() if value is not None}
    tag = next((lower[name] for name in CONCEPT_NAMES if name in lower), None)
    if not isinstance(tag, str):
        return None
    return tag, next((lower[name] for name in SCORE_NAMES if name in lower), score)
