"""Counts from judged samples."""

import numpy as np
import pytest

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.judged import (
    BOTH,
    DIFFERENCE,
    NEITHER,
    POSTERIOR,
    TAGGED,
    JudgedSample,
    count_judged,
    share_judged,
)

N = 1_000


def world(rng: np.random.Generator, rates: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Images' cells and whether they show the concept, at these rates of the four cells."""
    cells = rng.choice(4, N, p=[0.05, 0.02, 0.03, 0.9])
    return cells, rng.random(N) < np.array(rates)[cells]


def judge(
    cells: np.ndarray, shown: np.ndarray, rows: np.ndarray, predicted: object
) -> JudgedSample:
    return JudgedSample(
        sizes=np.bincount(cells, minlength=4).astype(float),
        predicted=np.array(predicted),
        cells=cells[rows],
        present=shown[rows],
        strata=np.zeros(len(rows), dtype=int),
        stratum_sizes=np.array([float(N)]),
    )


@pytest.mark.parametrize(
    "predicted",
    [(0.9, 0.6, 0.4, 0.01), (0.01, 0.9, 0.9, 0.5), (0.5, 0.5, 0.5, 0.5)],
    ids=["right", "wrong", "empty"],
)
@pytest.mark.parametrize(("n", "method"), [(60, POSTERIOR), (700, DIFFERENCE)])
def test_intervals_hold_whatever_the_predictions_are(
    predicted: tuple[float, ...], n: int, method: str
) -> None:
    inside = joint = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        cells, shown = world(rng, (0.9, 0.6, 0.4, 0.02))
        rows = rng.choice(N, n, replace=False)
        count = count_judged(judge(cells, shown, rows, predicted), seed=seed)
        assert count.method == method
        inside += count.image[1] <= shown.sum() <= count.image[2]
        true = int((shown & (cells < TAGGED)).sum())
        joint += count.joint[1] <= true <= count.joint[2]
        assert count.joint[0] <= count.image[0] + 1e-9
    assert inside >= 0.8 * 60
    assert joint >= 0.8 * 60


def test_strata_that_were_drawn_more_often_do_not_count_more() -> None:
    estimates = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cells, shown = world(rng, (0.9, 0.6, 0.4, 0.02))
        hard = np.flatnonzero(cells != NEITHER)
        easy = np.flatnonzero(cells == NEITHER)
        rows = np.concatenate([rng.choice(hard, 50, False), rng.choice(easy, 300, False)])
        sample = JudgedSample(
            sizes=np.bincount(cells, minlength=4).astype(float),
            predicted=np.full(4, 0.3),
            cells=cells[rows],
            present=shown[rows],
            strata=np.repeat([0, 1], [50, 300]),
            stratum_sizes=np.array([float(len(hard)), float(len(easy))]),
        )
        estimates.append(count_judged(sample).image[0] / shown.sum())
    assert np.mean(estimates) == pytest.approx(1.0, abs=0.06)


def test_what_was_seen_bounds_the_count() -> None:
    cells = np.array([BOTH] * 40 + [NEITHER] * 60)
    sample = JudgedSample(
        sizes=np.array([40.0, 0.0, 0.0, 60.0]),
        predicted=np.array([0.9, 0.5, 0.5, 0.01]),
        cells=cells,
        present=cells == BOTH,
        strata=np.zeros(100, dtype=int),
        stratum_sizes=np.array([100.0]),
    )
    count = count_judged(sample)
    assert count.image == (40, 40, 40)


def test_nothing_judged_is_no_count() -> None:
    with pytest.raises(ConfigError, match="no image was judged"):
        count_judged(judge(np.zeros(3, int), np.zeros(3, bool), np.empty(0, int), [0.5] * 4))


def test_shares_of_captions() -> None:
    assert share_judged(20, 20, 5)[0] == 5
    small, large = share_judged(1_999 + 50, 50, 20), share_judged(2_001 + 50, 50, 20)
    np.testing.assert_allclose(small, large, rtol=0.01)
