"""Where an evaluation takes its vectors from: images that it encodes, or stored embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import RunFolder, digest_of, write_parquet
from conceptaudit.datasets import EMBEDDING, IMAGE, Dataset
from conceptaudit.display import quantity
from conceptaudit.engine import EngineChoice, StageReport
from conceptaudit.engine.array_tasks import Part
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.concept_vectors import encode_concepts
from conceptaudit.image.embed import EmbeddingFolder, embed
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.progress import Progress
from conceptaudit.store.places import check_apart, folder_of, output_path
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import drop_table
from conceptaudit.zeroshot.classify import (
    UNKNOWN_CLASS,
    Predictions,
    ZeroShotClassifier,
    answer_notes,
)
from conceptaudit.zeroshot.embedded import (
    KEY,
    SAMPLE_ID,
    EmbeddingClassifier,
    SetLabels,
    embedding_drops,
    join_labels,
    open_embedded,
    read_labels,
)
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.model_run import ModelRun, added_accounts, load_models, model_slugs

LABELS = "labels.parquet"
"""Where the run folder keeps the classes that embeddings are judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSource(ModelRun):
    """Images, which one model encodes."""

    stage: ZeroShotClassifier

    def begin(self, folder: Path) -> None:
        """Remove what an evaluation of embeddings left in a run folder."""
        remove(folder, [LABELS, dropped_file(folder, self.stage.name).name])

    def collect(self, report: StageReport) -> Predictions:
        """Read what the shards found."""
        names = [shard.name for shard in self.shards]
        tables = _tables(report, names, ".parquet")
        unknown = [
            detail
            for drops in _tables(report, names, ".drops.parquet")
            for detail in drops.loc[drops["reason"] == UNKNOWN_CLASS, "detail"]
        ]
        n_tied = sum(report.store.read(name)["n_tied"] for name in names)
        return Predictions(
            table=pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(),
            account=added_accounts(report.store, names),
            notes=tuple(answer_notes(n_tied, unknown)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSource(ModelRun):
    """Embeddings that a model made earlier, which are the dataset."""

    stage: EmbeddingClassifier
    labels: SetLabels

    @property
    def on_gpu(self) -> bool:
        """Whether the stage computes on a GPU: a small product per image needs none."""
        return False

    def begin(self, folder: Path) -> None:
        """Write the labels where the shards look them up."""
        write_parquet(folder / LABELS, self.labels.table)

    def collect(self, report: StageReport) -> Predictions:
        """Put together what the shards found, and list the images that none of them holds."""
        names = [shard.name for shard in self.shards]
        return join_labels(
            self.labels,
            self.stage.join,
            _tables(report, names, ".parquet"),
            [report.store.read(name) for name in names],
            [embedding_drops(self.dataset.location), *_tables(report, names, ".drops.parquet")],
        )


Source = PictureSource | EmbeddingSource


def dropped_file(folder: Path, stage: str) -> Path:
    """Where a run lists the images of the set that no embedding stands for."""
    return folder / f"{stage}.dropped.parquet"


def write_dropped(folder: Path, stage: str, found: Predictions) -> list[Path]:
    """List the images that are in no number where no shard does; return the files written."""
    path = dropped_file(folder, stage)
    if not found.drops:
        remove(folder, [path.name])
        return []
    write_parquet(path, drop_table(found.drops))
    return [path]


def _tables(report: StageReport, shards: Sequence[str], suffix: str) -> list[pd.DataFrame]:
    paths = [report.store.path(shard, suffix) for shard in shards]
    return [pd.read_parquet(path) for path in paths if path.exists()]


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedEvaluation:
    """An evaluation that could start."""

    evaluation_set: EvaluationSet
    clips: list[ClipModel]
    slugs: list[str]  # a folder name per model
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
        """Load the models, and refuse to write where the evaluation reads."""
        clips = load_models(models, options.device)
        prepared = cls(
            evaluation_set=evaluation_set,
            clips=clips,
            slugs=model_slugs(clips),
            folder=output_path(out),
            options=options,
        )
        prepared.embeddings()
        check_apart([prepared.folder, options.save_embeddings], prepared.inputs())
        return prepared

    def embeddings(self) -> Sequence[str | Path]:
        """Name the folder of each model's embeddings; none where images are encoded."""
        read = self.options.embeddings
        if not read and EMBEDDING in self.evaluation_set.dataset.provides:
            read = [self.evaluation_set.location]
        if read and self.options.save_embeddings is not None:
            raise ConfigError(
                "Embeddings are either there to be read or to be made and saved: leave out the "
                "'embeddings' parameter or 'save_embeddings'."
            )
        if read and len(read) != len(self.slugs):
            raise ConfigError(
                "The 'embeddings' parameter must name a folder per model, in the models' order. "
                f"Got {len(read)} for {quantity(len(self.slugs), 'model')} instead."
            )
        return read or self._saved()

    def _saved(self) -> list[Path]:
        """Name the folder that each model's embeddings are kept in; none where they are not."""
        saved = self.options.save_embeddings
        return [] if saved is None else [Path(saved) / name for name in self.slugs]

    def save_vectors(
        self, *, workers: int | EngineChoice | None, progress: Progress, part: Part | None = None
    ) -> dict[str, EmbeddingFolder]:
        """Embed the images, or a part's share of them, where embeddings are to be kept.

        Returns what was made, by the name of the model's folder.
        """
        dataset = self.evaluation_set.dataset
        return {
            place.name: embed(dataset, clip, place, workers=workers, part=part, progress=progress)
            for clip, place in zip(self.clips, self._saved(), strict=False)
        }

    def sources(self) -> list[Source]:
        """Say for every model where its vectors come from."""
        dataset = self.evaluation_set.dataset
        places = self.embeddings()
        if places:
            labels = read_labels(self.evaluation_set)
            return [
                self._stored(clip, slug, place, labels)
                for clip, slug, place in zip(self.clips, self.slugs, places, strict=True)
            ]
        if IMAGE not in dataset.provides:
            raise ConfigError(
                f"{self.evaluation_set.location} holds no images. Name their embeddings "
                "(--embeddings)."
            )
        shards = dataset.shards()
        return [
            PictureSource(
                stage=ZeroShotClassifier(
                    clip=clip,
                    classes=encode_concepts(self.evaluation_set.concepts, clip),
                    evaluation_set=self.evaluation_set,
                    name=f"guesses-{slug}",
                ),
                dataset=dataset,
                shards=shards,
            )
            for clip, slug in zip(self.clips, self.slugs, strict=True)
        ]

    def _stored(
        self, clip: ClipModel, slug: str, place: str | Path, labels: SetLabels
    ) -> EmbeddingSource:
        embedded = open_embedded(place, self.evaluation_set, labels, clip)
        stage = EmbeddingClassifier(
            clip=clip,
            classes=encode_concepts(self.evaluation_set.concepts, clip),
            labels=self.folder / LABELS,
            labels_digest=labels.digest,
            join=SAMPLE_ID if _is_the_set(embedded, self.evaluation_set.dataset) else KEY,
            name=f"guesses-{slug}",
        )
        return EmbeddingSource(
            stage=stage, dataset=embedded, shards=embedded.shards(), labels=labels
        )

    def inputs(self) -> tuple[str | Path | None, ...]:
        """Return the places that the evaluation reads."""
        models = (folder_of(clip.name) for clip in self.clips)
        return (self.evaluation_set.location, *self.options.embeddings, *models)

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


def _is_the_set(embedded: Dataset, labelled: Dataset) -> bool:
    if EMBEDDING not in labelled.provides:
        return False
    return Path(embedded.location).resolve() == Path(labelled.location).resolve()
