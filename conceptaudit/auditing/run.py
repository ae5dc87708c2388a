"""Running an audit: its stages in their order, its results, its files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    RunFolder,
    ShardStore,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.calibrating import CALIBRATION, calibrated_tagger, learned_calibration
from conceptaudit.auditing.calibration_data import ImageIndex, index_images
from conceptaudit.auditing.duplicates import DUPLICATES
from conceptaudit.auditing.estimating import ESTIMATE_FILE, STRATA_FILE, estimate_text
from conceptaudit.auditing.finishing import failed_shards, finish
from conceptaudit.auditing.judged_run import CELLS_FILE, put_judged
from conceptaudit.auditing.mentions import ROLL_UP
from conceptaudit.auditing.outputs import CAPTION_FILES, COLUMN_FILES, search_as_published
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.results import AuditRun
from conceptaudit.auditing.sources import sampled_of
from conceptaudit.auditing.stages import AuditStages, CountedShards, Reports
from conceptaudit.auditing.taggers import UNKNOWN_CONCEPTS, UNKNOWN_KEYS, TagFile, TaggerStage
from conceptaudit.datasets.base import Shard
from conceptaudit.datasets.changes import change_notes, stamps_of
from conceptaudit.engine import StageReport, workers_kept
from conceptaudit.engine.array_tasks import Part
from conceptaudit.errors import DataError
from conceptaudit.frequency.counting import CountShard, count_store, shards_to_count
from conceptaudit.image.stages import ImageTagger
from conceptaudit.progress import Progress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.removing import remove
from conceptaudit.text.paper import PaperIndex
from conceptaudit.text.pipeline import pipeline_facts
from conceptaudit.text.tagger import FastTextTagger, TextTagger

CONCEPTS = "concepts.json"

OPTIONAL_FILES = (
    *(*CAPTION_FILES, *COLUMN_FILES, CALIBRATION, CELLS_FILE, ROLL_UP, STRATA_FILE, ESTIMATE_FILE),
    *(DUPLICATES, UNKNOWN_KEYS, UNKNOWN_CONCEPTS),
)
"""What only some options write, so that an earlier run with others may have left it."""


@workers_kept()
def run_audit(plan: AuditPlan, run: RunFolder, progress: Progress) -> AuditRun:
    """Run the stages that are not done, count, and write the results."""
    stages = AuditStages.of(plan, run.path, progress)
    stamps = stamps_of(plan.shards)
    remove(run.path, OPTIONAL_FILES)
    if plan.calibration is not None:
        plan.calibration.save(run.path / CALIBRATION)
    if isinstance(plan.image_tags, TagFile):
        # a bad row far down stops the audit before its long stages
        plan.image_tags.tagger(plan.vocabulary, run.path)
    reports = _shard_stages(stages)
    index = _image_index(stages, reports)
    reports |= _joint_stages(stages, reports, index)
    stores = {name: report.store for name, report in reports.items()}
    shards = shards_to_count(plan.shards, _sides(reports))
    if not shards:
        raise DataError(
            f"No shard of {plan.dataset.location} could be read: "
            f"{next(iter(failed_shards(reports).values()), 'there are none')}"
        )
    counted = CountedShards(stages=stages, shards=shards, stores=stores, index=index)
    estimate = None
    if isinstance(plan.text, FastTextTagger):
        estimate = estimate_text(counted, plan.text)
        reports["strata"] = estimate.report
    reports["counts"] = _count(stages, reports, shards, None if not estimate else estimate.table)
    result = finish(counted, reports, estimate)
    result = replace(result, notes=(*result.notes, *change_notes(stamps, plan.shards)))
    _write(plan, run, result, shards)
    if plan.options.judged is not None:
        table, notes = put_judged(run.path, plan.options.judged, level=plan.options.level)
        judged = replace(result.frequencies, table=table)
        result = replace(result, frequencies=judged, notes=(*result.notes, *notes))
    return result


@workers_kept()
def run_audit_part(plan: AuditPlan, folder: Path, progress: Progress, part: Part) -> Reports:
    """Run the stages that need no other part's results, over this part's shards."""
    stages = AuditStages.of(plan, folder, progress, part)
    reports = _shard_stages(stages)
    exact = plan.text is None or isinstance(plan.text, TextTagger | TaggerStage)
    # then a shard's counts rest on nothing but its own tags
    if exact and not plan.calibrates and not isinstance(plan.image_tags, TagFile):
        shards = shards_to_count(stages.runner.share(plan.shards), _sides(reports))
        reports["counts"] = _count(stages, reports, shards, None)
    return reports


def _sides(reports: Reports) -> list[ShardStore]:
    return [reports[side].store for side in ("text", "image") if side in reports]


def _shard_stages(stages: AuditStages) -> Reports:
    """Run the stages that look at one shard at a time, whatever the others hold."""
    plan = stages.plan
    foreign = plan.image_tags if isinstance(plan.image_tags, TaggerStage) else None
    reports = stages.run(plan.text, plan.mentions, plan.languages, plan.encoder, foreign)
    if plan.image is not None and not plan.calibrates:
        reports["image"] = _tag_images(stages, plan.image)
    return reports


def _joint_stages(stages: AuditStages, reports: Reports, index: ImageIndex | None) -> Reports:
    """Run the stages that need all shards of an earlier one, or what they share."""
    joint: Reports = {}
    plan = stages.plan
    if isinstance(plan.text, PaperIndex):
        joint["text"] = search_as_published(stages, plan.text, reports[plan.text.name])
    if isinstance(plan.image_tags, TagFile):
        joint |= stages.run(plan.image_tags.tagger(plan.vocabulary, stages.runner.folder))
    if plan.image is not None and plan.calibrates and plan.background is not None:
        tagger = plan.image
        data = stages.calibration_data(reports)
        calibration = learned_calibration(data, index, stages.runner.progress)
        if calibration is not None:
            calibration.save(stages.runner.folder / CALIBRATION)
            tagger = calibrated_tagger(tagger, calibration)
        joint["image"] = _tag_images(stages, tagger)
    return joint


def _image_index(stages: AuditStages, reports: Reports) -> ImageIndex | None:
    """Find the samples that share an image; captions are what makes them worth finding."""
    if stages.plan.image is None or "text" not in reports:
        return None
    source, shards = stages.embedded(stages.plan.shards)
    store = reports["text"].store
    readable = [s.name for s in shards if store.path(s.name, ".json").exists()]
    return index_images(source, shards, sum(int(store.read(s)["n_samples"]) for s in readable))


def _tag_images(stages: AuditStages, tagger: ImageTagger) -> StageReport:
    shards = stages.runner.share(stages.plan.shards)
    return stages.runner.run(tagger, *stages.embedded(shards))


def _count(
    stages: AuditStages, reports: Reports, shards: tuple[Shard, ...], shares: Path | None
) -> StageReport:
    """Count the tags of every shard; `shares` has those of pairs that were not tagged."""
    text, image = (reports[s].store if s in reports else None for s in ("text", "image"))
    store = count_store(stages.runner.folder, shares)
    return stages.over(
        CountShard(text=text, image=image, store=store, shares=shares), store, shards
    )


def _write(plan: AuditPlan, run: RunFolder, result: AuditRun, shards: tuple[Shard, ...]) -> None:
    """Write an audit's results; the manifest last, which says that they are whole."""
    folder, options = run.path, plan.options
    text = plan.own_text
    write_parquet(folder / "frequencies.parquet", result.table)
    write_csv(folder / "frequencies.csv", result.table)
    alignment = result.alignment.as_json(options.level)
    if result.misalignment is not None:
        alignment["corrected"] = result.misalignment
    write_json(folder / "alignment.json", alignment)
    write_json(folder / CONCEPTS, _listed_concepts(plan.vocabulary))
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
            "account": result.account,
            "sampled": sampled_of(plan.dataset, options, result.alignment.n_samples),
            "notes": list(result.notes),
            **({} if plan.partial is None else {"partial": plan.partial}),
            "shards": [shard.name for shard in shards],
            "versions": package_versions(*RUN_PACKAGES),
        }
    )


def _listed_concepts(vocabulary: ConceptVocabulary) -> list[Json]:
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
