"""The image stages: pictures to embeddings, embeddings to concept tags."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, digest_of, package_versions
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.exact import ThresholdSearch
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Drop, Float32Array, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table

if TYPE_CHECKING:
    from PIL import Image

ENCODE_BATCH = 64
"""Pictures per forward pass; fixed, because other batch sizes round differently."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """Embeds the pictures of a shard with an open_clip model.

    Writes one float16 unit vector per sample (zeros where the picture cannot be used, listed in
    the drops), and the samples' ids and keys beside them.
    """

    clip: ClipModel
    name: str = field(default="embeddings", init=False)
    parts: frozenset[str] = field(default=frozenset({IMAGE}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change an embedding."""
        return {
            "stage": self.name,
            "clip": self.clip.digest,
            "device": self.clip.device.split(":")[0],
            "batch": ENCODE_BATCH,
            "versions": package_versions("open_clip_torch", "torch", "pillow"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Embed one shard."""
        drops: list[Drop] = []
        ids: list[np.ndarray[tuple[int], np.dtype[np.int64]]] = []
        keys: list[str] = []
        vectors: list[Float32Array] = []
        n_used = 0
        for batch in batches:
            drops.extend(batch.drops)
            rows, pictures = self._decode(batch, drops)
            encoded = np.zeros((len(batch), self.clip.dimension), dtype=np.float32)
            for start in range(0, len(rows), ENCODE_BATCH):
                part = slice(start, start + ENCODE_BATCH)
                encoded[rows[part]] = self.clip.encode_images(pictures[part])
            n_used += len(rows)
            ids.append(batch.sample_ids)
            keys.extend(batch.keys)
            vectors.append(encoded)
        n_rows = len(keys)
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"images of shard {shard.name}")
        table = pd.DataFrame(
            {
                "sample_id": np.concatenate(ids) if ids else np.empty(0, dtype=np.int64),
                "key": pd.Series(keys, dtype="str"),
            }
        )
        stacked = (
            np.concatenate(vectors)
            if vectors
            else np.empty((0, self.clip.dimension), dtype=np.float32)
        )
        return ShardResult(
            summary=account,
            tables={".parquet": table, ".drops.parquet": drop_table(drops)},
            arrays={".npy": stacked.astype(np.float16)},
        )

    def _decode(self, batch: SampleBatch, drops: list[Drop]) -> tuple[list[int], list[Image.Image]]:
        rows: list[int] = []
        pictures: list[Image.Image] = []
        images: Sequence[bytes | None] = (
            batch.images if batch.images is not None else [None] * len(batch)
        )
        for row, data in enumerate(images):
            if data is None:
                continue
            try:
                pictures.append(decode_image(data))
                rows.append(row)
            except UndecodableImageError as error:
                drops.append(
                    Drop(
                        sample_id=int(batch.sample_ids[row]),
                        key=batch.keys[row],
                        part=IMAGE,
                        reason=error.reason,
                        detail=error.detail,
                    )
                )
        return rows, pictures


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTagger:
    """Tags image embeddings with every concept at or above its threshold.

    Parameters
    ----------
    concepts : numpy.ndarray of float32, shape (n_concepts, dimension)
        Unit vectors.
    thresholds : tuple of float, length n_concepts
        Cosine similarities.
    source : str
        Where the concept vectors come from: a model's digest or a file's name.
    backend : str
        See `ThresholdSearch`; does not change any result.
    """

    concepts: Float32Array
    thresholds: tuple[float, ...]
    source: str
    backend: str = "auto"
    name: str = field(default="image", init=False)
    parts: frozenset[str] = field(default=frozenset({EMBEDDING}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change an image tag."""
        return {
            "stage": self.name,
            "concepts": hashlib.sha256(self.concepts.tobytes()).hexdigest(),
            "thresholds": digest_of(list(self.thresholds)),
            "source": self.source,
            "versions": package_versions(),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard."""
        search = ThresholdSearch(
            self.concepts, np.array(self.thresholds, dtype=np.float64), self.backend
        )
        drops: list[Drop] = []
        found: list[Tags] = []
        n_rows = n_used = 0
        for batch in batches:
            drops.extend(batch.drops)
            unusable = [drop.sample_id for drop in batch.drops if drop.part == IMAGE]
            usable = ~np.isin(batch.sample_ids, unusable)
            n_rows += len(batch)
            n_used += int(usable.sum())
            if batch.embeddings is None:
                continue
            hits = search.find(unit_rows(batch.embeddings))
            kept = usable[hits.rows]
            rows = hits.rows[kept]
            found.append(
                Tags(
                    sample_ids=batch.sample_ids[rows],
                    keys=[batch.keys[row] for row in rows],
                    concept_ids=hits.concept_ids[kept],
                    scores=hits.scores[kept],
                )
            )
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"image embeddings of shard {shard.name}")
        return ShardResult(
            summary=account,
            tables={
                ".parquet": tag_table(_joined(found), modality="image"),
                ".drops.parquet": drop_table(drops),
            },
        )


def _joined(parts: Sequence[Tags]) -> Tags:
    empty = np.empty(0, dtype=np.int64)
    return Tags(
        sample_ids=np.concatenate([empty, *(part.sample_ids for part in parts)]),
        keys=[key for part in parts for key in part.keys],
        concept_ids=np.concatenate([empty.astype(np.int32), *(part.concept_ids for part in parts)]),
        scores=np.concatenate([empty.astype(np.float32), *(part.scores for part in parts)]),
    )
