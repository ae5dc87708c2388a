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
from conceptaudit.auditing.approximate import tagger_for, with_index_recall
from conceptaudit.auditing.calibrating import (
    CALIBRATION,
    CalibrationData,
    calibration_notes,
    caption_misalignment,
    learned_tagger,
    with_corrected,
)
from conceptaudit.auditing.duplicates import with_unique_counts
from conceptaudit.auditing.estimating import TextEstimate, estimate_text
from conceptaudit.auditing.extras import count_by_language, forget_extras, search_as_published
from conceptaudit.auditing.image_tags import forget_lists
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.text_side import TextSide
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.engine import StageReport, open_engine, run_shards, run_stage
from conceptaudit.engine.stage import Stage
from conceptaudit.errors import DataError
from conceptaudit.frequency.counting import Alignment, add_shards, frequency_table
from conceptaudit.frequency.stage import CountShard, count_store, shards_to_count
from conceptaudit.image.calibration import Calibration
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.stored import StoredEmbeddings
from conceptaudit.progress import Progress
from conceptaudit.records import (
    ConceptFrequencies,
    ConceptVocabulary,
    Int64Array,
    merge_counts,
)
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.paper_stages import PaperIndex
from conceptaudit.text.pipeline import load_pipeline


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
    misalignment : dict or None
        Where images were calibrated: captions that name nothing that is shown, corrected for
        what the tagger misses; see `conceptaudit.frequency.misalignment`.
    """

    folder: Path
    frequencies: ConceptFrequencies
    alignment: Alignment
    account: Json
    notes: tuple[str, ...]
    redone: Json
    misalignment: Json = None

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
        forget_extras(self.folder)
        reports = self._stages()
        stores = {name: report.store for name, report in reports.items()}
        sides = [stores[name] for name in ("text", "image") if name in stores]
        counted = shards_to_count(self.shards, sides)
        if not counted:
            raise DataError(
                f"No shard of {self.dataset.location} could be read: "
                f"{next(iter(_failures(reports).values()), 'there are none')}"
            )
        estimate = estimate_text(self, stores, counted)
        if estimate is not None:
            reports["strata"] = estimate.report
        shares = None if estimate is None else estimate.table
        counts = count_store(self.folder, shares)
        task = CountShard(
            text=stores.get("text"), image=stores.get("image"), store=counts, shares=shares
        )
        engine = open_engine(self.options.workers, n_items=len(counted))
        reports["counts"] = run_shards(task, counts, counted, engine=engine, progress=self.progress)
        return self._finish(identity, counted, stores, counts, reports, estimate)

    def _stages(self) -> dict[str, StageReport]:
        reports: dict[str, StageReport] = {}
        plan = self.plan
        # an earlier run with other options may have left one
        (self.folder / CALIBRATION).unlink(missing_ok=True)
        if plan.text is not None:
            report = self._stage(plan.text, self.dataset, self.shards)
            reports[plan.text.name] = report
            if isinstance(plan.text, PaperIndex):
                reports["text"] = search_as_published(
                    plan.text, report, self.shards, self.folder, self.options, self.progress
                )
        if plan.languages is not None:
            reports["languages"] = self._stage(plan.languages, self.dataset, self.shards)
        source: Dataset = self.dataset
        shards = self.shards
        if plan.encoder is not None:
            reports["embeddings"] = self._stage(plan.encoder, self.dataset, self.shards)
            source = StoredEmbeddings(folder=self.folder / plan.encoder.name, source=self.shards)
            shards = source.shards()
        if plan.tags is not None:
            imported = plan.tags.tagger(self.vocabulary, self.folder)
            reports["image"] = self._stage(imported, self.dataset, self.shards)
        if plan.image is not None:
            tagger = self._calibrated(plan.image, source, shards, reports)
            reports["image"] = self._stage(
                tagger_for(tagger, self.options, source, shards), source, shards
            )
        return reports

    def _calibrated(
        self,
        tagger: ImageTagger,
        source: Dataset,
        shards: tuple[Shard, ...],
        reports: Mapping[str, StageReport],
    ) -> ImageTagger:
        if self.plan.calibration is not None:
            self.plan.calibration.save(self.folder / CALIBRATION)
        if not self.plan.calibrates:
            return tagger
        data = CalibrationData(
            source=source,
            shards=shards,
            text=reports["text"].store,
            vocabulary=self.vocabulary,
            vectors=tagger.concepts,
        )
        return learned_tagger(data, tagger, self.folder, self.progress)

    def _stage(
        self,
        stage: Stage,
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
        estimate: TextEstimate | None,
    ) -> AuditRun:
        totals, agreement = add_shards(
            (counts.read(shard.name) for shard in counted), len(self.vocabulary)
        )
        if estimate is not None:
            totals, agreement = estimate.complete(
                totals, agreement, [counts.read(shard.name) for shard in counted]
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
        notes = self.notes
        if estimate is not None:
            frequencies = estimate.marked(frequencies, level=self.options.level)
            notes = (*notes, estimate.note)
        if self.plan.image is not None:
            frequencies, more = self._corrected(frequencies, totals, account)
            notes = (*notes, *more)
            frequencies, more = with_index_recall(
                frequencies, self.options, stores.get("image"), counted
            )
            notes = (*notes, *more)
        if self.plan.text is not None:
            captions = TextSide(store=stores["text"], shards=counted, vocabulary=self.vocabulary)
            english = load_pipeline(self.plan.text.pipeline.name).lang == "en"
            strata = None if estimate is None else estimate.table
            frequencies, more = captions.with_ambiguity(frequencies, english=english, strata=strata)
            notes = (*notes, *more)
            fast = self.plan.text if isinstance(self.plan.text, FastTextTagger) else None
            captions.write_evidence(self.folder, size=self.options.evidence, fast=fast)
            together = captions.write_cooccurrence(
                self.folder,
                totals["text"],
                account["text"]["n_used"],
                options=self.options,
                progress=self.progress,
            )
            reports = {**reports, **together}
        if self.plan.languages is not None:
            apart = count_by_language(
                stores, counted, self.vocabulary, self.folder, self.options, self.progress
            )
            reports = {**reports, "counts_by_language": apart}
        forget_lists(self.folder)
        if self.plan.tags is not None:
            more = self.plan.tags.account_for(
                self.vocabulary, self.folder, stores["image"], counted
            )
            notes = (*notes, *more)
        frequencies, more = with_unique_counts(
            frequencies,
            counted,
            stores,
            dataset=self.dataset,
            shards=self.shards,
            folder=self.folder,
            options=self.options,
        )
        notes = (*notes, *more)
        failures = _failures(reports)
        notes = (*notes, *(f"Skipped: {why}" for why in failures.values()))
        run = AuditRun(
            folder=self.folder,
            misalignment=self._misalignment(stores, counted),
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

    def _corrected(
        self, frequencies: ConceptFrequencies, totals: Mapping[str, Int64Array], account: Json
    ) -> tuple[ConceptFrequencies, tuple[str, ...]]:
        path, options = self.folder / CALIBRATION, self.options
        notes = calibration_notes(
            self.folder, asked=self.plan.calibrates, threshold=options.fixed_threshold
        )
        if not path.exists():
            return frequencies, notes
        found = Calibration.load(path)
        return with_corrected(frequencies, found, totals, account, level=options.level), notes

    def _misalignment(self, stores: Mapping[str, ShardStore], counted: tuple[Shard, ...]) -> Json:
        path = self.folder / CALIBRATION
        if not path.exists() or not {"text", "image"} <= stores.keys():
            return None
        return caption_misalignment(
            Calibration.load(path),
            stores["text"],
            stores["image"],
            counted,
            level=self.options.level,
        )

    def _write(self, run: AuditRun, identity: str, counted: tuple[Shard, ...]) -> None:
        folder = self.folder
        write_parquet(folder / "frequencies.parquet", run.table)
        write_csv(folder / "frequencies.csv", run.table)
        alignment = run.alignment.as_json(self.options.level)
        if run.misalignment is not None:
            alignment["corrected"] = run.misalignment
        write_json(folder / "alignment.json", alignment)
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
            vectors = self.plan.image.concepts if self.plan.vectors is None else self.plan.vectors
            write_npy(folder / "concept_vectors.npy", vectors)
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
                "calibration": self.options.calibration,
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
