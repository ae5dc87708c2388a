"""The stage that classifies the images of an evaluation set, shard by shard."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets.base import IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode_pool import Failure
from conceptaudit.image.encode import OomSafeEncoder
from conceptaudit.records import Drop, Float32Array, SampleBatch
from conceptaudit.tagtable import SAMPLE, check_account, drop_table, part_account
from conceptaudit.zeroshot.answers import UNKNOWN_CLASS, class_scores, count_ties, top_classes
from conceptaudit.zeroshot.evaluation_set import EvaluationSet


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroShotClassifier:
    """Classifies images among the classes of an evaluation set."""

    clip: ClipModel
    # shape (n_classes, dimension): unit vectors: the mean of the unit vectors of each class's
    # prompts, scaled to length one
    classes: Float32Array
    evaluation_set: EvaluationSet  # knows the class of each image
    name: str  # folder of the results

    @property
    def parts(self) -> frozenset[str]:
        """What has to be read of a sample."""
        return self.evaluation_set.parts

    @property
    def settings(self) -> Json:
        """Everything that can change a guess."""
        return {
            "stage": "zeroshot",
            "clip": self.clip.digest,
            "classes": hashlib.sha256(self.classes.tobytes()).hexdigest(),
            "set": self.evaluation_set.settings,
            "device": self.clip.device.split(":")[0],
            "batch": self.clip.batch,
            "precision": self.clip.precision,
            "versions": package_versions("open_clip_torch", "torch", "pillow"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Classify one shard."""
        drops: list[Drop] = []
        known: list[_Labelled] = []
        parts: list[pd.DataFrame] = []
        n_rows = n_used = n_tied = 0

        def pictures() -> Iterator[bytes]:
            nonlocal n_rows
            for batch in batches:
                drops.extend(drop for drop in batch.drops if drop.part in (SAMPLE, IMAGE))
                n_rows += len(batch)
                yield from self._labelled(batch, known, drops)

        broken: list[Drop] = []  # apart from those that another thread adds as it reads
        for part in OomSafeEncoder(self.clip).files(pictures()):
            if isinstance(part, Failure):
                broken.append(known[part.number].drop(part.reason, part.detail))
                continue
            rows = [known[number] for number in part.numbers]
            n_used += len(rows)
            scores = class_scores(part.vectors, self.classes)
            n_tied += count_ties(scores)
            parts.append(_guessed(rows, scores))
        drops += broken
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"images of shard {shard.name}")
        table = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        return ShardResult(
            summary={**account, "n_tied": n_tied},
            tables={".parquet": table, ".drops.parquet": drop_table(drops)},
        )

    def _labelled(
        self, batch: SampleBatch, known: list[_Labelled], drops: list[Drop]
    ) -> Iterator[bytes]:
        """Yield the images whose class is known, noting each in `known`."""
        images: Sequence[bytes | None] = batch.images or [None] * len(batch)
        labels = self.evaluation_set.labels(batch)
        ids = batch.sample_ids.tolist()
        for sample, key, label, data in zip(ids, batch.keys, labels, images, strict=True):
            if data is None:  # the reader has said why
                continue
            if isinstance(label, int):
                known.append(_Labelled(sample_id=sample, key=key, class_index=label))
                yield data
            else:
                one = _Labelled(sample_id=sample, key=key, class_index=-1)
                drops.append(one.drop(UNKNOWN_CLASS, repr(label)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Labelled:
    """An image and its class."""

    sample_id: int
    key: str
    class_index: int

    def drop(self, reason: str, detail: str) -> Drop:
        """Say why it is in no number."""
        return Drop(
            sample_id=self.sample_id, key=self.key, part=IMAGE, reason=reason, detail=detail
        )


def _guessed(rows: Sequence[_Labelled], scores: Float32Array) -> pd.DataFrame:
    guesses = top_classes(scores)
    columns = {f"guess_{k + 1}": guesses[:, k] for k in range(guesses.shape[1])}
    return pd.DataFrame(
        {
            "sample_id": np.array([row.sample_id for row in rows], dtype=np.int64),
            "key": pd.Series([row.key for row in rows], dtype="str"),
            "class_index": np.array([row.class_index for row in rows], dtype=np.int32),
            **columns,
        }
    )
