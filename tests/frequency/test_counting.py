"""Counts merge by addition, and never contradict each other."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.frequency.counting import (
    Alignment,
    add_shards,
    count_pairs,
    frequency_table,
)
from conceptaudit.frequency.intervals import poisson_interval, wilson_interval
from conceptaudit.records import Concept, ConceptVocabulary

N = 5
PAIRS = st.sets(st.tuples(st.integers(0, 30), st.integers(0, N - 1)), max_size=60)


def side(pairs: set[tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(sorted(pairs), columns=["sample_id", "concept_id"], dtype=np.int64)


def test_counted_by_hand() -> None:
    text = side({(0, 1), (0, 2), (1, 1), (3, 0)})
    image = side({(0, 2), (1, 0), (2, 0), (3, 0)})
    counts, agreement = add_shards([count_pairs(text, image)], 3)
    assert {k: v.tolist() for k, v in counts.items()} == {
        "text": [1, 2, 1],
        "image": [3, 0, 1],
        "joint": [1, 0, 1],
    }
    assert agreement == {
        "n_text_tagged": 3,
        "n_image_tagged": 4,
        "n_both_tagged": 3,
        "n_agreeing": 2,
    }


@given(PAIRS, PAIRS, st.integers(1, 31))
@settings(deadline=None)
def test_any_cutting_into_shards_gives_the_same_counts(
    text: set[tuple[int, int]], image: set[tuple[int, int]], cut: int
) -> None:
    def part(pairs: set[tuple[int, int]], k: int) -> pd.DataFrame:
        return side({(s, c) for s, c in pairs if s // cut == k})

    whole = add_shards([count_pairs(side(text), side(image))], N)
    parts = add_shards(
        [count_pairs(part(text, k), part(image, k)) for k in reversed(range(31 // cut + 1))], N
    )
    assert {k: v.tolist() for k, v in whole[0].items()} == {
        k: v.tolist() for k, v in parts[0].items()
    }
    assert whole[1] == parts[1]


@given(PAIRS, PAIRS)
def test_joint_is_never_more_than_either_side(
    text: set[tuple[int, int]], image: set[tuple[int, int]]
) -> None:
    counts, agreement = add_shards([count_pairs(side(text), side(image))], N)
    assert (counts["joint"] <= np.minimum(counts["text"], counts["image"])).all()
    assert agreement["n_agreeing"] <= agreement["n_both_tagged"] <= agreement["n_text_tagged"]


def test_a_side_that_was_not_audited_is_missing_and_not_zero() -> None:
    vocabulary = ConceptVocabulary((Concept(name="a", synset="n01"), Concept(name="b")))
    counts, _ = add_shards([count_pairs(side({(0, 0)}), None)], 2)
    table = frequency_table(vocabulary, counts).table
    assert table["n_text"].tolist() == [1, 0]
    assert table["n_image"].isna().all()
    assert table["n_joint"].isna().all()
    assert table["n_text_high"].round(2).tolist() == [4.74, 3.0]
    assert table["synset"].iloc[0] == "n01"


def test_alignment_shares() -> None:
    numbers = Alignment(
        n_samples=10, n_text_tagged=6, n_image_tagged=5, n_both_tagged=4, n_agreeing=1
    ).as_json()
    assert numbers["n_misaligned"] == 3
    assert numbers["misalignment_degree"] == pytest.approx(0.3)
    assert numbers["misaligned_among_tagged"] == pytest.approx(0.75)
    assert numbers["misalignment_degree_low"] < 0.3 < numbers["misalignment_degree_high"]
    assert Alignment(n_samples=10, n_text_tagged=6).as_json()["n_misaligned"] is None


def test_poisson_intervals_cover() -> None:
    """Exact intervals cover at least their level for every mean."""
    from scipy.stats import poisson

    for mean in (0.1, 0.5, 1.0, 3.3, 10.0, 47.0, 300.0):
        n = np.arange(0, 1000)
        low, high = poisson_interval(n)
        inside = (low <= mean) & (mean <= high)
        assert poisson.pmf(n, mean)[inside].sum() >= 0.9 - 1e-9


def test_poisson_interval_is_garwoods() -> None:
    """The limits are half the chi-square quantiles with 2n and 2n + 2 degrees of freedom."""
    from scipy.stats import chi2

    n = np.array([1, 5, 100, 10**6, 10**12])
    low, high = poisson_interval(n)
    np.testing.assert_allclose(low, chi2.ppf(0.05, 2 * n) / 2, rtol=1e-9)
    np.testing.assert_allclose(high, chi2.ppf(0.95, 2 * n + 2) / 2, rtol=1e-9)


def test_wilson_edges() -> None:
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(0, 10)[0] == 0.0
    assert wilson_interval(10, 10)[1] == 1.0


def test_tables_of_no_tags() -> None:
    empty = pd.DataFrame({"sample_id": [], "concept_id": []})
    assert count_pairs(empty, None)["counts"]["text"] == [[], []]
    assert count_pairs(empty, empty)["agreement"]["n_agreeing"] == 0
