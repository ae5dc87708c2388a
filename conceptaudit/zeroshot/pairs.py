"""The stage that embeds image-caption pairs for retrieval, and what its shards add up to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.datasets.base import CAPTION, EMBEDDING, IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.decode_pool import Failure
from conceptaudit.image.encode import OomSafeEncoder
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Drop, Float32Array, SampleBatch
from conceptaudit.tagtable import check_account, drop_table, part_account
from conceptaudit.zeroshot.measures import PairedVectors
from conceptaudit.zeroshot.model_run import check_width, encoding_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class PairEncoder:
    """Embeds the images and the captions of a shard's samples.

    An image that several samples of a shard share by key is embedded once.
    """

    clip: ClipModel
    name: str  # folder of the results
    # whether the lines of a caption are captions of their own, as CLIP_benchmark's retrieval
    # archives write them; elsewhere a line break is white space (some COCO captions hold one)
    caption_per_line: bool = False
    # whether the samples carry embeddings of their images, which then are not opened
    embedded: bool = False

    @property
    def parts(self) -> frozenset[str]:
        """What has to be read of a sample."""
        return frozenset({EMBEDDING if self.embedded else IMAGE, CAPTION})

    @property
    def settings(self) -> Json:
        """Everything that can change a vector."""
        return {
            **encoding_settings(self.clip),
            "stage": "retrieval",
            "caption_per_line": self.caption_per_line,
            "embedded": self.embedded,
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Embed one shard."""
        drops: list[Drop] = []
        places: dict[str, int] = {}
        images: list[Float32Array] = []
        texts: list[tuple[str, int, str]] = []
        n_rows = n_used = 0
        encode = OomSafeEncoder(self.clip)
        for batch in batches:
            drops.extend(batch.drops)
            n_rows += len(batch)
            faults: list[Drop] = []
            if self.embedded:
                images.append(self._stored(batch, places, shard))
            else:
                images.append(self._encode(batch, places, faults, encode))
            drops += faults
            captions: Sequence[str | None] = batch.captions or [None] * len(batch)
            bad = {d.sample_id for d in (*batch.drops, *faults) if d.part == IMAGE}
            for sample, key, caption in zip(
                batch.sample_ids.tolist(), batch.keys, captions, strict=True
            ):
                if sample not in bad:
                    n_used += 1
                    texts += [(key, places[key], text) for text in self._captions(caption or "")]
        account = part_account(n_rows, drops, part=IMAGE)
        check_account(account, n_used, f"images of shard {shard.name}")
        vectors = [self.clip.encode_texts([text for _, _, text in texts])] if texts else []
        return ShardResult(
            summary=account,
            tables={
                ".parquet": pd.DataFrame(texts, columns=["key", "image", "text"]),
                ".drops.parquet": drop_table(drops),
            },
            arrays={
                ".npy": _stacked(images, self.clip.dimension),
                ".texts.npy": _stacked(vectors, self.clip.dimension),
            },
        )

    def _captions(self, text: str) -> list[str]:
        lines = text.splitlines() if self.caption_per_line else [" ".join(text.splitlines())]
        return [line for line in lines if line.strip()]

    def _stored(self, batch: SampleBatch, places: dict[str, int], shard: Shard) -> Float32Array:
        """Take the embeddings of the images whose key is new, and note the place of each."""
        if batch.embeddings is None:
            return _stacked([], self.clip.dimension)
        check_width(self.clip, batch.embeddings.shape[1], shard)
        unusable = {drop.sample_id for drop in batch.drops if drop.part == IMAGE}
        rows = []
        for row, (sample, key) in enumerate(
            zip(batch.sample_ids.tolist(), batch.keys, strict=True)
        ):
            if sample not in unusable and key not in places:
                places[key] = len(places)
                rows.append(row)
        return unit_rows(batch.embeddings[rows])

    def _encode(
        self,
        batch: SampleBatch,
        places: dict[str, int],
        drops: list[Drop],
        encode: OomSafeEncoder,
    ) -> Float32Array:
        """Embed the images whose key is new, and note the place of each."""
        data = batch.images or [None] * len(batch)
        fresh = {
            key: content
            for key, content in zip(batch.keys, data, strict=True)
            if content is not None and key not in places
        }
        keys = list(fresh)
        faults: dict[str, Failure] = {}
        parts: list[Float32Array] = []
        for part in encode.files(fresh.values()):
            if isinstance(part, Failure):
                faults[keys[part.number]] = part
                continue
            for number in part.numbers:
                places[keys[number]] = len(places)
            parts.append(part.vectors)
        drops += [
            faults[key].drop(sample, key)
            for sample, key in zip(batch.sample_ids.tolist(), batch.keys, strict=True)
            if key in faults
        ]
        return _stacked(parts, self.clip.dimension)


def _stacked(parts: Sequence[Float32Array], dimension: int) -> Float32Array:
    return np.concatenate([np.empty((0, dimension), dtype=np.float32), *parts])


def read_pairs(store: ShardStore, shards: Sequence[str]) -> tuple[PairedVectors, pd.DataFrame]:
    """Join the shards of a `PairEncoder`; an image whose captions lie in two shards stays one."""
    places: dict[str, int] = {}
    images: list[Float32Array] = []
    texts: list[Float32Array] = []
    tables: list[pd.DataFrame] = []
    for shard in shards:
        path = store.path(shard, ".parquet")
        if not path.exists():
            continue
        table = pd.read_parquet(path)
        vectors = np.load(store.path(shard, ".npy"), allow_pickle=False)
        for key, row in table.drop_duplicates("key")[["key", "image"]].itertuples(index=False):
            if key not in places:
                places[key] = len(places)
                images.append(vectors[row])
        texts.append(np.load(store.path(shard, ".texts.npy"), allow_pickle=False))
        tables.append(table.assign(image=table["key"].map(places)))
    if not tables:
        raise DataError("No sample of the dataset has both an image and a caption.")
    joined = pd.concat(tables, ignore_index=True)
    pairs = PairedVectors(
        images=np.array(images, dtype=np.float32),
        texts=np.concatenate(texts),
        image_of=joined["image"].to_numpy(np.int64),
    )
    return pairs, joined
