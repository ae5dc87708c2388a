"""Folders of precomputed image embeddings with a metadata row for each: no image is opened."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from conceptaudit.datasets import _parquet
from conceptaudit.datasets._columns import Choice, Columns
from conceptaudit.datasets._embedding_files import (
    ArrayReader,
    Pair,
    choose_array,
    open_array,
    require_pairs,
    stray_metadata,
)
from conceptaudit.datasets._files import File, first_readable, make_shard, names_its_file, stat_file
from conceptaudit.datasets._listing import Listing, list_files
from conceptaudit.datasets._rows import (
    CAPTIONS_PER_ROW,
    SEVERAL_NOTE,
    WHOLE,
    Cut,
    Rows,
    even_cuts,
    spread,
)
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    check_parts,
    ids_of,
    key_text,
    make_batch,
    repeated_rows,
)
from conceptaudit.datasets._table_file import open_table_file
from conceptaudit.datasets.base import (
    CAPTION,
    DEFAULT_BATCH_ROWS,
    DEFAULT_SHARD_ROWS,
    EMBEDDING,
    EXTRA,
    SOURCE_COLUMN,
    Opened,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import SampleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingDataset(Opened):
    """Image embeddings and captions; see `conceptaudit.datasets.open_dataset`."""

    choice: Choice = field(default_factory=Choice)
    embedding_array: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS
    several: bool = False

    def shards(self) -> tuple[Shard, ...]:
        """Row ranges of every (embedding file, metadata file) pair, by index."""
        pairs, _ = require_pairs(list_files(self.location), self.location)
        return tuple(
            make_shard(
                [pair.array, *([pair.metadata] if pair.metadata else [])],
                file_index=index,
                settings=self.settings,
                start=cut.start,
                stop=cut.stop,
                ids_per_row=CAPTIONS_PER_ROW if self.several else 1,
            )
            for index, pair in enumerate(pairs)
            for cut in self._cuts(pair)
        )

    def _cuts(self, pair: Pair) -> list[Cut]:
        try:
            if pair.metadata is not None:
                return _parquet.cuts(pair.metadata.path, self.shard_rows)
            with open_array(pair.array.path, self._member(pair.array.path)) as array:
                return even_cuts(array.rows, self.shard_rows)
        except (DataError, ConfigError):  # told when the shard is read
            return [WHOLE]

    def _member(self, path: str) -> str | None:
        return choose_array(path, self.embedding_array) if path.endswith(".npz") else None

    @names_its_file
    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read one row range of one pair, after checking that both files have as many rows."""
        check_parts(parts, self.provides, self.layout)
        path, *tables = shard.files
        if not tables and CAPTION in self.provides:
            raise DataError(
                f"The embedding file {path} has no metadata file of the same index, unlike others "
                "in this folder. Put it back, or remove the embedding file."
            )
        with open_array(path, self._member(path)) as array:
            if not tables:
                for block in _numbered(array.rows, shard):
                    yield _batch(
                        block,
                        columns=None,
                        shard=shard,
                        parts=parts,
                        array=array,
                        repeated=frozenset(),
                    )
                return
            columns = metadata_columns(tables[0], self.choice)
            if columns.caption is None and CAPTION in parts:
                raise DataError(f"No caption column found in {tables[0]}, unlike in other files.")
            count = _parquet.row_count(tables[0])
            if count != array.rows:
                raise DataError(
                    "Embeddings and metadata must have as many rows. Got "
                    f"{quantity(array.rows, 'row')} in {path} and {count:,} in {tables[0]} "
                    "instead: one of them belongs to another export."
                )
            names = _names(columns)
            if EXTRA in parts:
                names += [column for _, column in columns.extra if column not in names]
            names = names or list(_parquet.columns_of(tables[0]))[:1]
            repeated = _repeated(stat_file(tables[0]), columns)
            array.skip(shard.start)
            cut = Cut(start=shard.start, stop=shard.stop)
            for block in _parquet.rows(tables[0], cut, names, DEFAULT_BATCH_ROWS):
                yield _batch(
                    block,
                    columns=columns,
                    shard=shard,
                    parts=parts,
                    array=array,
                    repeated=repeated,
                )


def metadata_columns(path: str, choice: Choice) -> Columns:
    """Columns of a metadata table, which may do without captions."""
    return open_table_file(path, choice, required=False).columns


def _names(columns: Columns) -> list[str]:
    return [name for name in (columns.identity, columns.caption) if name is not None]


