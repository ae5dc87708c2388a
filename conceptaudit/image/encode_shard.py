"""The embeddings of one shard: each image embedded once, each sample with its vector."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from conceptaudit.image.decode_pool import Block, Failure, Preparer, load_blocks
from conceptaudit.image.oom_fallback import BlockModel, OomSafeEncoder
from conceptaudit.records import Drop, Int64Array, SampleBatch

DIGEST_BYTES = 16
"""Of BLAKE2b: the odds that two of a billion pictures share one by chance are below 1e-20."""


class ImageModel(BlockModel, Preparer, Protocol):
    """Prepares pictures and embeds blocks of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedShard:
    """Results of a shard's samples, as columns of equal length.

    Parameters
    ----------
    sample_ids : numpy.ndarray of int64, shape (n,)
    keys : list of str, length n
    captions : list of (str or None), length n
        None throughout where captions were not read.
    digests : list of str, length n
        Of the picture's file; empty where there is none.
    thumbnails : list of bytes, length n
        See `conceptaudit.image.thumbnails`; empty where there is none.
    vectors : numpy.ndarray of float16, shape (n, dimension)
        Unit vectors; zeros where the picture cannot be used.
    usable : numpy.ndarray of bool, shape (n,)
    drops : list of Drop
        Of the reader and of the decoder.
    """

    sample_ids: Int64Array
    keys: list[str]
    captions: list[str | None]
    digests: list[str]
    thumbnails: list[bytes]
    vectors: npt.NDArray[np.float16]
    usable: npt.NDArray[np.bool_]
    drops: list[Drop]

    @property
    def n_used(self) -> int:
        """Samples that have a vector."""
        return int(self.usable.sum())


@dataclass(slots=True, kw_only=True)
class _Rows:
    """The samples read so far; `picture` is the position of a row's picture, or -1."""

    ids: list[Int64Array] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    captions: list[str | None] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    picture: list[int] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)
    position: dict[str, int] = field(default_factory=dict)

    def take(self, batches: Iterable[SampleBatch]) -> Iterator[bytes]:
        """Note every sample and yield the pictures that were not there before."""
        for batch in batches:
            self.drops.extend(batch.drops)
            self.ids.append(batch.sample_ids)
            self.keys.extend(batch.keys)
            self.captions.extend(batch.captions or [None] * len(batch))
            for data in batch.images or [None] * len(batch):
                digest = "" if data is None else picture_digest(data)
                self.digests.append(digest)
                if data is None:
                    self.picture.append(-1)
                    continue
                seen = digest in self.position
                self.picture.append(self.position.setdefault(digest, len(self.position)))
                if not seen:
                    yield data


def picture_digest(data: bytes) -> str:
    """Identify a picture by its file's bytes, in hex.

    Examples
    --------
    >>> len(picture_digest(b"")), picture_digest(b"a") == picture_digest(b"b")
    (32, False)
    """
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def encode_shard(
    batches: Iterable[SampleBatch], model: ImageModel, *, threads: int | None = None
) -> EncodedShard:
    """Embed the pictures of a shard's samples.

    Parameters
    ----------
    batches : iterable of SampleBatch
        With images.
    model : ImageModel
        `conceptaudit.image.clip.ClipModel`, or another that embeds.
    threads : int or None, default None
        Threads that decode; None for as many as torch uses. Changes no result.

    Returns
    -------
    EncodedShard
    """
    import torch

    rows = _Rows()
    encode = OomSafeEncoder(model)
    parts: list[npt.NDArray[np.float16]] = []
    thumbnails: list[bytes] = []
    place: dict[int, int] = {}
    failures: dict[int, Failure] = {}
    loaded = load_blocks(
        rows.take(batches),
        model,
        size=model.batch,
        threads=threads or torch.get_num_threads(),
        thumbnails=True,
        pinned=model.device != "cpu" and torch.cuda.is_available(),
    )
    for block, vectors in encode.blocks(_only_blocks(loaded, failures)):
        place.update(zip(block.numbers, range(len(place), len(place) + len(vectors)), strict=True))
        parts.append(vectors.astype(np.float16))
        thumbnails += block.thumbnails
    return _laid_out(rows, parts, thumbnails, place, failures, model.dimension)


def _only_blocks(
    loaded: Iterable[Block | Failure], failures: dict[int, Failure]
) -> Iterator[Block]:
    """Yield the blocks and keep the failures."""
    for part in loaded:
        if isinstance(part, Failure):
            failures[part.number] = part
        else:
            yield part


def _laid_out(
    rows: _Rows,
    parts: list[npt.NDArray[np.float16]],
    thumbnails: list[bytes],
    place: dict[int, int],
    failures: dict[int, Failure],
    dimension: int,
) -> EncodedShard:
    ids = np.concatenate([np.empty(0, dtype=np.int64), *rows.ids])
    source = np.array([place.get(picture, -1) for picture in rows.picture], dtype=np.int64)
    vectors = np.zeros((len(ids), dimension), dtype=np.float16)
    if parts:
        vectors[source >= 0] = np.concatenate(parts)[source[source >= 0]]
    drops = list(rows.drops)
    for row, picture in enumerate(rows.picture):
        failure = failures.get(picture)
        if failure is not None:
            drops.append(_dropped(int(ids[row]), rows.keys[row], failure))
    return EncodedShard(
        sample_ids=ids,
        keys=rows.keys,
        captions=rows.captions,
        digests=rows.digests,
        thumbnails=[thumbnails[i] if i >= 0 else b"" for i in source.tolist()],
        vectors=vectors,
        usable=source >= 0,
        drops=drops,
    )


def _dropped(sample_id: int, key: str, failure: Failure) -> Drop:
    return Drop(
        sample_id=sample_id, key=key, part="image", reason=failure.reason, detail=failure.detail
    )
