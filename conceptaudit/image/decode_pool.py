"""Decode images in threads, ahead of the model that waits for them.

Pillow lets go of the interpreter while it decodes and scales, so threads decode on all processors.
A further thread reads the files and puts blocks together, so that the caller's thread has nothing
to do but run the model. Blocks come in the order of the images, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from conceptaudit.image.decode import UndecodableImageError, decode_quietly, quiet_pillow
from conceptaudit.image.thumbnails import thumbnail_of
from conceptaudit.records import Drop

if TYPE_CHECKING:
    from PIL import Image


Item = TypeVar("Item")

ITEMS_AHEAD = 2  # batches that wait at most: 8 MB each at 2,048 rows of 512 numbers

_END = object()


def prefetch(items: Iterable[Item], depth: int = ITEMS_AHEAD) -> Iterator[Item]:
    """Yield the same items in the same order, taken by a thread of their own.

    >>> list(prefetch(range(5)))
    [0, 1, 2, 3, 4]
    """
    waiting: Queue[object] = Queue(depth)
    unwanted = Event()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            for item in items:
                waiting.put(item)
                if unwanted.is_set():
                    close = getattr(items, "close", None)
                    if close is not None:
                        close()
                    return
        except BaseException as error:  # noqa: BLE001 -- raised again where the items are used
            errors.append(error)
        finally:
            waiting.put(_END)

    thread = Thread(target=read, name="conceptaudit-prefetch", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not _END:
            yield item  # type: ignore[misc] # the queue holds items and the end mark alone
        if errors:
            raise errors[0]
    finally:
        unwanted.set()
        while thread.is_alive():
            # the reader may wait for room
            if not waiting.empty():
                waiting.get_nowait()
            thread.join(0.01)


CHUNK = 8  # images that a thread takes at a time: handing over one by one costs a small model 5 %

BLOCKS_AHEAD = 2
"""Blocks that are decoded while the model works on one: 10 MB each at 64 images of 224 pixels."""


class Preparer(Protocol):
    """Turns a decoded image into the model's input."""

    def prepare(self, image: Image.Image) -> Any:
        """Scale and crop one RGB image; returns a tensor of shape (3, height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Images for one forward pass."""

    numbers: list[int]  # positions among all images, rising
    pixels: Any  # torch.Tensor, shape (n, 3, height, width)
    thumbnails: list[bytes]  # empty where they were not asked for

    def cut(self, n: int) -> tuple[Block, Block]:
        """Split off the first n images."""
        return self._part(slice(n)), self._part(slice(n, None))

    def _part(self, rows: slice) -> Block:
        return Block(
            numbers=self.numbers[rows], pixels=self.pixels[rows], thumbnails=self.thumbnails[rows]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An image that cannot be used, and why."""

    number: int
    reason: str
    detail: str

    def drop(self, sample_id: int, key: str) -> Drop:
        """Return what is recorded of a sample with this image."""
        return Drop(
            sample_id=sample_id, key=key, part="image", reason=self.reason, detail=self.detail
        )


Prepared = tuple[Block | None, list[Failure]]


def load_blocks(
    images: Iterable[bytes],
    model: Preparer,
    *,
    size: int,
    threads: int,
    thumbnails: bool = False,
    pinned: bool = False,
) -> Iterator[Block | Failure]:
    """Decode images and stack them in blocks of `size`, in order; the last may be smaller.

    Images are taken a few blocks ahead, by another thread. Pinned blocks lie in page-locked
    memory, from which a GPU copies without being waited for.
    """
    prepare = partial(_prepared, model, thumbnails)
    with quiet_pillow():
        yield from prefetch(_blocks(images, prepare, size, threads, pinned=pinned), depth=1)


def _blocks(
    images: Iterable[bytes],
    prepare: Callable[[int, list[bytes]], Prepared],
    size: int,
    threads: int,
    *,
    pinned: bool,
) -> Iterator[Block | Failure]:
    chunks: deque[Future[Prepared]] = deque()
    source = iter(images)
    first = n_ready = 0
    ready: deque[Block] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(chunks) * CHUNK < size * BLOCKS_AHEAD:
                    files = list(islice(source, CHUNK))
                    if not files:
                        break
                    chunks.append(pool.submit(prepare, first, files))
                    first += len(files)
                if not chunks:
                    break
                chunk, failures = chunks.popleft().result()
                yield from failures
                if chunk is not None:
                    ready.append(chunk)
                    n_ready += len(chunk.numbers)
                while n_ready >= size:
                    yield _stacked(ready, size, pinned=pinned)
                    n_ready -= size
            if n_ready:
                yield _stacked(ready, n_ready, pinned=pinned)
        finally:
            pool.shutdown(cancel_futures=True)


def _prepared(model: Preparer, thumbnails: bool, first: int, files: list[bytes]) -> Prepared:
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
    if not numbers:
        return None, failures
    return Block(numbers=numbers, pixels=torch.stack(pixels), thumbnails=small), failures


def _stacked(ready: deque[Block], size: int, *, pinned: bool) -> Block:
    """Put the first images together and leave the others."""
    import torch

    parts: list[Block] = []
    missing = size
    while missing:
        part = ready.popleft()
        if missing < len(part.numbers):
            part, rest = part.cut(missing)
            ready.appendleft(rest)
        parts.append(part)
        missing -= len(part.numbers)
    like = parts[0].pixels
    pixels = torch.empty((size, *like.shape[1:]), dtype=like.dtype, pin_memory=pinned)
    torch.cat([part.pixels for part in parts], out=pixels)
    return Block(
        numbers=[number for part in parts for number in part.numbers],
        pixels=pixels,
        thumbnails=[data for part in parts for data in part.thumbnails],
    )
