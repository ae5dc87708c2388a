"""Rows of a table as a batch of samples; rows that are none as drops."""

import re
from typing import Any

from conceptaudit.datasets._columns import Columns
from conceptaudit.datasets._rows import Rows
from conceptaudit.datasets._rules import RowRules, language_code
from conceptaudit.datasets._samples import MAX_CAPTION_CHARS, ids_of, key_text, make_batch
from conceptaudit.datasets._table_file import TableFile
from conceptaudit.datasets.base import CAPTION, DOCUMENT_UNIT, EXTRA, IMAGE, LANGUAGE
from conceptaudit.records import Drop, SampleBatch, sample_id

SUCCESS = "success"
"""img2dataset's status of a row whose image was downloaded; only these were trained on."""


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
    drops += [
        Drop(sample_id=int(ids[i]), key=keys[i], part="sample", reason=reason, detail=detail)
        for i, (reason, detail) in sorted(left_out.items())
    ]
    kept = [i for i in range(len(ids)) if i not in left_out]
    captions = block.columns[columns.caption] if CAPTION in parts and columns.caption else None
    images = block.columns[columns.image] if IMAGE in parts and columns.image else None
    languages = None
    if LANGUAGE in parts and columns.language is not None:
        codes = block.columns[columns.language]
        languages = [language_code(codes[i]) for i in kept]
    extra = None
    if EXTRA in parts:
        extra = {name: block.columns[column] for name, column in columns.extra}
    if len(kept) < len(ids):
        ids, keys = ids[kept], [keys[i] for i in kept]
        captions = None if captions is None else [captions[i] for i in kept]
        images = None if images is None else [images[i] for i in kept]
        extra = extra and {name: [values[i] for i in kept] for name, values in extra.items()}
    return make_batch(
        ids,
        keys,
        captions=captions,
        images=images,
        languages=languages,
        extra=extra,
        drops=drops,
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
