"""Braces in locations: what shells and WebDataset write, every name of which has to be there."""

import fsspec
import pytest

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets._listing import expand_braces, has_braces
from conceptaudit.errors import ConfigError

NAMES = ("00008.tsv", "00009.tsv", "00010.tsv")


@pytest.fixture
def folder(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text(f"key\tcaption\n{name}\ta dog\n")
    (tmp_path / "other.tsv").write_text("key\tcaption\nother\ta dog\n")
    return tmp_path


def keys_and_ids(location):
    dataset = open_dataset(location)
    return [
        (key, int(sample_id))
        for shard in dataset.shards()
        for batch in dataset.read(shard, dataset.provides)
        for key, sample_id in zip(batch.keys, batch.sample_ids, strict=True)
    ]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{8..10}", ["8", "9", "10"]),
        ("{08..10}", ["08", "09", "10"]),
        ("{2..0}", ["2", "1", "0"]),
        ("{a,b}{1..2}", ["a1", "a2", "b1", "b2"]),
        ("x{,y}", ["x", "xy"]),
        ("{a}", ["{a}"]),
        ("{1..b}", ["{1..b}"]),
        ("plain", ["plain"]),
    ],
)
def test_what_braces_stand_for(pattern, names):
    assert expand_braces(pattern) == names
    assert has_braces(pattern) == (names != [pattern])


def test_a_range_reads_what_a_pattern_reads(folder):
    expected = keys_and_ids(f"{folder}/0*.tsv")
    assert [key for key, _ in expected] == list(NAMES)
    assert keys_and_ids(f"{folder}/{{00008..00010}}.tsv") == expected
    assert keys_and_ids(f"{folder}/{{00008,00009,0001*}}.tsv") == expected


def test_remote_names_are_looked_up_one_by_one(folder):
    remote = fsspec.filesystem("memory")
    for name in NAMES:
        remote.pipe(f"/braces/{name}", (folder / name).read_bytes())
    assert keys_and_ids("memory://braces/{00008..00010}.tsv") == keys_and_ids("memory://braces")
    with pytest.raises(ConfigError, match=r"1 of the 4 files .*: /braces/00011\.tsv"):
        open_dataset("memory://braces/{00008..00011}.tsv")


def test_a_name_that_is_not_there_is_told_and_never_left_out(folder):
    with pytest.raises(ConfigError, match=r"91 of the 94 files .*00001\.tsv.* '.*/\*\.tsv'"):
        open_dataset(f"{folder}/{{00001..00094}}.tsv")
    with pytest.raises(ConfigError, match="names nothing that exists"):
        open_dataset(f"{folder}/{{11..20}}.tsv")
    with pytest.raises(ConfigError, match=r"at most 1,000,000 files.*100,000,000"):
        open_dataset(f"{folder}/{{0..99999999}}.tsv")


def test_a_file_whose_name_has_braces_is_itself(tmp_path):
    (tmp_path / "{a,b}.tsv").write_text("key\tcaption\nx\ta dog\n")
    assert [key for key, _ in keys_and_ids(tmp_path / "{a,b}.tsv")] == ["x"]
