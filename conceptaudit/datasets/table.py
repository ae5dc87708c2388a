"""Metadata tables: parquet, CSV, TSV, JSON Lines, JSON; captions and, where embedded, images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from conceptaudit.datasets._columns import Choice
from conceptaudit.datasets._files import (
    File,
    is_packed,
    make_shard,
    names_its_file,
    stat_file,
    suffix,
)
from conceptaudit.datasets._listing import Listing, list_files, text_files
from conceptaudit.datasets._rows import SEVERAL_NOTE, WHOLE, Cut
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    check_parts,
    repeated_rows,
)
from conceptaudit.datasets._table_file import TableFile, open_table_file
from conceptaudit.datasets._table_rows import SUCCESS, RowRules, table_batch
from conceptaudit.datasets.base import (
    CAPTION,
    DEFAULT_BATCH_ROWS,
    DEFAULT_SHARD_ROWS,
    DOCUMENT_BATCH_ROWS,
    DOCUMENT_UNIT,
    EXTRA,
    IMAGE,
    IMAGE_BATCH_ROWS,
    LANGUAGE,
    Opened,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import SampleBatch

SUFFIXES = (".parquet", ".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class TableDataset(Opened):
    """Tables of captions, one row per sample; see `conceptaudit.datasets.open_dataset`."""

    choice: Choice = field(default_factory=Choice)
    usual: Choice = field(default_factory=Choice)
    rules: RowRules = field(default_factory=RowRules)
    shard_rows: int = DEFAULT_SHARD_ROWS

    def shards(self) -> tuple[Shard, ...]:
        """Row ranges of every file, in the order of the sorted file names."""
        shards: list[Shard] = []
        for index, file in enumerate(table_files(list_files(self.location))):
            ids_per_row = 1
            try:
                source = open_table_file(file.path, self.choice, usual=self.usual)
                cuts, ids_per_row = source.cuts(self.shard_rows), source.ids_per_row
            except (DataError, ConfigError):  # told when the shard is read
                cuts = [WHOLE]
            shards += [
                make_shard(
                    [file],
                    file_index=index,
                    settings=self.settings,
                    start=cut.start,
                    stop=cut.stop,
                    offset=cut.offset,
                    ids_per_row=ids_per_row,
                )
                for cut in cuts
            ]
        return tuple(shards)

    @names_its_file
    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read one row range; rows whose download failed are drops of part ``"sample"``."""
        check_parts(parts, self.provides, self.layout)
        source = open_table_file(shard.files[0], self.choice, usual=self.usual)
        columns = source.columns
        offered = {CAPTION: columns.caption, IMAGE: columns.image, LANGUAGE: columns.language}
        for part, column in offered.items():
            if part in parts and column is None:
                raise DataError(f"No {part} column found in {source.path}, unlike in other files.")
        if self.rules.languages and columns.language is None:
            raise DataError(f"No language column found in {source.path}, unlike in other files.")
        wanted = [columns.identity, columns.status, columns.error]
        wanted += [column for part, column in offered.items() if part in parts]
        wanted += self.rules.columns(columns)
        wanted += [column for _, column in columns.extra] if EXTRA in parts else []
        names = [name for name in dict.fromkeys(wanted) if name is not None]
        names = names or [name for name in (columns.caption, columns.image) if name][:1]
        repeated = _repeated_keys(source, stat_file(source.path))
        cut = Cut(start=shard.start, stop=shard.stop, offset=shard.offset)
        size = IMAGE_BATCH_ROWS if IMAGE in parts else DEFAULT_BATCH_ROWS
        size = min(size, DOCUMENT_BATCH_ROWS) if self.rules.unit == DOCUMENT_UNIT else size
        for block in source.rows(cut, names, size):
            yield table_batch(block, source, shard.file_index, parts, repeated, self.rules)


@lru_cache(maxsize=4)
def _repeated_keys(source: TableFile, file: File) -> frozenset[int]:  # noqa: ARG001 -- cache key
    """Rows of an img2dataset table whose key an earlier row has; other tables may repeat keys.

    `file` is there for its stamp: a changed file is read again.
    """
    key = source.columns.key
    if source.columns.status is None or key is None or key.lower() != "key":
        return frozenset()
    if source.columns.several:  # rows of one key are its captions
        return frozenset()

    def identities() -> Iterator[tuple[int, Any]]:
        for block in source.rows(WHOLE, [key], DEFAULT_BATCH_ROWS):
            yield from zip(block.numbers, block.columns[key], strict=True)

    return repeated_rows(identities)


