"""One pass over a pool: embed its images and keep the best candidates of every concept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.datasets.base import CAPTION, EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.encoding import ENCODE_BATCH
from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.account import PoolAccount
from conceptaudit.longtail.embedding import EmbeddingSpace
from conceptaudit.longtail.options import LongTailOptions
from conceptaudit.longtail.picture import describe_picture
from conceptaudit.longtail.records import TOO_LONG, TOO_SMALL
from conceptaudit.longtail.toplists import CandidateLists, Offer
from conceptaudit.progress import Progress
from conceptaudit.records import ROW_BITS, Float32Array, Int64Array, SampleBatch

if TYPE_CHECKING:
    from PIL import Image

    from conceptaudit.text.tagger import CaptionAnnotator

PIXEL_BUDGET = 1 << 26
"""Decoded pixels held at once: 200 MB of RGB, however large the photographs are."""

MANY_SHARDS = 10
"""From here on progress is told in shards, which have an end; below, in images."""

SLACK = 1e-4
"""Above the float32 error of a cosine: proposals are decided by their float64 product."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    key: str
    sample_id: int
    caption: str | None
    data: bytes | None = None
    image: Image.Image | None = None


class Collector:
    """Keeps the best candidates of every selected concept while a pool streams by.

    Parameters
    ----------
    pool : Dataset
        With images or image embeddings.
    space : EmbeddingSpace
        How images and concepts are compared.
    concept_ids : numpy.ndarray of int64, shape (n_selected,)
        Positions of the selected concepts in the audit's vocabulary.
    options : LongTailOptions
        Sizes, limits, `require_text`.
    annotator : CaptionAnnotator or None
        Given where captions must name the concept.

    Raises
    ------
    ConfigError
        Captions are required and the pool has none.
    """

    def __init__(
        self,
        pool: Dataset,
        space: EmbeddingSpace,
        concept_ids: Sequence[int],
        options: LongTailOptions,
        annotator: CaptionAnnotator | None = None,
    ) -> None:
        if annotator is not None and CAPTION not in pool.provides:
            raise ConfigError(
                f"--require-text needs captions, and the pool {pool.location} has none. "
                "Leave it out, or name a pool with captions."
            )
        self.account = PoolAccount()
        self.candidates = CandidateLists(len(concept_ids), options.n_candidates, options.min_score)
        self._pool = pool
        self._space = space
        self._ids = tuple(concept_ids)
        self._concepts = np.ascontiguousarray(space.concepts[list(concept_ids)])
        self._options = options
        self._annotator = annotator

    def run(self, shards: Sequence[Shard], progress: Progress) -> None:
        """Read the whole pool once.

        Raises
        ------
        DataError
            A file is damaged (unless the options allow skipping it), or the pool's embeddings
            have another dimension than the concepts.
        """
        parts = frozenset({self._space.part, CAPTION}) & self._pool.provides
        by_shard = len(shards) >= MANY_SHARDS
        progress.start(
            "pool", len(shards) if by_shard else None, "shards" if by_shard else "images"
        )
        for number, shard in enumerate(shards):
            try:
                for batch in self._pool.read(shard, parts):
                    self._read(batch, shard, number)
                    progress.advance(0 if by_shard else len(batch))
            except DataError as error:
                if not self._options.skip_unreadable or isinstance(error, _DimensionError):
                    raise
                self.account.skip_file(source_of(self._pool, shard), str(error))
            progress.advance(1 if by_shard else 0)
        progress.finish()

    def _read(self, batch: SampleBatch, shard: Shard, number: int) -> None:
        self.account.n_samples += len(batch)
        for drop in batch.drops:
            if drop.part in ("sample", IMAGE):
                self.account.n_samples += drop.part == "sample"
                source = source_of(self._pool, shard, drop.sample_id)
                self.account.drop(drop.key, source, drop.reason, drop.detail)
        for rows, vectors in (
            self._stored(batch) if self._space.part == EMBEDDING else self._encoded(batch, shard)
        ):
            self.account.n_compared += len(rows)
            self._offer(rows, vectors, shard, number)

    def _stored(self, batch: SampleBatch) -> Iterator[tuple[list[_Row], Float32Array]]:
        if batch.embeddings is None or not len(batch):
            return
        dimension, expected = batch.embeddings.shape[1], self._concepts.shape[1]
        if dimension != expected:
            raise _DimensionError(
                f"The pool's embeddings have dimension {dimension}, the concept vectors "
                f"{expected}: they come from different models. Name the pool's model with --clip."
            )
        vectors = unit_rows(batch.embeddings)
        usable = np.flatnonzero(vectors.any(axis=1))
        yield [_row(batch, int(i)) for i in usable], vectors[usable]

    def _encoded(
        self, batch: SampleBatch, shard: Shard
    ) -> Iterator[tuple[list[_Row], Float32Array]]:
        rows: list[_Row] = []
        n_pixels = 0
        for i, data in enumerate(batch.images if batch.images is not None else ()):
            image = None if data is None else self._decode(batch, i, data, shard)
            if data is None or image is None:
                continue
            rows.append(_row(batch, i, data, image))
            n_pixels += image.width * image.height
            if len(rows) == ENCODE_BATCH or n_pixels >= PIXEL_BUDGET:
                yield rows, self._encode(rows)
                rows, n_pixels = [], 0
        if rows:
            yield rows, self._encode(rows)

    def _decode(self, batch: SampleBatch, i: int, data: bytes, shard: Shard) -> Image.Image | None:
        key, source = batch.keys[i], source_of(self._pool, shard, int(batch.sample_ids[i]))
        try:
            image = decode_image(data)
        except UndecodableImageError as error:
            self.account.drop(key, source, error.reason, error.detail)
            return None
        short, long = sorted(image.size)
        shape = f"{image.width} x {image.height} pixels"
        if short < self._options.min_side:
            self.account.drop(key, source, TOO_SMALL, shape)
        elif long > self._options.max_aspect * short:
            self.account.drop(key, source, TOO_LONG, shape)
        else:
            return image
        return None

    def _encode(self, rows: list[_Row]) -> Float32Array:
        clip = self._space.clip
        if clip is None:
            raise ConfigError("Pictures can only be embedded with a model.")
        vectors = clip.encode_images([row.image for row in rows if row.image is not None])
        return unit_rows(vectors)

    def _offer(self, rows: list[_Row], vectors: Float32Array, shard: Shard, number: int) -> None:
        floors = self.candidates.floors
        proposed = vectors @ self._concepts.T >= (floors - SLACK).astype(np.float32)
        if self._annotator is not None:
            proposed &= self._named(rows, np.flatnonzero(proposed.any(axis=1)))
        for i in np.flatnonzero(proposed.any(axis=1)):
            row, vector = rows[i], vectors[i]
            wanted = np.flatnonzero(proposed[i])
            scores = np.einsum("ij,j->i", self._concepts[wanted], vector, dtype=np.float64)
            good = scores >= floors[wanted]  # they rise while the block is worked through
            if not good.any():
                continue
            image = Offer(
                key=row.key,
                sample_id=row.sample_id,
                content=hashlib.sha256(row.data or vector.tobytes()).hexdigest(),
                shard=number,
                source=source_of(self._pool, shard, row.sample_id),
                caption=row.caption,
                vector=vector,
                picture=describe_picture(row.data, row.image)
                if row.data is not None and row.image is not None
                else None,
            )
            pairs = zip(wanted[good].tolist(), scores[good].tolist(), strict=True)
            self.candidates.offer(image, dict(pairs))

    def _named(self, rows: list[_Row], wanted: Int64Array) -> npt.NDArray[np.bool_]:
        """Which concepts the captions of the wanted rows name, shape (n_rows, n_selected)."""
        named = np.zeros((len(rows), len(self._ids)), dtype=bool)
        told = [int(i) for i in wanted if rows[int(i)].caption]
        if self._annotator is None or not told:
            return named
        captions = [rows[i].caption or "" for i in told]
        for i, annotated in zip(told, self._annotator.tag(captions), strict=True):
            if not isinstance(annotated, str) and annotated.mentions:
                counts = annotated.counts
                named[i] = [concept in counts for concept in self._ids]
        return named


class _DimensionError(DataError):
    """Not a damaged file: skipping it would hide a wrong model."""


def _row(
    batch: SampleBatch, i: int, data: bytes | None = None, image: Image.Image | None = None
) -> _Row:
    return _Row(
        key=batch.keys[i],
        sample_id=int(batch.sample_ids[i]),
        caption=None if batch.captions is None else batch.captions[i],
        data=data,
        image=image,
    )


def source_of(pool: Dataset, shard: Shard, sample: int | None = None) -> str:
    """Name a shard's main file relative to the pool, and the row of a sample in it."""
    path = shard.files[0] if shard.files else shard.name
    inside = path.removeprefix(pool.location.rstrip("/")).lstrip("/")
    name = inside if inside and inside != path.lstrip("/") else PurePosixPath(path).name
    return name if sample is None else f"{name}#{sample & ((1 << ROW_BITS) - 1)}"
