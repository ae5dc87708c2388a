"""Rows of a table as a batch of samples; rows that are none as drops, and why.

Rows are left out by language, without a URL, or because img2dataset did not store them; its
``{shard}.parquet`` beside a shard of images says what was tried there, and what failed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from conceptaudit.datasets import _parquet
from conceptaudit.datasets._columns import Choice, Columns, resolve
from conceptaudit.datasets._files import File
from conceptaudit.datasets._rows import WHOLE, Rows
from conceptaudit.datasets._samples import MAX_CAPTION_CHARS, ids_of, key_text, make_batch
from conceptaudit.datasets._table_file import TableFile
from conceptaudit.datasets.base import (
    CAPTION,
    CAPTION_UNIT,
    DEFAULT_BATCH_ROWS,
    DOCUMENT_UNIT,
    EXTRA,
    IMAGE,
    LANGUAGE,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Drop, SampleBatch, sample_id

NO_LANGUAGE = "unknown"  # stands for a language that a row leaves empty


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRules:
    """What a row must have to be a sample, and how long its text may be."""

    # codes as the table writes them, in any case; none lets every language in
    languages: tuple[str, ...] = ()
    # whether a row whose URL is empty is left out, where the table has URLs
    require_url: bool = False
    # whether a text is a caption, cut where it is too long, or a document, which is not
    unit: str = CAPTION_UNIT

    def __post_init__(self) -> None:
        if self.unit not in (CAPTION_UNIT, DOCUMENT_UNIT):
            raise ConfigError(
                f"The 'unit' parameter of open_dataset must be {CAPTION_UNIT!r} or "
                f"{DOCUMENT_UNIT!r}. Got {self.unit!r} instead."
            )
        if any(not language.strip() for language in self.languages):
            raise ConfigError(
                "The 'languages' parameter of open_dataset must hold language codes such as "
                f"'en'. Got {list(self.languages)} instead."
            )

    @property
    def settings(self) -> dict[str, str]:
        """What changes the reading; nothing for a table that is read as it stands."""
        given = {
            "languages": " ".join(sorted(map(language_code, self.languages))),
            "require_url": "yes" if self.require_url else "",
            "unit": "" if self.unit == CAPTION_UNIT else self.unit,
        }
        return {name: value for name, value in given.items() if value}

    def columns(self, columns: Columns) -> list[str | None]:
        """Name the columns that must be read to apply the rules."""
        return [
            columns.language if self.languages else None,
            columns.url if self.require_url else None,
        ]

    def excluded(
        self, columns: Columns, values: Mapping[str, Sequence[Any]]
    ) -> Iterator[tuple[int, str, str]]:
        """Find the rows that are left out: position, reason, what was found."""
        if self.languages and columns.language is not None:
            wanted = frozenset(map(language_code, self.languages))
            for i, value in enumerate(values[columns.language]):
                code = language_code(value)
                if code not in wanted:
                    yield i, f"language_{_slug(code)}", code
        if self.require_url and columns.url is not None:
            for i, value in enumerate(values[columns.url]):
                if not isinstance(value, str) or not value:
                    yield i, "missing_url", ""


def language_code(value: Any) -> str:
    """Fold a language's code: case and the separator of its region do not matter.

    Examples
    --------
    >>> language_code("EN"), language_code("zh_CN "), language_code(None)
    ('en', 'zh-cn', 'unknown')
    """
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    code = value.strip().casefold().replace("_", "-") if isinstance(value, str) else ""
    return code or NO_LANGUAGE


def _slug(code: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", code)[:40]


# img2dataset's status of a row whose image was downloaded; only these were trained on.
SUCCESS = "success"


def table_batch(
    block: Rows,
    source: TableFile,
    file_index: int,
    parts: frozenset[str],
    repeated: frozenset[int],
    rules: RowRules,
) -> SampleBatch:
    """Make a batch of a block's rows; `repeated` are rows whose key an earlier row has."""
    columns = source.columns
    ids = ids_of(file_index, block.numbers)
    if columns.identity is None:
        keys = [str(number) for number in ids.tolist()]
    else:
        values = block.columns[columns.identity]
        keys = [key_text(value, number) for value, number in zip(values, ids.tolist(), strict=True)]
    drops = [
        Drop(
            sample_id=sample_id(file_index, fault.row),
            key=str(sample_id(file_index, fault.row)),
            part=fault.part,
            reason=fault.reason,
            detail=fault.detail,
        )
        for fault in block.faults
    ]
    left_out = _not_downloaded(block, columns, repeated)
    for i, reason, detail in rules.excluded(columns, block.columns):
        left_out.setdefault(i, (reason, detail))
    chosen = {CAPTION: columns.caption, IMAGE: columns.image, LANGUAGE: columns.language}
    asked = {part: block.columns[name] for part, name in chosen.items() if part in parts and name}
    languages = asked.get(LANGUAGE)
    extra = {name: block.columns[column] for name, column in columns.extra if EXTRA in parts}
    return make_batch(
        ids,
        keys,
        captions=asked.get(CAPTION),
        images=asked.get(IMAGE),
        languages=None if languages is None else [language_code(code) for code in languages],
        extra=extra if EXTRA in parts else None,
        drops=drops,
        left_out=left_out,
        max_chars=None if rules.unit == DOCUMENT_UNIT else MAX_CAPTION_CHARS,
    )


