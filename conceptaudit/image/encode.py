"""Image files to embeddings: one loop that decodes, stacks, encodes and survives full memory."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
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

DIGEST_BYTES = 16
"""Of BLAKE2b: the odds that two of a billion images share one by chance are below 1e-20."""

_log = logging.getLogger(__name__)

Pending = Callable[[], Float32Array]  # waits for vectors that a device is computing


class ImageModel(Preparer, Protocol):
    """What prepares images and embeds blocks of them; `conceptaudit.image.clip.ClipModel` does."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The embeddings of one block."""

    numbers: list[int]  # positions among all images, rising
    vectors: Float32Array  # shape (n, dimension), unit vectors
    thumbnails: list[bytes]  # empty where they were not asked for


class OomSafeEncoder:
    """Encodes image files; where memory runs out, in smaller blocks, and at last on the CPU.

    A smaller block size, once needed, is kept. Each step down is logged as a warning.
    """

    def __init__(self, model: ImageModel) -> None:
        self.model = model  # on the device that it has come to
        self.block = self._first_block = model.batch

    def files(
        self, images: Iterable[bytes], *, threads: int | None = None, thumbnails: bool = False
    ) -> Iterator[Encoded | Failure]:
        """Decode and embed image files, in order; a device works on the block after this one.

        As many threads decode as torch uses, unless their number is given; it changes no result.
        """
        import torch

        pending: deque[Callable[[], Encoded]] = deque()
        loaded = load_blocks(
            images,
            self.model,
            size=self.model.batch,
            threads=threads or torch.get_num_threads(),
            thumbnails=thumbnails,
            pinned=self.model.device != "cpu" and torch.cuda.is_available(),
        )
        for part in loaded:
            if isinstance(part, Failure):
                yield part
                continue
            pending.append(self._begin(part))
            # free its pixels now: the next block is then stacked in memory that is warm
            del part
            # the caller has one block's vectors while the device computes the next one's
            if len(pending) > 1:
                yield pending.popleft()()
        if pending:
            yield pending.popleft()()

    def _begin(self, block: Block) -> Callable[[], Encoded]:
        """Begin to embed a block; what is returned waits for its vectors and holds no pixels."""
        vectors, numbers, thumbnails = self._launch(block.pixels), block.numbers, block.thumbnails
        return lambda: Encoded(numbers=numbers, vectors=vectors(), thumbnails=thumbnails)

    def __call__(self, pixels: Any) -> Float32Array:
        """Embed a tensor of shape (n, 3, height, width) to unit vectors, (n, dimension)."""
        return self._launch(pixels)()

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
            _log.warning("Memory of %s ran out for a single image: going on on the CPU.", where)
        else:
            raise ConceptAuditError(
                "Memory ran out while one image was embedded on the CPU. Free some, or name a "
                "smaller model with --clip."
            ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedShard:
    """Results of a shard's samples, as columns of equal length."""

    sample_ids: Int64Array
    keys: list[str]
    captions: list[str | None]  # None throughout where captions were not read
    digests: list[str]  # of the image's file; empty where there is none
    thumbnails: list[bytes]  # see `conceptaudit.image.thumbnails`; empty where there is none
    vectors: npt.NDArray[np.float16]  # shape (n, dimension); zeros where an image cannot be used
    usable: npt.NDArray[np.bool_]
    drops: list[Drop]  # of the reader and of the decoder

    @property
    def n_used(self) -> int:
        """Samples that have a vector."""
        return int(self.usable.sum())


@dataclass(slots=True, kw_only=True)
class _Rows:
    """The samples read so far; `image` is the position of a row's image, or -1."""

    ids: list[Int64Array] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    captions: list[str | None] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    image: list[int] = field(default_factory=list)
    drops: list[Drop] = field(default_factory=list)

    def take(self, batches: Iterable[SampleBatch]) -> Iterator[bytes]:
        """Note every sample and yield the images that were not there before."""
        position: dict[str, int] = {}
        for batch in batches:
            self.drops.extend(batch.drops)
            self.ids.append(batch.sample_ids)
            self.keys.extend(batch.keys)
            self.captions.extend(batch.captions or [None] * len(batch))
            for data in batch.images or [None] * len(batch):
                digest = "" if data is None else image_digest(data)
                self.digests.append(digest)
                if data is None:
                    self.image.append(-1)
                    continue
                seen = digest in position
                self.image.append(position.setdefault(digest, len(position)))
                if not seen:
                    yield data


def image_digest(data: bytes) -> str:
    """Identify an image by its file's bytes, in hex."""
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).hexdigest()


def encode_shard(
    batches: Iterable[SampleBatch], model: ImageModel, *, threads: int | None = None
) -> EncodedShard:
    """Embed the images of a shard's samples, an image that several samples share only once."""
    rows = _Rows()
    parts: list[npt.NDArray[np.float16]] = []
    thumbnails: list[bytes] = []
    place: dict[int, int] = {}  # of an image's vector, by the image's position
    failures: dict[int, Failure] = {}
    encoder = OomSafeEncoder(model)
    for part in encoder.files(rows.take(batches), threads=threads, thumbnails=True):
        if isinstance(part, Failure):
            failures[part.number] = part
            continue
        place.update(
            zip(part.numbers, range(len(place), len(place) + len(part.vectors)), strict=True)
        )
        parts.append(part.vectors.astype(np.float16))
        thumbnails += part.thumbnails
    ids = np.concatenate([np.empty(0, dtype=np.int64), *rows.ids])
    source = np.array([place.get(image, -1) for image in rows.image], dtype=np.int64)
    usable = source >= 0
    vectors = np.zeros((len(ids), model.dimension), dtype=np.float16)
    if parts:
        vectors[usable] = np.concatenate(parts)[source[usable]]
    drops = [
        failures[image].drop(int(ids[row]), rows.keys[row])
        for row, image in enumerate(rows.image)
        if image in failures
    ]
    return EncodedShard(
        sample_ids=ids,
        keys=rows.keys,
        captions=rows.captions,
        digests=rows.digests,
        thumbnails=[thumbnails[i] if i >= 0 else b"" for i in source.tolist()],
        vectors=vectors,
        usable=usable,
        drops=[*rows.drops, *drops],
    )
