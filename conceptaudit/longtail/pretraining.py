"""What a model was trained on, as far as a test image can be compared with it.

Whatever a user has of the pretraining set will do: its images, embeddings of them, an index over
those, or only a table of addresses and digests.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from conceptaudit.artifacts import MANIFEST, Json, digest_of, read_json
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset
from conceptaudit.datasets.identities import identity_kinds
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.image.index.source import VectorSource, open_source
from conceptaudit.image.index.store import KIND as INDEX_KIND
from conceptaudit.image.index.store import VectorIndex, open_index
from conceptaudit.store.files import exists

AUDIT_KIND = "audit"
# How the origin of concept vectors begins that the user brought; no model is known then.
FILE = "file:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretraining:
    """One source of pretraining data, opened."""

    location: str  # what the user named
    vectors: VectorSource | None = None  # embeddings, streamed
    index: VectorIndex | None = None  # an index over embeddings
    pictures: Dataset | None = None  # has images
    table: Dataset | None = None  # has `kinds` of identity
    kinds: tuple[str, ...] = ()  # see `conceptaudit.datasets.identities`

    @property
    def compared(self) -> tuple[str, ...]:
        """What test images are compared by."""
        by = [EMBEDDING] if self.vectors is not None or self.index is not None else []
        return (*by, *([IMAGE] if self.pictures is not None else []), *self.kinds)

    @property
    def identity(self) -> Json:
        """Everything that a comparison depends on."""
        index = None if self.index is None else self.index.manifest["digest"]
        read = [
            [dataset.settings, [[shard.name, shard.fingerprint] for shard in dataset.shards()]]
            for dataset in (self.pictures, self.table)
            if dataset is not None
        ]
        vectors = None if self.vectors is None else self.vectors.fingerprint
        return [self.location, digest_of([vectors, index, read])]


def open_pretraining(location: str | Path, model: str) -> Pretraining:
    """Open pretraining data that a test set must not overlap with."""
    kind, manifest = _described(Path(location))
    if kind == INDEX_KIND:
        index = open_index(location)
        _check_model(str(location), index.model_digest, manifest.get("clip"), model)
        return Pretraining(location=str(location), index=index)
    if kind == AUDIT_KIND:
        settings = manifest.get("settings")
        stages = settings if isinstance(settings, list) else []
        if any(_stage(stage) == "embeddings" for stage in stages):
            return _with_vectors(str(location), open_source(location), model)
        location = _audited(str(location), manifest)
    dataset = open_dataset(location)
    if EMBEDDING in dataset.provides:
        return _with_vectors(str(location), open_source(location), model)
    kinds = identity_kinds(dataset)
    if IMAGE not in dataset.provides and not kinds:
        raise ConfigError(
            f"{location} ({dataset.layout}) has neither images, embeddings, URLs nor digests (md5, "
            "sha256, phash) to find leaks with. Name the images or the metadata table that the "
            "model was trained on, or a folder of 'conceptaudit embed'."
        )
    return Pretraining(
        location=str(location),
        pictures=dataset if IMAGE in dataset.provides else None,
        table=dataset if kinds else None,
        kinds=kinds,
    )


def _with_vectors(location: str, source: VectorSource, model: str) -> Pretraining:
    _check_model(location, source.model, source.clip, model)
    return Pretraining(location=location, vectors=source)


def _check_model(location: str, theirs: str | None, clip: object, ours: str) -> None:
    if theirs is None or not ours or ours.startswith(FILE) or theirs == ours:
        return
    raise ArtifactMismatchError(
        f"The embeddings in {location} come from another model{f' ({clip})' if clip else ''} than "
        "the one that finds the images here: similarities between them mean nothing. Embed the "
        "pretraining images with that model, name theirs with --clip, or give --against the images "
        "themselves."
    )


def _described(folder: Path) -> tuple[str, dict[str, Json]]:
    run = folder.parent if folder.name == "embeddings" else folder
    if not (run / MANIFEST).is_file():
        return "", {}
    manifest = read_json(run / MANIFEST)
    if not isinstance(manifest, dict):
        return "", {}
    return str(manifest.get("kind") or ""), manifest


def _stage(settings: Json) -> object:
    return settings.get("stage") if isinstance(settings, dict) else None


def _audited(run: str, manifest: dict[str, Json]) -> str:
    """Name the dataset of an audit that stored no embeddings."""
    dataset = str(manifest.get("dataset") or "")
    if not dataset or ("://" not in dataset and not exists(Path(dataset))):
        raise DataError(
            f"The audit in {run} stored no embeddings, and the data that it read "
            f"({dataset or 'not named'}) are not there. Name where they are now with --against."
        )
    return dataset
