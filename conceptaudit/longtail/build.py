"""From an audit and a pool of images to a clean, balanced test set of the rare concepts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from conceptaudit.artifacts import Json, digest_of, package_versions
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import Dataset, Shard
from conceptaudit.errors import DataError
from conceptaudit.longtail.assign import assign_classes
from conceptaudit.longtail.balance import Balanced, TailClass, balance_classes, balance_notes
from conceptaudit.longtail.clean import remove_duplicates
from conceptaudit.longtail.collect import Collector
from conceptaudit.longtail.embedding import EmbeddingSpace, find_space
from conceptaudit.longtail.export import (
    place_images,
    write_images,
    write_manifest,
    write_names,
    write_tables,
)
from conceptaudit.longtail.layouts import write_archives, write_card
from conceptaudit.longtail.options import LongTailOptions
from conceptaudit.longtail.records import LongTailSet, Removal
from conceptaudit.longtail.review import Review, read_review
from conceptaudit.longtail.select import Selection, select_concepts
from conceptaudit.longtail.selection_file import read_selection
from conceptaudit.longtail.sheet import SHOWN, ContactSheet
from conceptaudit.longtail.source import AuditSource, read_audit
from conceptaudit.longtail.stored import (
    KIND,
    building,
    check_target,
    find_finished,
    read_long_tail,
)
from conceptaudit.progress import Progress, SilentProgress

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel
    from conceptaudit.text.tagger import CaptionAnnotator

RANKED_BY_MODEL = (
    "Images were found and ranked by a model: expect its own accuracy on this set, and that of "
    "models like it, to be too high until the images have been judged by people."
)
NO_PICTURES = (
    "The pool holds image vectors and no pictures: the set is a list of keys (manifest.csv), "
    "checked for duplicates by vectors only, without image files, hashes, sizes or a contact "
    "sheet. Name a pool with the images themselves to get them."
)


def build_long_tail(
    run: str | Path,
    pool: str | Path | Dataset,
    out: str | Path,
    *,
    options: LongTailOptions | None = None,
    clip: ClipModel | None = None,
    overwrite: bool = False,
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
    audit = read_audit(run)
    opened = open_dataset(pool, layout=options.layout) if isinstance(pool, str | Path) else pool
    selection = _selection(audit, options)
    review = None if options.review is None else read_review(options.review, selection.concepts)
    job = _Job(
        audit=audit,
        selection=selection,
        review=review,
        pool=opened,
        shards=opened.shards(),
        space=find_space(audit, opened, options, clip),
        options=options,
        progress=progress or SilentProgress(),
    )
    folder = Path(out)
    identity = job.identity()
    finished = find_finished(folder, digest_of(identity))
    if finished is not None:
        return finished
    check_target(folder, overwrite=overwrite)
    with building(folder) as site:
        job.execute(site, identity)
    return read_long_tail(folder)


def _selection(audit: AuditSource, options: LongTailOptions) -> Selection:
    if options.selection is not None:
        return read_selection(options.selection, audit.frequencies)
    return select_concepts(audit.frequencies, options)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """One set in the making."""

    audit: AuditSource
    selection: Selection
    review: Review | None
    pool: Dataset
    shards: tuple[Shard, ...]
    space: EmbeddingSpace
    options: LongTailOptions
    progress: Progress

    def identity(self) -> Json:
        """Everything that the set depends on."""
        selected = self.selection.table
        rows = selected.astype(object).where(selected.notna(), None).to_numpy().tolist()
        shards = [[shard.name, shard.fingerprint] for shard in self.shards]
        return {
            "run": self.audit.digest,
            "pool": digest_of([self.pool.settings, shards]),
            "selection": digest_of(rows),
            "review": self.review.digest if self.review else None,
            "clip": self.space.identity,
            "settings": self.options.settings,
            "versions": package_versions("open_clip_torch", "torch", "pillow", "numpy", "scipy"),
        }

    def execute(self, site: Path, identity: Json) -> None:
        """Collect, clean, balance, and write every file into `site`."""
        collector = self._collected()
        balanced, removals = self._cleaned(collector)
        placed = place_images(balanced)
        notes = [*self.pool.notes, *self.selection.notes, RANKED_BY_MODEL]
        if self.space.clip is None:
            notes.append(NO_PICTURES)
        else:
            titles = [_title(one) for one in balanced.included]
            sheet = ContactSheet(titles, shown=min(SHOWN, self.options.per_class))
            write_images(
                site,
                placed,
                pool=self.pool,
                shards=self.shards,
                sheet=sheet,
                progress=self.progress,
            )
            sheet.save(site)
            write_archives(site, placed)
        account = collector.account
        notes += account.notes()
        write_tables(site, placed, balanced, removals, selection=self.selection)
        write_names(site, balanced, self.options.templates)
        told = {
            "kind": KIND,
            "digest": digest_of(identity),
            **identity,
            "audited": self.audit.dataset,
            "pool_location": self.pool.location,
            "pool_reading": {"layout": self.pool.layout, **self.pool.settings},
            "clip_name": self.space.clip.name if self.space.clip else self.audit.clip,
            "account": {
                "n_samples": account.n_samples,
                "n_compared": account.n_compared,
                "n_unreadable_files": account.n_unreadable_files,
                "unusable": dict(sorted(account.dropped.items())),
            },
            "notes": [*notes, *balance_notes(balanced, self.options)],
        }
        write_card(site, balanced, removals, told)
        write_manifest(site, balanced, removals, told)

    def _collected(self) -> Collector:
        collector = Collector(
            self.pool, self.space, self._concept_ids(), self.options, self._annotator()
        )
        collector.run(self.shards, self.progress)
        account = collector.account
        if account.n_compared == 0:
            reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(account.dropped.items()))
            raise DataError(
                f"The pool {self.pool.location} holds no image that can be used: "
                f"{account.n_samples} samples read{f' ({reasons})' if reasons else ''}."
            )
        return collector

    def _cleaned(self, collector: Collector) -> tuple[Balanced, tuple[Removal, ...]]:
        found, names = collector.candidates, self.selection.concepts
        assigned = assign_classes(
            found, self.space.concepts, self._concept_ids(), self.audit.vocabulary, self.options
        )
        vectors = [found.vectors[candidate.entry.content] for candidate in assigned.candidates]
        shape = (len(vectors), self.space.concepts.shape[1])
        stacked = np.array(vectors, dtype=np.float32).reshape(shape)
        cleaned = remove_duplicates(assigned.candidates, stacked, names, self.options)
        candidates = cleaned.candidates
        rejected: tuple[Removal, ...] = ()
        if self.review is not None:
            candidates, rejected = self.review.apply(candidates, names)
        balanced = balance_classes(candidates, self.selection, self.options, self.review)
        steps = (collector.account, assigned, cleaned, balanced)
        removals = tuple(removal for step in steps for removal in step.removals)
        return balanced, (*removals, *rejected)

    def _concept_ids(self) -> list[int]:
        positions = {name: i for i, name in enumerate(self.audit.vocabulary.names)}
        return [positions[name] for name in self.selection.concepts]

    def _annotator(self) -> CaptionAnnotator | None:
        if not self.options.require_text:
            return None
        from conceptaudit.text.pipeline import find_pipeline, load_pipeline
        from conceptaudit.text.tagger import CaptionAnnotator

        pipeline = find_pipeline(self.options.spacy_model)
        return CaptionAnnotator(
            load_pipeline(pipeline.name), self.audit.vocabulary, any_pos=False, nested=False
        )


def _title(one: TailClass) -> str:
    n_images = len(one.images)
    return f"{one.concept}  ({n_images} image{'' if n_images == 1 else 's'})"
