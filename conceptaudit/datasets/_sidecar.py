"""img2dataset's ``{shard}.parquet`` beside each shard: what was tried, and what failed."""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath

from conceptaudit.datasets import _parquet
from conceptaudit.datasets._columns import Choice, resolve
from conceptaudit.datasets._files import File
from conceptaudit.datasets._samples import ids_of, key_text, make_batch
from conceptaudit.datasets._table_batch import SUCCESS, status_reason
from conceptaudit.datasets.base import DEFAULT_BATCH_ROWS
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.records import Drop, SampleBatch, sample_id


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
    for block in _parquet.rows(path, 0, -1, names, DEFAULT_BATCH_ROWS):
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
