"""Adding up the counts of shards, in DuckDB, which spills to disk what memory cannot hold.

Captions add up. Images do not: an image whose captions lie in two shards was counted in both.
Which keys those are is known once all shards are there, and only for them the single captions are
looked at again: their counts are taken off and put right.
"""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.artifacts import inert_text, whole_file
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.noun_vocabulary.stage import COUNTS, KEYS, PAIRS
from conceptaudit.store.partials import ScratchFolder
from conceptaudit.vocabulary import spelling

if TYPE_CHECKING:
    import duckdb


ROWS_PER_GROUP = 100_000

_SUM = """
    SELECT kind, text, sum(n_captions)::BIGINT AS n_captions, sum(n_images)::BIGINT AS n_images
    FROM read_parquet($counts) GROUP BY kind, text
"""

# keys of several shards, with how many captions of theirs lie in earlier shards
_SHARED = """
    CREATE TEMP TABLE shared AS
    SELECT shard, key, (sum(n) OVER (PARTITION BY key ORDER BY shard) - n)::BIGINT AS before
    FROM (SELECT shard, key, n FROM read_parquet($keys)
          WHERE key IN (SELECT key FROM read_parquet($keys) GROUP BY key HAVING count(*) > 1))
"""

# n_captions, n_images: what the shards counted; kept_…: what there is
_CORRECTION = """
    CREATE TEMP TABLE correction AS
    SELECT kind, text,
           sum(n)::BIGINT AS n_captions, sum(kept)::BIGINT AS kept_captions,
           sum(shards)::BIGINT AS n_images, count(*) FILTER (kept > 0) AS kept_images
    FROM (SELECT kind, text, key, count(*) AS shards, sum(n) AS n, sum(kept) AS kept
          FROM (SELECT kind, text, key, shard, count(*) AS n,
                       count(*) FILTER ($n IS NULL OR rank + before < $n) AS kept
                FROM read_parquet($pairs) JOIN shared USING (shard, key)
                GROUP BY kind, text, key, shard)
          GROUP BY kind, text, key)
    GROUP BY kind, text
"""

_CORRECTED = f"""
    SELECT kind, text,
           s.n_captions - coalesce(c.n_captions - c.kept_captions, 0) AS n_captions,
           s.n_images - coalesce(c.n_images - c.kept_images, 0) AS n_images
    FROM ({_SUM}) AS s LEFT JOIN correction AS c USING (kind, text)
"""  # noqa: S608 -- made of constants


def merge_counts(
    parts: Path,
    shards: Sequence[str],
    out: Path,
    *,
    spill: Path,
    captions_per_image: int | None,
    min_count: int,
    min_images: int,
    memory_limit: str,
) -> int:
    """Add shards up and write the entries that occur often enough, most frequent first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = {
        suffix: [str(path) for shard in shards if (path := parts / f"{shard}{suffix}").exists()]
        for suffix in (COUNTS, PAIRS, KEYS)
    }
    kinds = {"kind": pa.string(), "text": pa.string()}
    counts = {"n_captions": pa.int64(), "n_images": pa.int64()}
    schema = pa.schema([pa.field(name, kind) for name, kind in {**kinds, **counts}.items()])
    n_written = 0
    with (
        _database(spill, memory_limit) as database,
        whole_file(out) as partial,
        pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for batch in _merged(database, files, captions_per_image, min_count, min_images):
            n_written += batch.num_rows
            writer.write_table(pa.Table.from_batches([batch]).cast(schema), ROWS_PER_GROUP)
    return n_written


def _merged(
    database: duckdb.DuckDBPyConnection,
    files: dict[str, list[str]],
    captions_per_image: int | None,
    min_count: int,
    min_images: int,
) -> Iterator[Any]:
    if not files[COUNTS]:
        return
    summed = _SUM
    if files[PAIRS]:
        database.execute(_SHARED, {"keys": files[KEYS]})
        database.execute(_CORRECTION, {"pairs": files[PAIRS], "n": captions_per_image})
        summed = _CORRECTED
    found = database.sql(
        f"SELECT kind, text, n_captions, n_images FROM ({summed}) "  # noqa: S608 -- constants
        "WHERE n_captions >= $min_count AND n_images >= $min_images "
        "ORDER BY n_captions DESC, kind, text",
        params={
            "counts": files[COUNTS],
            "min_count": max(min_count, 1),
            "min_images": min_images,
        },
    )
    yield from found.to_arrow_reader(ROWS_PER_GROUP)


@contextmanager
def _database(place: Path, memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    with ScratchFolder(place) as spill:
        yield from _connected(spill, memory_limit)


def _connected(spill: Path, memory_limit: str) -> Iterator[duckdb.DuckDBPyConnection]:
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "temp_directory": str(spill),
        "preserve_insertion_order": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "threads": "2",
    }
    try:
        with duckdb.connect(config=settings) as database:
            try:
                database.execute("SET memory_limit = $limit", {"limit": memory_limit})
            except duckdb.Error as error:
                raise ConfigError(
                    "The 'memory_limit' parameter must be an amount of memory such as '1GB'. "
                    f"Got {memory_limit!r} instead."
                ) from error
            yield database
    except duckdb.Error as error:
        raise DataError(
            f"Merging the counts of shards failed: {str(error).splitlines()[0]} "
            "Give more memory with --memory-limit, or free disk space beside the output."
        ) from error


_ROWS = 50_000


def entries(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """Yield a listing's rows: kind, text, captions, images."""
    import pyarrow.parquet as pq

    if is_csv(path):
        with path.open(encoding="utf-8", newline="") as stream:
            for kind, text, n_captions, n_images in islice(csv.reader(stream), 1, None):
                yield kind, text, int(n_captions), int(n_images)
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def is_csv(path: Path) -> bool:
    """Whether a listing of this name is written as CSV."""
    return path.suffix.lower() == ".csv"


def write_listing_csv(listing: Path, out: Path) -> None:
    """Write a parquet listing as CSV: ``kind, text, n_captions, n_images``.

    Text that a spreadsheet would compute gets an apostrophe in front.
    """
    with whole_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["kind", "text", "n_captions", "n_images"])
        for kind, text, n_captions, n_images in entries(listing):
            writer.writerow([kind, inert_text(text), n_captions, n_images])


def write_concepts(listing: Path, out: Path) -> int:
    """Write a listing as a concept list that an audit reads.

    An entry that is both a word and a phrase is one concept. Entries that do not begin with a
    letter, digit or pictograph are no names and are left out, also because a spreadsheet would
    take some of them for formulas.
    """
    seen: set[str] = set()
    with whole_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["concept", "kind", "n_captions", "n_images"])
        for kind, text, n_captions, n_images in entries(listing):
            key = spelling(text)
            if key in seen or not _begins_a_name(text):
                continue
            seen.add(key)
            writer.writerow([text, kind, n_captions, n_images])
    return len(seen)


def _begins_a_name(text: str) -> bool:
    category = unicodedata.category(text[0])
    return category[0] in "LN" or category == "So"
