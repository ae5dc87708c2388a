"""Pairs of concepts equal a brute-force count, however they are cut and however little fits."""

import random
from collections import Counter
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.cooccurrence import (
    MIN_COUNT,
    PairCounts,
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


def added(shards: list[list[set[int]]], max_pairs: int) -> dict[tuple[int, int], int]:
    total: dict[tuple[int, int], int] = {}
    with PairCounts(N, max_pairs=max_pairs) as pairs:
        for samples in shards:
            pairs.add(shard(samples))
        last = -1
        for block in pairs.blocks():
            assert block.keys[0] > last
            last = int(block.keys[-1])
            # a block ends with a whole concept
            assert not {k // N for k in block.keys.tolist()} & {k // N for k, _ in total.items()}
            total |= dict(zip(block.keys.tolist(), block.counts.tolist(), strict=True))
    return {divmod(key, N): count for key, count in total.items()}


@given(CORPORA, st.integers(1, 5), st.integers(1, 60), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=50)
def test_equal_to_brute_force_for_any_sharding(
    samples: list[set[int]], n_shards: int, max_pairs: int, rng: random.Random
) -> None:
    expected = dict(brute_force(samples))
    rng.shuffle(samples)
    shards = [samples[i::n_shards] for i in range(n_shards)]
    assert added(shards, max_pairs) == expected


@given(CORPORA, st.integers(1, 3))
@settings(deadline=None, max_examples=30)
def test_the_table_holds_the_most_frequent_partners(samples: list[set[int]], top: int) -> None:
    n_text = np.array([sum(i in sample for sample in samples) for i in range(N)])
    with PairCounts(N) as pairs:
        pairs.add(shard(samples))
        table = top_pairs(pairs, WORDS, n_text, max(len(samples), 1), top=top)
    counts = brute_force(samples)
    for a, name in enumerate(WORDS.names):
        rows = table[table["concept_a"] == name]
        partners = {f"c{b}": n for (first, b), n in counts.items() if first == a}
        assert dict(zip(rows["concept_b"], rows["n"], strict=True)).items() <= partners.items()
        best = sorted(partners.values(), reverse=True)[:top]
        assert sorted(rows["n"], reverse=True)[: len(best)] == best
        assert (rows["n_a"] == n_text[a]).all()
    assert table["npmi"].between(-1, 1).all()


def test_marked_partners_are_listed_beside_the_frequent_ones() -> None:
    # c1 is in nearly every caption, c2 only with c0
    samples = [{0, 1}] * 8 + [{0, 1, 2}] * MIN_COUNT + [{1, 3}] * 20
    n_text = np.array([13, 33, MIN_COUNT, 20, 0, 0])
    with PairCounts(N) as pairs:
        pairs.add(shard(samples))
        table = top_pairs(pairs, WORDS, n_text, len(samples), top=1)
    rows = table[table["concept_a"] == "c0"]
    assert rows["concept_b"].tolist() == ["c1", "c2"]
    assert rows["npmi"].iloc[0] < 0.01 < rows["npmi"].iloc[1]


def test_pmi_by_hand() -> None:
    pmi, npmi = pointwise_information(np.array([2, 10]), np.array([4, 10]), np.array([4, 10]), 10)
    assert pmi == pytest.approx([np.log2(2 * 10 / 16), 0.0])
    assert npmi == pytest.approx([np.log2(1.25) / np.log2(5), 1.0])


def test_what_cannot_be_asked_for() -> None:
    with PairCounts(N) as pairs, pytest.raises(ConfigError, match="'top' parameter"):
        top_pairs(pairs, WORDS, np.zeros(N, dtype=np.int64), 1, top=0)
