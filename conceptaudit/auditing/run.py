"""One audit in progress: its stages, its counts, its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import (
    LOCK,
    MANIFEST,
    Json,
    ShardStore,
    file_digest,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport, open_engine, run_shards, run_stage
from conceptaudit.errors import DataError
from conceptaudit.frequency.counting import Alignment, add_shards, frequency_table
from conceptaudit.frequency.stage import CountShard, count_store, shards_to_count
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.stored import StoredEmbeddings
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptFrequencies, ConceptVocabulary, merge_counts
from conceptaudit.text.tagger import TextTagger


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRun:
    """A finished audit.

    Parameters
    ----------
    folder : Path
        The run folder.
    frequencies : ConceptFrequencies
        Counts with intervals, one row per concept.
    alignment : Alignment
        Agreement of captions and pictures.
    account : dict
        By side: samples read, used, dropped by reason; always adds up.
    notes : tuple of str
        What was detected, what could not be had, what never matches.
    redone : dict
        By stage: shards computed by this call and why; shards kept from before.
    """

    folder: Path
    frequencies: ConceptFrequencies
    alignment: Alignment
    account: Json
    notes: tuple[str, ...]
    redone: Json

    @property
    def table(self) -> pd.DataFrame:
        """The frequencies as a table."""
        return self.frequencies.table


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAudit:
    """One audit in progress."""

    folder: Path
    dataset: Dataset
    shards: tuple[Shard, ...]
    vocabulary: ConceptVocabulary
    plan: AuditPlan
    options: AuditOptions
    notes: tuple[str, ...]
    progress: Progress

    def execute(self, identity: str) -> AuditRun:
        """Run the stages that are not done, count, and write the results."""
        reports = self._stages()
        stores = {name: report.store for name, report in reports.items()}
        sides = [stores[name] for name in ("text", "image") if name in stores]
        counted = shards_to_count(self.shards, sides)
        if not counted:
            raise DataError(
                f"No shard of {self.dataset.location} could be read: "
                f"{next(iter(_failures(reports).values()), 'there are none')}"
            )
        counts = count_store(self.folder)
        task = CountShard(text=stores.get("text"), image=stores.get("image"), store=counts)
        engine = open_engine(self.options.workers, n_items=len(counted))
        reports["counts"] = run_shards(task, counts, counted, engine=engine, progress=self.progress)
        return self._finish(identity, counted, stores, counts, reports)

    def _stages(self) -> dict[str, StageReport]:
        reports: dict[str, StageReport] = {}
        plan = self.plan
        if plan.text is not None:
            reports["text"] = self._stage(plan.text, self.dataset, self.shards)
        source: Dataset = self.dataset
        shards = self.shards
        if plan.encoder is not None:
            reports["embeddings"] = self._stage(plan.encoder, self.dataset, self.shards)
            source = StoredEmbeddings(folder=self.folder / plan.encoder.name, source=self.shards)
            shards = source.shards()
        if plan.image is not None:
            reports["image"] = self._stage(plan.image, source, shards)
        return reports

    def _stage(
        self,
        stage: TextTagger | ImageEncoder | ImageTagger,
        dataset: Dataset,
        shards: tuple[Shard, ...],
    ) -> StageReport:
        on_gpu = isinstance(stage, ImageEncoder) and stage.clip.device != "cpu"
        return run_stage(
            stage,
            dataset,
            shards,
            folder=self.folder,
            engine=open_engine(1 if on_gpu else self.options.workers, n_items=len(shards)),
            progress=self.progress,
            skip_unreadable=self.options.skip_unreadable,
        )

    def _finish(
        self,
        identity: str,
        counted: tuple[Shard, ...],
        stores: Mapping[str, ShardStore],
        counts: ShardStore,
        reports: Mapping[str, StageReport],
    ) -> AuditRun:
        totals, agreement = add_shards(
            (counts.read(shard.name) for shard in counted), len(self.vocabulary)
        )
        account = {
            side: _add_accounts([stores[side].read(shard.name) for shard in counted])
            for side in ("text", "image")
            if side in stores
        }
        alignment = Alignment(
            n_samples=max(side["n_samples"] for side in account.values()), **agreement
        )
        frequencies = frequency_table(
            self.vocabulary, totals, source=self.dataset.location, level=self.options.level
        )
        failures = _failures(reports)
        notes = (*self.notes, *(f"Skipped: {why}" for why in failures.values()))
        run = AuditRun(
            folder=self.folder,
            frequencies=frequencies,
            alignment=alignment,
            account=account,
            notes=notes,
            redone={
                name: {"kept": report.kept, "redone": dict(report.redone)}
                for name, report in reports.items()
            },
        )
        self._write(run, identity, counted)
        return run

    def _write(self, run: AuditRun, identity: str, counted: tuple[Shard, ...]) -> None:
        folder = self.folder
        write_parquet(folder / "frequencies.parquet", run.table)
        write_csv(folder / "frequencies.csv", run.table)
        write_json(folder / "alignment.json", run.alignment.as_json(self.options.level))
        write_json(
            folder / "concepts.json",
            [
                {
                    "concept": concept.name,
                    "aliases": list(concept.aliases),
                    "prompts": list(concept.prompts),
                    "synset": concept.synset,
                    "dataset": concept.dataset,
                    "class_index": concept.class_index,
                }
                for concept in self.vocabulary
            ],
        )
        if self.plan.image is not None:
            write_npy(folder / "concept_vectors.npy", self.plan.image.concepts)
        files = sorted(
            path
            for path in folder.rglob("*")
            if path.is_file() and path.name not in (MANIFEST, LOCK)
        )
        write_json(
            folder / MANIFEST,
            {
                "kind": "audit",
                "digest": identity,
                "dataset": self.dataset.location,
                "reading": self.dataset.settings,
                "settings": self.plan.settings,
                "level": self.options.level,
                "clip": self.options.clip,
                "threshold": self.options.threshold,
                "templates": list(self.options.templates),
                "account": run.account,
                "notes": list(run.notes),
                "shards": [shard.name for shard in counted],
                "versions": package_versions("spacy", "faiss-cpu", "faiss-gpu", "torch"),
                "files": {p.relative_to(folder).as_posix(): file_digest(p) for p in files},
            },
        )


def _failures(reports: Mapping[str, StageReport]) -> dict[str, str]:
    return {name: why for report in reports.values() for name, why in report.failed.items()}


def _add_accounts(accounts: Sequence[Json]) -> Json:
    """Add the accounts of shards; adding keeps every identity that holds for each."""
    return {
        "n_samples": sum(account["n_samples"] for account in accounts),
        "n_used": sum(account["n_used"] for account in accounts),
        "dropped": merge_counts([account["dropped"] for account in accounts]),
        "noted": merge_counts([account["noted"] for account in accounts]),
    }
