"""One audit in progress: its stages and what they leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from conceptaudit.artifacts import RunFolder
from conceptaudit.auditing.approximate import tagger_for
from conceptaudit.auditing.calibrating import (
    CALIBRATION,
    calibrated_tagger,
    learned_calibration,
)
from conceptaudit.auditing.calibration_data import CalibrationData
from conceptaudit.auditing.estimating import estimate_text
from conceptaudit.auditing.extras import EXTRAS, search_as_published
from conceptaudit.auditing.finishing import AuditRun, CountedShards, failed_shards, finish
from conceptaudit.auditing.images import ImageIndex, index_images
from conceptaudit.auditing.judged_run import CELLS_FILE, put_judged
from conceptaudit.auditing.mentions import ROLL_UP
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.writing import write_audit
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.datasets.changes import change_notes, stamps_of
from conceptaudit.engine import (
    Engine,
    StageReport,
    open_engine,
    run_shards,
    run_stage,
    workers_kept,
)
from conceptaudit.engine.parts import Part
from conceptaudit.engine.stage import Stage
from conceptaudit.errors import DataError
from conceptaudit.frequency.stage import CountShard, count_store, shards_to_count
from conceptaudit.image.stages import ImageEncoder, ImageTagger
from conceptaudit.image.stored import StoredEmbeddings
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.removing import remove
from conceptaudit.text.paper_stages import PaperIndex
from conceptaudit.text.tagger import TextTagger

__all__ = ["AuditRun", "RunningAudit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningAudit:
    """One audit in progress.

    Parameters
    ----------
    run : RunFolder
        Where it is written, held by this process.
    dataset : Dataset
    shards : tuple of Shard
        All of the dataset's.
    vocabulary : ConceptVocabulary
    plan : AuditPlan
        Which sides are audited, and with what.
    options : AuditOptions
    notes : tuple of str
    progress : Progress
    part : Part or None
        The share of the shards that is this process's; None for all.
    """

    run: RunFolder
    dataset: Dataset
    shards: tuple[Shard, ...]
    vocabulary: ConceptVocabulary
    plan: AuditPlan
    options: AuditOptions
    notes: tuple[str, ...]
    progress: Progress
    part: Part | None = None

    @property
    def folder(self) -> Path:
        """The run folder's path."""
        return self.run.path

    @workers_kept()
    def execute(self) -> AuditRun:
        """Run the stages that are not done, count, and write the results.

        Raises
        ------
        DataError
            No shard can be read.
        """
        stamps = stamps_of(self.shards)
        # an earlier run with other options may have left them
        remove(self.folder, (*EXTRAS, CALIBRATION, CELLS_FILE, ROLL_UP))
        if self.plan.calibration is not None:
            self.plan.calibration.save(self.folder / CALIBRATION)
        if self.plan.tags is not None:  # a bad row far down stops the audit before its long stages
            self.plan.tags.tagger(self.vocabulary, self.folder)
        reports = self._shard_stages()
        index = self._image_index(reports)
        reports |= self._joint_stages(reports, index)
        stores = {name: report.store for name, report in reports.items()}
        sides = [stores[name] for name in ("text", "image") if name in stores]
        counted = shards_to_count(self.shards, sides)
        if not counted:
            raise DataError(
                f"No shard of {self.dataset.location} could be read: "
                f"{next(iter(failed_shards(reports).values()), 'there are none')}"
            )
        estimate = estimate_text(self, stores, counted)
        if estimate is not None:
            reports["strata"] = estimate.report
        shares = None if estimate is None else estimate.table
        reports["counts"] = self._count(reports, counted, shares)
        done = CountedShards(
            shards=counted,
            stores=stores,
            counts=reports["counts"].store,
            reports=reports,
            estimate=estimate,
            index=index,
        )
        made = finish(self, done)
        made = replace(made, notes=(*made.notes, *change_notes(stamps, self.shards)))
        write_audit(self, made, counted)
        if self.options.judged is not None:
            table, notes = put_judged(self.folder, self.options.judged, level=self.options.level)
            judged = replace(made.frequencies, table=table)
            made = replace(made, frequencies=judged, notes=(*made.notes, *notes))
        return made

    @workers_kept()
    def execute_part(self) -> dict[str, StageReport]:
        """Run the stages that need no other part's results, over this part's shards."""
        reports = self._shard_stages()
        sides = [reports[name].store for name in ("text", "image") if name in reports]
        if self._counts_apart:
            counted = shards_to_count(self._mine, sides)
            reports["counts"] = self._count(reports, counted, None)
        return reports

    @property
    def _mine(self) -> tuple[Shard, ...]:
        return self.shards if self.part is None else self.part.share(self.shards)

    @property
    def _counts_apart(self) -> bool:
        """Whether a shard's counts rest on nothing but its own tags."""
        plan = self.plan
        exact = plan.text is None or isinstance(plan.text, TextTagger)
        return exact and not plan.calibrates and plan.tags is None

    def _shard_stages(self) -> dict[str, StageReport]:
        """Run the stages that look at one shard at a time, whatever the others hold."""
        reports: dict[str, StageReport] = {}
        plan = self.plan
        for stage in (plan.text, plan.mentions, plan.languages, plan.encoder):
            if stage is not None:
                reports[stage.name] = self._stage(stage, self.dataset, self._mine)
        if plan.image is not None and not plan.calibrates:
            reports["image"] = self._tag_images(plan.image)
        return reports

    def _joint_stages(
        self, reports: Mapping[str, StageReport], index: ImageIndex | None
    ) -> dict[str, StageReport]:
        """Run the stages that need all shards of an earlier one, or what they share."""
        made: dict[str, StageReport] = {}
        plan = self.plan
        if isinstance(plan.text, PaperIndex):
            made["text"] = search_as_published(
                plan.text,
                reports[plan.text.name],
                self.shards,
                self.folder,
                self.options,
                self.progress,
            )
        if plan.tags is not None:
            imported = plan.tags.tagger(self.vocabulary, self.folder)
            made["image"] = self._stage(imported, self.dataset, self.shards)
        if plan.image is not None and plan.calibrates and plan.background is not None:
            source, shards = self._embedded(self.shards)
            data = CalibrationData(
                source=source,
                shards=shards,
                text=reports["text"].store,
                mentions=reports["mentions"].store if "mentions" in reports else None,
                vocabulary=self.vocabulary,
                vectors=plan.image.concepts,
                background=plan.background,
            )
            tagger = plan.image
            calibration = learned_calibration(data, index, self.progress)
            if calibration is not None:
                calibration.save(self.folder / CALIBRATION)
                tagger = calibrated_tagger(tagger, calibration)
            made["image"] = self._tag_images(tagger)
        return made

    def _image_index(self, reports: Mapping[str, StageReport]) -> ImageIndex | None:
        """Find the samples that share an image; captions are what makes them worth finding."""
        if self.plan.image is None or "text" not in reports:
            return None
        source, shards = self._embedded(self.shards)
        store = reports["text"].store
        readable = [s.name for s in shards if store.path(s.name, ".json").exists()]
        n_samples = sum(int(store.read(name)["n_samples"]) for name in readable)
        return index_images(source, shards, n_samples)

    def _embedded(self, mine: tuple[Shard, ...]) -> tuple[Dataset, tuple[Shard, ...]]:
        """Return where the images' vectors are read: from this run, or from the dataset."""
        if self.plan.encoder is None:
            return self.dataset, mine
        source = StoredEmbeddings(folder=self.folder / self.plan.encoder.name, source=mine)
        return source, source.shards()

    def _tag_images(self, tagger: ImageTagger) -> StageReport:
        source, shards = self._embedded(self._mine)
        # an index is checked against all that it was built from
        known = shards if self.part is None or self.plan.encoder is not None else self.shards
        return self._stage(tagger_for(tagger, self.options, source, known), source, shards)

    def _count(
        self, reports: Mapping[str, StageReport], counted: tuple[Shard, ...], shares: Path | None
    ) -> StageReport:
        store = count_store(self.folder, shares)
        text, image = (reports[s].store if s in reports else None for s in ("text", "image"))
        task = CountShard(text=text, image=image, store=store, shares=shares)
        engine = self._engine(len(counted))
        return run_shards(
            task, store, counted, engine=engine, progress=self.progress, tidy=self.part is None
        )

    def _engine(self, n_items: int, *, on_gpu: bool = False) -> Engine:
        choice = self.options.engine_choice
        return open_engine(choice, n_items=n_items, on_gpu=on_gpu, folder=self.folder)

    def _stage(self, stage: Stage, dataset: Dataset, shards: tuple[Shard, ...]) -> StageReport:
        on_gpu = isinstance(stage, ImageEncoder) and stage.clip.device != "cpu"
        return run_stage(
            stage,
            dataset,
            shards,
            folder=self.folder,
            engine=self._engine(len(shards), on_gpu=on_gpu),
            progress=self.progress,
            skip_unreadable=self.options.skip_unreadable,
            tidy=self.part is None,
        )