def table_files(listing: Listing) -> list[File]:
    """Pick the table files of a listing, all of one format."""
    if listing.is_file:
        return list(listing.files)
    files = [file for file in listing.files if suffix(file.name) in SUFFIXES]
    # img2dataset writes {shard}_stats.json beside its metadata; reports are no captions either.
    tables = [file for file in files if suffix(file.name) != ".json"]
    files = tables or [file for file in files if not file.name.endswith("_stats.json")]
    files = files or text_files(listing)
    kinds = sorted({suffix(file.name) for file in files})
    if len(kinds) > 1:
        raise ConfigError(
            "The 'location' parameter of open_dataset must name tables of one format. Got "
            f"{kinds} in {listing.root} instead; choose with a pattern such as '*{kinds[0]}'."
        )
    return files


def open_table(
    listing: Listing, location: str, choice: Choice, shard_rows: int, rules: RowRules | None = None
) -> TableDataset:
    """Open tables, reporting the columns of the first one that can be read."""
    rules = rules or RowRules()
    files = table_files(listing)
    if not files:
        raise ConfigError(
            "The 'location' parameter of open_dataset must name a file with one of the endings "
            f"{list(SUFFIXES)} for layout 'table'. Got {location!r} instead."
        )
    source = _first_readable(files, choice)
    columns = source.columns
    offered = {CAPTION: columns.caption, IMAGE: columns.image, LANGUAGE: columns.language}
    if rules.languages and columns.language is None:
        raise ConfigError(
            "The 'languages' parameter of open_dataset must be empty for a table without a column "
            f"of languages. Got {list(rules.languages)} for {source.path} instead; name the column "
            "with language_column (--language-column)."
        )
    settings = {
        "layout": "table",
        "caption_column": choice.caption or f"auto: {columns.caption}",
        "key_column": choice.key or f"auto: {columns.key}",
        "url_column": choice.url or f"auto: {columns.url}",
        "max_caption_chars": str(MAX_CAPTION_CHARS),
        **({"language_column": choice.language} if choice.language else {}),
        **rules.settings,
    }
    return TableDataset(
        location=location,
        provides=frozenset(part for part, column in offered.items() if column is not None),
        notes=(*listing.notes, *_notes(files, source), *_vectors_beside(listing)),
        settings=settings,
        choice=choice,
        usual=Choice(
            caption=columns.caption,
            key=columns.key,
            url=columns.url,
            language=columns.language,
        ),
        rules=rules,
        shard_rows=shard_rows,
    )


def _vectors_beside(listing: Listing) -> list[str]:
    """Name arrays beside the tables, which a table's layout does not read."""
    arrays = [f.name for f in listing.files if suffix(f.name) in (".npy", ".npz")]
    bare = [f.name for f in listing.files if not suffix(f.name) and "img_emb" in f.name]
    if not arrays and bare:
        return [f"{bare[0]} is not read. If it is a NumPy array, rename it to {bare[0]}.npy."]
    if not arrays:
        return []
    note = (
        f"{arrays[0]} lies beside the tables and is not read. If it holds image embeddings in "
        "the order of a table, call them image_embeddings.npy and metadata.parquet."
    )
    return [note]


def _first_readable(files: Sequence[File], choice: Choice) -> TableFile:
    problem: DataError | None = None
    best: TableFile | None = None
    for file in files[:20]:
        try:
            source = open_table_file(file.path, choice)
        except DataError as error:
            problem = problem or error
            continue
        if source.has_captions:
            return source
        best = best or source
    if best is not None:
        return best
    raise problem or DataError(f"None of {quantity(len(files), 'table')} can be read.")


def _notes(files: Sequence[File], source: TableFile) -> Iterator[str]:
    columns = source.columns
    plural = "files" if len(files) > 1 else "file"
    yield (
        f"Layout: table, {len(files):,} {suffix(source.path)[1:]} {plural}; captions from "
        f"{columns.caption or 'nowhere'!r}, keys from {columns.identity or 'row numbers'!r}."
    )
    if source.dialect is not None and not source.dialect.header:
        yield f"The file has no header; its columns were taken as {list(source.dialect.names)}."
    if columns.caption is None:
        yield "No caption column was found, so only images can be counted."
    if columns.image is None:
        yield "The table holds no images, so only captions can be counted."
    if columns.several:
        yield SEVERAL_NOTE
    if columns.status is not None:
        yield (
            f"Rows whose {columns.status!r} is not {SUCCESS!r} were never downloaded; they are "
            "reported as dropped samples."
        )
    if any(is_packed(file.name) for file in files):
        yield "Compressed files cannot be cut into several shards; each is one shard."
    if any(file.size == 0 for file in files) or stat_file(source.path).size == 0:
        yield "Some files are empty."
