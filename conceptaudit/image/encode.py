"""Blocks of images through a model: memory that runs out costs time, not the run."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from conceptaudit.errors import ConceptAuditError
from conceptaudit.image.decode_pool import Block, Failure, Preparer, load_blocks
from conceptaudit.records import Drop, Float32Array, Int64Array, SampleBatch

ENCODE_BATCH = 64
"""Images per forward pass on a CPU; fixed, because other batch sizes may round differently."""

_log = logging.getLogger(__name__)

Pending = Callable[[], Float32Array]
"""Waits for vectors that a device is computing."""


class BlockModel(Protocol):
    """What encodes a block; `conceptaudit.image.clip.ClipModel` does."""

    @property
    def device(self) -> str:
        """``"cpu"`` or ``"cuda:0"``."""

    @property
    def dimension(self) -> int:
        """Of the embeddings."""

    @property
    def batch(self) -> int:
        """Images per forward pass."""

    def launch_pixels(self, pixels: Any) -> Pending:
        """Begin to embed a tensor of shape (n, 3, height, width)."""

    def on(self, device: str) -> Self:
        """Return the same model on another device."""


class OomSafeEncoder:
    """Encodes blocks; where memory runs out, in smaller ones, and at last on the CPU.

    A smaller block size, once needed, is kept. Each step down is logged as a warning.

    model : BlockModel
        The model on the device that it has come to.
    block : int
        The block size that it has come to.
    """

    def __init__(self, model: BlockModel) -> None:
        self.model = model
        self.block = self._first_block = model.batch

    def __call__(self, pixels: Any) -> Float32Array:
        """Embed a block.

        `pixels` of shape (n, 3, height, width); returns shape (n, dimension).
        """
        return self._launch(pixels)()

    def blocks(self, blocks: Iterable[Block]) -> Iterator[tuple[Block, Float32Array]]:
        """Embed blocks; a device works on the next one while the caller has the vectors of one.

        Returns shape (n, dimension).
        """
        pending: tuple[Block, Pending] | None = None
        for block in blocks:
            launched = block, self._launch(block.pixels)
            if pending is not None:
                yield pending[0], pending[1]()
            pending = launched
        if pending is not None:
            yield pending[0], pending[1]()

    def _launch(self, pixels: Any) -> Pending:
        import torch

        parts: list[Pending] = []
        start = 0
        while start < len(pixels):
            try:
                parts.append(self.model.launch_pixels(pixels[start : start + self.block]))
                start += self.block
            except torch.OutOfMemoryError as error:
                self._step_down(error)
        empty = np.empty((0, self.model.dimension), dtype=np.float32)
        return lambda: np.concatenate([empty, *(part() for part in parts)])

    def _step_down(self, error: Exception) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        where = self.model.device
        if self.block > 1:
            self.block //= 2
            _log.warning("Memory of %s ran out: going on with blocks of %d.", where, self.block)
        elif where != "cpu":
            self.model, self.block = self.model.on("cpu"), self._first_block
            _log.warning("Memory of %s ran out for a single picture: going on on the CPU.", where)
        else:
            raise ConceptAuditError(
                "Memory ran out while one picture was embedded on the CPU. Free some, or name a "
                "smaller model with --clip."
            ) from error


DIGEST_BYTES = 16
"""Of BLAKE2b: the odds that two of a billion pictures share one by chance are below 1e-20."""


class ImageModel(BlockModel, Preparer, Protocol):
    """Prepares pictures and embeds blocks of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedShard:
    """Results of a shard's samples, as columns of equal length."""

    sample_ids: Int64Array
    keys: list[str]
    captions: list[str | None]  # None throughout where captions were not read
    digests: list[str]  # of the picture's file; empty where there is none
    thumbnails: list[bytes]  # see `conceptaudit.image.thumbnails`; empty where there is none
    # shape (n, dimension): unit vectors; zeros where the picture cannot be used
    vectors: npt.NDArray[np.float16]
    usable: npt.NDArray[np.bool_]
    drops: list[Drop]  # of the reader and of the decoder

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

    >>> len(picture_digest(b"")), picture_digest(b"a") == picture_digest(b"b")
    (32, False)
    """
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def encode_shard(
    batches: Iterable[SampleBatch], model: ImageModel, *, threads: int | None = None
) -> EncodedShard:
    """Embed the pictures of a shard's samples."""
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
