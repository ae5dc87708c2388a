"""Stored embeddings of an evaluation set: labels meet vectors by key, and no image is opened.

The labels are read once, from the evaluation set, and written into the run folder; each shard of
embeddings then looks up its own. Every image of the set is accounted for: one without an embedding
is in no number, an embedding of no image of the set is left out, and both are counted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, Json, package_versions, read_json
from conceptaudit.datasets import EMBEDDING, IMAGE, Dataset, Shard, open_dataset
from conceptaudit.display import quantity
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.image.vectors import unit_rows
from conceptaudit.reading import read_parquet
from conceptaudit.records import Drop, Float32Array, Int32Array, SampleBatch
from conceptaudit.tagtable import SAMPLE, check_account, drop_table, part_account
from conceptaudit.zeroshot.classify import (
    UNKNOWN_CLASS,
    Labelled,
    Predictions,
    answer_notes,
    class_scores,
    count_ties,
    guess_columns,
    image_drop,
    label_table,
    labelled,
    top_classes,
)
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.model_run import check_width

KEY, SAMPLE_ID = "key", "sample_id"
"""What labels and vectors can meet by."""

NOT_IN_SET = "not_in_set"
"""Why an embedding is not classified: it is of no image of the evaluation set."""

HALF_UNIT = 2.0**-11
"""Largest relative error of a number that was rounded to float16."""

NO_EMBEDDING = "no_embedding"
AMBIGUOUS_KEY = "ambiguous_key"
"""Why an image of the set is in no number: nothing, or two different things, under its key."""


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
    tables: list[pd.DataFrame] = []
    drops: list[Drop] = []
    n_rows = 0
    for shard in dataset.shards():
        for batch in dataset.read(shard, evaluation_set.label_parts):
            n_rows += len(batch)
            drops += [drop for drop in batch.drops if drop.part in (SAMPLE, IMAGE)]
            found = list(labelled(evaluation_set, batch))
            tables.append(label_table([one for one in found if isinstance(one, Labelled)]))
            drops += [one for one in found if isinstance(one, Drop)]
    if not any(map(len, tables)):
        raise DataError(f"{evaluation_set.location} holds no image whose class is known.")
    table = pd.concat(tables, ignore_index=True)
    return SetLabels(table=table, n_rows=n_rows, drops=tuple(drops))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingClassifier:
    """Classifies stored image embeddings whose key names an image of the evaluation set."""

    clip: ClipModel  # the model that made them
    classes: Float32Array
    labels: Path  # parquet file with `SetLabels.table`
    labels_digest: str
    join: str  # what images and embeddings meet by; ids are the same only within one folder
    name: str  # folder of the results
    parts: frozenset[str] = field(default=frozenset({EMBEDDING}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change a guess."""
        return {
            "stage": "zeroshot from embeddings",
            "clip": self.clip.digest,
            "classes": hashlib.sha256(self.classes.tobytes()).hexdigest(),
            "labels": [self.labels_digest, self.join],
            "versions": package_versions(),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Classify one shard of embeddings."""
        wanted = _labels_at(self.labels, self.labels_digest)
        parts: list[pd.DataFrame] = []
        drops: list[Drop] = []
        reasons: Counter[str] = Counter()
        n_rows = n_used = n_close = n_tied = 0
        for batch in batches:
            lost = [drop for drop in batch.drops if drop.part in (SAMPLE, IMAGE)]
            reasons.update(f"{drop.part}:{drop.reason}" for drop in lost)
            n_rows += len(batch) + sum(1 for drop in lost if drop.part == SAMPLE)
            faults = {drop.sample_id: drop.reason for drop in lost if drop.part == IMAGE}
            met = self._met(batch, wanted)
            unusable = np.isin(batch.sample_ids[met["row"]], list(faults))
            drops += [
                image_drop(sample, key, faults[int(batch.sample_ids[row])])
                for row, sample, key in met.loc[unusable, ["row", "image", "key"]].itertuples(
                    index=False
                )
            ]
            met = met[~unusable]
            n_here = met["row"].nunique()
            n_used += n_here
            reasons[f"{IMAGE}:{NOT_IN_SET}"] += len(batch) - len(faults) - n_here
            if batch.embeddings is None or met.empty:
                continue
            vectors = unit_rows(batch.embeddings[met["row"].to_numpy()])
            check_width(self.clip, vectors.shape[1], shard)
            scores = class_scores(vectors, self.classes)
            guesses = top_classes(scores)
            n_tied += count_ties(scores)
            n_close += self._close(vectors, guesses)
            rows = met[["image", "key", "class_index"]].rename(columns={"image": "sample_id"})
            parts.append(rows.reset_index(drop=True).assign(**guess_columns(guesses)))
        account = {
            "n_samples": n_rows,
            "n_used": n_rows - reasons.total(),
            "dropped": {reason: n for reason, n in sorted(reasons.items()) if n},
        }
        check_account(account, n_used, f"image embeddings of shard {shard.name}")
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        return ShardResult(
            summary={**account, "n_close": n_close, "n_tied": n_tied},
            tables={".parquet": table, ".drops.parquet": drop_table(drops)},
        )

    def _met(self, batch: SampleBatch, wanted: pd.DataFrame) -> pd.DataFrame:
        """Rows of a batch that are of images of the set: ``row, image, key, class_index``."""
        by = list(batch.keys) if self.join == KEY else batch.sample_ids
        rows = pd.DataFrame({"row": np.arange(len(batch)), "by": by})
        met = rows.merge(wanted.assign(by=wanted[self.join]), on="by", how="inner")
        return met.rename(columns={"sample_id": "image"})

    def _close(self, vectors: Float32Array, guesses: Int32Array) -> int:
        """Count images whose first two classes could change places by float16's rounding."""
        if guesses.shape[1] < 2:
            return 0
        apart = self.classes[guesses[:, 0]] - self.classes[guesses[:, 1]]
        gap = np.einsum("ij,ij->i", vectors, apart)
        close = gap <= HALF_UNIT * np.einsum("ij,ij->i", np.abs(vectors), np.abs(apart))
        # classes with one vector tie whatever the rounding
        return int((close & np.any(apart, axis=1)).sum())


@lru_cache(maxsize=1)
def _labels_at(path: Path, digest: str) -> pd.DataFrame:  # noqa: ARG001 -- part of the cache's key
    return pd.read_parquet(path)


def join_labels(
    labels: SetLabels,
    join: str,
    tables: Sequence[pd.DataFrame],
    summaries: Sequence[Json],
    dropped: Sequence[pd.DataFrame],
) -> Predictions:
    """Put the shards' guesses together in the set's order, and account for every image of it."""
    empty = labels.table.iloc[:0].assign(guess_1=0)
    rows = pd.concat([*tables, empty.astype({"guess_1": "int32"})], ignore_index=True)
    # a key twice among the embeddings is no fault while both are guessed alike
    rows = rows.drop_duplicates()
    shared = labels.table.loc[labels.table[join].duplicated(keep=False), "key"]
    unclear = {*rows.loc[rows["sample_id"].duplicated(keep=False), "key"], *shared}
    guesses = rows[~rows["key"].isin(unclear)].sort_values("sample_id", ignore_index=True)
    missing = labels.table[~labels.table["sample_id"].isin(guesses["sample_id"])]
    why = {
        str(key): str(reason)
        for table in dropped
        for key, reason in zip(table["key"], table["reason"], strict=True)
    }
    drops = [
        image_drop(sample, key, AMBIGUOUS_KEY if key in unclear else why.get(key, NO_EMBEDDING))
        for sample, key in zip(missing["sample_id"].tolist(), missing["key"].tolist(), strict=True)
    ]
    drops = [*labels.drops, *drops]
    account = part_account(labels.n_rows, drops, part=IMAGE)
    check_account(account, len(guesses), "the evaluation set's images")
    return Predictions(
        table=guesses,
        account=account,
        drops=tuple(drops),
        notes=tuple(_notes(summaries, drops)),
    )


def _notes(summaries: Sequence[Json], drops: Sequence[Drop]) -> Iterator[str]:
    reasons = Counter(drop.reason for drop in drops)
    unknown = [drop.detail for drop in drops if drop.reason == UNKNOWN_CLASS]
    yield from answer_notes(sum(one["n_tied"] for one in summaries), unknown)
    n_extra = sum(one["dropped"].get(f"{IMAGE}:{NOT_IN_SET}", 0) for one in summaries)
    n_close = sum(one["n_close"] for one in summaries)
    if n_extra:
        yield f"Left out, being of no image of the set: {quantity(n_extra, 'embedding')}."
    if reasons[NO_EMBEDDING]:
        yield (
            f"In no number, having no embedding: {quantity(reasons[NO_EMBEDDING], 'image')} of the "
            "set."
        )
    if reasons[AMBIGUOUS_KEY]:
        yield (
            "In no number, having a key that another image has too: "
            f"{quantity(reasons[AMBIGUOUS_KEY], 'image')} of the set."
        )
    if n_close:
        yield (
            f"For {quantity(n_close, 'image')} the two best classes are closer than the rounding "
            "of stored vectors (float16): the images may put them in the other order."
        )


def embedding_drops(location: str | Path) -> pd.DataFrame:
    """List what an embedding folder of ours says could not be embedded: ``key, reason``."""
    files = sorted(Path(location).glob("dropped/*.parquet"))
    tables = [read_parquet(file, columns=["key", "part", "reason"]) for file in files]
    none = pd.DataFrame({"key": [], "part": [], "reason": []}, dtype="str")
    table = pd.concat([none, *tables], ignore_index=True)
    return table.loc[table["part"].isin([SAMPLE, IMAGE]), ["key", "reason"]]
