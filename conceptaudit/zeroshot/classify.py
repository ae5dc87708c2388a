"""The stage that classifies the images of an evaluation set; how similarities become answers."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import IMAGE, Shard
from conceptaudit.display import quantity
from conceptaudit.engine.stage import ShardResult
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode_pool import Failure
from conceptaudit.image.encode import OomSafeEncoder
from conceptaudit.records import Drop, Float32Array, Int32Array, SampleBatch
from conceptaudit.tagtable import SAMPLE, check_account, drop_table, part_account
from conceptaudit.zeroshot.class_names import some
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.model_run import encoding_settings

TOP = 5
"""Answers that are kept per image: what acc5 needs."""

UNKNOWN_CLASS = "unknown_class"
"""Why an image is in no number: its label names no class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotClassifier:
    """Classifies images among the classes of an evaluation set, which knows the right ones."""

    clip: ClipModel
    # shape (n_classes, dimension), unit vectors: the mean of the unit vectors of each class's
    # prompts, scaled to length one
    classes: Float32Array
    evaluation_set: EvaluationSet
    name: str  # folder of the results

    @property
    def parts(self) -> frozenset[str]:
        """What has to be read of a sample."""
        return self.evaluation_set.parts

    @property
    def settings(self) -> Json:
        """Everything that can change a guess."""
        return {
            **encoding_settings(self.clip),
            "stage": "zeroshot",
            "classes": hashlib.sha256(self.classes.tobytes()).hexdigest(),
            "set": self.evaluation_set.settings,
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Classify one shard: a row per image, ``sample_id, key, class_index, guess_1 … guess_5``.

        Images that cannot be decoded or whose label names no class are drops, in no number. The
        summary counts ties for the best class (``n_tied``).
        """
        drops: list[Drop] = []
        known: list[Labelled] = []
        parts: list[pd.DataFrame] = []
        n_rows = n_used = n_tied = 0

        def pictures() -> Iterator[bytes]:
            nonlocal n_rows
            for batch in batches:
                drops.extend(drop for drop in batch.drops if drop.part in (SAMPLE, IMAGE))
                n_rows += len(batch)
                images: Sequence[bytes | None] = batch.images or [None] * len(batch)
                for one, data in zip(labelled(self.evaluation_set, batch), images, strict=True):
                    if data is None:  # the reader has said why
                        continue
                    if isinstance(one, Drop):
                        drops.append(one)
                    else:
                        known.append(one)
                        yield data

        broken: list[Drop] = []  # apart from those that another thread adds as it reads
        for part in OomSafeEncoder(self.clip).files(pictures()):
            if isinstance(part, Failure):
                image = known[part.number]
                broken.append(part.drop(image.sample_id, image.key))
                continue
            n_used += len(part.numbers)
            scores = class_scores(part.vectors, self.classes)
            n_tied += count_ties(scores)
            rows = label_table([known[number] for number in part.numbers])
            parts.append(rows.assign(**guess_columns(top_classes(scores))))
        drops += broken
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"images of shard {shard.name}")
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        return ShardResult(
            summary={**account, "n_tied": n_tied},
            tables={".parquet": table, ".drops.parquet": drop_table(drops)},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What a model guessed for the images of a set, whether it saw them or their embeddings."""

    table: pd.DataFrame  # ``class_index, guess_1 …``, a row per image in the numbers
    account: Json  # images read, used, and dropped by reason
    drops: tuple[Drop, ...] = ()  # images in no number, where no shard has written them
    notes: tuple[str, ...] = ()


class Labelled(NamedTuple):
    """An image and its class."""

    sample_id: int
    key: str
    class_index: int


def labelled(evaluation_set: EvaluationSet, batch: SampleBatch) -> Iterator[Labelled | Drop]:
    """Yield the class of every sample of a batch, or why it has none."""
    labels = evaluation_set.labels(batch)
    for sample, key, label in zip(batch.sample_ids.tolist(), batch.keys, labels, strict=True):
        if isinstance(label, int):
            yield Labelled(sample, key, label)
        else:
            yield image_drop(sample, key, UNKNOWN_CLASS, repr(label))


def label_table(rows: Sequence[Labelled]) -> pd.DataFrame:
    """Lay images and their classes out: ``sample_id, key, class_index``."""
    table = pd.DataFrame(rows, columns=list(Labelled._fields))
    return table.astype({"sample_id": "int64", "key": "str", "class_index": "int32"})


def image_drop(sample: int, key: str, reason: str, detail: str = "") -> Drop:
    """Say why an image is in no number."""
    return Drop(sample_id=sample, key=key, part=IMAGE, reason=reason, detail=detail)


def class_scores(vectors: Float32Array, classes: Float32Array) -> Float32Array:
    """Compute similarities, shape (n, n_classes); classes with equal vectors get equal ones.

    Shapes: `vectors` (n, dimension), `classes` (n_classes, dimension).
    """
    scores: Float32Array = vectors @ classes.T
    # a matrix product may round equal columns differently, which would break a tie by chance
    _, first, inverse = np.unique(classes, axis=0, return_index=True, return_inverse=True)
    return scores if len(first) == len(classes) else scores[:, first[inverse.reshape(-1)]]


def top_classes(scores: Float32Array, k: int = TOP) -> Int32Array:
    """Return the classes with the k highest scores per row, the best first, ties by index.

    >>> top_classes(np.array([[0.1, 0.7, 0.7]], dtype=np.float32), 2).tolist()
    [[1, 2]]
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int32)


def guess_columns(guesses: Int32Array) -> dict[str, Int32Array]:
    """Name the columns of answers, the best first: ``guess_1, guess_2 …``."""
    return {f"guess_{k + 1}": guesses[:, k] for k in range(guesses.shape[1])}


def count_ties(scores: Float32Array) -> int:
    """Count images whose best similarity is that of several classes.

    >>> count_ties(np.array([[0.1, 0.7, 0.7], [0.9, 0.2, 0.2]], dtype=np.float32))
    1
    """
    return int(((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())


def answer_notes(n_tied: int, unknown_labels: Iterable[str]) -> Iterator[str]:
    """Say what of an evaluation's answers a reader has to know.

    `n_tied` counts images whose best similarity is that of several classes; `unknown_labels` are
    the labels that name no class, as ``repr`` writes them, one per image.
    """
    if n_tied:
        yield (
            f"For {quantity(n_tied, 'image')} several classes have the best similarity, "
            "to the last bit: the first of them by class index is the answer."
        )
    labels = Counter(unknown_labels)
    if labels:
        n = labels.total()
        shown = some(f"{label} ({times:,})" for label, times in labels.most_common())
        yield (
            f"{n:,} image{'s are' if n > 1 else ' is'} in no number, having a label that is no "
            f"class: {shown}. Are class names missing?"
        )
