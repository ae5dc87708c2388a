"""Decode pictures in threads, ahead of the model that waits for them.

Pillow lets go of the interpreter while it decodes and scales, so threads decode on all processors,
and the next blocks are ready when the model has done with this one. Blocks come in the order of
the pictures, whatever the number of threads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from conceptaudit.image.decode import UndecodableImageError, decode_quietly, quiet_pillow

if TYPE_CHECKING:
    from PIL import Image

CHUNK = 8
"""Pictures that a thread takes at a time: handing over one by one costs a small model 5 %."""

BLOCKS_AHEAD = 2
"""Blocks that are decoded while the model works on one: 20 MB each at 224 pixels a side."""


class Preparer(Protocol):
    """Turns a decoded picture into the model's input."""

    def prepare(self, image: Image.Image) -> Any:
        """Scale and crop one RGB picture; returns a tensor of shape (3, height, width)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Pictures for one forward pass.

    Parameters
    ----------
    numbers : list of int, length n
        Positions among all pictures, rising.
    pixels : torch.Tensor, shape (n, 3, height, width)
    """

    numbers: list[int]
    pixels: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A picture that cannot be used, and why."""

    number: int
    reason: str
    detail: str


def load_blocks(
    pictures: Iterable[bytes], model: Preparer, *, size: int, threads: int
) -> Iterator[Block | Failure]:
    """Decode pictures and stack them in blocks.

    Parameters
    ----------
    pictures : iterable of bytes
        Encoded image files; taken a few blocks ahead of what is yielded.
    model : Preparer
        Whose input the pictures become.
    size : int
        Pictures per block, at least 1; the last one may be smaller.
    threads : int
        At least 1; changes no result.

    Yields
    ------
    Block or Failure
        In the order of the pictures.
    """
    import torch

    def load(chunk: list[bytes]) -> list[Any]:
        return [_prepared(data, model) for data in chunk]

    waiting: deque[Future[list[Any]]] = deque()
    numbers: list[int] = []
    pixels: list[Any] = []
    source = iter(pictures)
    done = 0
    with quiet_pillow(), ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        try:
            while True:
                while len(waiting) * CHUNK < size * BLOCKS_AHEAD:
                    chunk = list(islice(source, CHUNK))
                    if not chunk:
                        break
                    waiting.append(pool.submit(load, chunk))
                if not waiting:
                    break
                for loaded in waiting.popleft().result():
                    if isinstance(loaded, UndecodableImageError):
                        yield Failure(number=done, reason=loaded.reason, detail=loaded.detail)
                    else:
                        numbers.append(done)
                        pixels.append(loaded)
                    done += 1
                    if len(pixels) == size:
                        yield Block(numbers=numbers, pixels=torch.stack(pixels))
                        numbers, pixels = [], []
            if pixels:
                yield Block(numbers=numbers, pixels=torch.stack(pixels))
        finally:
            pool.shutdown(cancel_futures=True)


def _prepared(data: bytes, model: Preparer) -> Any:
    """Return the model's input, or the error that says why there is none."""
    try:
        return model.prepare(decode_quietly(data))
    except UndecodableImageError as error:
        return error
