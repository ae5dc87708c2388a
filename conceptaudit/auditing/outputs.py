"""Tables that an audit writes beside its counts: evidence, co-occurrence, languages, columns."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    ShardStore,
    digest_of,
    read_json,
    write_csv,
    write_json,
    write_parquet,
)
from conceptaudit.auditing.ambiguous_sample import open_evidence
from conceptaudit.auditing.sources import with_columns
from conceptaudit.auditing.stages import AuditStages, CountedShards
from conceptaudit.engine import StageReport
from conceptaudit.errors import DataError
from conceptaudit.frequency.by_column import (
    AUTO_COLUMNS,
    CountColumns,
    column_store,
    column_tables,
    columns_of,
)
from conceptaudit.frequency.cooccurrence import CountPairs, cooccurrence_table, pair_store
from conceptaudit.frequency.counting import BY_LANGUAGE as LANGUAGE_COUNTS
from conceptaudit.frequency.counting import CountByLanguage, language_table, shards_to_count
from conceptaudit.names import normalise_name
from conceptaudit.reading import concept_names, read_parquet
from conceptaudit.records import ConceptFrequencies, Int64Array
from conceptaudit.store.checking import check_written
from conceptaudit.text.evidence import EVIDENCE, merge_evidence, named_evidence
from conceptaudit.text.mentions import (
    MentionTotals,
    look_alike_columns,
    look_alike_note,
    undecided_note,
)
from conceptaudit.text.paper import PaperIndex, PaperSearch, queries_of
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.tagger import FastTextTagger
from conceptaudit.text.word_forms import english_singular
from conceptaudit.text.wordnet import ambiguity_note, noun_senses

EVIDENCE_FILE = "evidence.parquet"
ALIASES_FILE = "aliases.csv"
COOCCURRENCE_FILE = "cooccurrence.parquet"
PAPER_TERMS = "paper_terms.json"
CAPTION_FILES = (EVIDENCE_FILE, ALIASES_FILE, COOCCURRENCE_FILE, PAPER_TERMS)

BY_LANGUAGE = "frequencies_by_language"
LANGUAGES = "languages.json"
COLUMNS, COLUMN_VALUES = "columns.csv", "columns_values.parquet"
COLUMN_FILES = (f"{BY_LANGUAGE}.parquet", f"{BY_LANGUAGE}.csv", LANGUAGES, COLUMNS, COLUMN_VALUES)


def with_ambiguity(
    counted: CountedShards,
    frequencies: ConceptFrequencies,
    look_alikes: MentionTotals,
    strata: Path | None,
) -> tuple[ConceptFrequencies, list[str]]:
    """Add the columns on ambiguity to a frequency table, and say what they say worst.

    ``n_text_rejected``, ``text_rejected_share``, ``text_undecided_share`` and, for English,
    ``n_senses``.
    """
    vocabulary, notes = counted.plan.vocabulary, []
    table = frequencies.table.copy()
    if strata is not None or look_alikes.n_records == len(counted.shards):
        sums = look_alikes.accepted, look_alikes.rejected, look_alikes.asked
        # captions that were counted fast: what is rejected is estimated, in captions
        if strata is not None:
            sums = _estimated(table["n_text"].to_numpy(dtype=np.float64), strata)
        table = pd.concat([table, look_alike_columns(*sums)], axis=1)
        notes += [look_alike_note(vocabulary, *sums[:2]), undecided_note(vocabulary, *sums)]
    # the lexicon knows English words only
    if load_pipeline(counted.plan.options.spacy_model).lang == "en":
        senses = [noun_senses(name) for name in vocabulary.names]
        table["n_senses"] = pd.array(senses, dtype="Int64")
        notes.append(ambiguity_note(vocabulary, senses))
    return replace(frequencies, table=table), [note for note in notes if note is not None]


def _estimated(accepted: np.ndarray, strata: Path) -> tuple[Int64Array, Int64Array, Int64Array]:
    rows = pd.read_parquet(strata, columns=["concept_id", "n", "share"])
    rejected, asked = np.zeros(len(accepted)), np.zeros(len(accepted))
    np.add.at(rejected, rows["concept_id"], rows["n"] * (1.0 - rows["share"]))
    np.add.at(asked, rows["concept_id"], rows["n"])
    whole = [np.rint(sums).astype(np.int64) for sums in (accepted, rejected, asked)]
    return whole[0], whole[1], whole[2]


def write_aliases(counted: CountedShards, look_alikes: MentionTotals) -> None:
    """Write how many captions name a concept by each alias."""
    vocabulary = counted.plan.vocabulary
    if any(concept.aliases for concept in vocabulary):
        write_csv(counted.folder / ALIASES_FILE, look_alikes.alias_table(vocabulary))


def write_evidence(counted: CountedShards) -> None:
    """Write the evidence of all shards to the run folder; nothing where none was kept."""
    plan, size = counted.plan, counted.plan.options.evidence
    if size <= 0:
        return
    if isinstance(plan.text, FastTextTagger):
        engine = counted.stages.runner.engine(len(counted.shards))
        text = counted.stores["text"]
        merged = open_evidence(plan.text, text, counted.shards, size=size, engine=engine)
    else:
        merged = merge_evidence(map(pd.read_parquet, counted.paths("text", EVIDENCE)), size=size)
    write_parquet(counted.folder / EVIDENCE_FILE, named_evidence(merged, plan.vocabulary))


def count_pairs_of_concepts(
    counted: CountedShards, n_text: Int64Array, n_captions: int
) -> StageReport:
    """Count the concepts that are named together; `n_text` has the shape (n_concepts,)."""
    text, store = counted.stores["text"], pair_store(counted.folder)
    shards = shards_to_count(counted.shards, [text])
    report = counted.stages.over(CountPairs(text=text, store=store), store, shards)
    table = cooccurrence_table(store, shards, counted.plan.vocabulary, n_text, n_captions)
    write_parquet(counted.folder / COOCCURRENCE_FILE, table)
    return report


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
    name = name_in_run(run, concept)
    table = read_parquet(run / file, filters=[(column, "==", name)])
    return table.reset_index(drop=True)


def name_in_run(run: Path, asked: str) -> str:
    """Find the concept of a run by its name, another name of it, in any case, also in the plural.

    Raises
    ------
    DataError
        None of the run's concepts has the name, or several have.
    """
    if not (run / "concepts.json").exists():
        raise DataError(f"{run} is no audit's folder: it holds no concepts.json.")
    names = concept_names(run / "concepts.json")
    if asked in names:
        return asked
    rows = read_json(run / "concepts.json")
    known: dict[str, set[str]] = {}
    for name, row in zip(names, rows, strict=True):
        for other in (name, *(row.get("aliases") or ())):
            for spelling in _spellings(other):
                known.setdefault(spelling, set()).add(name)
    matches = sorted(set().union(*(known.get(one, set()) for one in _spellings(asked))))
    if len(matches) == 1:
        return matches[0]
    near = matches or get_close_matches(asked, names, n=3)
    raise DataError(
        f"{asked!r} is {'several concepts' if matches else 'not in the concept list'} of {run}."
        + (f" Did you mean {', '.join(map(repr, near[:5]))}?" if near else "")
    )


def _spellings(name: str) -> set[str]:
    folded = normalise_name(name)
    *before, last = folded.split(" ")
    return {folded, " ".join([*before, english_singular(last)])}


def search_as_published(
    stages: AuditStages, index: PaperIndex, indexed: StageReport
) -> StageReport:
    """Turn the terms that captions hold into text tags, once all shards are indexed.

    Writes `PAPER_TERMS`: per concept the terms that were searched for and those left out.
    """
    shards = stages.plan.shards
    known = [shard for shard in shards if indexed.store.path(shard.name, ".json").exists()]
    search = PaperSearch.over(indexed.store, queries_of(index), known, folder=stages.runner.folder)
    report = stages.over(search, search.store, search.identified(known))
    write_json(stages.runner.folder / PAPER_TERMS, search.as_json(index.vocabulary))
    # what could not be indexed was not searched either
    return replace(report, failed=indexed.failed)


def count_by_language(counted: CountedShards) -> StageReport:
    """Count every shard per language and write the counts of all, and samples per language."""
    folder, stores = counted.folder, counted.stores
    sides = [stores[name] for name in ("text", "image", "languages") if name in stores]
    shards = shards_to_count(counted.shards, sides)
    store = ShardStore(folder=folder / LANGUAGE_COUNTS, digest=digest_of(LANGUAGE_COUNTS))
    task = CountByLanguage(
        languages=stores["languages"],
        text=stores.get("text"),
        image=stores.get("image"),
        store=store,
    )
    report = counted.stages.over(task, store, shards)
    records = [store.read(shard.name) for shard in shards]
    level = counted.plan.options.level
    table, languages = language_table(records, counted.plan.vocabulary, level=level)
    write_parquet(folder / f"{BY_LANGUAGE}.parquet", table)
    write_csv(folder / f"{BY_LANGUAGE}.csv", table)
    write_json(folder / LANGUAGES, languages)
    return report


def count_columns(counted: CountedShards) -> StageReport:
    """Add up what the dataset's columns say, over all samples and by concept.

    Concepts are those of captions, or of images where captions were not audited.
    """
    plan, stores, asked = counted.plan, counted.stores, counted.plan.options.columns
    reading = with_columns(plan.dataset, [name for name in asked if name != AUTO_COLUMNS])
    numbers, values = columns_of(reading, asked, counted.shards)
    side = "text" if "text" in stores else "image"
    shards = shards_to_count(counted.shards, [stores[side]])
    store = column_store(counted.folder, list(numbers), list(values), plan.dataset.settings, side)
    task = CountColumns(
        dataset=reading,
        tags=stores[side],
        images=stores.get("embeddings", stores.get("image")),
        store=store,
        numbers=numbers,
        values=values,
    )
    report = counted.stages.over(task, store, shards)
    summary, counts = column_tables(store, shards, plan.vocabulary.names)
    write_csv(counted.folder / COLUMNS, summary)
    write_parquet(counted.folder / COLUMN_VALUES, counts)
    return report