def _numbered(n_rows: int, shard: Shard) -> Iterator[Rows]:
    stop = n_rows if shard.stop < 0 else shard.stop
    for first in range(shard.start, stop, DEFAULT_BATCH_ROWS):
        yield Rows(numbers=range(first, min(first + DEFAULT_BATCH_ROWS, stop)), columns={})


@lru_cache(maxsize=4)
def _repeated(file: File, columns: Columns) -> frozenset[int]:
    """Rows that repeat the key and caption of an earlier row of the same metadata file."""
    if columns.key is None or SOURCE_COLUMN in _parquet.columns_of(file.path):
        return frozenset()  # rows that we wrote were told apart when they were embedded
    if columns.several:
        return frozenset()
    names = _names(columns)

    def identities() -> Iterator[tuple[int, Any]]:
        for block in _parquet.rows(file.path, WHOLE, names, DEFAULT_BATCH_ROWS):
            values = zip(*(block.columns[name] for name in names), strict=True)
            yield from zip(block.numbers, values, strict=True)

    return repeated_rows(identities)


def _batch(
    block: Rows,
    *,
    columns: Columns | None,
    shard: Shard,
    parts: frozenset[str],
    array: ArrayReader,
    repeated: frozenset[int],
) -> SampleBatch:
    vectors = array.take(len(block.numbers)) if EMBEDDING in parts else None
    if columns is not None and columns.several and columns.caption is not None:
        first = block.numbers[0]
        [block] = spread(iter([block]), columns.caption)
        if vectors is not None:
            vectors = vectors[[number // CAPTIONS_PER_ROW - first for number in block.numbers]]
    ids = ids_of(shard.file_index, block.numbers)
    identity = columns.identity if columns else None
    values = block.columns[identity] if identity else [None] * len(ids)
    keys = [key_text(value, number) for value, number in zip(values, ids.tolist(), strict=True)]
    captions = None
    if CAPTION in parts and columns is not None and columns.caption is not None:
        captions = block.columns[columns.caption]
    extra = None
    if EXTRA in parts:
        found = columns.extra if columns else ()
        extra = {name: block.columns[column] for name, column in found}
    left_out = {
        i: ("duplicate_key", "") for i, number in enumerate(block.numbers) if number in repeated
    }
    return make_batch(
        ids, keys, captions=captions, embeddings=vectors, extra=extra, left_out=left_out
    )


def open_embeddings(
    listing: Listing,
    location: str,
    choice: Choice,
    *,
    shard_rows: int,
    embedding_array: str | None,
) -> EmbeddingDataset:
    """Open a folder of embeddings, reporting the first pair that can be read."""
    pairs, notes = require_pairs(listing, location)
    columns, member, told = first_readable(
        pairs, lambda pair: _describe(pair, choice, embedding_array, len(pairs)), location
    )
    captioned = columns is not None and columns.caption is not None
    settings = {
        "layout": "embeddings",
        "caption_column": choice.caption or f"auto: {columns.caption if columns else None}",
        "key_column": choice.key or f"auto: {columns.identity if columns else None}",
        "embedding_array": str(member),
        "max_caption_chars": str(MAX_CAPTION_CHARS),
    }
    return EmbeddingDataset(
        location=location,
        provides=frozenset({EMBEDDING, CAPTION} if captioned else {EMBEDDING}),
        notes=(*listing.notes, *told, *stray_metadata(listing), *notes),
        settings=settings,
        choice=choice,
        embedding_array=embedding_array,
        shard_rows=shard_rows,
        several=columns is not None and columns.several,
    )


def _describe(
    pair: Pair, choice: Choice, embedding_array: str | None, n_pairs: int
) -> tuple[Columns | None, str | None, list[str]]:
    """Describe a pair: columns of its metadata, name of its array in a .npz, and notes."""
    path = pair.array.path
    member = choose_array(path, embedding_array) if path.endswith(".npz") else None
    with open_array(path, member) as array:
        shape = f"{array.dimension}-dimensional {array.dtype}"
    columns = metadata_columns(pair.metadata.path, choice) if pair.metadata else None
    shape += f" (array {member!r})" if member else ""
    notes = [
        f"Layout: embeddings, {quantity(n_pairs, 'file')} of {shape}.",
        "Images are counted from their embeddings; no image is opened.",
    ]
    keys = columns.identity if columns and columns.identity else "row numbers"
    if columns is None or columns.caption is None:
        notes.append(
            "No captions were found beside them, so only images can be counted; keys from "
            f"{keys!r}."
        )
    else:
        notes.append(f"Captions from {columns.caption!r}, keys from {keys!r}.")
    if columns is not None and columns.several:
        notes.append(SEVERAL_NOTE)
    return columns, member, notes