def _not_downloaded(
    block: Rows, columns: Columns, repeated: frozenset[int]
) -> dict[int, tuple[str, str]]:
    """Rows that img2dataset did not store, or stored twice: position to reason and detail."""
    left_out: dict[int, tuple[str, str]] = {}
    if columns.status is None:
        return left_out
    states, errors = block.columns[columns.status], block.columns[columns.error or ""]
    for i, (state, error) in enumerate(zip(states, errors, strict=True)):
        if state != SUCCESS:
            left_out[i] = (status_reason(state), str(error or ""))
        elif block.numbers[i] in repeated:
            left_out[i] = ("duplicate_key", str(error or ""))
    return left_out


def status_reason(status: Any) -> str:
    """Drop reason of an img2dataset row that was not stored.

    Examples
    --------
    >>> status_reason("failed_to_download"), status_reason(None)
    ('status_failed_to_download', 'status_unknown')
    """
    return f"status_{re.sub(r'[^a-z0-9]+', '_', str(status or 'unknown').lower())[:40]}"


def failed_samples(
    path: str, present: AbstractSet[str], *, file_index: int, first_row: int
) -> Iterator[SampleBatch]:
    """List the samples that the shard does not hold, as batches of drops without rows.

    The table is in the order in which downloads finished, so its rows are matched by key. The
    drops take the rows after the shard's own, in the order of their keys.
    """
    columns = resolve(_parquet.columns_of(path), Choice(), path, required=False)
    if columns.key is None or columns.status is None or columns.error is None:
        raise DataError(
            f"The table {path} beside an img2dataset shard must have the columns 'key', 'status' "
            f"and 'error_message'. Got {list(_parquet.columns_of(path))} instead."
        )
    names = [columns.key, columns.status, columns.error, *([columns.url] if columns.url else [])]
    found: list[tuple[str, str, str]] = []
    seen: set[str] = set()
    for block in _parquet.rows(path, WHOLE, names, DEFAULT_BATCH_ROWS):
        for values in zip(*(block.columns[name] for name in names), strict=True):
            key = key_text(values[0], -1)
            detail = " ".join(str(value) for value in values[2:] if value)
            if key in seen:
                found.append((key, "duplicate_key", detail))
            elif values[1] != SUCCESS and key not in present:
                found.append((key, status_reason(values[1]), detail))
            elif key not in present:
                found.append((key, "missing_from_shard", detail))
            seen.add(key)
    found.sort()
    drops = [
        Drop(
            sample_id=sample_id(file_index, first_row + rank),
            key=key,
            part="sample",
            reason=reason,
            detail=detail,
        )
        for rank, (key, reason, detail) in enumerate(found)
    ]
    if drops:
        yield make_batch(ids_of(file_index, []), [], drops=drops)


def sidecar_notes(shards: list[str], names: AbstractSet[str]) -> Iterator[str]:
    """Say what img2dataset left beside its shards, and which of them it did not finish."""
    tables = [shard for shard in shards if f"{shard}.parquet" in names]
    unfinished = [shard for shard in shards if f"{shard}_stats.json" not in names]
    if not tables and len(unfinished) == len(shards):
        return
    yield (
        f"{len(tables):,} of {quantity(len(shards), 'shard')} have img2dataset's table beside "
        "them; samples that were never downloaded are reported as dropped."
    )
    if unfinished:
        shown = ", ".join(PurePosixPath(shard).name for shard in unfinished[:5])
        yield (
            f"{len(unfinished):,} of {quantity(len(shards), 'shard')} have no _stats.json: "
            f"img2dataset did not finish them ({shown})."
        )


def beside(names: dict[str, File], shard: str) -> list[File]:
    """Find the table beside a shard: a list of none or one."""
    return [names[f"{shard}.parquet"]] if f"{shard}.parquet" in names else []
