"""Each way to search: what it may propose, what it may not miss, what it does without memory."""

import logging
import subprocess
import sys

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.image.backends import (
    BlasSearch,
    Candidates,
    CandidateSearch,
    FaissSearch,
    TopKSearch,
)
from conceptaudit.image.exact import (
    BACKENDS,
    SMALLEST_BLOCK,
    OomSafeSearch,
    choose_backend,
    open_backend,
)
from conceptaudit.image.torch_product import TorchSearch, _positions
from conceptaudit.image.vectors import in_parts, unit_rows
from conceptaudit.records import Float32Array, Int64Array


def flat_searcher(vectors: Float32Array) -> faiss.IndexFlatIP:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return index


def unit(rng: np.random.Generator, n: int, dimension: int) -> Float32Array:
    return unit_rows(rng.standard_normal((n, dimension)).astype(np.float32))


def as_set(proposals: Candidates) -> set[tuple[int, int]]:
    rows, concept_ids = proposals
    order = list(zip(rows.tolist(), concept_ids.tolist(), strict=True))
    assert order == sorted(order)
    return set(order)


def exact(images: Float32Array, concepts: Float32Array, thresholds: Float32Array) -> set:
    scores = images.astype(float) @ concepts.astype(float).T
    return set(zip(*(c.tolist() for c in np.nonzero(scores >= thresholds)), strict=True))


class Counting:
    """A real flat index that counts what it is asked."""

    def __init__(self, vectors: Float32Array) -> None:
        self.searcher, self.size = flat_searcher(vectors), len(vectors)

    def add(self, vectors: Float32Array) -> None:
        raise AssertionError("a part of the concepts is never added to")

    def search(self, queries: Float32Array, k: int) -> tuple[Float32Array, Int64Array]:
        assert k <= self.size
        return self.searcher.search(queries, k)


@given(st.integers(0, 2**32), st.integers(1, 9), st.floats(-1, 0.6))
@settings(max_examples=40, deadline=None)
def test_top_k_searches_lose_nothing(seed: int, k: int, threshold: float) -> None:
    """However many concepts an image shows, and with concepts that repeat."""
    rng = np.random.default_rng(seed)
    images, concepts = unit(rng, 20, 6), unit(rng, 23, 6)
    concepts[10:15] = concepts[3]
    thresholds = np.full(23, threshold, dtype=np.float32)
    found = as_set(TopKSearch(concepts, thresholds, Counting, k=k).candidates(images))
    assert found >= exact(images, concepts, thresholds)
    assert found == as_set(FaissSearch(concepts, thresholds).candidates(images))


def test_top_k_searches_ask_again_only_where_they_must() -> None:
    asked: list[int] = []

    class Asked(Counting):
        def search(self, queries: Float32Array, k: int) -> tuple[Float32Array, Int64Array]:
            asked.append(len(queries))
            return super().search(queries, k)

    concepts = np.eye(64, dtype=np.float32)
    images = np.eye(64, dtype=np.float32)[:10]
    images[0] = unit_rows(np.ones((1, 64), np.float32))  # shows all of them a little
    found = TopKSearch(concepts, np.full(64, 0.1, np.float32), Asked, k=4).candidates(images)
    assert len(found[0]) == 64 + 9
    assert asked[0] == 10
    assert set(asked[1:]) == {1}


@given(st.integers(0, 2**32), st.integers(2, 600), st.floats(-1, 1))
@settings(max_examples=30, deadline=None)
def test_half_precision_loses_nothing(seed: int, dimension: int, threshold: float) -> None:
    """Thresholds anywhere, at scores that occur, with rows of very unequal numbers."""
    rng = np.random.default_rng(seed)
    spread = np.exp(rng.normal(0, 3, dimension)).astype(np.float32)
    images = unit_rows(unit(rng, 300, dimension) * spread)
    concepts = unit_rows(unit(rng, 12, dimension) * spread[::-1])
    thresholds = np.full(12, threshold, dtype=np.float32)
    scores = images.astype(float) @ concepts.astype(float).T
    thresholds[:6] = np.clip(scores[:6, :6].diagonal(), -1, 1).astype(np.float32)
    found = as_set(TorchSearch(concepts, thresholds).candidates(images))
    canonical = exact(images, concepts, thresholds.astype(float))
    assert found >= canonical
    near = exact(images, concepts, thresholds.astype(float) - 0.02)
    assert found <= near


@pytest.mark.parametrize("name", ["blas", "faiss", "torch"])
def test_concepts_may_have_any_length(name: str) -> None:
    """Calibrated concept vectors are directions with a scale."""
    rng = np.random.default_rng(8)
    images, concepts = unit(rng, 600, 300), unit(rng, 20, 300) * 7.0
    concepts[:10] *= 0.01
    exact_scores = images.astype(float) @ concepts.astype(float).T
    thresholds = np.clip(exact_scores[:20].diagonal(), -1, 1).astype(np.float32)
    backend = open_backend(name, concepts, thresholds, device="cpu")
    assert as_set(backend.candidates(images)) >= exact(images, concepts, thresholds.astype(float))


def test_the_margin_of_half_precision_covers_what_rounding_does() -> None:
    rng = np.random.default_rng(3)
    images, concepts = unit(rng, 2000, 512), unit(rng, 500, 512)
    rough = (torch.from_numpy(images).bfloat16() @ torch.from_numpy(concepts).bfloat16().T).float()
    gap = np.abs(rough.numpy() - images.astype(float) @ concepts.astype(float).T).max()
    search = TorchSearch(concepts, np.full(500, 0.5, np.float32))
    _, floors = search._rounded(images)
    margin = 0.5 - float(floors.float().max())
    assert gap < margin < 0.006


