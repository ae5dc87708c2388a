"""Concept frequencies: runs, tables, and the paper's counts joined by concept."""

import json

import pandas as pd
import pytest

from conceptaudit.errors import ConfigError, DataError
from conceptaudit.frequency.readers import holds_several, read_frequencies


@pytest.fixture
def write(tmp_path):
    def _write(name, content):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return _write


@pytest.fixture
def published(write):
    """Two evaluation sets, three searches; names in another order in every file."""
    write("pets_cc3m_lemmatized_search_counts.json", {"dog": 1, "cat": 2, "": 7})
    write("pets_cc3m_rampp0.7_search_counts.json", {"cat": 20, "dog": 10})
    write("pets_cc3m_integrated_tlemmatized_i0.7_search_counts.json", {"cat": 0, "dog": 5})
    write("imagenet-r_cc3m_lemmatized_search_counts.json", {"dog": 3})


def test_searches_are_joined_by_concept_and_dataset(published, tmp_path):
    read = read_frequencies(tmp_path)
    assert read.source == "cc3m"
    assert list(read.table) == ["dataset", "concept", "n_text", "n_image", "n_joint"]
    rows = read.table.set_index(["dataset", "concept"])
    assert rows.loc[("pets", "dog")].tolist() == [1, 10, 5]
    assert rows.loc[("pets", "cat")].tolist() == [2, 20, 0]
    assert rows.loc[("imagenet-r", "dog"), "n_text"] == 3
    assert rows.loc[("imagenet-r", "dog")].isna().tolist() == [False, True, True]
    assert len(rows) == 3


def test_files_globs_and_folders_are_the_same(published, tmp_path):
    expected = read_frequencies(tmp_path).table
    for source in (str(tmp_path / "*_search_counts.json"), sorted(tmp_path.iterdir())):
        pd.testing.assert_frame_equal(read_frequencies(source).table, expected)


@pytest.mark.parametrize(
    ("search", "column"),
    [
        ("lemmatized", "n_text"),
        ("lowercased", "n_text"),
        ("rampp0.55", "n_image"),
        ("integrated_tlemmatized_i0.5", "n_joint"),
    ],
)
def test_each_search_has_its_column(search, column, write):
    path = write(f"cub_laion200m_train_test_{search}_search_counts.json", {"dog": 4})
    read = read_frequencies(path)
    assert read.counted == (column,)
    assert read.source == "laion200m_train_test"
    assert read.table["dataset"].tolist() == ["cub"]


def test_the_papers_main_search_is_taken_unless_told(write, tmp_path):
    for search, count in (("rampp0.5", 50), ("rampp0.7", 70), ("rampp0.6", 60)):
        write(f"cub_cc3m_{search}_search_counts.json", {"dog": count})
    assert read_frequencies(tmp_path).table["n_image"].tolist() == [70]
    chosen = read_frequencies(tmp_path, searches={"n_image": "rampp0.5"})
    assert chosen.table["n_image"].tolist() == [50]
    with pytest.raises(ConfigError, match=r"rampp0\.5, rampp0\.6, rampp0\.7\. Got 'rampp0\.9'"):
        read_frequencies(tmp_path, searches={"n_image": "rampp0.9"})


def test_one_pretraining_set_at_a_time(write, tmp_path):
    for name in ("cc3m", "cc12m"):
        write(f"cub_{name}_lemmatized_search_counts.json", {"dog": len(name)})
    with pytest.raises(ConfigError, match=r"one pretraining set. Got cc12m, cc3m instead"):
        read_frequencies(tmp_path)
    assert read_frequencies(tmp_path, pretraining="cc12m").table["n_text"].tolist() == [5]
    with pytest.raises(ConfigError, match="must be one of"):
        read_frequencies(tmp_path, pretraining="laion5b")


