"""What a listing decides before it counts: which data, which rule, which run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import Json, digest_of
from conceptaudit.datasets import Dataset, Shard, open_dataset
from conceptaudit.engine import StageReport
from conceptaudit.engine.parts import Part
from conceptaudit.engine.runner import StageRunner
from conceptaudit.errors import DataError
from conceptaudit.noun_vocabulary.stage import NounLister
from conceptaudit.options.vocab import VocabOptions
from conceptaudit.progress import Progress
from conceptaudit.text.pipeline import find_pipeline


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedListing:
    """A listing that could start."""

    dataset: Dataset
    shards: tuple[Shard, ...]
    stage: NounLister
    options: VocabOptions
    identity: str  # digest of everything that the shards' counts depend on
    wanted: Json  # everything that the finished listing depends on

    @classmethod
    def of(cls, dataset: str | Path, options: VocabOptions) -> PreparedListing:
        """Open the data and the pipeline."""
        opened = open_dataset(
            dataset,
            layout=options.layout,
            caption_column=options.caption_column,
            key_column=options.key_column,
            url_column=options.url_column,
            language_column=options.language_column,
            languages=options.languages,
            unit=options.unit,
            shard_rows=options.shard_rows,
        )
        stage = NounLister(
            pipeline=find_pipeline(options.spacy_model),
            rule=options.rule,
            captions_per_image=options.captions_per_image,
            unit=options.unit,
        )
        if not stage.parts <= opened.provides:
            raise DataError(f"{opened.location} holds no captions, so there is nothing to list.")
        shards = opened.shards()
        read_from = {
            "reading": opened.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
        }
        wanted = {
            "stage": stage.settings,
            **read_from,
            "min_count": options.min_count,
            "min_images": options.min_images,
        }
        identity = digest_of([stage.settings, read_from])
        return cls(
            dataset=opened,
            shards=shards,
            stage=stage,
            options=options,
            identity=identity,
            wanted=wanted,
        )

    def run(self, parts: Path, progress: Progress, part: Part | None = None) -> StageReport:
        """List the nouns of every shard, or of a part's share."""
        runner = StageRunner(
            folder=parts,
            workers=self.options.engine_choice,
            progress=progress,
            part=part,
            skip_unreadable=self.options.skip_unreadable,
        )
        return runner.run(self.stage, self.dataset, runner.share(self.shards))
