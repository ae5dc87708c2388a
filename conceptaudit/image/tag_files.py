"""Files of image tags that another tagger wrote: by row or by list, with scores or without."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conceptaudit.datasets._samples import key_text
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.image.tag_columns import (
    CONCEPT_NAMES,
    KEY_NAMES,
    SCORE_NAMES,
    SEPARATOR,
    Columns,
    tag_columns,
)


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


def read_tag_rows(paths: Path | Sequence[Path], *, scored: bool = False) -> Iterator[TagRows]:
    """Read files of tags in blocks.

    Parameters
    ----------
    paths : Path or sequence of Path
        CSV, TSV, parquet, JSON, JSON Lines (all but parquet also ``.gz``, ``.bz2``, ``.xz``) with
        the key (`KEY_NAMES`), the concept (`CONCEPT_NAMES`) and optionally the score
        (`SCORE_NAMES`), in any case; archives whose ``.json`` members hold them. Concepts may be
        lists, with a list of scores, or lists of records with one each. A text file without a
        header has the key first, then tags.
    scored : bool, default False
        Whether scores must be there.

    Raises
    ------
    ConfigError
        A file's ending is not known.
    DataError
        A file is missing or damaged, lacks a column, or has a score that is not a finite
        number; the message names the row.
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
            block = _rows(columns, names, path, row)
            row += len(columns[names.key])
            yield block
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
    found = [
        next((lower[alias] for alias in aliases if alias in lower), None)
        for aliases in (KEY_NAMES, CONCEPT_NAMES, SCORE_NAMES)
    ]
    key, concept, score = found
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
    return _Names(key=key, concept=concept, score=score)


def _rows(columns: Columns, names: _Names, path: Path, first: int) -> TagRows:
    concepts = columns[names.concept]
    given = columns[names.score] if names.score is not None else [1.0] * len(concepts)
    keys = [key_text(key, -1) if key not in (None, "") else None for key in columns[names.key]]
    owners: Sequence[int] = range(len(concepts))
    tags, numbers = [concept or "" for concept in concepts], given
    if not all(type(tag) is str and SEPARATOR not in tag for tag in tags):
        where = f"{path}, row {first + 1:,} and further"
        owners, tags, numbers = _spread(concepts, given, where)
    numbers = [number if tag else 1.0 for tag, number in zip(tags, numbers, strict=True)]
    try:
        scores = np.array([np.nan if n is None or n == "" else float(n) for n in numbers])
    except (TypeError, ValueError, OverflowError):
        scores = np.array([_number(n) for n in numbers])
    bad = ~np.isfinite(scores)
    if bad.any():
        at = int(np.flatnonzero(bad)[0])
        name = names.score or "score"
        raise DataError(
            f"Scores must be finite numbers. Got {name} = {numbers[at]!r} in row "
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
