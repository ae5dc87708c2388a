"""Decode images in threads, ahead of the model that waits for them.

Pillow lets go of the interpreter while it decodes and scales, so threads decode on all processors.
A further thread reads the files and puts blocks together, so that the caller's thread has nothing
to do but run the model. Blocks come in the order of the images, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from conceptaudit.image.decode import UndecodableImageError, decode_quietly, quiet_pillow
from conceptaudit.image.prefetch import prefetch
from conceptaudit.image.thumbnails import thumbnail_of

if TYPE_CHECKING:
    from PIL import Image

CHUNK = 8
"""Images that a thread takes at a time: handing over one by one costs a small model 5 %."""

BLOCKS_AHEAD = 2
"""Blocks that are decoded while the model works on one: 10 MB each at 64 images of 224 pixels."""


class Preparer(Protocol):
    """Turns a decoded image into the model's input."""

    def prepare(self, image: Image.Image) -> Any:
        """Scale and crop one RGB image; returns a tensor of shape (3, height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Images for one forward pass.

    Parameters
    ----------
    numbers : list of int, length n
        Positions among all images, rising.
    pixels : torch.Tensor, shape (n, 3, height, width)
    thumbnails : list of bytes, length n
        See `conceptaudit.image.thumbnails`; empty where they were not asked for.
    """

    numbers: list[int]
    pixels: Any
    thumbnails: list[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image that cannot be used, and why."""

    number: int
    reason: str
    detail: str


def load_blocks(
    images: Iterable[bytes],
    model: Preparer,
    *,
    size: int,
    threads: int,
    thumbnails: bool = False,
    pinned: bool = False,
) -> Iterator[Block | Failure]:
    """Decode images and stack them in blocks.

    Parameters
    ----------
    images : iterable of bytes
        Encoded image files; taken a few blocks ahead of what is yielded, by another thread.
    model : Preparer
        Whose input the images become.
    size : int
        Images per block, at least 1; the last one may be smaller.
    threads : int
        That decode, at least 1; changes no result.
    thumbnails : bool, default False
        Whether thumbnails are taken, too.
    pinned : bool, default False
        Whether blocks lie in page-locked memory, from which a GPU copies without being waited for.

    Yields
    ------
    Block or Failure
        In the order of the images.
    """
    with quiet_pillow():
        yield from prefetch(
            _blocks(images, model, size, threads, thumbnails=thumbnails, pinned=pinned), depth=1
        )


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Some images: those that are prepared, in one tensor, and the others."""

    numbers: list[int]
    pixels: Any
    thumbnails: list[bytes]
    failures: list[Failure]


def _blocks(
    images: Iterable[bytes],
    model: Preparer,
    size: int,
    threads: int,
    *,
    thumbnails: bool,
    pinned: bool,
) -> Iterator[Block | Failure]:
    def load(first: int, files: list[bytes]) -> _Chunk:
        return _prepared(first, files, model, thumbnails=thumbnails)

    chunks: deque[Future[_Chunk]] = deque()
    source = iter(images)
    first = n_ready = 0
    ready: list[_Chunk] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(chunks) * CHUNK < size * BLOCKS_AHEAD:
                    files = list(islice(source, CHUNK))
                    if not files:
                        break
                    chunks.append(pool.submit(load, first, files))
                    first += len(files)
                if not chunks:
                    break
                chunk = chunks.popleft().result()
                yield from chunk.failures
                if chunk.numbers:
                    ready.append(chunk)
                    n_ready += len(chunk.numbers)
                while n_ready >= size:
                    yield _stacked(ready, size, pinned=pinned)
                    n_ready -= size
            if n_ready:
                yield _stacked(ready, n_ready, pinned=pinned)
        finally:
            pool.shutdown(cancel_futures=True)


def _prepared(first: int, files: list[bytes], model: Preparer, *, thumbnails: bool) -> _Chunk:
    """Decode some images."""
    import torch

    numbers, pixels, small, failures = [], [], [], []
    for number, data in enumerate(files, first):
        try:
            image = decode_quietly(data)
            pixels.append(model.prepare(image))
        except UndecodableImageError as error:
            failures.append(Failure(number=number, reason=error.reason, detail=error.detail))
            continue
        numbers.append(number)
        small.append(thumbnail_of(image) if thumbnails else b"")
    return _Chunk(numbers, torch.stack(pixels) if pixels else None, small, failures)


def _stacked(ready: list[_Chunk], size: int, *, pinned: bool) -> Block:
    """Put the first images together and leave the others."""
    import torch

    numbers: list[int] = []
    thumbnails: list[bytes] = []
    parts: list[Any] = []
    while len(numbers) < size:
        chunk = ready.pop(0)
        n = size - len(numbers)
        if n < len(chunk.numbers):
            rest = _Chunk(chunk.numbers[n:], chunk.pixels[n:], chunk.thumbnails[n:], [])
            ready.insert(0, rest)
        numbers += chunk.numbers[:n]
        thumbnails += chunk.thumbnails[:n]
        parts.append(chunk.pixels[:n])
    shape = (size, *parts[0].shape[1:])
    pixels = torch.empty(shape, dtype=parts[0].dtype, pin_memory=pinned)
    torch.cat(parts, out=pixels)
    return Block(numbers=numbers, pixels=pixels, thumbnails=thumbnails)
