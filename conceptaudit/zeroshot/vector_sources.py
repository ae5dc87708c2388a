"""Where an evaluation takes its vectors from: images that it encodes, or stored embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json, write_parquet
from conceptaudit.datasets import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.engine import StageReport
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.concept_vectors import encode_concepts
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import drop_table
from conceptaudit.zeroshot.answers import UNKNOWN_CLASS, answer_notes
from conceptaudit.zeroshot.classify import ZeroShotClassifier
from conceptaudit.zeroshot.embedded import KEY, SAMPLE_ID, EmbeddingClassifier
from conceptaudit.zeroshot.evaluation_run import added_accounts
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.label_join import embedding_drops, join_labels
from conceptaudit.zeroshot.labels import SetLabels, open_embedded, read_labels

LABELS = "labels.parquet"
"""Where the run folder keeps the classes that embeddings are judged by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model guessed for the images of a set."""

    table: pd.DataFrame  # ``class_index, guess_1 …``, a row per image in the numbers
    account: Json  # images read, used, and dropped by reason
    notes: tuple[str, ...] = ()
    # files written beside the shards' results, whose names depend on the model
    listed: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSource:
    """Images, which one model encodes."""

    stage: ZeroShotClassifier
    dataset: Dataset
    shards: tuple[Shard, ...]

    @property
    def on_gpu(self) -> bool:
        """Whether the stage computes on a GPU."""
        return self.stage.clip.device != "cpu"

    def begin(self, folder: Path) -> None:
        """Remove what an evaluation of embeddings left in a run folder."""
        remove(folder, [LABELS, _dropped_file(folder, self.stage.name).name])

    def collect(self, report: StageReport, folder: Path) -> Predictions:  # noqa: ARG002 -- as its sister
        """Read what the shards found."""
        names = [shard.name for shard in self.shards]
        tables = _tables(report, names, ".parquet")
        table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
        n_tied = sum(report.store.read(name)["n_tied"] for name in names)
        unknown = [
            detail
            for drops in _tables(report, names, ".drops.parquet")
            for detail in drops.loc[drops["reason"] == UNKNOWN_CLASS, "detail"]
        ]
        return Predictions(
            table=table,
            account=added_accounts(report.store, names),
            notes=tuple(answer_notes(n_tied, unknown)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingSource:
    """Embeddings that a model made earlier."""

    stage: EmbeddingClassifier
    dataset: Dataset  # the embeddings
    shards: tuple[Shard, ...]
    labels: SetLabels

    @property
    def on_gpu(self) -> bool:
        """Whether the stage computes on a GPU: a small product per image needs none."""
        return False

    def begin(self, folder: Path) -> None:
        """Write the labels where the shards look them up."""
        write_parquet(folder / LABELS, self.labels.table)

    def collect(self, report: StageReport, folder: Path) -> Predictions:
        """Put together what the shards found, and list the images that none of them holds."""
        names = [shard.name for shard in self.shards]
        met = join_labels(
            self.labels,
            self.stage.join,
            _tables(report, names, ".parquet"),
            [report.store.read(name) for name in names],
            [embedding_drops(self.dataset.location), *_tables(report, names, ".drops.parquet")],
        )
        listed = _dropped_file(folder, self.stage.name)
        if met.drops:
            write_parquet(listed, drop_table(met.drops))
        else:
            remove(folder, [listed.name])
        return Predictions(
            table=met.guesses,
            account=met.account,
            notes=met.notes,
            listed=(listed,) if met.drops else (),
        )


Source = PictureSource | EmbeddingSource


def _dropped_file(folder: Path, stage: str) -> Path:
    return folder / f"{stage}.dropped.parquet"


def _tables(report: StageReport, shards: Sequence[str], suffix: str) -> list[pd.DataFrame]:
    paths = [report.store.path(shard, suffix) for shard in shards]
    return [pd.read_parquet(path) for path in paths if path.exists()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Which embeddings to use, or to make and keep."""

    # A folder per model, in the models' order; none to encode the images
    read: Sequence[str | Path] = ()
    save: str | Path | None = None  # folder to keep embeddings in, a folder per model

    def places(self, evaluation_set: EvaluationSet, slugs: Sequence[str]) -> Sequence[str | Path]:
        """Name the folder of each model; none where images are encoded."""
        read = self.read
        if not read and EMBEDDING in evaluation_set.dataset.provides:
            read = [evaluation_set.location]
        if read and self.save is not None:
            raise ConfigError(
                "Embeddings are either there to be read or to be made and saved: leave out the "
                "'embeddings' parameter or 'save_embeddings'."
            )
        if read and len(read) != len(slugs):
            raise ConfigError(
                "The 'embeddings' parameter must name a folder per model, in the models' order. "
                f"Got {len(read)} for {quantity(len(slugs), 'model')} instead."
            )
        return read or self.saved(slugs)

    def saved(self, slugs: Sequence[str]) -> list[Path]:
        """Name the folder that each model's embeddings are kept in; none where they are not."""
        return [] if self.save is None else [Path(self.save) / name for name in slugs]


def _is_the_set(embedded: Dataset, labelled: Dataset) -> bool:
    if EMBEDDING not in labelled.provides:
        return False
    return Path(embedded.location).resolve() == Path(labelled.location).resolve()


def find_sources(
    evaluation_set: EvaluationSet,
    clips: Sequence[ClipModel],
    slugs: Sequence[str],
    folder: Path,
    *,
    stored: Stored,
) -> list[Source]:
    """Say for every model where its vectors come from."""
    dataset = evaluation_set.dataset
    places = stored.places(evaluation_set, slugs)
    if not places and IMAGE not in dataset.provides:
        raise ConfigError(
            f"{evaluation_set.location} holds no images. Name their embeddings (--embeddings)."
        )
    shards = () if places else dataset.shards()
    labels = read_labels(evaluation_set) if places else None
    sources: list[Source] = []
    for number, (clip, name) in enumerate(zip(clips, slugs, strict=True)):
        if labels is None:
            stage = ZeroShotClassifier(
                clip=clip,
                classes=encode_concepts(evaluation_set.concepts, clip),
                evaluation_set=evaluation_set,
                name=f"guesses-{name}",
            )
            sources.append(PictureSource(stage=stage, dataset=dataset, shards=shards))
            continue
        embedded = open_embedded(places[number], evaluation_set, labels, clip)
        sources.append(
            EmbeddingSource(
                stage=EmbeddingClassifier(
                    clip=clip,
                    classes=encode_concepts(evaluation_set.concepts, clip),
                    labels=folder / LABELS,
                    labels_digest=labels.digest,
                    join=SAMPLE_ID if _is_the_set(embedded, dataset) else KEY,
                    name=f"guesses-{name}",
                ),
                dataset=embedded,
                shards=embedded.shards(),
                labels=labels,
            )
        )
    return sources
