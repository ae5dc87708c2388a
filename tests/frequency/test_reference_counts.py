"""The registry of published counts, their file forms, and what ships."""

import json

import numpy as np
import pandas as pd
import pytest

from conceptaudit.cli.main import main
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency import reference
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.frequency.reference import (
    DATA,
    ReferenceCounts,
    reference_counts,
    reference_frequencies,
    registry,
)
from conceptaudit.names import normalise_name

NAMES = (
    "cc3m/paper", "cc12m/paper", "yfcc15m/paper", "synthci30m/paper", "laion400m/paper",
    "cc12m/clip-beyond-tail", "yfcc15m/clip-beyond-tail", "laion400m/clip-beyond-tail",
    "laion2b/clip-beyond-tail", "laion400m/swat",
)  # fmt: skip


def test_the_registry_names_source_method_licence_and_hash() -> None:
    assert tuple(registry()) == NAMES
    for one in registry().values():
        assert all((one.by, one.method, one.url, one.n_samples))
        assert one.licence == "MIT"
        assert len(one.sha256) == 64
        counted = one.frequencies()
        assert counted.source == one.corpus
        assert set(counted.counted) <= set(one.columns)
        assert len(counted.table) > 1_700
    assert sum(path.stat().st_size for path in DATA.glob("*.parquet")) < 300_000


def test_what_may_not_ship_does_not() -> None:
    licences = {path.name for path in DATA.glob("*.LICENSE.txt")}
    assert licences == {"clip_beyond_tail.LICENSE.txt", "swat.LICENSE.txt"}
    assert {p.stem for p in DATA.glob("*.parquet")} == {"paper", "clip_beyond_tail", "swat"}
    assert not [c for c in pd.read_parquet(DATA / "clip_beyond_tail.parquet") if "metaclip" in c]


@pytest.mark.parametrize("corpus", ["cc12m", "yfcc15m", "laion400m", "laion2b"])
def test_shipped_counts_are_those_of_the_file(realdata, corpus) -> None:
    path = realdata / "reference_counts" / "clip_beyond_tail.csv"
    given = read_frequencies(path, pretraining=corpus)
    ours = reference_frequencies(corpus).table
    assert given.source == corpus
    assert len(given.table) == len(ours) == 1862
    for dataset, rows in given.table.groupby("dataset"):
        mine = ours[ours["dataset"] == dataset]
        assert sorted(rows["n_text"]) == sorted(mine["n_text"])
    with pytest.raises(ConfigError, match=r"several pretraining sets.*--pretraining"):
        read_frequencies(path)
    with pytest.raises(ConfigError, match="must be one of"):
        read_frequencies(path, pretraining="laion5b")


def test_swat_and_neglected_tails_are_read(realdata) -> None:
    folder = realdata / "reference_counts"
    swat = read_frequencies(folder / "swat.csv")
    assert (swat.source, swat.counted) == ("laion400m", ("n_text",))
    assert len(swat.table) == len(reference_frequencies("laion400m/swat").table)
    tails = read_frequencies(folder / "neglected_tails.csv", pretraining="laion2b")
    assert (tails.table["dataset"] == "imagenet_1k").sum() == 1000
    one = read_frequencies(folder / "neglected_tails_dtd_metrics-LAION400M.json")
    assert (one.source, len(one.table)) == ("laion400m", 47)
    table = one.table.set_index("concept")
    assert set(table["dataset"]) == {"dtd"}
    assert table.loc["blotchy", ["n_text", "n_relevant", "name"]].tolist() == [804, 208, "blotched"]
    both = read_frequencies(folder / "neglected_tails.csv", pretraining="laion400m").table
    both = both[both["dataset"] == "dtd"].set_index("concept")["n_text"]
    shared = table.index.intersection(both.index)
    assert len(shared) > 40
    # the file as published and the table made of it agree but where synonyms were added later
    assert (table.loc[shared, "n_text"] == both[shared]).mean() > 0.9


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"name": "dog"}, "'actual_freq' of the class 'dog'"),
        ({"name": "dog", "actual_freq": -1}, "at least 0"),
        ({"name": "dog", "actual_freq": True}, "at least 0"),
        ({"name": "dog", "actual_freq": 1, "relevant_total": "many"}, "relevant_total"),
        ({"actual_freq": 3}, "has no 'name'"),
        ([1], "has no 'name'"),
    ],
)
def test_damaged_metrics_are_refused(tmp_path, entry, message) -> None:
    path = tmp_path / "pets_metrics-LAION2B.json"
    path.write_text(json.dumps({"0": entry}))
    with pytest.raises(DataError, match=message):
        read_frequencies(path)


def test_metrics_with_nothing_judged(tmp_path) -> None:
    path = tmp_path / "oxford_pets_metrics-LAION2B.json"
    entry = {"name": "dog", "alternates": {}, "actual_freq": 7, "relevant_total": None}
    path.write_text(json.dumps({"0": entry}))
    found = read_frequencies(path)
    assert found.source == "laion2b"
    assert found.table["dataset"].tolist() == ["oxford_pets"]
    assert found.table["n_text"].tolist() == [7]
    assert found.table["n_relevant"].isna().all()


