"""Where candidates come from: open a pool, decide what ranks its images, and search it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import CAPTION, EMBEDDING, EXTRA, IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, StageReport, open_engine, run_stage
from conceptaudit.engine.array_tasks import Part
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.clip import find_clip
from conceptaudit.longtail.collect import CollectShard, gather
from conceptaudit.longtail.embedding import EmbeddingSpace, find_space
from conceptaudit.longtail.examples import Examples, rank_vectors, read_examples
from conceptaudit.longtail.index_candidates import Proposals, propose
from conceptaudit.longtail.pictures import PictureSet, join_pictures, open_pictures
from conceptaudit.longtail.pool_counts import PoolCounts
from conceptaudit.longtail.source import AuditSource
from conceptaudit.options.longtail import EXAMPLE_RANK, LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
    from conceptaudit.image.clip import ClipModel
    from conceptaudit.text.tagger import TextTagger

NO_PICTURES = (
    "The pool holds image vectors and no image files: the set is a list of keys (manifest.csv), "
    "checked for duplicates by vectors only, without image files, hashes, sizes or a contact "
    "sheet. Name the dataset that was embedded with --pictures to get them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Everything that candidates are taken from."""

    dataset: Dataset  # images or embeddings
    shards: tuple[Shard, ...]  # all of it
    space: EmbeddingSpace  # how images and concepts are compared
    # length n_selected: positions of the selected concepts in the audit's vocabulary
    ids: tuple[int, ...]
    ranked_by: Float32Array  # shape (n_selected, dimension): unit vectors that images are ranked by
    options: LongTailOptions
    examples: Examples | None = None  # given where images are ranked by them
    # given where the pool has vectors and the images lie elsewhere
    pictures: PictureSet | None = None
    proposals: Proposals | None = None  # given where an index proposes the images to look at
    # given where the pool has captions: they must name the concept, or are compared with it
    tagger: TextTagger | None = None

    @property
    def identity(self) -> Json:
        """Everything that the candidates depend on besides the options."""
        shards = [[shard.name, shard.fingerprint] for shard in self.shards]
        parts = {
            "examples": self.examples and self.examples.digest,
            "pictures": self.pictures and self.pictures.identity,
            "index": self.proposals and self.proposals.identity,
        }
        given = {name: digest for name, digest in parts.items() if digest}
        return {"pool": digest_of([self.dataset.settings, shards]), **given}

    @property
    def told(self) -> Json:
        """What the set's manifest says of where its images come from."""
        facts = {
            "pool_location": self.dataset.location,
            "pool_reading": {"layout": self.dataset.layout, **self.dataset.settings},
            "clip_name": self.space.name,
            "rank": self.options.rank,
        }
        if self.pictures is not None:
            facts["pictures_location"] = self.pictures.dataset.location
        if self.proposals is not None:
            facts["index"] = self.proposals.told
        return facts

    @property
    def picture_set(self) -> PictureSet | None:
        """Where the images are; None where there are none."""
        if IMAGE in self.stage.parts:
            return PictureSet(dataset=self.dataset, shards=self.shards)
        return self.pictures

    @property
    def stage(self) -> CollectShard:
        """What is done with every shard."""
        return CollectShard(
            concepts=self.ranked_by,
            identity=self.space.identity,
            ids=self.ids,
            parts=frozenset({self.space.part, CAPTION}) & self.dataset.provides | {EXTRA},
            options=self.options,
            clip=self.space.clip,
            tagger=self.tagger if self.options.require_text else None,
            examples=self.examples.contents if self.examples else frozenset(),
            wanted=self.proposals.sample_ids if self.proposals else None,
        )

    @property
    def looked_at(self) -> tuple[Shard, ...]:
        """The shards that candidates may be in: all, or those that an index proposes."""
        return self.proposals.shards(self.shards) if self.proposals else self.shards

    def look(
        self,
        folder: Path,
        *,
        workers: int | EngineChoice | None,
        progress: Progress,
        part: Part | None = None,
    ) -> StageReport:
        """Look at every shard, or at a part's share of them, each on its own.

        Finished shards stay in `folder`: a run that was killed goes on where it was.
        """
        clip = self.space.clip
        on_gpu = clip is not None and clip.device != "cpu"
        shards = self.looked_at if part is None else part.share(self.looked_at)
        return run_stage(
            self.stage,
            self.dataset,
            shards,
            folder=folder,
            engine=open_engine(workers, n_items=len(shards), on_gpu=on_gpu),
            progress=progress,
            skip_unreadable=self.options.skip_unreadable,
            tidy=part is None,
        )

    def collect(
        self, folder: Path, *, workers: int | EngineChoice | None, progress: Progress
    ) -> Collected:
        """Find the candidates; finished shards are kept in `folder`."""
        report = self.look(folder, workers=workers, progress=progress)
        table, vectors, counts = gather(self.stage, self.dataset, self.looked_at, report)
        if self.proposals is not None:
            self.proposals.count(counts)
        if counts.n_compared == 0:
            reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(counts.dropped.items()))
            raise DataError(
                f"The pool {self.dataset.location} holds no image that can be used: "
                f"{quantity(counts.n_samples, 'sample')} read{f' ({reasons})' if reasons else ''}."
            )
        removed = counts.removed()
        if self.pictures is not None:
            table, lost = join_pictures(
                table, self.pictures, self.options, examples=self.stage.examples, progress=progress
            )
            removed = pd.concat([removed, lost[removed.columns]], ignore_index=True)
        notes = [*counts.notes(self.options), *self._notes()]
        return Collected(table=table, vectors=vectors, counts=counts, removed=removed, notes=notes)

    def _notes(self) -> list[str]:
        notes = list(self.examples.notes) if self.examples else []
        if self.examples is not None:
            n = sum(len(files) for files in self.examples.files.values())
            what = (
                "their mean vector"
                if self.options.rank == EXAMPLE_RANK
                else ("the mean of the prompts' vector and theirs, both of length one")
            )
            notes.append(
                f"Images were ranked by {quantity(n, 'example image')}: by {what}. Runners-up and "
                "margins are by prompts, so that all concepts are on one scale."
            )
        if self.proposals is not None:
            notes.append(self.proposals.note)
        if self.picture_set is None:
            notes.append(NO_PICTURES)
        return notes


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a pool has to offer."""

    table: pd.DataFrame  # of candidates, see `conceptaudit.longtail.candidates`
    vectors: Float32Array  # shape (n_images, dimension): the table's column ``vector`` points here
    counts: PoolCounts
    removed: pd.DataFrame  # rows of ``removed.csv`` for images that cannot be used
    notes: list[str]


# Rows per shard of pools that can be cut.
PICTURE_ROWS, VECTOR_ROWS = 1_024, 100_000


def open_pool(location: str | Path, layout: str) -> Dataset:
    """Open a pool, cut so that a stopped run loses minutes: images take longer than vectors."""
    pool = open_dataset(location, layout=layout, shard_rows=VECTOR_ROWS)
    if IMAGE not in pool.provides:
        return pool
    return open_dataset(location, layout=layout, shard_rows=PICTURE_ROWS)


def make_pool(
    dataset: Dataset,
    audit: AuditSource,
    concepts: tuple[str, ...],
    options: LongTailOptions,
    clip: ClipModel | None = None,
) -> Pool:
    """Decide how candidates of the selected concepts are found in a dataset."""
    positions = {name: i for i, name in enumerate(audit.vocabulary.names)}
    ids = [positions[name] for name in concepts]
    space = find_space(audit, dataset, options, clip)
    shards = dataset.shards()
    ranked_by = np.ascontiguousarray(space.concepts[ids])
    examples = None
    if options.examples is not None:
        examples = read_examples(options.examples, concepts, audit.vocabulary.names)
        model = clip or space.clip or _example_model(audit, options)
        known = space.identity and not space.identity.startswith("file:")
        if known and model.digest != space.identity:
            raise ArtifactMismatchError(
                f"The weights of {model.name} are not those that made the concepts' vectors, so "
                "examples embedded with it mean nothing among them. Name the right model with "
                "--clip."
            )
        ranked_by = rank_vectors(ranked_by, examples, model, options.rank)
    proposals = None
    if options.index is not None:
        proposals = propose(options.index, dataset, shards, ranked_by, options.n_candidates)
    return Pool(
        dataset=dataset,
        shards=shards,
        space=space,
        ids=tuple(ids),
        ranked_by=ranked_by,
        options=options,
        examples=examples,
        pictures=_pictures(dataset, space, options),
        proposals=proposals,
        tagger=_tagger(dataset, audit, options),
    )


def _pictures(
    dataset: Dataset, space: EmbeddingSpace, options: LongTailOptions
) -> PictureSet | None:
    if options.pictures is None:
        return None
    if space.part != EMBEDDING:
        raise ConfigError(
            f"--pictures is for a pool of embeddings; {dataset.location} ({dataset.layout}) holds "
            "its images itself. Leave it out."
        )
    return open_pictures(str(options.pictures))


def _example_model(audit: AuditSource, options: LongTailOptions) -> ClipModel:
    name = options.clip or audit.clip
    if name is None:
        raise ConfigError(
            "Examples must be embedded with the model that made the pool's embeddings. Name it "
            "with --clip, for instance ViT-B-32/laion2b_s34b_b79k."
        )
    return find_clip(name, device=options.device)


def _tagger(dataset: Dataset, audit: AuditSource, options: LongTailOptions) -> TextTagger | None:
    if CAPTION not in dataset.provides:
        if options.require_text:
            raise ConfigError(
                f"--require-text needs captions, and the pool {dataset.location} has none. "
                "Leave it out, or name a pool with captions."
            )
        return None
    from conceptaudit.text.pipeline import find_pipeline
    from conceptaudit.text.tagger import TextTagger

    pipeline = find_pipeline(options.spacy_model)
    return TextTagger(vocabulary=audit.vocabulary, pipeline=pipeline, evidence=0)
