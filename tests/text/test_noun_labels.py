"""Noun or not, on caption tokens labelled by hand; the table holds places and labels only.

Drawn by ``scripts/noun_label_sample.py`` without asking a tagger, and labelled by reading each
caption by the guidelines of Universal Dependencies (a colour before a noun is an adjective, what
modifies a noun as in "train station" is a noun). Nobody looked at the errors in the part
``held_out`` while the tagger was improved.
"""

from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.text.bundled import load_bundled
from conceptaudit.text.normalize import caption_text

LABELS = Path(__file__).parent / "noun_labels.csv"
CORE = frozenset(
    "watch watches train trains orange park parks light lights drill drills ski skis".split()  # noqa: SIM905 -- read as words
)
FILES = {
    "flickr30k_en": "flickr30k_en.parquet",
    "flickr8k": "flickr8k.parquet",
    "laion_alt_text_10k": "laion_alt_text_10k.parquet",
    "cc3m_validation": "cc3m_validation.tsv",
}


def read_captions(path: Path) -> list[str]:
    if path.suffix == ".tsv":
        lines = path.read_text(encoding="utf-8").splitlines()
        return [line.split("\t")[0] for line in lines]
    table = pd.read_parquet(path)
    column = "caption" if "caption" in table else "TEXT"
    return [str(text) for text in table[column] if isinstance(text, str)]


@pytest.fixture(scope="module")
def judged(realdata: Path) -> pd.DataFrame:
    """The labels with ``right``: whether the bundled tagger agrees."""
    table = pd.read_csv(LABELS)
    corpora = {name: read_captions(realdata / "captions" / FILES[name]) for name in FILES}
    captions = [
        caption_text(corpora[corpus][row])
        for corpus, row in zip(table["corpus"], table["row"], strict=True)
    ]
    right = []
    docs = load_bundled().pipe(captions, batch_size=256)
    for doc, place, word, label in zip(
        docs, table["token"], table["word"], table["label"], strict=True
    ):
        assert doc[place].lower_ == word
        right.append((doc[place].pos_ in {"NOUN", "PROPN"}) == (label == "noun"))
    return table.assign(right=right)


def test_the_sample_is_large_mixed_and_holds_no_captions() -> None:
    table = pd.read_csv(LABELS)
    assert list(table) == ["corpus", "row", "word", "token", "part", "label"]
    assert len(table) >= 600
    assert not table.duplicated(["corpus", "row", "word"]).any()
    assert set(table["corpus"]) == set(FILES)
    assert table["corpus"].value_counts().min() >= 100
    assert set(table["word"]) >= CORE
    assert table["label"].value_counts().min() >= 200
    assert table["part"].value_counts().min() >= 300
    assert not table["word"].str.contains(" ").any()


# What was measured, less two tokens: other processors round sums of floats in another order.
@pytest.mark.parametrize(
    ("part", "least"), [("develop", 0.949), ("held_out", 0.909), ("all", 0.932)]
)
def test_accuracy_on_ambiguous_words(judged: pd.DataFrame, part: str, least: float) -> None:
    rows = judged if part == "all" else judged[judged["part"] == part]
    wrong = rows.loc[~rows["right"], ["corpus", "row", "word"]]
    assert rows["right"].mean() >= least, wrong.to_string() if part == "develop" else len(wrong)


@pytest.mark.xfail(reason="web alt-texts: 90 % on LAION, 91 % on CC3M; see docs/benchmarks-text.md")
def test_the_aim_is_ninety_five_per_cent(judged: pd.DataFrame) -> None:
    assert judged["right"].mean() >= 0.95


@pytest.mark.parametrize(
    ("corpus", "least"),
    [("flickr30k_en", 0.96), ("flickr8k", 0.93), ("laion_alt_text_10k", 0.88),
     ("cc3m_validation", 0.89)],
)  # fmt: skip
def test_accuracy_on_each_set(judged: pd.DataFrame, corpus: str, least: float) -> None:
    assert judged.loc[judged["corpus"] == corpus, "right"].mean() >= least
