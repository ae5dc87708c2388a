"""Tables that an audit writes beside its counts: evidence, co-occurrence, languages, columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    ShardStore,
    digest_of,
    write_csv,
    write_json,
    write_parquet,
)
from conceptaudit.auditing.ambiguous_sample import open_evidence
from conceptaudit.auditing.sources import with_columns
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import EngineChoice, StageReport, open_engine, run_shards
from conceptaudit.errors import DataError
from conceptaudit.frequency.by_column import (
    AUTO_COLUMNS,
    CountColumns,
    column_store,
    column_tables,
    columns_of,
)
from conceptaudit.frequency.by_language import NAME, CountByLanguage, language_table
from conceptaudit.frequency.cooccurrence import CountPairs, cooccurrence_table, pair_store
from conceptaudit.frequency.counting import shards_to_count
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress
from conceptaudit.reading import concept_names, read_parquet
from conceptaudit.records import ConceptFrequencies, ConceptVocabulary, Int64Array
from conceptaudit.store.checking import check_written
from conceptaudit.store.removing import remove
from conceptaudit.text.evidence import EVIDENCE, merge_evidence, named_evidence
from conceptaudit.text.mentions import (
    MentionTotals,
    look_alike_columns,
    look_alike_note,
    undecided_note,
)
from conceptaudit.text.paper import PaperIndex, PaperSearch, queries_of
from conceptaudit.text.tagger import FastTextTagger
from conceptaudit.text.wordnet import ambiguity_note, noun_senses

EVIDENCE_FILE = "evidence.parquet"
ALIASES_FILE = "aliases.csv"
COOCCURRENCE_FILE = "cooccurrence.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSide:
    """The text results of an audit's shards."""

    store: ShardStore
    shards: Sequence[Shard]
    vocabulary: ConceptVocabulary

    def with_ambiguity(
        self,
        frequencies: ConceptFrequencies,
        *,
        english: bool,
        look_alikes: MentionTotals,
        strata: Path | None = None,
    ) -> tuple[ConceptFrequencies, tuple[str, ...]]:
        """Add the columns on ambiguity to a frequency table, and say what they say worst.

        With ``n_text_rejected``, ``text_rejected_share``, ``text_undecided_share`` and, for
        English, ``n_senses``.
        """
        table, notes = frequencies.table.copy(), []
        if strata is not None or look_alikes.n_records == len(self.shards):
            sums = look_alikes.accepted, look_alikes.rejected, look_alikes.asked
            # captions that were counted fast: what is rejected is estimated, in captions
            if strata is not None:
                sums = self._estimated(frequencies, strata)
            table = pd.concat([table, look_alike_columns(*sums)], axis=1)
            notes.append(look_alike_note(self.vocabulary, *sums[:2]))
            notes.append(undecided_note(self.vocabulary, *sums))
        if english:
            senses = [noun_senses(name) for name in self.vocabulary.names]
            table["n_senses"] = pd.array(senses, dtype="Int64")
            notes.append(ambiguity_note(self.vocabulary, senses))
        return (
            replace(frequencies, table=table),
            tuple(note for note in notes if note is not None),
        )

    def _estimated(
        self, frequencies: ConceptFrequencies, strata: Path
    ) -> tuple[Int64Array, Int64Array, Int64Array]:
        rows = pd.read_parquet(strata, columns=["concept_id", "n", "share"])
        rejected, asked = np.zeros(len(self.vocabulary)), np.zeros(len(self.vocabulary))
        np.add.at(rejected, rows["concept_id"], rows["n"] * (1.0 - rows["share"]))
        np.add.at(asked, rows["concept_id"], rows["n"])
        accepted = frequencies.table["n_text"].to_numpy(dtype=np.float64)
        whole = [np.rint(sums).astype(np.int64) for sums in (accepted, rejected, asked)]
        return whole[0], whole[1], whole[2]

    def write_aliases(self, folder: Path, look_alikes: MentionTotals) -> None:
        """Write how many captions name a concept by each alias, where every caption was tagged."""
        target = folder / ALIASES_FILE
        remove(folder, [ALIASES_FILE])
        if look_alikes.n_records == len(self.shards) and any(c.aliases for c in self.vocabulary):
            write_csv(target, look_alikes.alias_table(self.vocabulary))

    def write_evidence(
        self,
        folder: Path,
        *,
        size: int,
        workers: EngineChoice,
        fast: FastTextTagger | None = None,
    ) -> None:
        """Write the evidence of all shards to the run folder; nothing where none was kept."""
        target = folder / EVIDENCE_FILE
        if size <= 0:
            remove(folder, [EVIDENCE_FILE])
            return
        paths = [self.store.path(shard.name, EVIDENCE) for shard in self.shards]
        tables = (pd.read_parquet(path) for path in paths if path.exists())
        if fast is not None:
            engine = open_engine(workers, n_items=len(self.shards), folder=folder)
            merged = open_evidence(fast, self.store, self.shards, size=size, engine=engine)
        else:
            merged = merge_evidence(tables, size=size)
        write_parquet(target, named_evidence(merged, self.vocabulary))

    def write_cooccurrence(
        self,
        folder: Path,
        n_text: Int64Array,
        n_captions: int,
        *,
        options: AuditOptions,
        progress: Progress,
    ) -> dict[str, StageReport]:
        """Count the concepts that are named together, where that is asked for.

        `n_text` has the shape (n_concepts,).
        """
        target = folder / COOCCURRENCE_FILE
        if not options.cooccurrence:
            remove(folder, [COOCCURRENCE_FILE])
            return {}
        store = pair_store(folder)
        shards = shards_to_count(self.shards, [self.store])
        task = CountPairs(text=self.store, store=store)
        engine = open_engine(options.engine_choice, n_items=len(shards), folder=folder)
        report = run_shards(task, store, shards, engine=engine, progress=progress)
        table = cooccurrence_table(store, shards, self.vocabulary, n_text, n_captions)
        write_parquet(target, table)
        return {"pairs": report}


_TABLES = {
    "evidence": (EVIDENCE_FILE, "concept", "--evidence 20"),
    "cooccurrence": (COOCCURRENCE_FILE, "concept_a", "--cooccurrence"),
}


def read_run_table(run: Path, what: str, concept: str) -> pd.DataFrame:
    """Read what a run folder's evidence or co-occurrence table holds about one concept."""
    file, column, option = _TABLES[what]
    if not (run / file).exists():
        raise DataError(
            f"{run} holds no {file}. Run the audit of its captions again with {option}."
        )
    for name in (file, "concepts.json"):
        check_written(run / name)
    names = concept_names(run / "concepts.json")
    if concept not in names:
        near = ", ".join(map(repr, get_close_matches(concept, names, n=3)))
        raise DataError(
            f"{concept!r} is not in the concept list of {run}."
            + (f" Did you mean {near}?" if near else "")
        )
    table = read_parquet(run / file, filters=[(column, "==", concept)])
    return table.reset_index(drop=True)


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
