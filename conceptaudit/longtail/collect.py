"""The stage that looks at one shard of a pool: compare its images with every concept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.artifacts import Json, digest_of, package_versions
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError
from conceptaudit.image.encode import ENCODE_BATCH
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.embedding_blocks import block_of, usable_image
from conceptaudit.longtail.finder import PoolBlock, TopKSearch
from conceptaudit.longtail.finds import VECTORS
from conceptaudit.longtail.pool_counts import ShardAccount
from conceptaudit.longtail.records import EXAMPLE
from conceptaudit.longtail.safety import count_told, unsafe_rows
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import Float32Array, Int64Array, SampleBatch

if TYPE_CHECKING:
    from PIL import Image

    from conceptaudit.image.clip import ClipModel
    from conceptaudit.text.tagger import TextTagger

PIXEL_BUDGET = 1 << 26
"""Decoded pixels held at once: 200 MB of RGB, however large the photographs are."""

NAME = "pool"
DROPS = ".drops.parquet"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CollectShard:
    """Finds the best candidates of every selected concept in one shard of a pool."""

    concepts: Float32Array  # shape (n_selected, dimension): unit vectors that images are ranked by
    identity: str  # where they come from
    # length n_selected: positions of the selected concepts in the audit's vocabulary
    ids: tuple[int, ...]
    # what is read of a sample; with ``"image"`` images are embedded by `clip`
    parts: frozenset[str]
    options: LongTailOptions  # sizes and limits
    clip: ClipModel | None = None  # none where the pool has vectors
    tagger: TextTagger | None = None  # given where captions must name the concept
    examples: frozenset[str] = frozenset()  # SHA-256 of files that must not be in the set
    wanted: Int64Array | None = None  # sample ids that an index proposes; None looks at all

    @property
    def name(self) -> str:
        """Folder of the shards' finds."""
        return NAME

    @property
    def settings(self) -> Json:
        """Everything that can change what is found; `min_score` is applied where finds meet."""
        options, wanted = self.options, self.wanted
        return {
            "stage": NAME,
            "identity": self.identity,
            "concepts": hashlib.sha256(self.concepts.tobytes()).hexdigest(),
            "parts": sorted(self.parts),
            "n_candidates": options.n_candidates,
            "min_side": options.min_side,
            "max_aspect": options.max_aspect,
            "max_unsafe": options.max_unsafe,
            "max_watermark": options.max_watermark,
            "text": self.tagger.settings if self.tagger else None,
            "ids": list(self.ids) if self.tagger else None,
            "examples": digest_of(sorted(self.examples)),
            "wanted": None if wanted is None else hashlib.sha256(wanted.tobytes()).hexdigest(),
            "versions": package_versions("open_clip_torch", "torch", "pillow", "numpy", "scipy"),
        }

    def __call__(
        self,
        shard: Shard,  # noqa: ARG002 -- every stage is told its shard
        batches: Iterator[SampleBatch],
    ) -> ShardResult:
        """Look at one shard."""
        options = self.options
        finder = TopKSearch(self.concepts, options.n_candidates)
        account = ShardAccount()
        for batch in batches:
            self._count(batch, account)
            if batch.embeddings is not None and len(batch):
                dimension = batch.embeddings.shape[1]
                if dimension != self.concepts.shape[1]:
                    return ShardResult(summary={"dimension": dimension, **account.summary()})
            for block in self._blocks(batch, account):
                account.n_compared += len(block.sample_ids)
                finder.add(block, self._named(block))
        finds = finder.finds()
        tables = {DROPS: account.table()}
        if not len(finds):
            return ShardResult(summary=account.summary(), tables=tables)
        return ShardResult(
            summary=account.summary(),
            tables={**finds.tables(), **tables},
            arrays={VECTORS: finds.vectors},
        )

    def _count(self, batch: SampleBatch, account: ShardAccount) -> None:
        if self.wanted is not None:  # the index has been told of these when it was built
            return
        account.n_samples += len(batch)
        count_told(account, batch.extra)
        for drop in batch.drops:
            if drop.part in ("sample", IMAGE):
                account.n_samples += drop.part == "sample"
                account.drop(drop.sample_id, drop.key, drop.reason, drop.detail)

    def _blocks(self, batch: SampleBatch, account: ShardAccount) -> Iterator[PoolBlock]:
        bad = unsafe_rows(batch.extra, self.options)
        if EMBEDDING in self.parts:
            yield from self._stored(batch, bad, account)
        else:
            yield from self._encoded(batch, bad, account)

    def _stored(
        self, batch: SampleBatch, bad: dict[int, tuple[str, str]], account: ShardAccount
    ) -> Iterator[PoolBlock]:
        if batch.embeddings is None or not len(batch):
            return
        vectors = unit_rows(batch.embeddings)
        usable = np.any(vectors != 0, axis=1)
        if self.wanted is not None:
            usable &= np.isin(batch.sample_ids, self.wanted, assume_unique=True)
        for row, (reason, detail) in bad.items():
            if usable[row]:
                account.drop(int(batch.sample_ids[row]), batch.keys[row], reason, detail)
        usable[np.array(list(bad), dtype=np.int64)] = False
        rows = np.flatnonzero(usable).tolist()
        vectors = vectors[rows]
        contents = [hashlib.sha256(vector.tobytes()).hexdigest() for vector in vectors]
        yield block_of(batch, rows, contents, vectors, [None] * len(rows))

    def _encoded(
        self, batch: SampleBatch, bad: dict[int, tuple[str, str]], account: ShardAccount
    ) -> Iterator[PoolBlock]:
        same: dict[str, list[int]] = {}  # an image with five captions is embedded once
        for i, data in enumerate(batch.images if batch.images is not None else ()):
            if data is not None and i in bad:
                account.drop(int(batch.sample_ids[i]), batch.keys[i], *bad[i])
            elif data is not None:
                same.setdefault(hashlib.sha256(data).hexdigest(), []).append(i)
        group: dict[str, list[int]] = {}
        images: list[Image.Image] = []
        n_pixels = 0
        for content, rows in same.items():
            image = self._decode(batch, rows, content, account)
            if image is None:
                continue
            group[content] = rows
            images.append(image)
            n_pixels += image.width * image.height
            if len(images) == ENCODE_BATCH or n_pixels >= PIXEL_BUDGET:
                yield self._picture_block(batch, group, images)
                group, images, n_pixels = {}, [], 0
        if images:
            yield self._picture_block(batch, group, images)

    def _picture_block(
        self, batch: SampleBatch, group: dict[str, list[int]], images: list[Image.Image]
    ) -> PoolBlock:
        if self.clip is None or batch.images is None:
            raise ConfigError("Images can only be embedded with a model.")
        files = batch.images
        vectors = unit_rows(self.clip.encode_images(images))
        return block_of(
            batch,
            [row for rows in group.values() for row in rows],
            [content for content, rows in group.items() for _ in rows],
            np.repeat(vectors, [len(rows) for rows in group.values()], axis=0),
            [
                (files[row] or b"", image)
                for rows, image in zip(group.values(), images, strict=True)
                for row in rows
            ],
        )

    def _decode(
        self, batch: SampleBatch, rows: Sequence[int], content: str, account: ShardAccount
    ) -> Image.Image | None:
        """Decode the image that some rows share; where it cannot be used, drop all of them."""
        data = (batch.images or ())[rows[0]] or b""
        image, reason, detail = usable_image(data, self.options)
        if content in self.examples:
            image, reason, detail = None, EXAMPLE, ""
        for row in rows if image is None else ():
            account.drop(int(batch.sample_ids[row]), batch.keys[row], reason, detail)
        return image

    def _named(self, block: PoolBlock) -> npt.NDArray[np.bool_] | None:
        """Which concepts the captions of a block name, shape (n_rows, n_selected)."""
        if self.tagger is None:
            return None
        return named_in_captions(self.tagger, block.texts["caption"], self.ids)


def named_in_captions(
    tagger: TextTagger, captions: Sequence[str | None], ids: Sequence[int]
) -> npt.NDArray[np.bool_]:
    """Which concepts each caption names, shape (n_captions, n_ids)."""
    from conceptaudit.text.tagger import annotator_of

    named = np.zeros((len(captions), len(ids)), dtype=bool)
    rows = [i for i, caption in enumerate(captions) if caption]
    texts = [captions[i] or "" for i in rows]
    for i, annotated in zip(rows, annotator_of(tagger).tag(texts), strict=True):
        if not isinstance(annotated, str) and annotated.mentions:
            counts = annotated.counts
            named[i] = [concept in counts for concept in ids]
    return named
