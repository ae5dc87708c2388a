"""The class of every image of an evaluation set, and embeddings that are of these images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.datasets import EMBEDDING, IMAGE, Dataset, open_dataset
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.records import Drop
from conceptaudit.tagtable import SAMPLE
from conceptaudit.zeroshot.answers import UNKNOWN_CLASS
from conceptaudit.zeroshot.evaluation_set import EvaluationSet


@dataclass(frozen=True, slots=True, kw_only=True)
class SetLabels:
    """The class of every image of an evaluation set."""

    table: pd.DataFrame  # ``sample_id, key, class_index``, a row per image whose class is known
    n_rows: int  # images that were read
    drops: tuple[Drop, ...]  # images that could not be read, or whose label names no class

    @property
    def digest(self) -> str:
        """SHA-256 of the images' ids, keys and classes."""
        found = hashlib.sha256()
        for name in ("sample_id", "class_index"):
            found.update(self.table[name].to_numpy(np.int64).tobytes())
        for key in self.table["key"]:
            found.update(f"{len(key)}:{key}".encode())
        return found.hexdigest()

    @property
    def by_position(self) -> bool:
        """Whether images have no key but the place at which they were read."""
        ids = self.table["sample_id"].astype("str")
        return bool(len(ids)) and bool((self.table["key"].to_numpy() == ids.to_numpy()).all())


def read_labels(evaluation_set: EvaluationSet) -> SetLabels:
    """Read the classes of all images of a set, without the images."""
    dataset = evaluation_set.dataset
    parts: list[pd.DataFrame] = []
    drops: list[Drop] = []
    n_rows = 0
    for shard in dataset.shards():
        for batch in dataset.read(shard, evaluation_set.label_parts):
            n_rows += len(batch)
            drops += [drop for drop in batch.drops if drop.part in (SAMPLE, IMAGE)]
            labels = evaluation_set.labels(batch)
            ids = batch.sample_ids.tolist()
            known = [
                (sample, key, label)
                for sample, key, label in zip(ids, batch.keys, labels, strict=True)
                if isinstance(label, int)
            ]
            parts.append(pd.DataFrame(known, columns=["sample_id", "key", "class_index"]))
            drops += [
                image_drop(sample, key, UNKNOWN_CLASS, repr(label))
                for sample, key, label in zip(ids, batch.keys, labels, strict=True)
                if not isinstance(label, int)
            ]
    if not any(len(part) for part in parts):
        raise DataError(f"{evaluation_set.location} holds no image whose class is known.")
    table = pd.concat(parts, ignore_index=True)
    table = table.astype({"sample_id": "int64", "key": "str", "class_index": "int32"})
    return SetLabels(table=table, n_rows=n_rows, drops=tuple(drops))


def image_drop(sample: int, key: str, reason: str, detail: str = "") -> Drop:
    """Say why an image is in no number."""
    return Drop(sample_id=sample, key=key, part=IMAGE, reason=reason, detail=detail)


def open_embedded(
    location: str | Path, evaluation_set: EvaluationSet, labels: SetLabels, clip: ClipModel
) -> Dataset:
    """Open embeddings of the set's images, refusing those that another model or set has."""
    dataset = open_dataset(location)
    if EMBEDDING not in dataset.provides:
        raise ConfigError(
            f"The 'embeddings' parameter must name a folder of image embeddings. Got {location}, "
            f"whose layout is {dataset.layout!r}, instead."
        )
    check_embedded_with(dataset.location, clip)
    if labels.by_position and not _same_files(dataset, evaluation_set.dataset):
        raise ConfigError(
            f"The images of {evaluation_set.location} have no key but their place in "
            f"{evaluation_set.dataset.location}, and {location} was not made from these files as "
            "they are. Make embeddings of them with --save-embeddings, or with `conceptaudit "
            f"embed '{evaluation_set.dataset.location}'`."
        )
    return dataset


def _same_files(embedded: Dataset, labelled: Dataset) -> bool:
    """Whether embeddings were made from the files that labels are read from, in their order."""
    if _files(embedded) == _files(labelled):
        return True
    path = Path(embedded.location) / MANIFEST
    if not path.is_file():
        return False
    try:
        return _files(open_dataset(str(read_json(path).get("dataset")))) == _files(labelled)
    except (ConceptAuditError, AttributeError):
        return False


def _files(dataset: Dataset) -> list[str]:
    places = dict.fromkeys((shard.file_index, shard.files[0]) for shard in dataset.shards())
    return [
        f"{index}:{Path(file).resolve() if '://' not in file else file}" for index, file in places
    ]
