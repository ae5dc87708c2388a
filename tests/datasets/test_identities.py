"""Addresses and digests of tables."""

import gzip
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.identities import identity_kinds, is_url, plain_url, read_identities

ROWS = {
    "URL": ["https://A.org/1.jpg#x", "http://a.org:80/2.jpg", None],
    "TEXT": ["a dog", "a cat", "a cow"],
    "MD5": ["AB", None, ""],
    "phash": ["00000000000000ff", "11", None],
    "hash": [5, 6, 7],
}


def identities(path, **options):
    dataset = open_dataset(path, **options)
    blocks = [block for shard in dataset.shards() for block in read_identities(dataset, shard)]
    assert identity_kinds(dataset) == tuple(blocks[0].columns)
    keys = [key for block in blocks for key in block.keys]
    values = {
        kind: [value for block in blocks for value in block.columns[kind]]
        for kind in blocks[0].columns
    }
    return keys, values


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "csv.gz"])
def test_every_table_format_tells_addresses_and_digests(tmp_path, ending):
    path = tmp_path / f"meta.{ending}"
    table = pd.DataFrame(ROWS)
    match ending:
        case "parquet":
            table.to_parquet(path)
        case "csv":
            table.to_csv(path, index=False)
        case "csv.gz":
            path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
        case _:
            rows = [dict(zip(ROWS, row, strict=True)) for row in zip(*ROWS.values(), strict=True)]
            path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    keys, values = identities(path, key_column="hash")
    assert keys == ["5", "6", "7"]
    assert values == {
        "url": ["a.org/1.jpg", "a.org/2.jpg", None],
        "md5": ["ab", None, None],
        "phash": ["00000000000000ff", "11", None],
    }


def test_cutting_a_table_changes_nothing(tmp_path):
    table = pd.DataFrame({"url": [f"http://a/{i}" for i in range(50)], "text": "x"})
    table.to_csv(tmp_path / "t.csv", index=False)
    whole = identities(tmp_path / "t.csv")
    assert identities(tmp_path / "t.csv", shard_rows=7) == whole
    assert len(whole[0]) == 50


def test_integer_hashes_are_read_as_64_bits(tmp_path):
    pd.DataFrame({"text": ["a", "b"], "phash": [-1, 255]}).to_parquet(tmp_path / "t.parquet")
    assert identities(tmp_path / "t.parquet")[1] == {"phash": ["f" * 16, "00000000000000ff"]}


def test_other_layouts_and_tables_without_identity_offer_none(tmp_path):
    pd.DataFrame({"text": ["a"]}).to_csv(tmp_path / "t.csv", index=False)
    dataset = open_dataset(tmp_path / "t.csv")
    assert identity_kinds(dataset) == ()
    assert list(read_identities(dataset, dataset.shards()[0])) == []
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "1.txt").write_text("a dog")
    files = open_dataset(tmp_path / "files")
    assert identity_kinds(files) == ()
    assert list(read_identities(files, files.shards()[0])) == []


@given(
    scheme=st.sampled_from(["http", "https", "HTTP"]),
    host=st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}\.(org|com)", fullmatch=True),
    path=st.text("abAB/%20._-", max_size=20),
    query=st.text("ab=&1", max_size=8),
    fragment=st.text("abc/?", max_size=5),
)
def test_folding_an_address_keeps_what_names_the_file(scheme, host, path, query, fragment):
    told = f"/{path}" + (f"?{query}" if query else "")
    folded = plain_url(f"{scheme}://{host}{told}#{fragment}")
    assert folded == f"{host.lower()}{told}"
    assert plain_url(f"http://{folded}") == folded


@given(text=st.text(max_size=60))
def test_any_text_can_be_folded(text):
    assert isinstance(plain_url(text), str)
    assert isinstance(is_url(text), bool)
