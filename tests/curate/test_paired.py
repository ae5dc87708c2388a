"""Two captions of the same images: counted by hand, and on Flickr8k."""

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.curate.paired import compare_columns, mcnemar, paired_difference
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.options.audit import AuditOptions

NAMES = ["dog", "cat", "ball", "horse"]
ALT = ["a dog", "a dog", "IMG 7", "a cat", "a dog"]
RECAPTION = [
    "a dog and a ball", "a dog on grass", "a cat and a ball", "a cat and a ball", "a ball",
]  # fmt: skip


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "t.parquet"
    keys = [str(i) for i in range(5)]
    pd.DataFrame({"key": keys, "alt": ALT, "recaption": RECAPTION}).to_parquet(path, index=False)
    return path


def test_gained_and_lost_by_hand(table):
    found = compare_columns(table, "alt", "recaption", NAMES, options=AuditOptions(workers=1))
    rows = found.concepts.set_index("concept")
    names = ["n_a", "n_b", "n_both", "n_gained", "n_lost"]
    assert rows.loc["dog", names].tolist() == [3, 2, 2, 0, 1]
    assert rows.loc["cat", names].tolist() == [1, 2, 1, 1, 0]
    assert rows.loc["ball", names].tolist() == [0, 4, 0, 4, 0]
    assert rows.loc["horse", names].tolist() == [0, 0, 0, 0, 0]
    assert rows.loc["ball", "difference"] == pytest.approx(0.8)
    whole = found.whole.set_index("what")
    assert whole.loc["concepts per image", ["a", "b"]].tolist() == [4 / 5, 8 / 5]
    lengths = [np.mean([len(t.split()) for t in texts]) for texts in (ALT, RECAPTION)]
    assert whole.loc["words per caption", ["a", "b"]].tolist() == pytest.approx(lengths)
    assert whole.loc["concepts that occur", ["a", "b"]].tolist() == [2, 3]


def test_mcnemar_is_the_binomial_mid_p():
    from scipy.stats import binom

    for gained, lost in ((1, 6), (10, 3), (0, 5), (40, 61)):
        n, k = gained + lost, min(gained, lost)
        expected = 2 * binom.cdf(k, n, 0.5) - binom.pmf(k, n, 0.5)
        assert mcnemar(np.array([gained]), np.array([lost]))[0] == pytest.approx(expected)
    # statsmodels' exact test is the same without the half
    from statsmodels.stats.contingency_tables import mcnemar as plain

    exact = plain([[0, 10], [3, 0]], exact=True).pvalue
    half = binom.pmf(3, 13, 0.5)
    assert mcnemar(np.array([10]), np.array([3]))[0] == pytest.approx(exact - half)


def test_intervals_hold_the_difference():
    rng = np.random.default_rng(0)
    hits = []
    for _ in range(2_000):
        cells = rng.multinomial(150, [0.05, 0.12, 0.2, 0.63])
        _, low, high = paired_difference(*(cells[[i]].astype(float) for i in (0, 1)), 150)
        hits.append(low[0] <= 0.05 - 0.12 <= high[0])
    assert 0.87 <= np.mean(hits) <= 0.93


def test_what_cannot_be_paired_is_refused(table, tmp_path):
    long = pd.DataFrame({"key": ["1", "1"], "no": [0, 1], "caption": ["a dog", "a cat"]})
    long.to_parquet(tmp_path / "long.parquet", index=False)
    with pytest.raises(DataError, match="several captions"):
        compare_columns(tmp_path / "long.parquet", "caption", "caption", NAMES)
    with pytest.raises(ConfigError, match="no column"):
        compare_columns(tmp_path / "long.parquet", "0", "1", NAMES, caption_number="nr")
    with pytest.raises(ConfigError, match="No row"):
        compare_columns(tmp_path / "long.parquet", "0", "7", NAMES, caption_number="no")
    assert main(["compare", str(table), "--paired", "alt", "recaption"]) == 2


def test_flickr8k_caption_0_against_1(realdata, tmp_path, capsys):
    """Captions of one image by two people: the numbers name nobody, so little differs."""
    table = pd.read_parquet(realdata / "captions" / "flickr8k.parquet")
    number = next(name for name in table if "no" in name.lower() or "number" in name.lower())
    images = table.iloc[:, 0].drop_duplicates().iloc[:1500]
    table[table.iloc[:, 0].isin(images)].to_parquet(tmp_path / "t.parquet", index=False)
    (tmp_path / "c.txt").write_text("dog\nman\nboy\ngirl\nball\nwater\nhorse\nsnow\n")
    command = ["compare", str(tmp_path / "t.parquet"), "--paired", "0", "1"]
    more = ["--caption-number", str(number), "--concepts", str(tmp_path / "c.txt")]
    out = tmp_path / "paired.csv"
    assert main([*command, *more, "-o", str(out)]) == 0
    said = capsys.readouterr().out
    assert "1,500 images have both captions" in said
    rows = pd.read_csv(out).set_index("concept")
    texts = table.columns[-1] if "caption" not in table else "caption"
    words = table[table[number].astype("str") == "0"]
    words = words[words.iloc[:, 0].isin(images)][texts].str.lower()
    said_dog = words.str.contains(r"\bdogs?\b").sum()
    assert rows.loc["dog", "n_a"] == pytest.approx(said_dog, rel=0.02)
    # an object that is there is named by both more often than by one
    assert rows.loc["dog", "n_both"] > rows.loc["dog", "n_gained"] + rows.loc["dog", "n_lost"]
