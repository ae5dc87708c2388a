"""Where candidates come from: a pool, what ranks its images, and where their files are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.datasets.base import CAPTION, EXTRA, IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, StageReport, open_engine, run_stage
from conceptaudit.engine.array_tasks import Part
from conceptaudit.errors import DataError
from conceptaudit.longtail.collect import CollectShard
from conceptaudit.longtail.embedding import EmbeddingSpace
from conceptaudit.longtail.examples import Examples
from conceptaudit.longtail.gather import Collected, gather
from conceptaudit.longtail.index_candidates import Proposals
from conceptaudit.longtail.pictures import PictureSet, join_pictures
from conceptaudit.longtail.safety import safety_notes
from conceptaudit.options.longtail import EXAMPLE_RANK, LongTailOptions
from conceptaudit.progress import Progress
from conceptaudit.records import Float32Array

if TYPE_CHECKING:
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
        """What the set's manifest says of where its images come from, besides the dataset."""
        pictures = self.pictures and {"pictures_location": self.pictures.dataset.location}
        proposed = self.proposals and {"index": self.proposals.told}
        return {"rank": self.options.rank, **(pictures or {}), **(proposed or {})}

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
        collected = gather(self.stage, self.dataset, self.looked_at, report)
        account = collected.account
        if self.proposals is not None:
            self.proposals.count(account)
        if account.n_compared == 0:
            reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(account.dropped.items()))
            raise DataError(
                f"The pool {self.dataset.location} holds no image that can be used: "
                f"{quantity(account.n_samples, 'sample')} read{f' ({reasons})' if reasons else ''}."
            )
        collected.notes.extend([*account.notes(), *safety_notes(account, self.options)])
        collected.notes.extend(self._notes())
        if self.pictures is not None:
            joined = join_pictures(
                collected.candidates,
                self.pictures,
                self.options,
                examples=self.stage.examples,
                progress=progress,
            )
            collected.places.update(joined.places)
            account.removals.extend(joined.removals)
        return collected

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
