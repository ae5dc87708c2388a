"""The image stages: images to embeddings, embeddings to concept tags."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, digest_of, file_digest, package_versions
from conceptaudit.datasets.base import DEFAULT_BATCH_ROWS, EMBEDDING, IMAGE, Shard
from conceptaudit.display import quantity
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode_pool import prefetch
from conceptaudit.image.encode import encode_shard
from conceptaudit.image.exact import ThresholdSearch
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Drop, Float32Array, SampleBatch, Tags
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """Embeds the images of a shard with an open_clip model.

    Writes one float16 unit vector per sample (zeros where the image cannot be used, listed in
    the drops), and the samples' ids, keys and image digests beside them. An image that several
    samples of the shard share, as five captions do in COCO, is embedded once.
    """

    clip: ClipModel
    # threads that decode, at least 1; None for as many as torch computes with in this process.
    # Changes no result
    threads: int | None = None
    name: str = field(default="embeddings", init=False)
    parts: frozenset[str] = field(default=frozenset({IMAGE}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change an embedding."""
        return {"stage": self.name, **self.clip.settings}

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Embed one shard."""
        encoded = encode_shard(batches, self.clip, threads=self.threads)
        account = part_account(len(encoded.keys), encoded.drops, part=IMAGE)
        check_account(account, encoded.n_used, f"images of shard {shard.name}")
        table = pd.DataFrame(
            {
                "sample_id": encoded.sample_ids,
                "key": pd.Series(encoded.keys, dtype="str"),
                "image_digest": pd.Series(encoded.digests, dtype="str"),
                "image_look": pd.Series(encoded.thumbnails, dtype="object"),
            }
        )
        return ShardResult(
            summary=account,
            tables={".parquet": table, ".drops.parquet": drop_table(encoded.drops)},
            arrays={".npy": encoded.vectors},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTagger:
    """Tags image embeddings with every concept at or above its threshold."""

    concepts: Float32Array  # shape (n_concepts, dimension): unit vectors
    thresholds: tuple[float, ...]  # cosine similarities
    source: str  # where the concept vectors come from: a model's digest or a file's name
    # see `ThresholdSearch`; they do not change any result
    backend: str = "auto"
    device: str = "auto"
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
            self.concepts,
            np.array(self.thresholds, dtype=np.float64),
            self.backend,
            device=self.device,
        )
        drops: list[Drop] = []
        found: list[Tags] = []
        n_rows = n_used = 0
        for batch, vectors in prefetch(map(_with_unit_rows, batches)):
            drops.extend(batch.drops)
            unusable = [drop.sample_id for drop in batch.drops if drop.part == IMAGE]
            usable = ~np.isin(batch.sample_ids, unusable)
            n_rows += len(batch)
            n_used += int(usable.sum())
            if vectors is None:
                continue
            hits = search.find(vectors)
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
                ".parquet": tag_table(joined_tags(found), modality="image"),
                ".drops.parquet": drop_table(drops),
            },
        )


def _with_unit_rows(batch: SampleBatch) -> tuple[SampleBatch, Float32Array | None]:
    return batch, None if batch.embeddings is None else unit_rows(batch.embeddings)


def joined_tags(parts: Sequence[Tags]) -> Tags:
    """Put the tags of consecutive batches together."""
    empty = np.empty(0, dtype=np.int64)
    return Tags(
        sample_ids=np.concatenate([empty, *(part.sample_ids for part in parts)]),
        keys=[key for part in parts for key in part.keys],
        concept_ids=np.concatenate([empty.astype(np.int32), *(part.concept_ids for part in parts)]),
        scores=np.concatenate([empty.astype(np.float32), *(part.scores for part in parts)]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEmbeddings:
    """The results of an `ImageEncoder` as a dataset with embeddings."""

    folder: Path  # ``RUN/embeddings``
    source: tuple[Shard, ...]  # the shards that were embedded; ours carry their names
    layout: str = "stored embeddings"
    provides: frozenset[str] = frozenset({EMBEDDING})
    notes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def settings(self) -> dict[str, str]:
        """The layout alone: contents are part of each shard's fingerprint."""
        return {"layout": self.layout}

    def shards(self) -> tuple[Shard, ...]:
        """Return the embedded shards that exist, identified by their contents."""
        return tuple(
            replace(
                shard,
                files=(str(self.folder / f"{shard.name}.npy"),),
                fingerprint=file_digest(self.folder / f"{shard.name}.json"),
            )
            for shard in self.source
            if (self.folder / f"{shard.name}.json").exists()
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read a shard in blocks of rows."""
        stem = self.folder / shard.name
        vectors = np.load(stem.with_name(f"{shard.name}.npy"), mmap_mode="r", allow_pickle=False)
        drops = _read_drops(stem.with_name(f"{shard.name}.drops.parquet"))
        table_path = stem.with_name(f"{shard.name}.parquet")
        if not table_path.exists():
            yield SampleBatch(
                sample_ids=np.empty(0, dtype=np.int64),
                keys=[],
                embeddings=np.empty((0, vectors.shape[1]), dtype=np.float32),
                drops=tuple(drops),
            )
            return
        table = pd.read_parquet(table_path)
        if len(table) != len(vectors):
            raise DataError(
                f"{table_path} has {quantity(len(table), 'row')} for "
                f"{quantity(len(vectors), 'vector')}. Run again with --resume to redo the shard."
            )
        ids = table["sample_id"].to_numpy(dtype=np.int64)
        keys = table["key"].tolist()
        by_id = {int(i): row for row, i in enumerate(ids)}
        for start in range(0, len(table), DEFAULT_BATCH_ROWS):
            stop = min(start + DEFAULT_BATCH_ROWS, len(table))
            here = [drop for drop in drops if start <= by_id.get(drop.sample_id, 0) < stop]
            yield SampleBatch(
                sample_ids=ids[start:stop],
                keys=keys[start:stop],
                embeddings=np.asarray(vectors[start:stop], dtype=np.float32)
                if EMBEDDING in parts
                else None,
                drops=tuple(here),
            )


def _read_drops(path: Path) -> list[Drop]:
    if not path.exists():
        return []
    columns = ("sample_id", "key", "part", "reason", "detail")
    rows = pd.read_parquet(path)[list(columns)].itertuples(index=False, name=None)
    return [
        Drop(sample_id=int(i), key=key, part=part, reason=reason, detail=detail)
        for i, key, part, reason, detail in rows
    ]