def test_names_of_the_registry() -> None:
    assert reference_counts("reference:laion400m").name == "laion400m/clip-beyond-tail"
    assert reference_counts("laion400m", "n_joint").name == "laion400m/paper"
    assert reference_counts("cc3m").name == "cc3m/paper"
    assert read_frequencies("reference:cc3m").source == "cc3m"
    with pytest.raises(ConfigError, match="Known are cc3m/paper"):
        read_frequencies("reference:laion5b")
    with pytest.raises(ConfigError, match="stand alone"):
        read_frequencies(["reference:cc3m", "reference:cc12m"])


def test_a_changed_file_is_refused(tmp_path) -> None:
    path = tmp_path / "mine.parquet"
    pd.DataFrame({"dataset": ["pets"], "concept": ["dog"], "n_text": [3]}).to_parquet(path)
    fields = dict.fromkeys(("by", "method", "licence", "url"), "x")
    one = ReferenceCounts(
        name="mine/me", n_samples=None, columns=("n_text",), path=path, sha256="0" * 64, **fields
    )
    with pytest.raises(DataError, match="not the registered file"):
        one.frequencies()


# Spearman by name over the concepts of all published files, joint counts, computed once by an
# independent script; the paper's figures, which join rows by position, print 0.63 to 0.96.
CORRELATIONS = {
    ("cc3m", "laion400m"): 0.842,
    ("cc12m", "laion400m"): 0.894,
    ("yfcc15m", "laion400m"): 0.881,
    ("cc3m", "cc12m"): 0.919,
    ("cc12m", "yfcc15m"): 0.943,
}


@pytest.mark.parametrize(("one", "other"), list(CORRELATIONS))
def test_corpora_correlate_by_name_as_measured(one, other) -> None:
    sides = []
    for corpus in (one, other):
        table = reference_frequencies(f"{corpus}/paper").table.dropna(subset=["n_joint"])
        names = [normalise_name(name) for name in table["concept"]]
        counts = pd.Series(table["n_joint"].to_numpy(np.float64), index=names)
        sides.append(counts[~counts.index.duplicated()])
    found = pd.concat(sides, axis=1, join="inner").corr("spearman").iloc[0, 1]
    assert found == pytest.approx(CORRELATIONS[one, other], abs=0.005)


def test_list_and_show(capsys) -> None:
    assert main(["reference", "list"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in NAMES)
    assert main(["reference", "show", "laion400m", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sha256"] == registry()["laion400m/clip-beyond-tail"].sha256
    assert {"dataset": "imagenet", "concept": "four-poster", "n_text": 10638}.keys() == shown[
        "concepts"
    ][0].keys()
    assert main(["reference", "show", "cc3m"]) == 0
    assert "spaCy lemmas" in capsys.readouterr().out
    assert main(["reference", "show"]) == 2
    assert main(["reference", "find", "cc3m"]) == 2
    assert main(["reference", "show", "laion5b"]) == 2


def test_default_sources_hold_every_corpus() -> None:
    assert set(reference.DEFAULT_SOURCES) == {one.source for one in registry().values()}


@pytest.mark.parametrize(("one", "other"), [("cc3m", "laion400m"), ("cc12m", "yfcc15m")])
def test_compare_says_the_same_of_corpora(one, other, tmp_path, capsys) -> None:
    figure = tmp_path / "compared.svg"
    names = [f"reference:{corpus}/paper" for corpus in (one, other)]
    call = ["compare", *names, "--count", "n_joint", "--json", "--figure", str(figure)]
    assert main(call) == 0
    found = json.loads(capsys.readouterr().out)
    [pair] = found["datasets"]
    assert pair["spearman"] == pytest.approx(CORRELATIONS[one, other], abs=0.005)
    assert pair["n_samples"] == reference.CORPUS_SAMPLES[other]
    assert sum("was counted by Udandarao" in note for note in found["notes"]) == 2
    assert figure.stat().st_size > 10_000


def test_a_table_without_a_total_is_compared_by_rank(tmp_path, capsys) -> None:
    path = tmp_path / "mine.csv"
    counts = {"T_shirt": 900, "BEACH": 500, "jeans": 20, "abacus": 30, "no such class": 7}
    pd.DataFrame({"concept": list(counts), "n_text": list(counts.values())}).to_csv(path)
    assert main(["compare", "reference:laion400m", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = pd.DataFrame(found["concepts"]).sort_values("concept", key=lambda c: c.str.lower())
    assert rows["concept"].tolist() == ["abacus", "beach", "jeans", "T-shirt"]
    assert rows["ratio"].isna().all()
    assert rows["rank"].tolist() == pytest.approx([1 / 3, 2 / 3, 0.0, 1.0])
    assert any("compared by rank" in note for note in found["notes"])
    assert main(["compare", "reference:laion400m", str(path)]) == 0
    assert "ranks furthest apart" in capsys.readouterr().out
    path.write_text("concept,n_text\ndog,3\nDog,4\n")
    assert main(["compare", "reference:laion400m", str(path)]) == 2
