"""Names meet by what they say, never by where they stand; what does not meet is listed."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.curves import join
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.names import normalise_name
from conceptaudit.records import ConceptFrequencies

NAMES = st.lists(
    st.text(st.sampled_from("aAbB _-é"), min_size=1, max_size=4).filter(normalise_name),
    min_size=1,
    max_size=12,
    unique_by=normalise_name,
)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("golden_retriever", "Golden Retriever"),
        ("t-shirt", "T  shirt"),
        ("ﬁre", "fire"),
        ("Straße", "STRASSE"),
        ("707–320", "707-320"),
    ],
)
def test_spellings_that_are_one_name(one, other):
    assert normalise_name(one) == normalise_name(other)


@pytest.mark.parametrize(("one", "other"), [("737-200", "737-300"), ("café", "cafe")])
def test_spellings_that_are_not(one, other):
    assert normalise_name(one) != normalise_name(other)


def test_exact_names_come_before_folded_ones(make_frequencies, make_accuracies):
    joined = join(
        make_frequencies([1, 2], ["crane", "Crane"]),
        make_accuracies([0.1, 0.2], ["Crane", "crane"]),
    )
    assert dict(zip(joined.table["concept"], joined.table["count"], strict=True)) == {
        "Crane": 2.0,
        "crane": 1.0,
    }


def test_a_name_that_could_mean_two_rows_is_refused(make_frequencies, make_accuracies):
    with pytest.raises(DataError, match=r"'CRANE' of 'zoo' could be any of \['crane', 'Crane'\]"):
        join(make_frequencies([1, 2], ["crane", "Crane"]), make_accuracies([0.1], ["CRANE"]))


def test_aliases_are_tried_first(make_frequencies, make_accuracies):
    joined = join(
        make_frequencies([5], ["airplane"]),
        make_accuracies([0.5], ["plane"]),
        aliases={"plane": "airplane"},
    )
    assert joined.table[["concept", "count"]].to_numpy().tolist() == [["plane", 5.0]]


def test_both_directions_of_unmatched_names_are_listed(make_frequencies, make_accuracies):
    joined = join(
        make_frequencies([1, 2], ["cat", "yak"]), make_accuracies([0.5, 0.6], ["cat", "emu"])
    )
    assert joined.unmatched.to_numpy().tolist() == [
        ["accuracies", "zoo", "emu"],
        ["frequencies", "", "yak"],
    ]
    assert any("1 concept with an accuracy" in note for note in joined.notes)
    assert any("1 concept with a frequency" in note for note in joined.notes)


def test_the_evaluation_set_is_part_of_the_name_where_both_have_it(
    make_frequencies, make_accuracies
):
    counts = make_frequencies([1, 2], ["crane", "crane"], dataset=["birds", "ImageNet-R"])
    scores = make_accuracies([0.5, 0.6], ["crane", "crane"], dataset=["birds", "imagenet_r"])
    joined = join(counts, scores)
    assert joined.table[["dataset", "count"]].to_numpy().tolist() == [
        ["birds", 1.0],
        ["imagenet_r", 2.0],
    ]


def test_frequencies_without_a_dataset_serve_every_dataset(make_frequencies, make_accuracies):
    scores = make_accuracies([0.5, 0.6], ["crane", "crane"], dataset=["a", "b"])
    assert join(make_frequencies([7], ["crane"]), scores).table["count"].tolist() == [7.0, 7.0]


def test_a_dataset_column_with_gaps_is_refused(make_frequencies, make_accuracies):
    counts = make_frequencies([1, 2], ["cat", "yak"], dataset=["zoo", None])
    with pytest.raises(DataError, match=r"Row 1 \(concept 'yak'\)"):
        join(counts, make_accuracies([0.5], ["cat"]))


def test_repeated_frequencies_are_refused_or_merged_on_request(make_frequencies, make_accuracies):
    counts, scores = make_frequencies([1, 2], ["cat", "cat"]), make_accuracies([0.5], ["cat"])
    with pytest.raises(DataError, match="'cat' more than once"):
        join(counts, scores)
    for policy, expected in (("sum", 3.0), ("first", 1.0)):
        joined = join(counts, scores, duplicates=policy)
        assert joined.table["count"].tolist() == [expected]
        assert any("merged" in note for note in joined.notes)
    with pytest.raises(ConfigError, match="'duplicates' parameter of join must be"):
        join(counts, scores, duplicates="mean")


def test_repeated_accuracies_are_refused(make_frequencies, make_accuracies):
    with pytest.raises(DataError, match="'cat' of 'zoo' twice for model 'RN50'"):
        join(make_frequencies([1], ["cat"]), make_accuracies([0.5, 0.6], ["cat", "cat"]))


def test_more_correct_than_images_is_refused(make_frequencies, make_accuracies):
    scores = make_accuracies([0.5], ["cat"], n_correct=11, n_images=10)
    with pytest.raises(DataError, match="n_correct = 11 and n_images = 10 for concept 'cat'"):
        join(make_frequencies([1], ["cat"]), scores)


def test_nan_accuracies_and_negative_counts_are_refused(make_frequencies, make_accuracies):
    with pytest.raises(DataError, match="Got nan for concept 'cat'"):
        make_accuracies([np.nan], ["cat"])
    with pytest.raises(DataError, match="n_text = -1 for concept 'cat'"):
        make_frequencies([-1], ["cat"])


def test_the_count_taken_by_auto_is_said(make_accuracies):
    table = pd.DataFrame({"concept": ["cat"], "n_text": [1], "n_image": [2], "n_joint": [3]})
    scores = make_accuracies([0.5], ["cat"])
    joined = join(ConceptFrequencies(table), scores)
    assert joined.count == "n_text"
    assert joined.notes[0].startswith("Frequency is n_text: joint counts are not corrected")
    assert join(ConceptFrequencies(table), scores, count="image").count == "n_image"


def test_an_estimate_below_one_half_is_a_count_of_zero(make_accuracies):
    """Nine decades below one, it would draw any line towards itself."""
    table = pd.DataFrame({"concept": ["yak", "emu"], "n_image": 0, "n_image_corrected": [1e-9, 2]})
    scores = make_accuracies([0.5, 0.6], ["yak", "emu"])
    joined = join(ConceptFrequencies(table), scores, count="image_corrected")
    assert joined.table["count"].tolist() == [0, 2]


def test_corrected_counts_are_taken_when_named(make_accuracies):
    table = pd.DataFrame(
        {
            "concept": ["cat"],
            "n_image": [9],
            "n_image_corrected": [6.5],
            "n_image_corrected_low": [5],
        }
    )
    counts, scores = ConceptFrequencies(table), make_accuracies([0.5], ["cat"])
    assert join(counts, scores, count="image").count == "n_image"
    joined = join(counts, scores, count="image_corrected")
    assert joined.table[["count", "count_low"]].to_numpy().tolist() == [[6.5, 5.0]]
    assert joined.table["count_high"].isna().all()
    with pytest.raises(DataError, match="not negative"):
        join(
            ConceptFrequencies(table.assign(n_image_corrected=-1.0)),
            scores,
            count="n_image_corrected",
        )


@pytest.mark.parametrize("count", ["n_joint", "frequency", "concept", ""])
def test_counts_that_are_not_there_are_refused(count, make_frequencies, make_accuracies):
    with pytest.raises(ConfigError, match="--count must be 'auto', a count of this audit"):
        join(make_frequencies([1], ["cat"]), make_accuracies([0.5], ["cat"]), count=count)


def test_frequencies_without_any_count_are_refused(make_frequencies, make_accuracies):
    with pytest.raises(DataError, match="no counts"):
        join(make_frequencies([pd.NA], ["cat"]), make_accuracies([0.5], ["cat"]))


@settings(max_examples=60, deadline=None)
@given(counted=NAMES, scored=NAMES, random=st.randoms())
def test_every_name_is_joined_from_both_sides_or_listed(
    make_frequencies, make_accuracies, counted, scored, random
):
    shuffled = list(counted)
    random.shuffle(shuffled)
    numbers = {name: index for index, name in enumerate(counted)}
    counts = make_frequencies([numbers[name] for name in shuffled], shuffled)
    joined = join(counts, make_accuracies(np.linspace(0, 1, len(scored)), scored))
    folded = {normalise_name(name): numbers[name] for name in counted}
    for name, count in zip(joined.table["concept"], joined.table["count"], strict=True):
        assert name in scored
        assert folded[normalise_name(name)] == count
    lost = joined.unmatched.groupby("side")["concept"].agg(set).to_dict()
    assert set(joined.table["concept"]) | lost.get("accuracies", set()) == set(scored)
    matched = {normalise_name(name) for name in joined.table["concept"]}
    assert matched.isdisjoint({normalise_name(n) for n in lost.get("frequencies", set())})
    assert len(matched) + len(lost.get("frequencies", set())) == len(counted)


def test_intervals_of_another_level_are_scaled_to_that_of_the_curve(make_accuracies):
    """A count's error must not seem larger because its interval was asked to hold more often."""
    ends = {}
    for level, reach in ((0.9, 1.644854), (0.5, 0.674490), (0.99, 2.575829)):
        table = pd.DataFrame({"concept": ["yak"], "n_text": [99]})
        for end, sign in (("low", -1), ("high", 1)):
            table[f"n_text_{end}"] = 100 * np.exp(0.2 * sign * reach) - 1
        joined = join(ConceptFrequencies(table, level=level), make_accuracies([0.5], ["yak"]))
        ends[level] = joined.table[["count_low", "count_high"]].to_numpy()
    assert ends[0.5] == pytest.approx(ends[0.9], rel=1e-4)
    assert ends[0.99] == pytest.approx(ends[0.9], rel=1e-4)