@pytest.mark.parametrize("name", ["counts.json", "cub_cc3m_rampp_search_counts.json"])
def test_unknown_names_are_refused_with_the_known_ones(name, write):
    with pytest.raises(DataError, match=r"Known names are \{dataset\}_\{pretraining\}"):
        read_frequencies(write(name, {"dog": 1}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"dog": -1}, "Got -1 for concept 'dog'"),
        ({"dog": 1.5}, "Got 1.5 for concept 'dog'"),
        ({"dog": "1"}, "Got '1' for concept 'dog'"),
        ({"dog": True}, "Got True for concept 'dog'"),
        ([1], "must map class names to counts"),
        ({}, "must map class names to counts"),
        ("{", "Cannot read .* as JSON"),
    ],
)
def test_impossible_counts(content, message, write):
    with pytest.raises(DataError, match=message):
        read_frequencies(write("cub_cc3m_lemmatized_search_counts.json", content))


def test_a_run_folder(write, tmp_path):
    path = write("my run/frequencies.csv", "concept,n_text,n_text_low\ndog,5,3.2\nNA,0,0\n")
    pd.read_csv(path, keep_default_na=False).to_parquet(tmp_path / "my run/frequencies.parquet")
    read = read_frequencies(tmp_path / "my run")
    assert read.source == "my run"
    assert read.table["concept"].tolist() == ["dog", "NA"]
    assert read.table["n_text"].dtype == "Int64"
    assert read.table["n_text_low"].tolist() == [3.2, 0.0]
    assert not holds_several(tmp_path / "my run")


def test_a_table_with_a_source_and_gaps(write):
    path = write("counts.csv", "Concept,N_TEXT,n_image,source\ndog,5,,laion\ncat,,7,laion\n")
    read = read_frequencies(path)
    assert read.source == "laion"
    assert read.table["n_text"].isna().tolist() == [False, True]
    assert read.counted == ("n_text", "n_image")
    assert "source" not in read.table
    assert read_frequencies(write("other.csv", "concept,n_text\ndog,1\n")).source == "other"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concept,n_text\ndog,-1\n", "row 1: n_text must be a count .* Got '-1' for concept 'dog'"),
        ("concept,n_text\ndog,1\ncat,many\n", "row 2: .* Got 'many' for concept 'cat'"),
        ("concept,count\ndog,1\n", "must have a 'concept' column and one of"),
        ("class,n_text\ndog,1\n", "must have a 'concept' column and one of"),
        ("", "Cannot read"),
    ],
)
def test_impossible_tables(text, message, write):
    with pytest.raises(DataError, match=message):
        read_frequencies(write("counts.csv", text))


def test_estimated_counts_stay_fractions(write):
    read = read_frequencies(write("counts.csv", "concept,n_image\ndog,2.5\ncat,1\n"))
    assert read.table["n_image"].tolist() == [2.5, 1.0]


def test_the_level_of_intervals_is_that_of_the_audit(write):
    row = "concept,n_text,n_text_low,n_text_high\ndog,9,8,10\n"
    table = write("frequencies.csv", row)
    assert read_frequencies(table).level == 0.9
    write("manifest.json", {"kind": "audit", "level": 0.5})
    assert read_frequencies(table).level == 0.5
    assert read_frequencies(table.parent).level == 0.5
    assert read_frequencies(write("other.csv", row)).level == 0.9
    write("manifest.json", {"level": 90})
    with pytest.raises(DataError, match="level must lie in"):
        read_frequencies(table)


def test_tables_do_not_mix_with_count_files(write):
    table = write("counts.csv", "concept,n_text\ndog,1\n")
    counts = write("cub_cc3m_lemmatized_search_counts.json", {"dog": 1})
    assert holds_several(counts)
    with pytest.raises(DataError, match="one table or from the paper's count files"):
        read_frequencies([table, counts])
    with pytest.raises(ConfigError, match="chooses among count files"):
        read_frequencies(table, pretraining="cc3m")


def test_missing_files(tmp_path):
    for source in (tmp_path, tmp_path / "none.csv", str(tmp_path / "*.json")):
        with pytest.raises(DataError, match="There are no frequencies at"):
            read_frequencies(source)
    with pytest.raises(DataError, match="No frequency files"):
        read_frequencies([])


def test_published_counts(realdata):
    read = read_frequencies(realdata / "reference" / "search_counts", pretraining="laion400m")
    rows = read.table.set_index(["dataset", "concept"])
    assert rows.loc[("dtd", "banded")].notna().all()
    # Two integers of the published files, by hand.
    assert (rows["n_joint"].dropna() >= 0).all()
    assert read.counted == ("n_text", "n_image", "n_joint")
