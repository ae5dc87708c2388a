"""What an evaluation or a retrieval decides before it touches its folder: models, vectors, run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import RunFolder, digest_of
from conceptaudit.datasets import CAPTION, EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.engine import EngineChoice, StageReport
from conceptaudit.engine.array_tasks import Part
from conceptaudit.engine.runner import StageRunner
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embed import EmbeddingFolder, check_embedded_with, embed
from conceptaudit.options.zeroshot import EvaluationOptions, RetrievalOptions
from conceptaudit.progress import Progress
from conceptaudit.store.places import check_apart, folder_of, output_path
from conceptaudit.text.pipeline import find_pipeline
from conceptaudit.zeroshot.evaluation_run import load_models, model_slugs
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.pairs import PairEncoder
from conceptaudit.zeroshot.vector_sources import Source, Stored, find_sources


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEvaluation:
    """An evaluation that could start."""

    evaluation_set: EvaluationSet
    clips: list[ClipModel]
    slugs: list[str]  # A folder name per model
    folder: Path  # the run folder
    options: EvaluationOptions

    @classmethod
    def of(
        cls,
        evaluation_set: EvaluationSet,
        models: Sequence[str | ClipModel],
        out: str | Path,
        options: EvaluationOptions,
    ) -> PreparedEvaluation:
        """Load the models."""
        clips = load_models(models, options.device)
        slugs = model_slugs(clips)
        prepared = cls(
            evaluation_set=evaluation_set,
            clips=clips,
            slugs=slugs,
            folder=output_path(out),
            options=options,
        )
        prepared.stored.places(evaluation_set, slugs)
        return prepared

    @property
    def stored(self) -> Stored:
        """Which embeddings to use, or to make and keep."""
        return Stored(read=self.options.embeddings, save=self.options.save_embeddings)

    def save_vectors(
        self,
        *,
        workers: int | EngineChoice | None,
        progress: Progress,
        part: Part | None = None,
    ) -> dict[str, EmbeddingFolder]:
        """Embed the images, or a part's share of them, where embeddings are to be kept."""
        dataset = self.evaluation_set.dataset
        return {
            place.name: embed(dataset, clip, place, workers=workers, part=part, progress=progress)
            for clip, place in zip(self.clips, self.stored.saved(self.slugs), strict=False)
        }

    def sources(self) -> list[Source]:
        """Say for every model where its vectors come from."""
        return find_sources(
            self.evaluation_set, self.clips, self.slugs, self.folder, stored=self.stored
        )

    def inputs(self) -> tuple[str | Path | None, ...]:
        """Return the places that the evaluation reads."""
        models = (folder_of(clip.name) for clip in self.clips)
        return (self.evaluation_set.location, *self.options.embeddings, *models)

    def check_apart(self) -> None:
        """Refuse to write where the evaluation reads."""
        check_apart([self.folder, self.options.save_embeddings], self.inputs())

    def run(self, sources: Sequence[Source]) -> RunFolder:
        """Name the run's folder; its digest is of everything that the results depend on."""
        identity = digest_of(
            {
                "stages": [source.stage.settings for source in sources],
                "names": self.slugs,
                "set": self.evaluation_set.name,
                "pretraining": self.options.pretraining,
                "shards": [[[one.name, one.fingerprint] for one in s.shards] for s in sources],
                "level": self.options.level,
            }
        )
        return RunFolder.at(
            self.folder,
            kind="evaluation",
            digest=identity,
            inputs=(*self.inputs(), self.options.save_embeddings),
            shards=sorted({shard.name for source in sources for shard in source.shards}),
            about={"dataset": self.evaluation_set.location},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedRetrieval:
    """A retrieval that could start."""

    dataset: Dataset
    shards: tuple[Shard, ...]  # all of the dataset's
    stages: tuple[PairEncoder, ...]  # one per model
    identity: str  # digest of everything that the results depend on

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        models: Sequence[str | ClipModel],
        options: RetrievalOptions,
    ) -> PreparedRetrieval:
        """Check the dataset, load the models, identify the run."""
        embedded = EMBEDDING in dataset.provides
        if CAPTION not in dataset.provides or not (embedded or IMAGE in dataset.provides):
            raise ConfigError(
                f"Retrieval needs images or embeddings with captions; {dataset.location} offers "
                f"{', '.join(sorted(dataset.provides)) or 'nothing'}."
            )
        clips = load_models(models, options.device)
        slugs = model_slugs(clips)
        for clip in clips if embedded else ():
            check_embedded_with(dataset.location, clip)
        shards = dataset.shards()
        stages = tuple(
            PairEncoder(
                clip=clip,
                name=f"pairs-{slug}",
                caption_per_line=dataset.layout == "webdataset",
                embedded=embedded,
            )
            for clip, slug in zip(clips, slugs, strict=True)
        )
        concepts = options.concepts
        pipeline = find_pipeline(options.spacy_model) if concepts is not None else None
        identity = digest_of(
            {
                "stages": [stage.settings for stage in stages],
                "names": [options.name, slugs, options.pretraining],
                "concepts": [concepts.digest, pipeline.digest] if concepts and pipeline else None,
                "recall_at": list(options.recall_at),
                "reading": dataset.settings,
                "shards": [[shard.name, shard.fingerprint] for shard in shards],
            }
        )
        return cls(dataset=dataset, shards=shards, stages=stages, identity=identity)

    def folder(self, out: str | Path) -> RunFolder:
        """Name the run's folder."""
        return RunFolder.at(
            out,
            kind="retrieval",
            digest=self.identity,
            inputs=(self.dataset.location, *(folder_of(one.clip.name) for one in self.stages)),
            shards=[shard.name for shard in self.shards],
            about={"dataset": self.dataset.location},
        )

    def run(self, runner: StageRunner, stage: PairEncoder) -> StageReport:
        """Encode the pairs with one model."""
        on_gpu = stage.clip.device != "cpu"
        return runner.run(stage, self.dataset, runner.share(self.shards), on_gpu=on_gpu)
