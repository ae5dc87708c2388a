"""The stage that classifies stored embeddings: labels meet vectors by key, no image is opened.

The labels are read once, from the evaluation set, and written into the run folder; each shard of
embeddings then looks up its own.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, package_versions
from conceptaudit.datasets import EMBEDDING, IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Drop, Float32Array, Int32Array, SampleBatch
from conceptaudit.tagtable import SAMPLE, check_account, drop_table
from conceptaudit.zeroshot.answers import class_scores, count_ties, top_classes
from conceptaudit.zeroshot.labels import image_drop

KEY, SAMPLE_ID = "key", "sample_id"
"""What labels and vectors can meet by."""

NOT_IN_SET = "not_in_set"
"""Why an embedding is not classified: it is of no image of the evaluation set."""

HALF_UNIT = 2.0**-11
"""Largest relative error of a number that was rounded to float16."""


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
            self._check(vectors, shard)
            scores = class_scores(vectors, self.classes)
            guesses = top_classes(scores)
            n_tied += count_ties(scores)
            n_close += self._close(vectors, guesses)
            parts.append(_guess_table(met, guesses))
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

    def _check(self, vectors: Float32Array, shard: Shard) -> None:
        if vectors.shape[1] != self.classes.shape[1]:
            raise DataError(
                f"The embeddings in {shard.files[0]} have {vectors.shape[1]} numbers, those of "
                f"{self.clip.name!r} {self.classes.shape[1]}: another model made them."
            )

    def _close(self, vectors: Float32Array, guesses: Int32Array) -> int:
        """Count images whose first two classes could change places by float16's rounding."""
        if guesses.shape[1] < 2:
            return 0
        apart = self.classes[guesses[:, 0]] - self.classes[guesses[:, 1]]
        gap = np.einsum("ij,ij->i", vectors, apart)
        close = gap <= HALF_UNIT * np.einsum("ij,ij->i", np.abs(vectors), np.abs(apart))
        # classes with one vector tie whatever the rounding
        return int((close & np.any(apart, axis=1)).sum())


def _guess_table(met: pd.DataFrame, guesses: Int32Array) -> pd.DataFrame:
    columns = {f"guess_{k + 1}": guesses[:, k] for k in range(guesses.shape[1])}
    rows = met[["image", "key", "class_index"]].rename(columns={"image": "sample_id"})
    return rows.reset_index(drop=True).assign(**columns)


@lru_cache(maxsize=1)
def _labels_at(path: Path, digest: str) -> pd.DataFrame:  # noqa: ARG001 -- part of the cache's key
    return pd.read_parquet(path)
