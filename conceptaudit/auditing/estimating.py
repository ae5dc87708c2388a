"""Counting captions fast: tag a sample of the open pairs until every count is known well enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore, write_json, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.engine import Engine, StageReport, open_engine, run_shards
from conceptaudit.frequency.estimated import (
    estimated_count,
    expected_samples,
    with_estimates,
)
from conceptaudit.frequency.open_pairs import (
    CountStrata,
    is_joint,
    strata_store,
)
from conceptaudit.frequency.strata import (
    ALL_BELOW,
    PILOT,
    Estimate,
    add_cells,
    estimate_cells,
    wanted_sizes,
)
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptFrequencies, ConceptVocabulary, Int64Array
from conceptaudit.text.fast import OPEN_PAIRS, FastTextTagger
from conceptaudit.text.tagger import annotator_of

if TYPE_CHECKING:
    from conceptaudit.auditing.run import RunningAudit

STRATA_FILE = "text_strata.parquet"
ESTIMATE_FILE = "text_estimate.json"

MAX_ROUNDS = 4
"""Times that the sample is enlarged; the first tells what is needed, later ones correct it."""

_IN_ONE_PROCESS = 20_000
"""Pairs that are tagged before starting other processes pays."""

_PRUNE_ROWS = 4_000_000
"""Rows held while shards are merged before those of high rank are let go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEstimate:
    """Counts of captions, certain and estimated.

    Parameters
    ----------
    certain, certain_joint : numpy.ndarray of int64, shape (n_concepts,)
        Pairs that needed no tagger; of these, those whose image has the tag.
    open, open_joint : Estimate
        The others.
    table : Path
        The shares by form and context.
    note : str
        What was done, for a person.
    """

    certain: Int64Array
    certain_joint: Int64Array
    open: Estimate
    open_joint: Estimate
    table: Path
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
class _Chosen:
    shard: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _TagChosen:
    """Tags chosen open pairs of a shard; sent to a worker once."""

    tagger: FastTextTagger
    text: ShardStore
    image: ShardStore | None

    def __call__(
        self, chosen: _Chosen
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.int32]]:
        path = self.text.path(chosen.shard, OPEN_PAIRS)
        columns = ["sample_id", "concept_id", "context", "caption"]
        rows = pd.read_parquet(path, columns=columns).iloc[list(chosen.rows)]
        captions = list(dict.fromkeys(rows["caption"]))
        place = {caption: i for i, caption in enumerate(captions)}
        n = len(self.tagger.exact.vocabulary)
        accepted = annotator_of(self.tagger.exact).accepted_pairs(captions, n)
        wanted = np.array([place[caption] for caption in rows["caption"]], dtype=np.int64) * n
        named = np.isin(wanted + rows["concept_id"].to_numpy(np.int64), accepted)
        context = rows["context"].to_numpy(np.int32)
        return named, is_joint(rows, self.image, chosen.shard), context


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimator:
    """Estimates the counts of captions from what the fast text stage left.

    Parameters
    ----------
    tagger : FastTextTagger
        The stage.
    text : ShardStore
        Its results.
    image : ShardStore or None
        The image tags.
    shards : sequence of Shard
        Shards to count, identified by their tags.
    vocabulary : ConceptVocabulary
    folder : Path
        The run folder.
    workers : int or None
        Worker processes.
    progress : Progress
    """

    tagger: FastTextTagger
    text: ShardStore
    image: ShardStore | None
    shards: Sequence[Shard]
    vocabulary: ConceptVocabulary
    folder: Path
    workers: int | None
    progress: Progress

    def __call__(self) -> TextEstimate:
        """Count, tag, estimate, and write the shares and what was done."""
        store = strata_store(self.folder)
        task = CountStrata(text=self.text, image=self.image, store=store)
        report = run_shards(
            task, store, self.shards, engine=self._engine(len(self.shards)), progress=self.progress
        )
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
            f"Captions were counted fast: {done['pairs_certain']:,} pairs of caption and concept "
            f"need no tagger, {done['pairs_tagged']:,} of {done['pairs_open']:,} others were "
            f"tagged. The counts of {done['concepts_estimated']:,} concepts are estimates "
            f"(n_text_se above 0), aimed at a standard error of {self.tagger.error:.2%}; "
            "--text-mode exact tags all."
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

    def _engine(self, n_items: int) -> Engine:
        return open_engine(self.workers, n_items=n_items)

    def _merge(self, store: ShardStore) -> tuple[Int64Array, Int64Array, pd.DataFrame]:
        totals = {
            side: np.zeros(len(self.vocabulary), dtype=np.int64) for side in ("text", "joint")
        }
        keys = ["concept_id", "form", "context"]
        columns = [*keys, "n", "n_joint"]
        strata = pd.DataFrame({column: np.zeros(0, dtype=np.int64) for column in columns})
        for shard in self.shards:
            record = store.read(shard.name)
            for side, total in totals.items():
                ids, counts = record[side]
                total[ids] += np.asarray(counts, dtype=np.int64)
            path = store.path(shard.name, ".parquet")
            if path.exists():
                both = pd.concat([strata, pd.read_parquet(path).astype("int64")])
                strata = both.groupby(keys, as_index=False).sum()
        return totals["text"], totals["joint"], strata

    def _sample(self, strata: pd.DataFrame, certain: Int64Array) -> tuple[pd.DataFrame, int]:
        """Tag the lowest ranks of each form, more of them where a count needs more."""
        rows = self._ranked()
        available = strata.groupby("form")["n"].sum()
        most = self.tagger.sample_size
        sizes = available.where(available < ALL_BELOW, PILOT).clip(upper=most)
        tagged = pd.DataFrame(
            {"form": np.zeros(0, np.int64), "context": np.zeros(0, np.int64)}
        ).assign(named=np.zeros(0, bool), joint=np.zeros(0, bool))
        done = np.zeros(len(rows), dtype=bool)
        cells, rounds = estimate_cells(strata, tagged), 0
        for _ in range(MAX_ROUNDS):
            wanted = (rows["place"] < rows["form"].map(sizes)).to_numpy(bool) & ~done
            if not wanted.any():
                break
            tagged = pd.concat([tagged, self._tag(rows[wanted])], ignore_index=True)
            done |= wanted
            rounds += 1
            cells = estimate_cells(strata, tagged)
            sizes = wanted_sizes(cells, certain, error=self.tagger.error, most=most)
        return cells, rounds

    def _ranked(self) -> pd.DataFrame:
        """List the open pairs of lowest rank of each form over all shards, and their places."""
        most = self.tagger.sample_size
        kept: list[pd.DataFrame] = []
        held = 0
        for number, shard in enumerate(self.shards):
            path = self.text.path(shard.name, OPEN_PAIRS)
            if not path.exists():
                continue
            rows = pd.read_parquet(path, columns=["form", "rank", "sample_id"])
            kept.append(
                rows.assign(shard=np.int32(number), row=np.arange(len(rows), dtype=np.int32))
            )
            held += len(rows)
            if held > _PRUNE_ROWS:
                kept = [_lowest(pd.concat(kept, ignore_index=True), most)]
                held = 0
        if not kept:
            columns = ("form", "rank", "sample_id", "shard", "row", "place")
            return pd.DataFrame({column: np.zeros(0, np.int64) for column in columns})
        return _lowest(pd.concat(kept, ignore_index=True), most)

    def _tag(self, rows: pd.DataFrame) -> pd.DataFrame:
        forms: dict[str, Int64Array] = {}
        items = []
        for number, group in rows.groupby("shard"):
            name = self.shards[int(str(number))].name
            items.append(_Chosen(shard=name, rows=tuple(group["row"].tolist())))
            forms[name] = group["form"].to_numpy(np.int64)
        task = _TagChosen(tagger=self.tagger, text=self.text, image=self.image)
        engine = open_engine(1) if len(rows) < _IN_ONE_PROCESS else self._engine(len(items))
        self.progress.start("tagging a sample", len(items))
        parts = {}
        for item, (named, joint, context) in engine.run(task, items):
            columns = {"form": forms[item.shard], "context": context}
            parts[item.shard] = pd.DataFrame({**columns, "named": named, "joint": joint})
            self.progress.advance()
        self.progress.finish()
        return pd.concat([parts[name] for name in sorted(parts)], ignore_index=True)

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
    run: RunningAudit, stores: Mapping[str, ShardStore], counted: tuple[Shard, ...]
) -> TextEstimate | None:
    """Estimate the counts of captions, where they are counted fast.

    Parameters
    ----------
    run : RunningAudit
        What it wrote in another mode before is removed.
    stores : mapping of str to ShardStore
        The results of the text and image stages.
    counted : tuple of Shard
        Shards to count, identified by their tags.
    """
    for name in (STRATA_FILE, ESTIMATE_FILE):
        (run.folder / name).unlink(missing_ok=True)
    if not isinstance(run.plan.text, FastTextTagger):
        return None
    estimator = Estimator(
        tagger=run.plan.text,
        text=stores["text"],
        image=stores.get("image"),
        shards=counted,
        vocabulary=run.vocabulary,
        folder=run.folder,
        workers=run.options.workers,
        progress=run.progress,
    )
    return estimator()


def _lowest(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    ordered = rows.sort_values(["form", "rank", "sample_id"], ignore_index=True)
    ordered["place"] = ordered.groupby("form").cumcount()
    return ordered[ordered["place"] < most].reset_index(drop=True)
