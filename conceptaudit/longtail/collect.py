"""Collect: compare the images of a pool's shards with every concept, and put the best together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import Json, digest_of, package_versions
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.engine import StageReport
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.encode import ENCODE_BATCH
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.candidates import (
    IMAGES,
    PAIRS,
    TEXTS,
    VECTORS,
    ShardCandidates,
    TopKSearch,
)
from conceptaudit.longtail.fingerprints import Fingerprint, fingerprint_of
from conceptaudit.longtail.pool_counts import DROP_COLUMNS, PoolCounts, unsafe_rows
from conceptaudit.longtail.records import EXAMPLE, TOO_LONG, TOO_SMALL
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import ROW_BITS, Float32Array, Int64Array, SampleBatch

if TYPE_CHECKING:
    from PIL import Image

    from conceptaudit.image.clip import ClipModel
    from conceptaudit.text.tagger import TextTagger

# Decoded pixels held at once: 200 MB of RGB, however large the photographs are.
PIXEL_BUDGET = 1 << 26

NAME = "pool"
# Of a shard's files: shards that an older version has finished are not read.
LAYOUT = 2

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
            "layout": LAYOUT,
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
        """Look at one shard.

        The result has candidates with scores and vectors, what cannot be used, and the counts;
        ``"dimension"`` in the summary is that of vectors which cannot be compared.
        """
        search = TopKSearch(self.concepts, self.options.n_candidates)
        counts = PoolCounts()
        for batch in batches:
            self._count(batch, counts)
            if batch.embeddings is not None and len(batch):
                dimension = batch.embeddings.shape[1]
                if dimension != self.concepts.shape[1]:
                    return ShardResult(summary={"dimension": dimension, **counts.summary()})
            for images, vectors, describe in self._blocks(batch, counts):
                counts.n_compared += len(images)
                search.add(images, vectors, describe, self._named(images))
        kept = search.kept()
        drops = {DROPS: counts.drops()}
        if kept is None:
            return ShardResult(summary=counts.summary(), tables=drops)
        return ShardResult(
            summary=counts.summary(),
            tables={IMAGES: kept.images, PAIRS: kept.pairs, **drops},
            arrays={VECTORS: kept.vectors},
        )

    def _count(self, batch: SampleBatch, counts: PoolCounts) -> None:
        if self.wanted is not None:  # the index has counted these when it was built
            return
        counts.n_samples += len(batch)
        counts.count(batch.extra)
        for drop in batch.drops:
            if drop.part in ("sample", IMAGE):
                counts.n_samples += drop.part == "sample"
                counts.drop(drop.sample_id, drop.key, drop.reason, drop.detail)

    def _blocks(self, batch: SampleBatch, counts: PoolCounts) -> Iterator[Block]:
        unsafe = unsafe_rows(batch.extra, self.options)
        if EMBEDDING in self.parts:
            yield from self._stored(batch, unsafe, counts)
        else:
            yield from self._encoded(batch, unsafe, counts)

    def _stored(
        self, batch: SampleBatch, unsafe: dict[int, tuple[str, str]], counts: PoolCounts
    ) -> Iterator[Block]:
        if batch.embeddings is None or not len(batch):
            return
        vectors = unit_rows(batch.embeddings)
        usable = np.any(vectors != 0, axis=1)
        if self.wanted is not None:
            usable &= np.isin(batch.sample_ids, self.wanted, assume_unique=True)
        for row, (reason, detail) in unsafe.items():
            if usable[row]:
                counts.drop(int(batch.sample_ids[row]), batch.keys[row], reason, detail)
        usable[np.array(list(unsafe), dtype=np.int64)] = False
        rows = np.flatnonzero(usable).tolist()
        vectors = vectors[rows]
        # without a file, equal vectors are what an image is known by
        contents = [hashlib.sha256(vector.tobytes()).hexdigest() for vector in vectors]
        yield _image_rows(batch, rows, contents), vectors, None

    def _encoded(
        self, batch: SampleBatch, unsafe: dict[int, tuple[str, str]], counts: PoolCounts
    ) -> Iterator[Block]:
        same: dict[str, list[int]] = {}  # an image with five captions is embedded once
        for i, data in enumerate(batch.images if batch.images is not None else ()):
            if data is not None and i in unsafe:
                counts.drop(int(batch.sample_ids[i]), batch.keys[i], *unsafe[i])
            elif data is not None:
                same.setdefault(hashlib.sha256(data).hexdigest(), []).append(i)
        group: dict[str, Image.Image] = {}
        n_pixels = 0
        for content, rows in same.items():
            image = self._decode(batch, rows, content, counts)
            if image is None:
                continue
            group[content] = image
            n_pixels += image.width * image.height
            if len(group) == ENCODE_BATCH or n_pixels >= PIXEL_BUDGET:
                yield self._encode(batch, same, group)
                group, n_pixels = {}, 0
        if group:
            yield self._encode(batch, same, group)

    def _encode(
        self, batch: SampleBatch, same: dict[str, list[int]], group: dict[str, Image.Image]
    ) -> Block:
        if self.clip is None or batch.images is None:
            raise ConfigError("Images can only be embedded with a model.")
        files = batch.images
        rows = [row for content in group for row in same[content]]
        contents = [content for content in group for _ in same[content]]
        described: dict[str, Fingerprint] = {}

        def describe(row: int) -> Fingerprint:
            content = contents[row]
            if content not in described:
                described[content] = fingerprint_of(files[rows[row]] or b"", group[content])
            return described[content]

        vectors = unit_rows(self.clip.encode_images(list(group.values())))
        vectors = np.repeat(vectors, [len(same[content]) for content in group], axis=0)
        return _image_rows(batch, rows, contents), vectors, describe

    def _decode(
        self, batch: SampleBatch, rows: Sequence[int], content: str, counts: PoolCounts
    ) -> Image.Image | None:
        """Decode the image that some rows share; where it cannot be used, drop all of them."""
        data = (batch.images or ())[rows[0]] or b""
        image, reason, detail = usable_image(data, self.options)
        if content in self.examples:
            image, reason, detail = None, EXAMPLE, ""
        for row in rows if image is None else ():
            counts.drop(int(batch.sample_ids[row]), batch.keys[row], reason, detail)
        return image

    def _named(self, images: pd.DataFrame) -> npt.NDArray[np.bool_] | None:
        """Which concepts the captions of a block name, shape (n_rows, n_selected)."""
        if self.tagger is None:
            return None
        return named_in_captions(self.tagger, images["caption"].fillna("").tolist(), self.ids)


# Images that are compared with the concepts together, their vectors, and their fingerprints.
Block = tuple[pd.DataFrame, Float32Array, Callable[[int], Fingerprint] | None]


def _image_rows(batch: SampleBatch, rows: Sequence[int], contents: Sequence[str]) -> pd.DataFrame:
    """Take some rows of a batch as rows of a table of images."""
    extra = batch.extra or {}
    nothing: list[Any] = [None] * len(batch)
    columns = {name: extra.get(name, nothing) for name in TEXTS}
    columns["caption"] = batch.captions if batch.captions is not None else nothing
    texts = {
        name: pd.Series([text_of(values[row]) for row in rows], dtype="str")
        for name, values in columns.items()
    }
    return pd.DataFrame(
        {
            "sample_id": batch.sample_ids[list(rows)],
            "key": pd.Series([batch.keys[row] for row in rows], dtype="str"),
            "content": pd.Series(list(contents), dtype="str"),
            **texts,
        }
    )


def text_of(value: Any) -> str | None:
    """Read a value of a column as text; None where it is empty."""
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value)


def usable_image(data: bytes, options: LongTailOptions) -> tuple[Image.Image | None, str, str]:
    """Decode an image that a set may hold; else None with the reason and what was found."""
    try:
        image = decode_image(data)
    except UndecodableImageError as error:
        return None, error.reason, error.detail
    short, long = sorted(image.size)
    shape = f"{image.width} x {image.height} pixels"
    if short < options.min_side:
        return None, TOO_SMALL, shape
    if long > options.max_aspect * short:
        return None, TOO_LONG, shape
    return image, "", ""


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


def gather(
    stage: CollectShard, pool: Dataset, shards: Sequence[Shard], report: StageReport
) -> tuple[pd.DataFrame, Float32Array, PoolCounts]:
    """Put together what the shards have to offer: the table of candidates, and their vectors."""
    search = TopKSearch(stage.concepts, stage.options.n_candidates, stage.options.min_score)
    counts = PoolCounts()
    for number, shard in enumerate(shards):
        if shard.name in report.failed:
            counts.skip_file(source_of(pool, shard), report.failed[shard.name])
            continue
        summary = report.store.read(shard.name)
        if "dimension" in summary:
            raise DataError(
                f"The pool's embeddings have dimension {summary['dimension']}, the concept vectors "
                f"{stage.concepts.shape[1]}: they come from different models. Name the pool's "
                "model with --clip."
            )
        drops = report.store.path(shard.name, DROPS)
        counts.add(
            summary,
            pd.read_parquet(drops) if drops.exists() else pd.DataFrame(columns=list(DROP_COLUMNS)),
            partial(source_of, pool, shard),
        )
        paths = {end: report.store.path(shard.name, end) for end in (IMAGES, PAIRS, VECTORS)}
        candidates = ShardCandidates.read(paths, number)
        if candidates is not None:
            search.merge(candidates)
    table, vectors = search.table(lambda number, sample: source_of(pool, shards[number], sample))
    return table, vectors, counts


def source_of(pool: Dataset, shard: Shard, sample: int | None = None) -> str:
    """Name a shard's main file relative to the pool, and the row of a sample in it."""
    path = shard.files[0] if shard.files else shard.name
    inside = path.removeprefix(pool.location.rstrip("/")).lstrip("/")
    name = inside if inside and inside != path.lstrip("/") else PurePosixPath(path).name
    return name if sample is None else f"{name}#{sample & ((1 << ROW_BITS) - 1)}"
