"""Which count stands for frequency."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.counts import available_counts, choose_count, counts_of, rarest
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import ConceptFrequencies


def frequencies(**columns: list[float | None]) -> ConceptFrequencies:
    length = len(next(iter(columns.values())))
    names = [f"concept {i}" for i in range(length)]
    return ConceptFrequencies(pd.DataFrame({"concept": names, **columns}))


def corrected(share: float) -> list[float | None]:
    known = round(100 * share)
    return [1.5] * known + [None] * (100 - known)


RAW = {"n_text": [1] * 100, "n_image": [2] * 100, "n_joint": [3] * 100}


@pytest.mark.parametrize(("share", "column"), [(0.95, "n_joint_corrected"), (0.94, "n_text")])
def test_corrected_joint_counts_are_for_all_concepts_or_for_none(share, column):
    choice = choose_count(frequencies(**RAW, n_joint_corrected=corrected(share)))
    assert choice.column == column
    assert f"{share:.0%} of the concepts" in choice.note


@pytest.mark.parametrize(
    ("columns", "column"),
    [
        (("n_text",), "n_text"),
        (("n_image",), "n_image"),
        (("n_joint",), "n_joint"),
        (("n_image", "n_joint"), "n_joint"),
        (("n_text", "n_joint"), "n_text"),
    ],
)
def test_captions_come_before_image_tags(columns, column):
    choice = choose_count(frequencies(**{name: RAW[name] for name in columns}))
    assert choice.column == column


def test_a_count_that_many_concepts_lack_is_passed_over():
    half = [1.0] * 60 + [None] * 40
    choice = choose_count(frequencies(n_text=half, n_image=half, n_joint=RAW["n_joint"]))
    assert choice.column == "n_joint"
    assert "only 60% of the concepts have a text count" in choice.reason


def test_images_alone_are_corrected_where_nearly_all_are():
    table = frequencies(n_image=RAW["n_image"], n_image_corrected=corrected(1.0))
    assert choose_count(table).column == "n_image_corrected"


def test_a_named_count_is_taken_or_refused_by_its_option():
    table = frequencies(**RAW, n_joint_corrected=corrected(0.5))
    assert choose_count(table, "joint_corrected").column == "n_joint_corrected"
    assert available_counts(table)[-1] == "n_joint_corrected"
    with pytest.raises(ConfigError, match=r"--count must be .*joint_corrected.*'image_corrected'"):
        choose_count(table, "image_corrected")
    with pytest.raises(DataError, match="no counts"):
        choose_count(frequencies(n_text=[None, None]))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(0, 6), st.integers(0, 3))
def test_the_rarest_are_those_with_the_lowest_counts(counts, size, above):
    array, names = np.array(counts), [f"c{i}" for i in range(len(counts))]
    chosen = rarest(array, names, size, above=above)
    occurring = sorted((n for n in counts if n), reverse=True)[above:]
    assert [counts[row] for row in chosen.rows] == (occurring[-size:] if size else [])
    if chosen.rows:
        assert chosen.n_tied == counts.count(counts[chosen.rows[0]])


def test_ties_are_a_sample_that_no_order_changes():
    names = [f"name {i}" for i in range(100)]
    counts = np.ones(100, dtype=int)
    shown = {names[row] for row in rarest(counts, names, 5).rows}
    backwards = names[::-1]
    assert {backwards[row] for row in rarest(counts, backwards, 5).rows} == shown
    assert shown != set(names[-5:])


def test_an_estimate_below_one_half_is_zero():
    table = frequencies(n_text=[1, 2, 3], n_joint_corrected=[0.4, 0.5, None])
    np.testing.assert_array_equal(counts_of(table, "n_joint_corrected"), [0.0, 0.5, np.nan])
    np.testing.assert_array_equal(counts_of(table, "n_text"), [1.0, 2.0, 3.0])
