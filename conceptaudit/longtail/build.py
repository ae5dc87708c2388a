"""From an audit and a pool of images to a clean, balanced test set of the rare concepts.

The search for candidates may be spread over an array of tasks, each with its share of the pool.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conceptaudit.artifacts import RUN_PACKAGES, Json, digest_of, package_versions
from conceptaudit.datasets.base import Dataset
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, workers_kept
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.image.clip import find_clip
from conceptaudit.longtail.balance import balance_classes, balance_notes
from conceptaudit.longtail.clean import Cleaning
from conceptaudit.longtail.collect import named_in_captions
from conceptaudit.longtail.contact_sheet import SHOWN, ContactSheet
from conceptaudit.longtail.export import (
    place_images,
    write_archives,
    write_card,
    write_images,
    write_manifest,
    write_names,
    write_tables,
)
from conceptaudit.longtail.homonyms import Senses, embed_senses, read_other_senses
from conceptaudit.longtail.leaks import leak_hint
from conceptaudit.longtail.pool import Pool, make_pool, open_pool
from conceptaudit.longtail.pretraining import Pretraining, open_pretraining
from conceptaudit.longtail.records import REMOVED_COLUMNS, LongTailSet
from conceptaudit.longtail.review import Review, read_review
from conceptaudit.longtail.select import Selection, read_selection, select_concepts
from conceptaudit.longtail.set_storage import (
    KIND,
    WORK,
    building,
    check_target,
    discard_work,
    find_finished,
    read_long_tail,
    work_folder,
)
from conceptaudit.longtail.source import AuditSource, read_audit
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.checking import VERSION
from conceptaudit.store.places import check_apart, folder_of, output_path

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel


RANKED_BY_MODEL = (
    "Images were found and ranked by a model: expect its own accuracy on this set, and that of "
    "models like it, to be too high until the images have been judged by people."
)


def build_long_tail(
    run: str | Path,
    pool: str | Path | Dataset,
    out: str | Path,
    *,
    options: LongTailOptions | None = None,
    clip: ClipModel | None = None,
    overwrite: bool = False,
    workers: int | EngineChoice | None = 1,
    progress: Progress | None = None,
) -> LongTailSet:
    """Build a clean, balanced test set of concepts that are rare in an audited dataset.

    Parameters
    ----------
    run : str or Path
        The run folder of ``conceptaudit audit``.
    pool : str, Path or Dataset
        Where images are taken from, in any layout with images or image embeddings.
    out : str or Path
        The folder of the set: appears when it is finished. The same set is not built again.
    options : LongTailOptions, optional
        Everything else.
    clip : ClipModel, optional
        An encoder at hand, in place of the one that `options` or the audit name.
    overwrite : bool, default False
        Replace another long-tail set in `out`.
    workers : int, EngineChoice or None, default 1
        Processes that look at the pool's shards; None for one per processor. Changes no result.
        A model on a GPU has one.
    progress : Progress, optional
        Told of every pool shard and image.

    Returns
    -------
    LongTailSet

    Raises
    ------
    ConfigError, DataError, MissingDependencyError
        The audit, the pool, the selection or the options cannot be used.
    ArtifactMismatchError
        `out` holds something else, or the audit's files or model have changed.

    Examples
    --------
    >>> build_long_tail("no-such-run", "photos/", "tail/")
    Traceback (most recent call last):
    ...
    conceptaudit.errors.DataError: no-such-run is not a finished audit: it has no manifest.json...
    """
    options = options or LongTailOptions()
    folder = output_path(out)
    check_apart([folder], (run, *places_read(pool, options)))
    audit = read_audit(run)
    opened = open_pool(pool, options.layout) if isinstance(pool, str | Path) else pool
    selection = choose_concepts(audit, options)
    review = None if options.review is None else read_review(options.review, selection.concepts)
    made = make_pool(opened, audit, selection.concepts, options, clip)
    job = _Job(
        audit=audit,
        selection=selection,
        review=review,
        against=tuple(open_pretraining(one, made.space.identity) for one in options.against),
        senses=_senses(audit, selection, made, options, clip),
        pool=made,
        options=options,
        workers=workers,
        progress=progress or SilentProgress(),
    )
    identity = job.identity()
    shards = [shard.name for shard in made.looked_at]
    finished = find_finished(folder, digest_of(identity))
    if finished is not None:
        discard_work(folder, shards)
        return finished
    check_target(folder, overwrite=overwrite)
    with building(folder, shards) as (site, work):
        job.execute(site, work, identity)
    return read_long_tail(folder)


def places_read(
    pool: str | Path | Dataset, options: LongTailOptions
) -> tuple[str | Path | None, ...]:
    """Return the files and folders that a set is made from, beside the audit."""
    return (
        pool if isinstance(pool, str | Path) else pool.location,
        options.selection,
        options.review,
        options.other_senses,
        options.examples,
        options.pictures,
        options.index,
        *options.against,
        folder_of(options.clip),
    )


def choose_concepts(audit: AuditSource, options: LongTailOptions) -> Selection:
    """Choose the concepts of a set: by the options' rules, or by an edited selection."""
    if options.selection is not None:
        return read_selection(options.selection, audit.frequencies, count=options.count)
    return select_concepts(audit.frequencies, options)