@pytest.mark.parametrize("name", ["blas", "faiss", "torch"])
def test_backends_propose_the_same_whatever_the_block(name: str) -> None:
    rng = np.random.default_rng(5)
    images, concepts = unit(rng, 3000, 24), unit(rng, 40, 24)
    thresholds = np.full(40, 0.4, dtype=np.float32)
    backend = open_backend(name, concepts, thresholds, device="cpu")
    whole = as_set(backend.candidates(images))
    assert whole >= exact(images, concepts, thresholds)
    rows, ids = backend.candidates(images[1000:1001])
    assert {(1000 + int(r), int(c)) for r, c in zip(rows, ids, strict=True)} <= whole
    assert len(backend.candidates(images[:0])[0]) == 0


class Cramped:
    """A backend with room for so many images, as a GPU that others use too."""

    def __init__(self, proposer: CandidateSearch, room: int, error: type[Exception]) -> None:
        self.proposer, self.room, self.error = proposer, room, error
        self.sizes: list[int] = []

    def candidates(self, images: Float32Array) -> Candidates:
        self.sizes.append(len(images))
        if len(images) > self.room:
            raise self.error("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return self.proposer.candidates(images)


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_less_memory_means_smaller_blocks(
    error: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(6)
    images, concepts = unit(rng, 5000, 16), unit(rng, 9, 16)
    thresholds = np.full(9, 0.3, dtype=np.float32)
    plain = BlasSearch(concepts, thresholds)
    cramped = Cramped(plain, 1100, error)
    search = OomSafeSearch(cramped, lambda: plain, block=4096)
    with caplog.at_level(logging.WARNING):
        found = as_set(search.candidates(images))
    assert found == as_set(plain.candidates(images))
    assert search.block == 1024
    assert "blocks of 1024" in caplog.text
    assert "CPU" not in caplog.text
    cramped.sizes.clear()
    search.candidates(images[:2048])
    assert cramped.sizes == [1024, 1024]


def test_no_memory_at_all_means_the_cpu(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(7)
    images, concepts = unit(rng, 700, 16), unit(rng, 9, 16)
    thresholds = np.full(9, 0.3, dtype=np.float32)
    plain = BlasSearch(concepts, thresholds)
    cramped = Cramped(plain, 0, torch.OutOfMemoryError)
    search = OomSafeSearch(cramped, lambda: plain, block=4096)
    with caplog.at_level(logging.WARNING):
        assert as_set(search.candidates(images)) == as_set(plain.candidates(images))
    assert "going on with the CPU" in caplog.text
    cramped.sizes.clear()
    search.candidates(images)
    assert cramped.sizes == []
    last = OomSafeSearch(cramped, None, block=SMALLEST_BLOCK)
    with pytest.raises(torch.OutOfMemoryError):
        last.candidates(images)


def test_other_errors_are_not_taken_for_want_of_memory() -> None:
    class Broken:
        def candidates(self, images: Float32Array) -> Candidates:
            raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="assert"):
        OomSafeSearch(Broken(), None, block=1024).candidates(np.zeros((1, 2), np.float32))


def test_parts_cover_everything_once() -> None:
    for n in (0, 1, 255, 512, 5000):
        assert sum(in_parts(n, lambda a, b: list(range(a, b))), []) == list(range(n))  # noqa: RUF017 -- short


def test_automatic_choice_is_one_that_is_there() -> None:
    assert choose_backend("cpu") in BACKENDS
    with pytest.raises(ConfigError, match="conceptaudit"):
        open_backend("faiss-gpu", np.eye(3, dtype=np.float32), np.zeros(3, np.float32))


def test_without_faiss_the_error_says_what_to_install() -> None:
    code = """
import sys
sys.modules["faiss"] = None
import numpy as np
from conceptaudit.errors import MissingDependencyError
from conceptaudit.image.exact import ThresholdSearch
concepts = np.eye(3, dtype=np.float32)
assert len(ThresholdSearch(concepts, np.ones(3)).find(concepts).rows) == 3
for backend in ("faiss", "faiss-gpu"):
    try:
        ThresholdSearch(concepts, np.ones(3), backend)
    except MissingDependencyError as error:
        assert "conceptaudit[cpu]" in str(error) and "conceptaudit[gpu]" in str(error)
    else:
        raise SystemExit(f"{backend} did not complain")
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_searcher_is_what_faiss_offers() -> None:
    searcher = flat_searcher(np.eye(3, dtype=np.float32))
    scores, positions = searcher.search(np.eye(3, dtype=np.float32)[:1], 2)
    assert scores.shape == positions.shape == (1, 2)
    assert issubclass(MissingDependencyError, ImportError)


@pytest.mark.parametrize("most", [1, 7, 12, 10**9])
def test_flags_beyond_what_a_gpu_takes_at_once_are_looked_at_in_parts(most: int) -> None:
    flags = torch.from_numpy(np.random.default_rng(0).random((9, 6)) < 0.4)
    assert _positions(flags, most).tolist() == np.flatnonzero(flags.numpy()).tolist()
    assert _positions(flags[:0], most).tolist() == []
