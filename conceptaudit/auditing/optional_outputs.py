"""Steps of an audit that only some options ask for: the published search, counts by language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from conceptaudit.artifacts import (
    ShardStore,
    digest_of,
    write_csv,
    write_json,
    write_parquet,
)
from conceptaudit.auditing.drawn import with_columns
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport, open_engine, run_shards
from conceptaudit.frequency.by_column import (
    AUTO_COLUMNS,
    CountColumns,
    column_store,
    column_tables,
    columns_of,
)
from conceptaudit.frequency.by_language import NAME, CountByLanguage, language_table
from conceptaudit.frequency.stage import shards_to_count
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.paper_stages import PaperIndex, PaperSearch, queries_of

PAPER_TERMS = "paper_terms.json"
BY_LANGUAGE = "frequencies_by_language"
LANGUAGES = "languages.json"


COLUMNS, COLUMN_VALUES = "columns.csv", "columns_values.parquet"

EXTRAS = (
    PAPER_TERMS, f"{BY_LANGUAGE}.parquet", f"{BY_LANGUAGE}.csv", LANGUAGES, COLUMNS, COLUMN_VALUES,
)  # fmt: skip
"""What an earlier run with other options may have left in the folder."""


def search_as_published(
    index: PaperIndex,
    indexed: StageReport,
    shards: Sequence[Shard],
    folder: Path,
    options: AuditOptions,
    progress: Progress,
) -> StageReport:
    """Turn the terms that captions hold into text tags, once all shards are indexed.

    Writes `PAPER_TERMS`: per concept the terms that were searched for and those left out.
    """
    known = [shard for shard in shards if indexed.store.path(shard.name, ".json").exists()]
    search = PaperSearch.over(indexed.store, queries_of(index), known, folder=folder)
    engine = open_engine(options.engine_choice, n_items=len(known), folder=folder)
    report = run_shards(
        search, search.store, search.identified(known), engine=engine, progress=progress
    )
    write_json(folder / PAPER_TERMS, search.as_json(index.vocabulary))
    return StageReport(
        store=report.store, redone=report.redone, kept=report.kept, failed=indexed.failed
    )


def count_by_language(
    stores: Mapping[str, ShardStore],
    shards: Sequence[Shard],
    vocabulary: ConceptVocabulary,
    folder: Path,
    options: AuditOptions,
    progress: Progress,
) -> StageReport:
    """Count every shard per language and write the counts of all.

    Writes `BY_LANGUAGE` as parquet and CSV, and `LANGUAGES` with samples per language.
    """
    sides = [stores[name] for name in ("text", "image", "languages") if name in stores]
    counted = shards_to_count(shards, sides)
    store = ShardStore(folder=folder / NAME, digest=digest_of(NAME))
    task = CountByLanguage(
        languages=stores["languages"],
        text=stores.get("text"),
        image=stores.get("image"),
        store=store,
    )
    engine = open_engine(options.engine_choice, n_items=len(counted), folder=folder)
    report = run_shards(task, store, counted, engine=engine, progress=progress)
    table, languages = language_table(
        [store.read(shard.name) for shard in counted], vocabulary, level=options.level
    )
    write_parquet(folder / f"{BY_LANGUAGE}.parquet", table)
    write_csv(folder / f"{BY_LANGUAGE}.csv", table)
    write_json(folder / LANGUAGES, languages)
    return report


def count_columns(
    dataset: Dataset,
    stores: Mapping[str, ShardStore],
    shards: Sequence[Shard],
    vocabulary: ConceptVocabulary,
    folder: Path,
    options: AuditOptions,
    progress: Progress,
) -> StageReport:
    """Add up what the dataset's columns say, over all samples and by concept.

    Concepts are those of captions, or of images where captions were not audited. Writes `COLUMNS`
    and `COLUMN_VALUES`.
    """
    named = [name for name in options.columns if name != AUTO_COLUMNS]
    reading = with_columns(dataset, named)
    numbers, values = columns_of(reading, options.columns, shards)
    side = "text" if "text" in stores else "image"
    counted = shards_to_count(shards, [stores[side]])
    store = column_store(folder, list(numbers), list(values), dataset.settings, side)
    task = CountColumns(
        dataset=reading,
        tags=stores[side],
        images=stores.get("embeddings", stores.get("image")),
        store=store,
        numbers=numbers,
        values=values,
    )
    engine = open_engine(options.engine_choice, n_items=len(counted), folder=folder)
    report = run_shards(task, store, counted, engine=engine, progress=progress)
    summary, counts = column_tables(store, counted, vocabulary.names)
    write_csv(folder / COLUMNS, summary)
    write_parquet(folder / COLUMN_VALUES, counts)
    return report
