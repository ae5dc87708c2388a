"""Reading ahead changes nothing but the time."""

import threading
from collections.abc import Iterator

import pytest

from conceptaudit.image.decode_pool import prefetch


@pytest.mark.parametrize("n", [0, 1, 7])
def test_same_items_in_order(n: int) -> None:
    assert list(prefetch(iter(range(n)), depth=2)) == list(range(n))


def test_an_error_comes_after_the_items_before_it() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise ValueError("row 2")

    stream = prefetch(items())
    seen = [next(stream)]
    with pytest.raises(ValueError, match="row 2"):
        next(stream)
    assert seen == [1]


def test_no_more_is_taken_than_asked_for_and_no_thread_is_left() -> None:
    taken = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    stream = prefetch(items(), depth=2)
    assert next(stream) == 0
    stream.close()
    assert len(taken) < 10
    assert not [t for t in threading.enumerate() if "read-ahead" in t.name]
