"""Which concepts are selected."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.longtail import LongTailOptions, read_selection, select_concepts
from conceptaudit.records import ConceptFrequencies

COUNTS = {"a": 0, "b": 1, "c": 2, "d": 2, "e": 2, "f": 50, "g": 800, "h": 10_000, "i": 90_000}


@pytest.fixture
def frequencies():
    table = pd.DataFrame(
        {"concept": list(COUNTS), "n_text": pd.array(list(COUNTS.values()), "Int64")}
    )
    table["n_image"] = pd.array([v // 2 for v in COUNTS.values()], "Int64")
    table["n_joint"] = pd.array([pd.NA] * len(COUNTS), "Int64")
    return ConceptFrequencies(table)


def test_lowest_above_zero_are_selected(frequencies):
    chosen = select_concepts(frequencies, LongTailOptions(k=4))
    assert chosen.concepts == ("b", "c", "d", "e")
    assert chosen.table["n_text"].tolist() == [1, 2, 2, 2]
    assert chosen.table["n_joint"].isna().all()


def test_zeros_only_when_asked(frequencies):
    assert "a" not in select_concepts(frequencies, LongTailOptions(k=9)).concepts
    assert "a" in select_concepts(frequencies, LongTailOptions(k=1, include_zero=True)).concepts


def test_corrected_joint_counts_decide_where_all_concepts_have_one(frequencies):
    joint = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    raw = frequencies.table.assign(n_joint=pd.array([int(n) for n in joint], "Int64"))
    assert select_concepts(ConceptFrequencies(raw), LongTailOptions(k=1)).concepts == ("b",)
    by_joint = LongTailOptions(k=1, count="joint")
    assert select_concepts(ConceptFrequencies(raw), by_joint).concepts == ("i",)
    corrected = select_concepts(
        ConceptFrequencies(raw.assign(n_joint_corrected=joint)), LongTailOptions(k=1)
    )
    assert corrected.concepts == ("i",)
    assert corrected.table["n_joint_corrected"].tolist() == [1.0]
    assert corrected.notes[0].startswith("Frequency is n_joint_corrected: 100% of")


def test_ties_at_the_edge_are_drawn_by_seed_and_told(frequencies):
    drawn = {
        select_concepts(frequencies, LongTailOptions(k=2, seed=seed)).concepts for seed in range(9)
    }
    assert drawn == {("b", "c"), ("b", "d"), ("b", "e")}
    again = [select_concepts(frequencies, LongTailOptions(k=2, seed=3)) for _ in range(2)]
    assert again[0].concepts == again[1].concepts
    assert "3 concepts share the n_text 2" in again[0].notes[1]


def test_filters_by_count_and_quantile(frequencies):
    assert select_concepts(frequencies, LongTailOptions(below=2)).concepts == ("b",)
    assert select_concepts(frequencies, LongTailOptions(below=51)).concepts == tuple("bcdef")
    assert select_concepts(frequencies, LongTailOptions(quantile=0.5)).concepts == tuple("bcde")
    both = LongTailOptions(quantile=1.0, below=1000, k=6)
    assert select_concepts(frequencies, both).concepts == tuple("bcdefg")


def test_strata_sample_the_whole_curve(frequencies):
    chosen = select_concepts(frequencies, LongTailOptions(k=5, strata=5))
    assert len(chosen.concepts) == 5
    width = np.log10(90_000) / 5
    expected = [1 + min(int(np.log10(n) / width), 4) for n in chosen.table["n_text"]]
    assert chosen.table["stratum"].tolist() == expected
    assert len(set(expected)) >= 4  # one stratum of this curve is empty
    with_zero = select_concepts(frequencies, LongTailOptions(k=5, strata=2, include_zero=True))
    assert 0 in with_zero.table["stratum"].tolist()


def test_pins_come_on_top_and_exclusions_never(frequencies):
    options = LongTailOptions(k=1, pins=("a", "i"), exclusions=("b",))
    chosen = select_concepts(frequencies, options)
    assert len(chosen.concepts) == 3
    assert {"a", "i"} <= set(chosen.concepts)
    assert "b" not in chosen.concepts
    assert chosen.table.set_index("concept").loc["i", "why"] == "pinned"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pins": ("aa",)}, "'pins' parameter.*'aa' instead .did you mean 'a'"),
        ({"exclusions": ("zz",)}, "'exclusions' parameter"),
        ({"pins": ("b",), "exclusions": ("b",)}, "pinned and excluded"),
        ({"below": 1}, "No concept is left"),
        ({"count": "joint"}, "--count must be 'auto', a count of this audit"),
    ],
)
def test_impossible_rules_are_told(frequencies, options, told):
    with pytest.raises(ConfigError, match=told):
        select_concepts(frequencies, LongTailOptions(**options))


def test_fewer_than_asked_is_told(frequencies):
    chosen = select_concepts(frequencies, LongTailOptions(k=30))
    assert chosen.notes[-1] == "30 concepts were asked for; the rule leaves 8."


def test_selection_file_round_trip_and_edits(tmp_path, frequencies):
    path = tmp_path / "selection.csv"
    select_concepts(frequencies, LongTailOptions(k=3, strata=3)).table.to_csv(path, index=False)
    read = read_selection(path, frequencies)
    assert set(read.table["stratum"]) == {1, 2, 3}
    path.write_text("\ufeffConcept;why\nh;because\nh;again\n c ;\n", encoding="utf-8")
    read = read_selection(path, frequencies)
    assert read.concepts == ("h", "c")
    assert read.table["why"].tolist() == ["because", "in the selection file"]
    assert "more than once" in read.notes[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("concept\nb\nnobody\n", "Line 3 .* names 'nobody'"),
        ("name\nb\n", "must have a column 'concept'"),
        ("concept\n\n", "names no concept"),
        ("", "must have a column 'concept'"),
        ('concept\n"b\n', "Cannot read the selection"),
    ],
)
def test_bad_selection_files_are_told(tmp_path, frequencies, text, told):
    path = tmp_path / "selection.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        read_selection(path, frequencies)


@pytest.mark.parametrize(
    "wrong",
    [
        {"count": "all"},
        {"k": 0},
        {"below": 0},
        {"quantile": 0.0},
        {"quantile": 1.5},
        {"strata": 0},
        {"per_class": 0},
        {"min_per_class": 21},
        {"oversample": 0},
        {"seed": -1},
        {"phash_distance": 64},
        {"embedding_similarity": 0.0},
        {"max_aspect": 0.5},
        {"min_score": 1.5},
        {"min_margin": -2.5},
        {"templates": ()},
        {"min_side": 0},
    ],
)
def test_values_outside_their_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=f"'{next(iter(wrong))}' parameter of LongTailOptions"):
        LongTailOptions(**wrong)
