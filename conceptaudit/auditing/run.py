"""Running an audit: its stages in their order, its results, its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    RunFolder,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.calibrating import (
    CALIBRATION,
    calibrated_tagger,
    learned_calibration,
)
from conceptaudit.auditing.calibration_data import CalibrationData, ImageIndex, index_images
from conceptaudit.auditing.estimating import estimate_text
from conceptaudit.auditing.finishing import CountedShards, failed_shards, finish
from conceptaudit.auditing.judged_run import CELLS_FILE, put_judged
from conceptaudit.auditing.mentions import ROLL_UP
from conceptaudit.auditing.outputs import EXTRAS, search_as_published
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.results import AuditRun
from conceptaudit.auditing.sources import sampled_of
from conceptaudit.auditing.taggers import TagFile, TaggerStage
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.datasets.changes import change_notes, stamps_of
from conceptaudit.engine import StageReport, run_shards, workers_kept
from conceptaudit.engine.parts import Part
from conceptaudit.engine.runner import StageRunner
from conceptaudit.engine.stage import Stage
from conceptaudit.errors import DataError
from conceptaudit.frequency.counting import CountShard, count_store, shards_to_count
from conceptaudit.image.stages import ImageEncoder, ImageTagger, StoredEmbeddings
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.removing import remove
from conceptaudit.text.paper import PaperIndex
from conceptaudit.text.pipeline import pipeline_facts
from conceptaudit.text.tagger import TextTagger


def runner_of(
    plan: AuditPlan, folder: Path, progress: Progress, part: Part | None = None
) -> StageRunner:
    """Return what runs a plan's stages in a folder."""
    return StageRunner(
        folder=folder,
        workers=plan.options.engine_choice,
        progress=progress,
        part=part,
        skip_unreadable=plan.options.skip_unreadable,
    )


def run_stages(
    plan: AuditPlan, runner: StageRunner, *stages: Stage | None
) -> dict[str, StageReport]:
    """Run those stages that there are, each over this process's shards."""
    shards = runner.share(plan.shards)
    return {
        stage.name: runner.run(
            stage,
            plan.dataset,
            shards,
            on_gpu=isinstance(stage, ImageEncoder) and stage.clip.device != "cpu",
        )
        for stage in stages
        if stage is not None
    }


def embedded(
    plan: AuditPlan, folder: Path, shards: tuple[Shard, ...]
) -> tuple[Dataset, tuple[Shard, ...]]:
    """Return where the images' vectors are read: from the run's folder, or from the dataset."""
    if plan.encoder is None:
        return plan.dataset, shards
    source = StoredEmbeddings(folder=folder / plan.encoder.name, source=shards)
    return source, source.shards()


@workers_kept()
def run_audit(plan: AuditPlan, run: RunFolder, progress: Progress) -> AuditRun:
    """Run the stages that are not done, count, and write the results."""
    audit = _Audit(plan=plan, runner=runner_of(plan, run.path, progress))
    stamps = stamps_of(plan.shards)
    # an earlier run with other options may have left them
    remove(run.path, (*EXTRAS, CALIBRATION, CELLS_FILE, ROLL_UP))
    if plan.calibration is not None:
        plan.calibration.save(run.path / CALIBRATION)
    if isinstance(plan.image_tags, TagFile):
        # a bad row far down stops the audit before its long stages
        plan.image_tags.tagger(plan.vocabulary, run.path)
    reports = audit.shard_stages()
    index = audit.image_index(reports)
    reports |= audit.joint_stages(reports, index)
    stores = {name: report.store for name, report in reports.items()}
    sides = [stores[name] for name in ("text", "image") if name in stores]
    counted = shards_to_count(plan.shards, sides)
    if not counted:
        raise DataError(
            f"No shard of {plan.dataset.location} could be read: "
            f"{next(iter(failed_shards(reports).values()), 'there are none')}"
        )
    estimate = estimate_text(plan, run.path, progress, stores, counted)
    if estimate is not None:
        reports["strata"] = estimate.report
    shares = None if estimate is None else estimate.table
    reports["counts"] = audit.count(reports, counted, shares)
    done = CountedShards(
        shards=counted,
        stores=stores,
        counts=reports["counts"].store,
        reports=reports,
        estimate=estimate,
        index=index,
    )
    result = finish(plan, run.path, progress, done)
    result = replace(result, notes=(*result.notes, *change_notes(stamps, plan.shards)))
    write_audit(plan, run, result, counted)
    if plan.options.judged is not None:
        level = plan.options.level
        table, notes = put_judged(run.path, plan.options.judged, level=level)
        judged = replace(result.frequencies, table=table)
        result = replace(result, frequencies=judged, notes=(*result.notes, *notes))
    return result


@workers_kept()
def run_audit_part(
    plan: AuditPlan, folder: Path, progress: Progress, part: Part
) -> dict[str, StageReport]:
    """Run the stages that need no other part's results, over this part's shards."""
    runner = runner_of(plan, folder, progress, part)
    audit = _Audit(plan=plan, runner=runner)
    reports = audit.shard_stages()
    sides = [reports[name].store for name in ("text", "image") if name in reports]
    if audit.counts_apart:
        counted = shards_to_count(runner.share(plan.shards), sides)
        reports["counts"] = audit.count(reports, counted, None)
    return reports


