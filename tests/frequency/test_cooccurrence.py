"""Pairs of concepts equal a brute-force count, however they are cut into shards."""

import random
import tempfile
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.cooccurrence import (
    MIN_COUNT,
    count_together,
    pointwise_information,
    top_pairs,
)
from conceptaudit.records import Concept, ConceptVocabulary

N = 6
WORDS = ConceptVocabulary(tuple(Concept(name=f"c{i}") for i in range(N)))
CORPORA = st.lists(st.sets(st.integers(0, N - 1), max_size=4), max_size=40)


def shard(samples: list[set[int]]) -> pd.DataFrame:
    rows = [(i, concept) for i, sample in enumerate(samples) for concept in sorted(sample)]
    ids = np.array(rows, dtype=np.int64).reshape(len(rows), 2)
    return count_together(ids[:, 0], ids[:, 1])


def brute_force(samples: list[set[int]]) -> Counter[tuple[int, int]]:
    return Counter(pair for sample in samples for pair in permutations(sample, 2))


def partners(shards: list[list[set[int]]], n_text: np.ndarray, top: int) -> pd.DataFrame:
    n_captions = max(sum(map(len, shards)), 1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.parquet" for number in range(len(shards))]
        for path, samples in zip(paths, shards, strict=True):
            shard(samples).to_parquet(path)
        return top_pairs(paths, WORDS, n_text, n_captions, top=top)


def named(samples: list[set[int]]) -> np.ndarray:
    return np.array([sum(i in sample for sample in samples) for i in range(N)])


@given(CORPORA, st.integers(1, 5), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=20)
def test_equal_to_brute_force_for_any_sharding(
    samples: list[set[int]], n_shards: int, rng: random.Random
) -> None:
    expected = dict(brute_force(samples))
    rng.shuffle(samples)
    table = partners([samples[i::n_shards] for i in range(n_shards)], named(samples), N)
    pairs = zip(table["concept_a"].str[1:], table["concept_b"].str[1:], table["n"], strict=True)
    assert {(int(a), int(b)): n for a, b, n in pairs} == expected


@given(CORPORA, st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_the_table_holds_the_most_frequent_partners(samples: list[set[int]], top: int) -> None:
    n_text = named(samples)
    table = partners([samples], n_text, top)
    counts = brute_force(samples)
    for a, name in enumerate(WORDS.names):
        rows = table[table["concept_a"] == name]
        others = {f"c{b}": n for (first, b), n in counts.items() if first == a}
        assert dict(zip(rows["concept_b"], rows["n"], strict=True)).items() <= others.items()
        best = sorted(others.values(), reverse=True)[:top]
        assert sorted(rows["n"], reverse=True)[: len(best)] == best
        assert (rows["n_a"] == n_text[a]).all()
    assert table["npmi"].between(-1, 1).all()


def test_marked_partners_are_listed_beside_the_frequent_ones() -> None:
    # c1 is in nearly every caption, c2 only with c0
    samples = [{0, 1}] * 8 + [{0, 1, 2}] * MIN_COUNT + [{1, 3}] * 20
    table = partners([samples], named(samples), 1)
    rows = table[table["concept_a"] == "c0"]
    assert rows["concept_b"].tolist() == ["c1", "c2"]
    assert rows["npmi"].iloc[0] < 0.01 < rows["npmi"].iloc[1]


def test_pmi_by_hand() -> None:
    pmi, npmi = pointwise_information(np.array([2, 10]), np.array([4, 10]), np.array([4, 10]), 10)
    assert pmi == pytest.approx([np.log2(2 * 10 / 16), 0.0])
    assert npmi == pytest.approx([np.log2(1.25) / np.log2(5), 1.0])


def test_what_cannot_be_asked_for() -> None:
    with pytest.raises(ConfigError, match="'top' parameter"):
        top_pairs([], WORDS, np.zeros(N, dtype=np.int64), 1, top=0)
