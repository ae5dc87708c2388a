"""Accuracies counted by hand, and intervals that cover."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.zeroshot.classify import top_classes
from conceptaudit.zeroshot.measures import (
    PairedVectors,
    Tally,
    confusions,
    overall,
    recall_by_concept,
    retrieved,
    tally,
)

GUESSES = pd.DataFrame(
    {
        "class_index": [0, 0, 0, 1, 1, 2],
        "guess_1": [0, 0, 1, 1, 0, 5],
        "guess_2": [1, 1, 0, 0, 3, 4],
        "guess_3": [2, 2, 2, 2, 2, 3],
        "guess_4": [3, 3, 3, 3, 4, 1],
        "guess_5": [4, 4, 4, 4, 5, 0],
    }
)


def test_counted_by_hand():
    counts = tally(GUESSES, 6)
    assert counts.n_images.tolist() == [3, 2, 1, 0, 0, 0]
    assert counts.n_correct.tolist() == [2, 1, 0, 0, 0, 0]
    assert counts.n_correct5.tolist() == [3, 1, 0, 0, 0, 0]
    scores = overall(counts)
    assert scores["acc1"].value == pytest.approx(3 / 6)
    assert scores["acc5"].value == pytest.approx(4 / 6)
    assert scores["mean_per_class_recall"].value == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    wrong = confusions(GUESSES, list("abcdef"))
    assert wrong[["concept", "predicted", "n"]].to_numpy().tolist() == [
        ["a", "b", 1],
        ["b", "a", 1],
        ["c", "f", 1],
    ]
    assert wrong["share"].tolist() == pytest.approx([1 / 3, 1 / 2, 1])


@pytest.mark.parametrize("n_classes", [3, 5])
def test_acc5_needs_six_classes(n_classes):
    guesses = GUESSES.replace({5: 0, 4: 0, 3: 0})
    assert np.isnan(overall(tally(guesses, n_classes))["acc5"].value)
    assert not np.isnan(overall(tally(guesses, 6))["acc5"].value)


def tally_of(right, n):
    return Tally(n_images=n, n_correct=right, n_correct5=n)


@pytest.mark.parametrize(
    ("recalls", "images"),
    [
        (np.linspace(0.2, 0.9, 20), np.full(20, 30)),
        (np.full(20, 0.97), np.full(20, 5)),  # a percentile bootstrap holds 0.73 of these
        (np.linspace(0, 1, 50), np.full(50, 2)),
        (np.linspace(0.02, 0.5, 30), np.arange(1, 31)),
        (np.linspace(0.1, 0.9, 60), np.full(60, 1)),
    ],
)
def test_intervals_cover_the_accuracy_of_the_population(recalls, images):
    rng = np.random.default_rng(1)
    truth = {
        "acc1": (recalls * images).sum() / images.sum(),
        "mean_per_class_recall": recalls.mean(),
    }
    covered = dict.fromkeys(truth, 0)
    repeats = 400
    for _ in range(repeats):
        scores = overall(tally_of(rng.binomial(images, recalls), images))
        for name in covered:
            covered[name] += scores[name].low <= truth[name] <= scores[name].high
    # nine in ten, give or take sampling error and the steps that counts move in; the numbers of
    # images of each class are given here, and would vary in another sample: acc1 may hold more
    assert 0.83 <= covered["mean_per_class_recall"] / repeats <= 0.96
    assert covered["acc1"] / repeats >= 0.83


@pytest.mark.parametrize("right", [0, 1])
def test_an_interval_has_a_width_where_all_answers_are_alike(right):
    n = np.array([4, 6, 1, 1, 3, 5])
    for name, score in overall(tally_of(n * right, n)).items():
        if name != "acc5":
            assert score.value == right
            assert 0.05 < score.high - score.low < 0.3


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4)), min_size=1, max_size=9))
def test_intervals_hold_their_value(cells):
    n = np.array([max(pair) for pair in cells])
    right = np.array([min(pair) for pair in cells])
    for name in ("acc1", "mean_per_class_recall"):
        score = overall(tally_of(right, n))[name]
        assert 0 <= score.low <= score.value <= score.high <= 1


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 2**31))
def test_top_classes_equal_a_sort(n_rows, n_classes, seed):
    scores = np.random.default_rng(seed).integers(0, 4, (n_rows, n_classes)).astype(np.float32)
    for k in (1, 5):
        expected = [sorted(range(n_classes), key=lambda c, r=row: (-r[c], c))[:k] for row in scores]
        assert top_classes(scores, k).tolist() == expected


def test_retrieval_by_hand():
    images = np.eye(3, dtype=np.float32)
    texts = np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]], dtype=np.float32)
    pairs = PairedVectors(images=images, texts=texts, image_of=np.array([0, 1, 1]))
    found = retrieved(pairs, [1])
    assert found["image_retrieval_recall@1"].tolist() == [True, False, True]
    assert found["text_retrieval_recall@1"].tolist() == [True, True, False]


@given(st.integers(0, 2**31))
def test_recall_grows_with_k_and_is_full_at_the_end(seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(7, 4)).astype(np.float32)
    texts = rng.normal(size=(11, 4)).astype(np.float32)
    pairs = PairedVectors(images=images, texts=texts, image_of=rng.integers(0, 7, 11))
    found = retrieved(pairs, [1, 3, 11])
    for kind in ("image_retrieval_recall", "text_retrieval_recall"):
        shares = [found[f"{kind}@{k}"].mean() for k in (1, 3, 11)]
        assert shares == sorted(shares)
    assert found["image_retrieval_recall@11"].all()


def test_concepts_that_no_query_names_have_no_row():
    assert recall_by_concept(np.array([True]), [[]], "recall@1").empty


def test_what_retrieval_refuses():
    one, two = np.ones((1, 2), np.float32), np.ones((1, 3), np.float32)
    with pytest.raises(ConfigError, match="one model"):
        PairedVectors(images=one, texts=two, image_of=np.array([0]))
    with pytest.raises(DataError, match="at least one image"):
        PairedVectors(images=one, texts=one[:0], image_of=np.array([], dtype=np.int64))
    pairs = PairedVectors(images=one, texts=one, image_of=np.array([0]))
    with pytest.raises(ConfigError, match="k of 1 or more"):
        retrieved(pairs, [0])
