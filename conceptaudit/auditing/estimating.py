"""Counting captions fast: tag a sample of the open pairs until every count is known well enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, write_json, write_parquet
from conceptaudit.auditing.ambiguous_sample import ReadPairs, TagPairs, read_pairs, tag_pairs
from conceptaudit.auditing.stages import CountedShards
from conceptaudit.datasets.base import Shard
from conceptaudit.display import quantity
from conceptaudit.engine import StageReport
from conceptaudit.frequency.adaptive_sampling import AdaptiveSample, RankBounds
from conceptaudit.frequency.ambiguous_pairs import (
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
from conceptaudit.records import ConceptFrequencies, Int64Array
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


def estimate_text(counted: CountedShards, tagger: FastTextTagger) -> TextEstimate:
    """Estimate the counts of captions that were not all tagged, and write the shares."""
    store = strata_store(counted.folder)
    text, image = counted.stores["text"], counted.stores.get("image")
    report = counted.stages.over(
        CountStrata(text=text, image=image, store=store), store, counted.shards
    )
    names = counted.plan.vocabulary.names
    certain, certain_joint, strata = _merged(store, counted.shards, len(names))
    cells, rounds = _sampled(counted, tagger)(strata, certain)
    estimate, joint = add_cells(cells, len(names)), add_cells(cells, len(names), joint=True)
    table = counted.folder / STRATA_FILE
    write_parquet(table, _shares(strata, cells, names))
    done = {
        "error": tagger.error,
        "seed": tagger.seed,
        "rounds": rounds,
        "pairs_certain": int(certain.sum()),
        "pairs_open": int(cells["n"].sum()),
        "pairs_tagged": int(cells["m"].sum()),
        "concepts_estimated": int((estimate.variance > 0).sum()),
    }
    write_json(counted.folder / ESTIMATE_FILE, done)
    note = (
        "Captions were counted fast: without a tagger for "
        f"{quantity(done['pairs_certain'], 'pair')} of caption and concept, tagged for "
        f"{done['pairs_tagged']:,} of {done['pairs_open']:,} others. The counts of "
        f"{quantity(done['concepts_estimated'], 'concept')} are estimates (n_text_se above "
        f"0), aimed at a standard error of {tagger.error:.2%}; --text-mode exact tags all."
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


def _merged(
    store: ShardStore, shards: Sequence[Shard], n_concepts: int
) -> tuple[Int64Array, Int64Array, pd.DataFrame]:
    """Add up the certain pairs of shards, those with the image's tag, and the strata."""
    totals = {side: np.zeros(n_concepts, dtype=np.int64) for side in ("text", "joint")}
    keys = ["concept_id", "form", "context"]
    columns = [*keys, "n", "n_joint"]
    none = pd.DataFrame({column: np.zeros(0, dtype=np.int64) for column in columns})
    tables, n_rows = [none], 0
    for shard in shards:
        record = store.read(shard.name)
        for side, total in totals.items():
            ids, counts = record[side]
            total[ids] += np.asarray(counts, dtype=np.int64)
        path = store.path(shard.name, ".parquet")
        if path.exists():
            tables.append(pd.read_parquet(path).astype("int64"))
            n_rows += len(tables[-1])
        # added up now and then, so that memory follows the strata and not the shards
        if n_rows > _MERGE_ROWS:
            tables, n_rows = [pd.concat(tables).groupby(keys, as_index=False).sum()], 0
    strata = pd.concat(tables).groupby(keys, as_index=False).sum()
    return totals["text"], totals["joint"], strata


def _sampled(counted: CountedShards, tagger: FastTextTagger) -> AdaptiveSample:
    """Return what tags the lowest ranks, and more of them where a count needs more."""
    text, image, shards = counted.stores["text"], counted.stores.get("image"), counted.shards
    runner = counted.stages.runner

    # the engine of the text stage, whatever the items: its workers are kept, and know the words
    def read(bounds: RankBounds) -> pd.DataFrame:
        task = ReadPairs(store=text, seed=tagger.seed, bounds=bounds)
        return read_pairs(task, shards, engine=runner.engine(len(shards)))

    def tag(rows: pd.DataFrame) -> pd.DataFrame:
        task = TagPairs(tagger=tagger, text=text, image=image)
        engine = runner.engine(len(shards))
        return tag_pairs(task, rows, shards, engine=engine, progress=runner.progress)

    return AdaptiveSample(read=read, tag=tag, error=tagger.error, most=sample_limit(tagger.error))


def _shares(strata: pd.DataFrame, cells: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Lay the estimated shares out for every form and context there is."""
    pooled = cells[cells["context"] < 0].set_index("form")
    own = cells.set_index(["form", "context"])
    keys = pd.MultiIndex.from_frame(strata[["form", "context"]])
    table = strata.copy()
    table.insert(0, "concept", [names[i] for i in strata["concept_id"]])
    for column in ("m", "k", "share", "share_joint"):
        shares = pd.Series(own[column].reindex(keys).to_numpy(), index=table.index)
        # a context of which nothing was tagged has the form's share
        table[column] = shares.fillna(table["form"].map(pooled[column]))
    return table.rename(columns={"m": "n_tagged", "k": "n_named"})
