"""Take the next items in a thread of their own while this one is worked on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")

ITEMS_AHEAD = 2
"""Batches that wait at most: 8 MB each at 2,048 rows of 512 numbers."""

_END = object()


def prefetch(items: Iterable[Item], depth: int = ITEMS_AHEAD) -> Iterator[Item]:
    """Yield the same items in the same order, taken by a thread of their own.

    Parameters
    ----------
    items : iterable
        Taken up to `depth` items before they are asked for. An error that it raises is raised
        here, after the items that came before it. A generator is closed where no more is asked.
    depth : int
        At least 1.

    Examples
    --------
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