@dataclass(frozen=True, slots=True, kw_only=True)
class _Audit:
    """The order of an audit's stages."""

    plan: AuditPlan
    runner: StageRunner

    @property
    def counts_apart(self) -> bool:
        """Whether a shard's counts rest on nothing but its own tags."""
        plan = self.plan
        exact = plan.text is None or isinstance(plan.text, TextTagger | TaggerStage)
        return exact and not plan.calibrates and not isinstance(plan.image_tags, TagFile)

    def shard_stages(self) -> dict[str, StageReport]:
        """Run the stages that look at one shard at a time, whatever the others hold."""
        plan = self.plan
        foreign = plan.image_tags if isinstance(plan.image_tags, TaggerStage) else None
        stages = (plan.text, plan.mentions, plan.languages, plan.encoder, foreign)
        reports = run_stages(plan, self.runner, *stages)
        if plan.image is not None and not plan.calibrates:
            reports["image"] = self._tag_images(plan.image)
        return reports

    def joint_stages(
        self, reports: Mapping[str, StageReport], index: ImageIndex | None
    ) -> dict[str, StageReport]:
        """Run the stages that need all shards of an earlier one, or what they share."""
        joint: dict[str, StageReport] = {}
        plan, runner = self.plan, self.runner
        if isinstance(plan.text, PaperIndex):
            joint["text"] = search_as_published(
                plan.text,
                reports[plan.text.name],
                plan.shards,
                runner.folder,
                plan.options,
                runner.progress,
            )
        if isinstance(plan.image_tags, TagFile):
            tagger_of_file = plan.image_tags.tagger(plan.vocabulary, runner.folder)
            joint |= run_stages(plan, runner, tagger_of_file)
        if plan.image is not None and plan.calibrates and plan.background is not None:
            source, shards = embedded(plan, runner.folder, plan.shards)
            data = CalibrationData(
                source=source,
                shards=shards,
                text=reports["text"].store,
                mentions=reports["mentions"].store if "mentions" in reports else None,
                vocabulary=plan.vocabulary,
                vectors=plan.image.concepts,
                background=plan.background,
            )
            tagger = plan.image
            calibration = learned_calibration(data, index, runner.progress)
            if calibration is not None:
                calibration.save(runner.folder / CALIBRATION)
                tagger = calibrated_tagger(tagger, calibration)
            joint["image"] = self._tag_images(tagger)
        return joint

    def image_index(self, reports: Mapping[str, StageReport]) -> ImageIndex | None:
        """Find the samples that share an image; captions are what makes them worth finding."""
        if self.plan.image is None or "text" not in reports:
            return None
        source, shards = embedded(self.plan, self.runner.folder, self.plan.shards)
        store = reports["text"].store
        readable = [s.name for s in shards if store.path(s.name, ".json").exists()]
        n_samples = sum(int(store.read(name)["n_samples"]) for name in readable)
        return index_images(source, shards, n_samples)

    def _tag_images(self, tagger: ImageTagger) -> StageReport:
        runner, plan = self.runner, self.plan
        return runner.run(tagger, *embedded(plan, runner.folder, runner.share(plan.shards)))

    def count(
        self, reports: Mapping[str, StageReport], counted: tuple[Shard, ...], shares: Path | None
    ) -> StageReport:
        """Count the tags of every shard."""
        runner = self.runner
        store = count_store(runner.folder, shares)
        text, image = (reports[s].store if s in reports else None for s in ("text", "image"))
        task = CountShard(text=text, image=image, store=store, shares=shares)
        engine = runner.engine(len(counted))
        return run_shards(
            task,
            store,
            counted,
            engine=engine,
            progress=runner.progress,
            tidy=runner.part is None,
        )


CONCEPTS = "concepts.json"


def write_audit(plan: AuditPlan, run: RunFolder, made: AuditRun, shards: Sequence[Shard]) -> None:
    """Write an audit's results."""
    folder, options = run.path, plan.options
    text = plan.own_text
    write_parquet(folder / "frequencies.parquet", made.table)
    write_csv(folder / "frequencies.csv", made.table)
    alignment = made.alignment.as_json(options.level)
    if made.misalignment is not None:
        alignment["corrected"] = made.misalignment
    write_json(folder / "alignment.json", alignment)
    write_json(folder / CONCEPTS, listed_concepts(plan.vocabulary))
    if plan.image is not None:
        vectors = plan.image.concepts if plan.vectors is None else plan.vectors
        write_npy(folder / "concept_vectors.npy", vectors)
    run.finish(
        {
            "dataset": plan.dataset.location,
            "reading": plan.dataset.settings,
            "settings": plan.settings,
            "level": options.level,
            "clip": options.clip,
            "threshold": options.threshold,
            "calibration": options.calibration,
            "templates": list(options.templates),
            "pipeline": text and pipeline_facts(text.pipeline),
            "configuration": plan.encoder and dict(plan.encoder.clip.configuration),
            "account": made.account,
            "sampled": sampled_of(plan.dataset, options, made.alignment.n_samples),
            "notes": list(made.notes),
            **({} if plan.partial is None else {"partial": plan.partial}),
            "shards": [shard.name for shard in shards],
            "versions": package_versions(*RUN_PACKAGES),
        }
    )


def listed_concepts(vocabulary: ConceptVocabulary) -> list[Json]:
    """Lay a vocabulary out as a concept list that can be read again."""
    return [
        {
            "concept": concept.name,
            "aliases": list(concept.aliases),
            "prompts": list(concept.prompts),
            "synset": concept.synset,
            "dataset": concept.dataset,
            "class_index": concept.class_index,
        }
        for concept in vocabulary
    ]
