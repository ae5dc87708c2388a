"""Recall of a few queries, and what so few can tell."""

import numpy as np
import pytest

from conceptaudit.image.index.recall import Z90, ExactNeighbours
from conceptaudit.image.index.store import VectorBlock


def neighbours(n_queries: int) -> ExactNeighbours:
    vectors = np.eye(8, dtype=np.float32)
    exact = ExactNeighbours(np.arange(n_queries), vectors[:n_queries], 1)
    mixed = vectors + 0.1 * np.roll(vectors, 1, axis=1)
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    exact.add(VectorBlock(sample_ids=np.arange(8), keys=[str(i) for i in range(8)], vectors=mixed))
    return exact


@pytest.mark.parametrize("found", [0, 1])
def test_queries_that_agree_leave_room_for_those_that_do_not(found):
    """Of five queries that all succeed 0.65 is Wilson's lower end; no deviation is seen."""
    exact = neighbours(5)
    answers = (np.arange(5)[:, None] + [-1 if found else 3, -1 if found else 4]) % 8
    best = exact.recall(answers)
    assert best.value == pytest.approx(found)
    assert best.high - best.low == pytest.approx(Z90**2 / (5 + Z90**2))
    assert best.low <= best.value <= best.high


def test_without_queries_nothing_is_known():
    none = neighbours(0).recall(np.zeros((0, 2), dtype=np.int64))
    assert (none.low, none.high, none.n_queries) == (0.0, 1.0, 0)
