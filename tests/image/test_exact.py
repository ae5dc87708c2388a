"""The exact tagger loses nothing, whatever the backend, and decides ties the same way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.image.backends import BLOCK_IMAGES
from conceptaudit.image.exact import ThresholdSearch
from conceptaudit.image.vectors import pair_scores, rounding_margin, unit_rows

BACKENDS = ("blas", "faiss", "torch")


def unit(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    return unit_rows(rng.standard_normal((n, dimension)).astype(np.float32))


def pairs(search: ThresholdSearch, images: np.ndarray) -> list[tuple[int, int]]:
    hits = search.find(images)
    return list(zip(hits.rows.tolist(), hits.concept_ids.tolist(), strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_equals_brute_force(backend: str) -> None:
    rng = np.random.default_rng(1)
    images, concepts = unit(rng, BLOCK_IMAGES * 2 + 7, 48), unit(rng, 130, 48)
    thresholds = rng.uniform(0.1, 0.5, 130)
    truth = images.astype(float) @ concepts.astype(float).T >= thresholds
    found = pairs(ThresholdSearch(concepts, thresholds, backend), images)
    assert found == list(zip(*np.nonzero(truth), strict=True))


@given(st.integers(0, 2**32), st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_backends_agree_on_ties(seed: int, dimension: int) -> None:
    """Thresholds set to scores that occur, where float32 backends round differently."""
    rng = np.random.default_rng(seed)
    images, concepts = unit(rng, 60, dimension), unit(rng, 9, dimension)
    exact = np.einsum("ij,kj->ik", images.astype(float), concepts.astype(float))
    thresholds = np.clip(exact[rng.integers(0, 60, 9), np.arange(9)], -1, 1)
    found = [pairs(ThresholdSearch(concepts, thresholds, name), images) for name in BACKENDS]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_orthonormal_concepts(backend: str) -> None:
    concepts = np.eye(4, dtype=np.float32)
    search = ThresholdSearch(concepts, np.full(4, 1.0), backend)
    assert pairs(search, concepts) == [(i, i) for i in range(4)]
    assert search.find(concepts).scores.tolist() == [1.0] * 4


@given(st.integers(0, 2**32), st.floats(-1, 1), st.floats(0, 0.5))
@settings(max_examples=30, deadline=None)
def test_a_higher_threshold_adds_no_hit(seed: int, low: float, step: float) -> None:
    rng = np.random.default_rng(seed)
    images, concepts = unit(rng, 20, 8), unit(rng, 5, 8)
    high = min(low + step, 1.0)
    few, many = (set(pairs(ThresholdSearch(concepts, np.full(5, t)), images)) for t in (high, low))
    assert few <= many


def test_no_images_and_no_hits() -> None:
    search = ThresholdSearch(np.eye(3, dtype=np.float32), np.ones(3))
    assert len(search.find(np.empty((0, 3), dtype=np.float32)).rows) == 0
    assert len(search.find(np.full((2, 3), 0.1, dtype=np.float32)).rows) == 0


def test_the_margin_bounds_float32_rounding() -> None:
    rng = np.random.default_rng(0)
    a, b = unit(rng, 2000, 512), unit(rng, 2000, 512)
    rough = np.einsum("ij,ij->i", a, b)
    exact = np.einsum("ij,ij->i", a.astype(float), b.astype(float))
    assert np.abs(rough - exact).max() < rounding_margin(512) < 1e-3


def test_scores_do_not_depend_on_how_pairs_are_cut() -> None:
    """The same product for a pair alone, among few and among many, in one thread or in two."""
    rng = np.random.default_rng(4)
    a, b = unit(rng, 50, 129), unit(rng, 40, 129)
    rows, columns = rng.integers(0, 50, 3000), rng.integers(0, 40, 3000)
    many = pair_scores(a, rows, b, columns)
    alone = [pair_scores(a, rows[i : i + 1], b, columns[i : i + 1])[0] for i in range(600)]
    assert many[:600].tolist() == [float(score) for score in alone]


def test_bad_calls() -> None:
    concepts = np.eye(3, dtype=np.float32)
    with pytest.raises(ConfigError, match="different models"):
        ThresholdSearch(concepts, np.zeros(3)).find(np.zeros((1, 4), dtype=np.float32))
    with pytest.raises(ConfigError, match="one threshold per concept"):
        ThresholdSearch(concepts, np.zeros(2))
    with pytest.raises(ConfigError, match=r"\[-1, 1\]"):
        ThresholdSearch(concepts, np.full(3, 1.5))
    with pytest.raises(ConfigError, match="backend"):
        ThresholdSearch(concepts, np.zeros(3), "abacus")
    with pytest.raises(ConfigError, match="device"):
        ThresholdSearch(concepts, np.zeros(3), "torch", device="tpu")