def _senses(
    audit: AuditSource,
    selection: Selection,
    pool: Pool,
    options: LongTailOptions,
    clip: ClipModel | None,
) -> Senses | None:
    if options.other_senses is None:
        return None
    senses = read_other_senses(options.other_senses, selection.concepts)
    name = options.clip or audit.clip
    model = clip or pool.space.clip
    if model is None and name is None:
        raise ConfigError("--other-senses needs a model that embeds text: name one with --clip.")
    model = model or find_clip(str(name), device=options.device)
    return embed_senses(senses, pool.space.concepts[list(pool.ids)], model, options.templates)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """A set while it is built."""

    audit: AuditSource
    selection: Selection
    review: Review | None
    against: tuple[Pretraining, ...]
    senses: Senses | None
    pool: Pool
    options: LongTailOptions
    workers: int | EngineChoice | None
    progress: Progress

    def identity(self) -> Json:
        """Everything that the set depends on."""
        selected = self.selection.table
        rows = selected.astype(object).where(selected.notna(), None).to_numpy().tolist()
        return {
            "run": self.audit.digest,
            **self.pool.identity,
            "selection": digest_of(rows),
            "review": self.review.digest if self.review else None,
            "against": [source.identity for source in self.against],
            "senses": self.senses.identity if self.senses else None,
            "clip": self.pool.space.identity,
            "settings": self.options.settings,
            "versions": package_versions(*RUN_PACKAGES, "scipy"),
        }

    @workers_kept()
    def execute(self, site: Path, work: Path, identity: Json) -> None:
        """Collect, clean, balance, and write every file into `site`."""
        options, progress, workers = self.options, self.progress, self.workers
        collected = self.pool.collect(work, workers=workers, progress=progress)
        cleaning = Cleaning(
            concepts=self.pool.space.concepts,
            ids=self.pool.ids,
            names=self.audit.vocabulary.names,
            against=self.against,
            senses=self.senses,
            review=self.review,
            options=options,
            hint=leak_hint(self.audit),
        )
        table, leaks, clean_notes = cleaning(
            collected.table, collected.vectors, progress=progress, workers=workers
        )
        classes, images = balance_classes(table, self.selection, options, self.review)
        lost = table.loc[table["reason"] != "", list(REMOVED_COLUMNS)]
        removed = pd.concat([collected.removed, lost], ignore_index=True)
        images = place_images(images)
        pictures = self.pool.picture_set
        if pictures is not None:
            titles = [_title(one) for one in classes if one["included"]]
            sheet = ContactSheet(titles, shown=min(SHOWN, options.per_class))
            write_images(site, images, pictures, sheet, progress)
            sheet.save(site)
            write_archives(site, images)
        captions = self._caption_counts(images)
        facts = {
            "kind": KIND,
            "version": VERSION,
            "digest": digest_of(identity),
            **identity,
            "audited": self.audit.dataset,
            **self.pool.told,
            "account": {
                "n_samples": collected.counts.n_samples,
                "n_compared": collected.counts.n_compared,
                "n_unreadable_files": collected.counts.n_unreadable_files,
                "unusable": dict(sorted(collected.counts.dropped.items())),
            },
            "leaks": leaks,
            "captions": captions,
            "notes": [
                *self.pool.dataset.notes,
                *self.selection.notes,
                RANKED_BY_MODEL,
                *collected.notes,
                *clean_notes,
                *(caption_notes(**captions) if captions else []),
                *balance_notes(classes, images, options),
            ],
        }
        write_tables(site, images, classes, removed, self.selection.table)
        write_names(site, classes, options.templates)
        write_card(site, images, classes, removed, facts)
        write_manifest(site, classes, removed, facts)

    def _caption_counts(self, images: pd.DataFrame) -> dict[str, int] | None:
        """Count images with a caption, and those whose caption names their class."""
        if self.pool.tagger is None:
            return None
        captioned = images[images["caption"] != ""]
        n_named = 0
        for class_id, captions in captioned.groupby("class_id")["caption"]:
            concept = self.pool.ids[int(str(class_id))]
            n_named += int(named_in_captions(self.pool.tagger, captions.tolist(), [concept]).sum())
        return {"n_captioned": len(captioned), "n_named": n_named}


