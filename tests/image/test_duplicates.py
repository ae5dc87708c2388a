"""Duplicates: groups planted by hand, chains that must not join, sharding that must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.image.duplicates import find_duplicates, stars
from conceptaudit.image.similarity_join import Matches, find_matches, match_among
from conceptaudit.image.vectors import unit_rows


def unit(rng: np.random.Generator, n: int, dimension: int) -> np.ndarray:
    return unit_rows(rng.standard_normal((n, dimension)).astype(np.float32))


def planted(rng: np.random.Generator, n: int, dimension: int, copies: int) -> np.ndarray:
    """Unrelated vectors, then noisy copies of the first ones at a similarity of about 0.99."""
    vectors = unit(rng, n, dimension)
    noise = unit(rng, copies, dimension) * 0.14
    return unit_rows(np.concatenate([vectors, vectors[:copies] + noise]))


def angle(degrees: float) -> list[float]:
    return [np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]


def test_exact_near_and_unrelated() -> None:
    vectors = np.array([angle(0), angle(0), angle(5), angle(90), angle(94), angle(180)])
    groups = find_duplicates(vectors.astype(np.float32), np.cos(np.radians(6)))
    assert groups.representative.tolist() == [0, 0, 0, 3, 3, 5]
    assert groups.exact.tolist() == [True, True, False, True, False, True]
    assert groups.n_unique == 3
    assert groups.similarity[2] == pytest.approx(np.cos(np.radians(5)), abs=1e-6)


def test_without_a_threshold_only_equal_vectors_are_duplicates() -> None:
    vectors = np.array([angle(0), angle(0.1), angle(0)], dtype=np.float16)
    assert find_duplicates(vectors).representative.tolist() == [0, 1, 0]
    named = find_duplicates(vectors, identities=["a", "a", "b"])
    assert named.representative.tolist() == [0, 0, 2]


def test_equal_vectors_of_different_files_are_near_not_exact() -> None:
    vectors = np.array([angle(0), angle(0)], dtype=np.float32)
    groups = find_duplicates(vectors, 0.9, identities=["a.jpg", "a.png"])
    assert groups.representative.tolist() == [0, 0]
    assert groups.exact.tolist() == [True, False]


def test_a_chain_does_not_swallow_the_corpus() -> None:
    """A film of 180 frames, each like the next: every member is still like its representative."""
    film = np.array([angle(frame) for frame in range(180)], dtype=np.float32)
    threshold = np.cos(np.radians(1.5))
    groups = find_duplicates(film, threshold)
    apart = np.abs(np.arange(180) - groups.representative)
    assert apart.max() == 1
    assert 60 <= groups.n_unique <= 90


@given(st.integers(0, 2**32), st.floats(0.3, 0.99))
@settings(max_examples=30, deadline=None)
def test_every_member_resembles_its_representative(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = planted(rng, 40, 4, 20)
    groups = find_duplicates(vectors, threshold)
    products = np.einsum("ij,ij->i", vectors, vectors[groups.representative])
    assert (products >= threshold - 1e-5).all()
    np.testing.assert_allclose(groups.similarity, products, atol=1e-5)
    centres = groups.representative
    assert (centres[centres] == centres).all()
    lonely = np.flatnonzero(np.bincount(centres, minlength=60)[centres] == 1)
    near = vectors[lonely] @ vectors[lonely].T - np.eye(len(lonely))
    assert (near < threshold + 1e-5).all(), "two pictures alike, both left alone"


@given(st.integers(0, 2**32), st.floats(0.2, 0.95))
@settings(max_examples=20, deadline=None)
def test_pairs_equal_brute_force(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng, 50, 3)
    scores = np.einsum("ik,jk->ij", vectors, vectors)
    found = match_among(vectors, threshold, limit=50)
    assert list(zip(found.rows, found.columns, strict=True)) == list(
        zip(*np.nonzero(np.tril(scores >= np.float32(threshold), -1)), strict=True)
    )
    queries = unit(rng, 20, 3)
    found = find_matches(queries, vectors, threshold, limit=50)
    want = np.einsum("ik,jk->ij", queries, vectors) >= np.float32(threshold)
    assert list(zip(found.rows, found.columns, strict=True)) == list(
        zip(*np.nonzero(want), strict=True)
    )


def test_cells_find_what_a_full_comparison_finds() -> None:
    vectors = planted(np.random.default_rng(0), 3000, 32, 400)
    full = match_among(vectors, 0.97)
    cells = match_among(vectors, 0.97, exact_pairs=0)
    assert (full.approximate, cells.approximate) == (False, True)
    assert len(full.rows) >= 390
    pairs = [set(zip(m.rows.tolist(), m.columns.tolist(), strict=True)) for m in (full, cells)]
    assert pairs[1] <= pairs[0]
    assert len(pairs[1]) >= 0.98 * len(pairs[0])
    again = match_among(vectors, 0.97, exact_pairs=0)
    np.testing.assert_array_equal(again.scores, cells.scores)
    leaks = [find_matches(vectors[3000:], vectors[:3000], 0.97, exact_pairs=n) for n in (0, 10**9)]
    assert len(leaks[0].rows) >= 0.98 * len(leaks[1].rows) > 380


def test_a_clump_of_copies_takes_bounded_memory() -> None:
    rng = np.random.default_rng(0)
    clump = unit_rows(np.array([1.0, 0, 0, 0]) + 0.001 * rng.standard_normal((2000, 4)))
    for exact_pairs, most in ((10**9, 1), (0, 400)):
        found = match_among(clump, 0.99, limit=5, exact_pairs=exact_pairs)
        assert np.bincount(found.rows).max() == 5
        # cells see a part of the clump each, and so may leave several representatives of it
        assert len(np.unique(stars(found, 2000)[0])) <= most


def test_half_precision_and_any_length_give_the_same_groups() -> None:
    vectors = planted(np.random.default_rng(1), 200, 64, 50)
    want = find_duplicates(vectors, 0.95).representative
    for other in (vectors.astype(np.float16), vectors * 7):
        np.testing.assert_array_equal(find_duplicates(other, 0.95).representative, want)
    assert len(np.unique(want)) == 200


def test_nothing_to_compare() -> None:
    empty = np.empty((0, 4), dtype=np.float32)
    assert find_duplicates(empty, 0.9).n_unique == 0
    assert len(find_matches(empty, np.eye(4, dtype=np.float32), 0.9).rows) == 0
    none = Matches(rows=np.empty(0, int), columns=np.empty(0, int), scores=np.empty(0, np.float32))
    assert stars(none, 3)[0].tolist() == [0, 1, 2]


def test_bad_calls() -> None:
    eye = np.eye(3, dtype=np.float32)
    with pytest.raises(ConfigError, match=r"\(0, 1\]"):
        find_duplicates(eye, 1.5)
    with pytest.raises(ConfigError, match="one identity per vector"):
        find_duplicates(eye, identities=["a"])
    with pytest.raises(ConfigError, match="different models"):
        find_matches(eye, np.eye(4, dtype=np.float32), 0.9)
    with pytest.raises(ConfigError, match=r"threshold.*\(0, 1\]"):
        find_matches(eye, eye, float("nan"))
    with pytest.raises(ConfigError, match="limit"):
        match_among(eye, 0.5, limit=0)
