"""From an audit and a pool of images to a clean, balanced test set of the rare concepts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.artifacts import RUN_PACKAGES, Json, digest_of, package_versions
from conceptaudit.datasets.base import Dataset
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, workers_kept
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import wilson_interval
from conceptaudit.image.clip import find_clip
from conceptaudit.longtail.balance import Balanced, LongTailClass, balance_notes
from conceptaudit.longtail.cleaning import Cleaned, Cleaning
from conceptaudit.longtail.collect import named_in_captions
from conceptaudit.longtail.contact_sheet import SHOWN, ContactSheet
from conceptaudit.longtail.export import (
    place_images,
    write_images,
    write_manifest,
    write_names,
    write_tables,
)
from conceptaudit.longtail.gather import Collected
from conceptaudit.longtail.homonyms import Senses, embed_senses, read_other_senses
from conceptaudit.longtail.layouts import write_archives, write_card
from conceptaudit.longtail.leaks import leak_hint
from conceptaudit.longtail.pool import Pool
from conceptaudit.longtail.pool_setup import make_pool, open_pool
from conceptaudit.longtail.pretraining import Pretraining, open_pretraining
from conceptaudit.longtail.records import LongTailSet
from conceptaudit.longtail.review import Review, read_review
from conceptaudit.longtail.select import Selection, select_concepts
from conceptaudit.longtail.selection_file import read_selection
from conceptaudit.longtail.set_storage import (
    KIND,
    building,
    check_target,
    discard_work,
    find_finished,
    read_long_tail,
)
from conceptaudit.longtail.source import AuditSource, read_audit
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.checking import VERSION
from conceptaudit.store.places import check_apart, folder_of, output_path

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel
    from conceptaudit.longtail.balance import LongTailClass
    from conceptaudit.text.tagger import TextTagger


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
    """One set in the making."""

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
        collector = self.pool.collect(work, workers=self.workers, progress=self.progress)
        cleaned = self._cleaned(collector)
        balanced = cleaned.balanced
        removals = (*collector.account.removals, *cleaned.removals)
        placed = place_images(balanced)
        dataset, pictures = self.pool.dataset, self.pool.picture_set
        notes = [*dataset.notes, *self.selection.notes, RANKED_BY_MODEL]
        if pictures is not None:
            titles = [_title(one) for one in balanced.included]
            sheet = ContactSheet(titles, shown=min(SHOWN, self.options.per_class))
            write_images(
                site,
                placed,
                pictures=pictures,
                places=collector.places,
                sheet=sheet,
                progress=self.progress,
            )
            sheet.save(site)
            write_archives(site, placed)
        account = collector.account
        notes += [*collector.notes, *cleaned.notes]
        captions = self._caption_check(balanced)
        notes += captions.notes if captions else []
        write_tables(site, placed, balanced, removals, selection=self.selection)
        write_names(site, balanced, self.options.templates)
        told = {
            "kind": KIND,
            "version": VERSION,
            "digest": digest_of(identity),
            **identity,
            "audited": self.audit.dataset,
            "pool_location": dataset.location,
            "pool_reading": {"layout": dataset.layout, **dataset.settings},
            **self.pool.told,
            "clip_name": self.pool.space.name,
            "account": {
                "n_samples": account.n_samples,
                "n_compared": account.n_compared,
                "n_unreadable_files": account.n_unreadable_files,
                "unusable": dict(sorted(account.dropped.items())),
            },
            "leaks": list(cleaned.leaks),
            "captions": captions.as_json() if captions else None,
            "notes": [*notes, *balance_notes(balanced, self.options)],
        }
        write_card(site, balanced, removals, told)
        write_manifest(site, balanced, removals, told)

    def _caption_check(self, balanced: Balanced) -> CaptionCheck | None:
        if self.pool.tagger is None:
            return None
        ids = dict(zip(self.selection.concepts, self.pool.ids, strict=True))
        return check_captions(
            balanced.included,
            self.pool.tagger,
            [ids[one.concept] for one in balanced.included],
        )

    def _cleaned(self, collector: Collected) -> Cleaned:
        cleaning = Cleaning(
            concepts=self.pool.space.concepts,
            concept_ids=self.pool.ids,
            vocabulary=self.audit.vocabulary,
            selection=self.selection,
            against=self.against,
            senses=self.senses,
            review=self.review,
            options=self.options,
            hint=leak_hint(self.audit),
        )
        return cleaning(collector.candidates, progress=self.progress, workers=self.workers)


def _title(one: LongTailClass) -> str:
    n_images = len(one.images)
    return f"{one.concept}  ({n_images} image{'' if n_images == 1 else 's'})"


FEW_NAMED = 0.8
"""Share of named images below which the set is called doubtful: CLIP-ranked images of the lab's
photographs whose captions name the class are 98 % right, sets with a share of 0.3 are 31 % pure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionCheck:
    """Captions of a set's images against their classes."""

    # images with a caption, and those whose caption names their class
    n_captioned: int
    n_named: int

    @property
    def notes(self) -> list[str]:
        """What the user should know; nothing where captions support the set."""
        if not self.n_captioned or self.n_named >= FEW_NAMED * self.n_captioned:
            return []
        low, high = wilson_interval(self.n_named, self.n_captioned)
        note = (
            f"The captions of only {self.n_named:,} of {quantity(self.n_captioned, 'image')} name "
            f"their class ({self.n_named / self.n_captioned:.0%}, interval {low:.0%} to "
            f"{high:.0%}). Where the pool's captions say what is shown, the others are probably "
            "wrong: --require-text takes only images whose caption names the class, "
            "--min-margin 0.05 drops doubtful ones, and --review-out writes a list to judge."
        )
        return [note]

    def as_json(self) -> Json:
        """Lay out for the manifest."""
        return {"n_captioned": self.n_captioned, "n_named": self.n_named}


def check_captions(
    classes: Sequence[LongTailClass], tagger: TextTagger, concept_ids: Sequence[int]
) -> CaptionCheck:
    """Look for each image's class in its caption."""
    n_captioned = n_named = 0
    for tail_class, concept in zip(classes, concept_ids, strict=True):
        captions = [image.entry.caption for image in tail_class.images if image.entry.caption]
        n_captioned += len(captions)
        n_named += int(named_in_captions(tagger, captions, [concept]).sum())
    return CaptionCheck(n_captioned=n_captioned, n_named=n_named)