def _title(one: Json) -> str:
    return f"{one['concept']}  ({quantity(one['n_images'], 'image')})"


# Share of named images below which the set is called doubtful: CLIP-ranked images of the lab's
# photographs whose captions name the class are 98 % right, sets with a share of 0.3 are 31 % pure.
FEW_NAMED = 0.8


def caption_notes(n_captioned: int, n_named: int) -> list[str]:
    """Say that captions do not support the set; nothing where they do."""
    if not n_captioned or n_named >= FEW_NAMED * n_captioned:
        return []
    low, high = wilson_interval(n_named, n_captioned)
    note = (
        f"The captions of only {n_named:,} of {quantity(n_captioned, 'image')} name "
        f"their class ({n_named / n_captioned:.0%}, interval {low:.0%} to "
        f"{high:.0%}). Where the pool's captions say what is shown, the others are probably "
        "wrong: --require-text takes only images whose caption names the class, "
        "--min-margin 0.05 drops doubtful ones, and --review-out writes a list to judge."
    )
    return [note]


def collect_part(
    run: str | Path,
    pool: str | Path | Dataset,
    out: str | Path,
    part: Part,
    *,
    options: LongTailOptions | None = None,
    clip: ClipModel | None = None,
    workers: int | EngineChoice | None = 1,
    progress: Progress | None = None,
) -> PartRun:
    """Look for candidates in one part's share of a pool; `build_long_tail` does the rest.

    Parts may run side by side, be killed and run again. What they find is kept beside `out`, which
    appears when `build_long_tail` with the same arguments has finished the set.
    """
    options = options or LongTailOptions()
    audit = read_audit(run)
    opened = open_pool(pool, options.layout) if isinstance(pool, str | Path) else pool
    made = make_pool(opened, audit, choose_concepts(audit, options).concepts, options, clip)
    folder, n_all = output_path(out), len(made.looked_at)
    check_apart([folder], (run, *places_read(pool, options)))
    held = work_folder(folder, [shard.name for shard in made.looked_at])
    site, told = held.path, progress or SilentProgress()
    with held.hold_part(str(part), resume=True):
        report = made.look(site / WORK, workers=workers, progress=told, part=part)
        mark_finished(site, part, n_all)
    return PartRun.of(site, part, n_all, {made.stage.name: report})
