"""Counting captions fast: tag a sample of the open pairs until every count is known well enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, write_json, write_parquet
from conceptaudit.auditing.ambiguous_sample import ReadPairs, TagPairs, read_pairs, tag_pairs
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.datasets.base import Shard
from conceptaudit.display import quantity
from conceptaudit.engine import Engine, EngineChoice, StageReport, open_engine, run_shards
from conceptaudit.frequency.adaptive import AdaptiveSample, RankBounds
from conceptaudit.frequency.open_pairs import (
    CountStrata,
    strata_store,
)
from conceptaudit.frequency.strata import (
    Estimate,
    add_cells,
    estimated_count,
    expected_samples,
    with_estimates,
)
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptFrequencies, ConceptVocabulary, Int64Array
from conceptaudit.store.removing import remove
from conceptaudit.text.tagger import FastTextTagger, sample_limit

STRATA_FILE = "text_strata.parquet"
ESTIMATE_FILE = "text_estimate.json"

_MERGE_ROWS = 1_000_000
"""Rows of strata that are collected before they are added up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEstimate:
    """Counts of captions, certain and estimated."""

    # shape (n_concepts,): pairs that needed no tagger; of these, those whose image has the tag
    certain: Int64Array
    certain_joint: Int64Array

    open: Estimate
    open_joint: Estimate
    table: Path  # the shares by form and context
    note: str
    report: StageReport

    def complete(
        self, totals: dict[str, Int64Array], agreement: Json, records: Sequence[Json]
    ) -> tuple[dict[str, Int64Array], Json]:
        """Put the counts of captions beside those of images, and the expected agreement."""
        totals = {**totals, "text": estimated_count(self.certain, self.open)}
        if "image" in totals:
            totals["joint"] = estimated_count(self.certain_joint, self.open_joint)
        return totals, {**agreement, **expected_samples([r["expected"] for r in records])}

    def marked(self, frequencies: ConceptFrequencies, *, level: float) -> ConceptFrequencies:
        """Say in a frequency table which counts are estimates, and widen their intervals."""
        sides = {"text": (self.certain, self.open)}
        if "n_joint" in frequencies.counted:
            sides["joint"] = (self.certain_joint, self.open_joint)
        return with_estimates(
            frequencies,
            {side: certain for side, (certain, _) in sides.items()},
            {side: estimate for side, (_, estimate) in sides.items()},
            level=level,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Estimates the counts of captions from what the fast text stage left."""

    tagger: FastTextTagger
    text: ShardStore
    image: ShardStore | None
    shards: Sequence[Shard]  # shards to count, identified by their tags
    vocabulary: ConceptVocabulary
    folder: Path
    workers: EngineChoice
    progress: Progress

    def __call__(self) -> TextEstimate:
        """Count, tag, estimate, and write the shares and what was done."""
        store = strata_store(self.folder)
        task = CountStrata(text=self.text, image=self.image, store=store)
        report = run_shards(task, store, self.shards, engine=self._engine, progress=self.progress)
        certain, certain_joint, strata = self._merge(store)
        cells, rounds = self._sample(strata, certain)
        n = len(self.vocabulary)
        estimate, joint = add_cells(cells, n), add_cells(cells, n, joint=True)
        table = self.folder / STRATA_FILE
        write_parquet(table, self._shares(strata, cells))
        done = {
            "error": self.tagger.error,
            "seed": self.tagger.seed,
            "rounds": rounds,
            "pairs_certain": int(certain.sum()),
            "pairs_open": int(cells["n"].sum()),
            "pairs_tagged": int(cells["m"].sum()),
            "concepts_estimated": int((estimate.variance > 0).sum()),
        }
        write_json(self.folder / ESTIMATE_FILE, done)
        note = (
            "Captions were counted fast: without a tagger for "
            f"{quantity(done['pairs_certain'], 'pair')} of caption and concept, tagged for "
            f"{done['pairs_tagged']:,} of {done['pairs_open']:,} others. The counts of "
            f"{quantity(done['concepts_estimated'], 'concept')} are estimates (n_text_se above "
            f"0), aimed at a standard error of {self.tagger.error:.2%}; --text-mode exact tags all."
        )
        return TextEstimate(
            certain=certain,
            certain_joint=certain_joint,
            open=estimate,
            open_joint=joint,
            table=table,
            note=note,
            report=report,
        )

    @property
    def _engine(self) -> Engine:
        # that of the text stage, whatever the items: its workers are kept, and know the words
        return open_engine(self.workers, n_items=len(self.shards), folder=self.folder)

    def _merge(self, store: ShardStore) -> tuple[Int64Array, Int64Array, pd.DataFrame]:
        totals = {
            side: np.zeros(len(self.vocabulary), dtype=np.int64) for side in ("text", "joint")
        }
        keys = ["concept_id", "form", "context"]
        columns = [*keys, "n", "n_joint"]
        none = pd.DataFrame({column: np.zeros(0, dtype=np.int64) for column in columns})
        held, n_rows = [none], 0
        for shard in self.shards:
            record = store.read(shard.name)
            for side, total in totals.items():
                ids, counts = record[side]
                total[ids] += np.asarray(counts, dtype=np.int64)
            path = store.path(shard.name, ".parquet")
            if path.exists():
                held.append(pd.read_parquet(path).astype("int64"))
                n_rows += len(held[-1])
            if n_rows > _MERGE_ROWS:
                held, n_rows = [pd.concat(held).groupby(keys, as_index=False).sum()], 0
        strata = pd.concat(held).groupby(keys, as_index=False).sum()
        return totals["text"], totals["joint"], strata

    def _sample(self, strata: pd.DataFrame, certain: Int64Array) -> tuple[pd.DataFrame, int]:
        """Tag the lowest ranks, more of them where a count needs more."""
        error = self.tagger.error
        sample = AdaptiveSample(
            read=self._read, tag=self._tag, error=error, most=sample_limit(error)
        )
        return sample(strata, certain)

    def _read(self, bounds: RankBounds) -> pd.DataFrame:
        task = ReadPairs(store=self.text, seed=self.tagger.seed, bounds=bounds)
        return read_pairs(task, self.shards, engine=self._engine)

    def _tag(self, rows: pd.DataFrame) -> pd.DataFrame:
        task = TagPairs(tagger=self.tagger, text=self.text, image=self.image)
        return tag_pairs(task, rows, self.shards, engine=self._engine, progress=self.progress)

    def _shares(self, strata: pd.DataFrame, cells: pd.DataFrame) -> pd.DataFrame:
        """Lay the estimated shares out for every form and context there is."""
        pooled = cells[cells["context"] < 0].set_index("form")
        own = cells.set_index(["form", "context"])
        keys = pd.MultiIndex.from_frame(strata[["form", "context"]])
        table = strata.copy()
        table.insert(0, "concept", [self.vocabulary.names[i] for i in strata["concept_id"]])
        for column in ("m", "k", "share", "share_joint"):
            found = pd.Series(own[column].reindex(keys).to_numpy(), index=table.index)
            table[column] = found.fillna(table["form"].map(pooled[column]))
        return table.rename(columns={"m": "n_tagged", "k": "n_named"})


def estimate_text(
    plan: AuditPlan,
    folder: Path,
    progress: Progress,
    stores: Mapping[str, ShardStore],
    counted: tuple[Shard, ...],
) -> TextEstimate | None:
    """Estimate the counts of captions, where they are counted fast."""
    remove(folder, (STRATA_FILE, ESTIMATE_FILE))
    if not isinstance(plan.text, FastTextTagger):
        return None
    estimator = Estimator(
        tagger=plan.text,
        text=stores["text"],
        image=stores.get("image"),
        shards=counted,
        vocabulary=plan.vocabulary,
        folder=folder,
        workers=plan.options.engine_choice,
        progress=progress,
    )
    return estimator()
