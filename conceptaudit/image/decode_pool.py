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
from queue import Queue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from conceptaudit.image.decode import UndecodableImageError, decode_quietly, quiet_pillow
from conceptaudit.image.thumbnails import thumbnail_of

if TYPE_CHECKING:
    from PIL import Image


Item = TypeVar("Item")

ITEMS_AHEAD = 2
"""Batches that wait at most: 8 MB each at 2,048 rows of 512 numbers."""

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
    """Images for one forward pass."""

    numbers: list[int]  # positions among all images, rising
    pixels: Any  # shape (n, 3, height, width)
    # see `conceptaudit.image.thumbnails`; empty where they were not asked for
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
    """Decode images and stack them in blocks."""
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
