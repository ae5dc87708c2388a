"""Noun or not, on caption tokens labelled by hand; the table holds places and labels only.

Drawn by ``scripts/training/noun_label_sample.py`` without asking a tagger, labelled by reading each
caption by the guidelines of Universal Dependencies (a colour before a noun is an adjective, what
modifies a noun as in "train station" is a noun). Nobody looked at the errors in the part
``held_out`` while the tagger was improved.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest

if TYPE_CHECKING:
    from conftest import Judge

LABELS = Path(__file__).parent / "noun_labels.csv"
CORE = frozenset(
    "watch watches train trains orange park parks light lights drill drills ski skis".split()  # noqa: SIM905 -- read as words
)
CORPORA = ("cc3m_validation", "flickr30k_en", "flickr8k", "laion_alt_text_10k")


@pytest.fixture(scope="module")
def judged(judge: Judge) -> pd.DataFrame:
    """The labels with ``right``: whether rules and bundled tagger together agree."""
    return judge(pd.read_csv(LABELS), "word")


def test_the_sample_is_large_mixed_and_holds_no_captions() -> None:
    table = pd.read_csv(LABELS)
    assert list(table) == ["corpus", "row", "word", "token", "part", "label"]
    assert len(table) >= 600
    assert not table.duplicated(["corpus", "row", "word"]).any()
    assert set(table["corpus"]) == set(CORPORA)
    assert table["corpus"].value_counts().min() >= 100
    assert set(table["word"]) >= CORE
    assert table["label"].value_counts().min() >= 200
    assert table["part"].value_counts().min() >= 300
    assert not table["word"].str.contains(" ").any()


# What was measured, less two tokens: other processors round sums of floats in another order.
@pytest.mark.parametrize(
    ("part", "least"), [("develop", 0.952), ("held_out", 0.918), ("all", 0.938)]
)
def test_accuracy_on_ambiguous_words(judged: pd.DataFrame, part: str, least: float) -> None:
    rows = judged if part == "all" else judged[judged["part"] == part]
    wrong = rows.loc[~rows["right"], ["corpus", "row", "word"]]
    assert rows["right"].mean() >= least, wrong.to_string() if part == "develop" else len(wrong)


@pytest.mark.xfail(reason="web alt-texts: 91 % on LAION, 89 % on CC3M; see docs/benchmarks-text.md")
def test_the_aim_is_ninety_five_per_cent(judged: pd.DataFrame) -> None:
    assert judged["right"].mean() >= 0.95


@pytest.mark.parametrize(
    ("corpus", "least"),
    [("flickr30k_en", 0.97), ("flickr8k", 0.95), ("laion_alt_text_10k", 0.90),
     ("cc3m_validation", 0.87)],
)  # fmt: skip
def test_accuracy_on_each_set(judged: pd.DataFrame, corpus: str, least: float) -> None:
    assert judged.loc[judged["corpus"] == corpus, "right"].mean() >= least
