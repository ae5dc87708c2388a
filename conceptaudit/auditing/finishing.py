"""The end of an audit: counts of shards to frequencies, corrections, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from conceptaudit.artifacts import Json, ShardStore, write_csv, write_parquet
from conceptaudit.auditing.calibrating import (
    CALIBRATION,
    calibration_notes,
    caption_misalignment,
    with_corrected,
)
from conceptaudit.auditing.calibration_data import ImageCells, ImageIndex, count_cells
from conceptaudit.auditing.duplicates import with_unique_counts
from conceptaudit.auditing.estimating import TextEstimate
from conceptaudit.auditing.judged_run import CELLS_FILE, cell_table
from conceptaudit.auditing.mentions import ROLL_UP, roll_up, with_kind_counts
from conceptaudit.auditing.outputs import TextSide, count_by_language, count_columns
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.results import PARTIAL_COLUMN, AuditRun
from conceptaudit.auditing.sources import sampled_of
from conceptaudit.auditing.suspicions import suspicions
from conceptaudit.auditing.taggers import TagFile, forget_lists
from conceptaudit.datasets.base import Shard
from conceptaudit.display import quantity
from conceptaudit.engine import StageReport
from conceptaudit.frequency.counting import Alignment, add_shards, frequency_table, read_counts
from conceptaudit.image.calibration import Calibration
from conceptaudit.progress import Progress
from conceptaudit.records import Int64Array
from conceptaudit.text.mentions import MentionTotals, unspaced_note
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.tagger import FastTextTagger
from conceptaudit.text.windows import splits_at_spaces


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedShards:
    """What the stages of an audit left."""

    shards: tuple[Shard, ...]  # those that every side has, identified by their tags
    stores: Mapping[str, ShardStore]
    counts: ShardStore
    reports: Mapping[str, StageReport]  # what running each stage did
    estimate: TextEstimate | None  # where captions were counted fast
    index: ImageIndex | None = None  # which samples share an image, where that matters


def finish(plan: AuditPlan, folder: Path, progress: Progress, done: CountedShards) -> AuditRun:
    """Add the shards up and derive everything that an audit reports, short of writing it."""
    totals, agreement = add_shards(
        (read_counts(done.counts, shard.name) for shard in done.shards), len(plan.vocabulary)
    )
    if done.estimate is not None:
        totals, agreement = done.estimate.complete(
            totals, agreement, [done.counts.read(shard.name) for shard in done.shards]
        )
    look_alikes = MentionTotals(len(plan.vocabulary))
    account = {
        side: added_accounts(
            look_alikes.noted(done.stores[side].read(shard.name) for shard in done.shards)
        )
        for side in ("text", "image")
        if side in done.stores
    }
    n_read = max(side["n_samples"] for side in account.values())
    sampled = sampled_of(plan.dataset, plan.options, n_read)
    frequencies = replace(
        frequency_table(
            plan.vocabulary, totals, source=plan.dataset.location, level=plan.options.level
        ),
        n_samples=n_read,
        share=1.0 if sampled is None else n_read / sampled["sampled_from"],
    )
    made = AuditRun(
        folder=folder,
        frequencies=frequencies,
        alignment=Alignment(n_samples=n_read, **agreement),
        account=account,
        notes=(*plan.notes, *_sample_note(sampled)),
        redone={},
        misalignment=_misalignment(plan, folder, done),
        level=plan.options.level,
    )
    if done.estimate is not None:
        marked = done.estimate.marked(made.frequencies, level=plan.options.level)
        made = replace(made, frequencies=marked, notes=(*made.notes, done.estimate.note))
    made = _with_images(plan, done, made, totals)
    made, more = _with_captions(plan, progress, done, made, totals, look_alikes)
    made = _with_duplicates(plan, done, made)
    reports = {**done.reports, **more}
    failures = failed_shards(reports)
    # a model without signal counts no image: that comes first, and nothing is missing there
    silent = "image" in made.account and not bool(made.table["n_image"].notna().any())
    sides = {side: one for side, one in made.account.items() if side == "text" or not silent}
    first = suspicions(made.table, sides, plan.vocabulary, plan.dataset.settings)
    if silent:
        made, first = replace(made, notes=made.notes[1:]), (*made.notes[:1], *first)
    if plan.partial is not None:
        share = plan.partial["n_shards"] / plan.partial["n_all"]
        table = made.table.assign(**{PARTIAL_COLUMN: share})
        made = replace(made, frequencies=replace(made.frequencies, table=table))
        first, made = (made.notes[0], *first), replace(made, notes=made.notes[1:])
    return replace(
        made,
        notes=(*first, *made.notes, *(f"Skipped: {why}" for why in failures.values())),
        redone={
            name: {"kept": report.kept, "redone": dict(report.redone)}
            for name, report in reports.items()
        },
    )


def _sample_note(sampled: Json) -> tuple[str, ...]:
    """Say that counts are of a sample."""
    if sampled is None:
        return ()
    read, whole = sampled["n_read"], sampled["sampled_from"]
    remark = (
        f"The {quantity(read, 'sample')} read are {read / whole:.3g} of {whole:,}: counts are "
        "those of the samples read; fit, predict and plan expect the whole from them."
    )
    return (remark,)


def failed_shards(reports: Mapping[str, StageReport]) -> dict[str, str]:
    """Return why shards could not be read, by shard."""
    return {name: why for report in reports.values() for name, why in report.failed.items()}


def added_accounts(accounts: Iterable[Json]) -> Json:
    """Add the accounts of shards; adding keeps every identity that holds for each."""
    numbers: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = {"dropped": Counter(), "noted": Counter()}
    # one at a time: a shard's record may hold much besides its account
    for account in accounts:
        for name in ("n_samples", "n_used"):
            numbers[name] += account[name]
        for name, counts in parts.items():
            counts.update(account[name])
    return {
        "n_samples": numbers["n_samples"],
        "n_used": numbers["n_used"],
        **{name: dict(sorted(counts.items())) for name, counts in parts.items()},
    }


def _with_images(
    plan: AuditPlan, done: CountedShards, made: AuditRun, totals: Mapping[str, Int64Array]
) -> AuditRun:
    """Correct the counts of images, and say how images were tagged."""
    if "image" not in done.stores:
        return made
    options, path = plan.options, made.folder / CALIBRATION
    frequencies = made.frequencies
    calibration = Calibration.load(path) if path.exists() else None
    shared = done.index is not None and done.index.shared
    cells = _cells(plan, done, made, totals)
    if calibration is not None:
        frequencies = with_corrected(
            frequencies, calibration, cells, has_text="text" in totals, level=options.level
        )
    notes: tuple[str, ...] = ()
    if plan.image is not None:
        notes = calibration_notes(
            calibration,
            cells if shared else None,
            asked=plan.calibrates,
            threshold=options.fixed_threshold,
        )
    table = cell_table(
        plan.vocabulary.names,
        cells.n_images,
        cells.named,
        cells.tagged,
        cells.both,
        calibration,
    )
    write_parquet(made.folder / CELLS_FILE, table)
    ordered = (*made.notes, *notes)
    if calibration is not None and not calibration.has_signal:
        ordered = (*notes, *made.notes)
    return replace(made, frequencies=frequencies, notes=ordered)


def _cells(
    plan: AuditPlan, done: CountedShards, made: AuditRun, totals: Mapping[str, Int64Array]
) -> ImageCells:
    """Count images by caption and tag."""
    n_images = made.account["image"]["n_used"]
    mentions = done.stores.get("mentions")
    if mentions is not None or (done.index is not None and done.index.shared):
        return count_cells(
            done.stores.get("text"),
            mentions,
            done.stores["image"],
            done.shards,
            n_concepts=len(plan.vocabulary),
            n_used=n_images,
            index=done.index,
        )
    text, joint = totals.get("text"), totals.get("joint")
    if text is None or joint is None:
        nothing = np.zeros(len(plan.vocabulary), dtype=np.int64)
        return ImageCells(n_images=n_images, named=nothing, tagged=totals["image"], both=nothing)
    # captions of images that could not be used say nothing of the images that were
    share = min(1.0, n_images / max(made.account["text"]["n_used"], 1))
    named = np.maximum(np.rint(text * share), joint).astype(np.int64)
    return ImageCells(n_images=n_images, named=named, tagged=totals["image"], both=joint)


def _with_captions(
    plan: AuditPlan,
    progress: Progress,
    done: CountedShards,
    made: AuditRun,
    totals: Mapping[str, Int64Array],
    look_alikes: MentionTotals,
) -> tuple[AuditRun, dict[str, StageReport]]:
    """Add what is told about captions beside their counts, and run the stages that it takes."""
    reports: dict[str, StageReport] = {}
    text, options = plan.own_text, plan.options
    if text is not None:
        side = TextSide(store=done.stores["text"], shards=done.shards, vocabulary=plan.vocabulary)
        frequencies, notes = side.with_ambiguity(
            made.frequencies,
            english=load_pipeline(text.pipeline.name).lang == "en",
            look_alikes=look_alikes,
            strata=None if done.estimate is None else done.estimate.table,
        )
        if "mentions" in done.stores:
            frequencies = with_kind_counts(
                frequencies,
                None if isinstance(text, FastTextTagger) else done.stores["text"],
                done.stores["mentions"],
                done.shards,
                level=options.level,
            )
            table = roll_up(
                plan.vocabulary, done.stores["text"], done.stores.get("image"), done.shards
            )
            write_csv(made.folder / ROLL_UP, table)
        made = replace(made, frequencies=frequencies, notes=(*made.notes, *notes))
        nlp = load_pipeline(text.pipeline.name)
        if nlp.lang == "en" or splits_at_spaces(nlp):
            n_captions = made.account["text"]["n_used"]
            note = unspaced_note(look_alikes.n_unspaced, n_captions, options.spacy_model)
            made = replace(made, notes=(*made.notes, *filter(None, [note])))
        side.write_aliases(made.folder, look_alikes)
        fast = text if isinstance(text, FastTextTagger) else None
        workers = options.engine_choice
        side.write_evidence(made.folder, size=options.evidence, workers=workers, fast=fast)
        reports |= side.write_cooccurrence(
            made.folder,
            totals["text"],
            made.account["text"]["n_used"],
            options=options,
            progress=progress,
        )
    if plan.languages is not None:
        reports["counts_by_language"] = count_by_language(
            done.stores, done.shards, plan.vocabulary, made.folder, options, progress
        )
    if options.columns:
        reports["columns"] = count_columns(
            plan.dataset, done.stores, done.shards, plan.vocabulary, made.folder, options, progress
        )
    return made, reports


def _with_duplicates(plan: AuditPlan, done: CountedShards, made: AuditRun) -> AuditRun:
    """Count every image once where that is asked for, and account for imported tags."""
    notes: tuple[str, ...] = ()
    forget_lists(made.folder)
    if isinstance(plan.image_tags, TagFile):
        notes = plan.image_tags.account_for(
            plan.vocabulary, made.folder, done.stores["image"], done.shards
        )
    frequencies, more = with_unique_counts(
        made.frequencies,
        done.shards,
        done.stores,
        dataset=plan.dataset,
        shards=plan.shards,
        folder=made.folder,
        options=plan.options,
    )
    return replace(made, frequencies=frequencies, notes=(*made.notes, *notes, *more))


def _misalignment(plan: AuditPlan, folder: Path, done: CountedShards) -> Json:
    path = folder / CALIBRATION
    if not path.exists() or not {"text", "image"} <= done.stores.keys():
        return None
    calibration = Calibration.load(path)
    if not calibration.has_signal:
        return None
    return caption_misalignment(
        calibration,
        done.stores["text"],
        done.stores["image"],
        done.shards,
        level=plan.options.level,
        shares=None if done.estimate is None else done.estimate.table,
    )
