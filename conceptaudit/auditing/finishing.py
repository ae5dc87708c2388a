"""The end of an audit: counts of shards to frequencies, corrections, notes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from conceptaudit.artifacts import Json, write_csv, write_parquet
from conceptaudit.auditing.calibrating import (
    CALIBRATION,
    calibration_notes,
    caption_misalignment,
    with_corrected,
)
from conceptaudit.auditing.calibration_data import ImageCells, count_cells
from conceptaudit.auditing.duplicates import with_unique_counts
from conceptaudit.auditing.estimating import TextEstimate
from conceptaudit.auditing.judged_run import CELLS_FILE, cell_table
from conceptaudit.auditing.mentions import ROLL_UP, roll_up, with_kind_counts
from conceptaudit.auditing.outputs import (
    count_by_language,
    count_columns,
    count_pairs_of_concepts,
    with_ambiguity,
    write_aliases,
    write_evidence,
)
from conceptaudit.auditing.results import PARTIAL_COLUMN, AuditRun
from conceptaudit.auditing.sources import sampled_of
from conceptaudit.auditing.stages import CountedShards, Reports
from conceptaudit.auditing.suspicions import suspicions
from conceptaudit.auditing.taggers import TagFile
from conceptaudit.display import quantity
from conceptaudit.frequency.counting import Alignment, add_shards, frequency_table, read_counts
from conceptaudit.image.calibration import Calibration
from conceptaudit.records import ConceptFrequencies, Int64Array
from conceptaudit.text.mentions import MentionTotals, unspaced_note
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.tagger import FastTextTagger
from conceptaudit.text.windows import splits_at_spaces

Totals = Mapping[str, Int64Array]
"""Counts by side, of shape (n_concepts,)."""


def finish(counted: CountedShards, reports: Reports, estimate: TextEstimate | None) -> AuditRun:
    """Add the shards up and derive everything that an audit reports, short of writing it."""
    plan, level = counted.plan, counted.plan.options.level
    counts = reports["counts"].store
    names = [shard.name for shard in counted.shards]
    totals, agreement = add_shards((read_counts(counts, n) for n in names), len(plan.vocabulary))
    if estimate is not None:
        records = [counts.read(name) for name in names]
        totals, agreement = estimate.complete(totals, agreement, records)
    look_alikes = MentionTotals(len(plan.vocabulary))
    account = {
        side: added_accounts(look_alikes.noted(counted.stores[side].read(name) for name in names))
        for side in ("text", "image")
        if side in counted.stores
    }
    n_read = max(side["n_samples"] for side in account.values())
    sampled = sampled_of(plan.dataset, plan.options, n_read)
    frequencies = replace(
        frequency_table(plan.vocabulary, totals, source=plan.dataset.location, level=level),
        n_samples=n_read,
        share=1.0 if sampled is None else n_read / sampled["sampled_from"],
    )
    notes = [*plan.notes, *_sample_note(sampled)]
    # that only part of the shards are counted comes before all else, then that images say nothing
    first = [notes.pop(0)] if plan.partial is not None else []
    if estimate is not None:
        frequencies = estimate.marked(frequencies, level=level)
        notes.append(estimate.note)
    path = counted.folder / CALIBRATION
    calibration = Calibration.load(path) if path.exists() else None
    silent = calibration is not None and not calibration.has_signal
    if "image" in counted.stores:
        frequencies, more = _with_images(counted, frequencies, totals, account, calibration)
        (first if silent else notes).extend(more)
    if plan.own_text is not None:
        frequencies, of_captions = _with_captions(
            counted, frequencies, account, look_alikes, estimate
        )
        notes += of_captions
        write_evidence(counted)
    reports = {**reports, **_more_tables(counted, totals, account)}
    if isinstance(plan.image_tags, TagFile):
        notes += plan.image_tags.account_for(
            plan.vocabulary, counted.folder, counted.stores["image"], counted.shards
        )
    if plan.options.near_duplicates is not None:
        frequencies, more = with_unique_counts(counted, frequencies, plan.options.near_duplicates)
        notes += more
    # where images say nothing, nothing of them is missing
    sides = {side: one for side, one in account.items() if side == "text" or not silent}
    first += suspicions(frequencies.table, sides, plan.vocabulary, plan.dataset.settings)
    if plan.partial is not None:
        share = plan.partial["n_shards"] / plan.partial["n_all"]
        table = frequencies.table.assign(**{PARTIAL_COLUMN: share})
        frequencies = replace(frequencies, table=table)
    skipped = [f"Skipped: {why}" for why in failed_shards(reports).values()]
    return AuditRun(
        folder=counted.folder,
        frequencies=frequencies,
        alignment=Alignment(n_samples=n_read, **agreement),
        account=account,
        notes=(*first, *notes, *skipped),
        redone={
            name: {"kept": report.kept, "redone": dict(report.redone)}
            for name, report in reports.items()
        },
        misalignment=_misalignment(counted, calibration, estimate),
        level=level,
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


def failed_shards(reports: Reports) -> dict[str, str]:
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
    counted: CountedShards,
    frequencies: ConceptFrequencies,
    totals: Totals,
    account: Json,
    calibration: Calibration | None,
) -> tuple[ConceptFrequencies, tuple[str, ...]]:
    """Correct the counts of images, and say how images were tagged."""
    plan, level = counted.plan, counted.plan.options.level
    shared = counted.index is not None and counted.index.shared
    cells = _cells(counted, totals, account)
    if calibration is not None:
        frequencies = with_corrected(
            frequencies, calibration, cells, has_text="text" in totals, level=level
        )
    write_parquet(
        counted.folder / CELLS_FILE, cell_table(plan.vocabulary.names, cells, calibration)
    )
    if plan.image is None:
        return frequencies, ()
    return frequencies, calibration_notes(
        calibration,
        cells if shared else None,
        asked=plan.calibrates,
        threshold=plan.options.fixed_threshold,
    )


def _cells(counted: CountedShards, totals: Totals, account: Json) -> ImageCells:
    """Count images by caption and tag."""
    n_images = account["image"]["n_used"]
    mentions = counted.stores.get("mentions")
    if mentions is not None or (counted.index is not None and counted.index.shared):
        return count_cells(
            counted.stores.get("text"),
            mentions,
            counted.stores["image"],
            counted.shards,
            n_concepts=len(counted.plan.vocabulary),
            n_used=n_images,
            index=counted.index,
        )
    text, joint = totals.get("text"), totals.get("joint")
    if text is None or joint is None:
        nothing = np.zeros(len(counted.plan.vocabulary), dtype=np.int64)
        return ImageCells(n_images=n_images, named=nothing, tagged=totals["image"], both=nothing)
    # captions of images that could not be used say nothing of the images that were
    share = min(1.0, n_images / max(account["text"]["n_used"], 1))
    named = np.maximum(np.rint(text * share), joint).astype(np.int64)
    return ImageCells(n_images=n_images, named=named, tagged=totals["image"], both=joint)


def _with_captions(
    counted: CountedShards,
    frequencies: ConceptFrequencies,
    account: Json,
    look_alikes: MentionTotals,
    estimate: TextEstimate | None,
) -> tuple[ConceptFrequencies, list[str]]:
    """Add what is told about captions beside their counts."""
    plan, stores = counted.plan, counted.stores
    strata = None if estimate is None else estimate.table
    frequencies, notes = with_ambiguity(counted, frequencies, look_alikes, strata)
    if "mentions" in stores:
        # the fast mode's own table has pairs that no tagger accepted
        text = None if isinstance(plan.text, FastTextTagger) else stores["text"]
        frequencies = with_kind_counts(
            frequencies, text, stores["mentions"], counted.shards, level=plan.options.level
        )
        table = roll_up(plan.vocabulary, stores["text"], stores.get("image"), counted.shards)
        write_csv(counted.folder / ROLL_UP, table)
    nlp = load_pipeline(plan.options.spacy_model)
    if nlp.lang == "en" or splits_at_spaces(nlp):
        n_captions, pipeline = account["text"]["n_used"], plan.options.spacy_model
        notes += filter(None, [unspaced_note(look_alikes.n_unspaced, n_captions, pipeline)])
    if look_alikes.n_records == len(counted.shards):
        write_aliases(counted, look_alikes)
    return frequencies, notes


def _more_tables(counted: CountedShards, totals: Totals, account: Json) -> Reports:
    """Write the tables that were asked for, which take stages of their own."""
    plan, reports = counted.plan, Reports()
    if plan.options.cooccurrence and plan.own_text is not None:
        reports["pairs"] = count_pairs_of_concepts(
            counted, totals["text"], account["text"]["n_used"]
        )
    if plan.languages is not None:
        reports["counts_by_language"] = count_by_language(counted)
    if plan.options.columns:
        reports["columns"] = count_columns(counted)
    return reports


def _misalignment(
    counted: CountedShards, calibration: Calibration | None, estimate: TextEstimate | None
) -> Json:
    if calibration is None or not calibration.has_signal:
        return None
    if not {"text", "image"} <= counted.stores.keys():
        return None
    return caption_misalignment(
        calibration,
        counted.stores["text"],
        counted.stores["image"],
        counted.shards,
        level=counted.plan.options.level,
        shares=None if estimate is None else estimate.table,
    )
