"""Filters of the selection: well counted, unambiguous, of a kind."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ConfigError
from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.longtail import LongTailOptions, read_selection, select_concepts
from conceptaudit.longtail.select import FILTER_COLUMNS, count_errors
from conceptaudit.records import ConceptFrequencies

COUNTS = {"dhole": 3, "violin": 30, "crane": 40, "tiger": 300, "yeti": 0, "qxqx": 50}


@pytest.fixture
def frequencies():
    counts = np.array(list(COUNTS.values()))
    low, high = poisson_interval(counts)
    table = pd.DataFrame(
        {
            "concept": list(COUNTS),
            "n_text": pd.array(counts, "Int64"),
            "n_text_low": low,
            "n_text_high": high,
            "n_senses": pd.array([1, 1, 2, 2, 1, pd.NA], "Int64"),
            "text_rejected_share": [0.0, 0.1, 0.6, 0.0, None, 0.2],
        }
    )
    return ConceptFrequencies(table)


def chosen(frequencies, **settings):
    return select_concepts(frequencies, LongTailOptions(k=9, **settings))


def test_the_error_of_a_count_is_half_its_interval(frequencies):
    errors = count_errors(frequencies, "n_text")
    low, high = poisson_interval(np.array([30]))
    assert errors[1] == pytest.approx((high[0] - low[0]) / 60)
    assert errors[4] == np.inf
    assert np.isnan(count_errors(frequencies, "n_image")).all()
    halved = replace(frequencies, level=0.5)  # ends that hold half of the time are nearer
    assert count_errors(halved, "n_text")[0] == pytest.approx(errors[0] * 1.644854 / 0.674490)
    assert (np.diff(errors[[0, 1, 2, 5, 3]]) < 0).all()  # the rarer, the less certain


def test_badly_counted_concepts_are_left_out_and_told(frequencies):
    made = chosen(frequencies, max_count_error=0.32)
    assert made.concepts == ("violin", "crane", "qxqx", "tiger")
    assert "--max-count-error 0.32 leaves out 2 of 6 concepts." in made.notes


def test_ambiguous_names_are_left_out_and_unknown_ones_kept(frequencies):
    made = chosen(frequencies, max_senses=1)
    assert made.concepts == ("dhole", "violin", "qxqx")
    assert made.notes[0] == (
        "--max-senses 1 leaves out 2 of 6 concepts; of 1 it cannot tell, and keeps them."
    )
    made = chosen(frequencies, max_rejected_share=0.15)
    assert made.concepts == ("dhole", "violin", "tiger")


def test_kinds_of_a_parent(frequencies):
    assert chosen(frequencies, under=("animal",)).concepts == ("dhole", "crane", "tiger")
    both = chosen(frequencies, under=("animal", "musical instrument"), max_senses=1)
    assert both.concepts == ("dhole", "violin")
    assert len(both.notes) >= 2
    with pytest.raises(ConfigError, match="Got 'qxqx' instead"):
        chosen(frequencies, under=("qxqx",))


def test_synsets_help_where_a_name_is_unknown(frequencies):
    table = frequencies.table.assign(synset=[None, None, None, None, None, "wolf.n.01"])
    assert "qxqx" in chosen(ConceptFrequencies(table), under=("animal",)).concepts


def test_pins_pass_every_filter(frequencies):
    assert "qxqx" in chosen(frequencies, under=("animal",), pins=("qxqx",)).concepts


def test_when_nothing_passes_the_filters_are_named(frequencies):
    with pytest.raises(ConfigError, match="6 pass no filter"):
        chosen(frequencies, max_count_error=0.01)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_count_error": 0.3}, "--max-count-error needs the interval of n_text"),
        ({"max_senses": 2}, "--max-senses needs the column 'n_senses'"),
        ({"max_rejected_share": 0.2}, "--max-rejected-share needs"),
    ],
)
def test_an_audit_without_the_columns_is_refused(settings, message):
    table = pd.DataFrame({"concept": ["a"], "n_text": pd.array([3], "Int64")})
    with pytest.raises(ConfigError, match=message):
        chosen(ConceptFrequencies(table), **settings)


def test_the_selection_carries_the_columns_and_reads_them_back(frequencies, tmp_path):
    made = chosen(frequencies)
    assert list(made.table["n_senses"]) == [1, 1, 2, pd.NA, 2]
    assert made.table["count_error"].between(0.05, 1.5).all()
    made.table.to_csv(tmp_path / "s.csv", index=False)
    again = read_selection(tmp_path / "s.csv", frequencies)
    pd.testing.assert_frame_equal(
        again.table[[*FILTER_COLUMNS]], made.table[[*FILTER_COLUMNS]], check_dtype=False
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_count_error", 0.0), ("max_senses", 0), ("max_rejected_share", 1.1), ("suspects", "x")],
)
def test_impossible_limits(name, value):
    with pytest.raises(ConfigError, match=f"'{name}' parameter of LongTailOptions"):
        LongTailOptions(**{name: value})
