import gzip
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.datasets._rows import CAPTIONS_PER_ROW
from conceptaudit.datasets._samples import MAX_CAPTION_CHARS
from conceptaudit.errors import ConfigError, DataError

LAION = {"SAMPLE_ID": [7.0, 8.0], "URL": ["http://a", "http://b"], "TEXT": ["a dog", "a cat"]}


def write_parquet(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


@pytest.mark.parametrize(
    ("columns", "keys"),
    [
        (LAION, ["7", "8"]),
        ({"uid": ["x", "y"], "url": ["u", "v"], "text": ["a dog", "a cat"]}, ["x", "y"]),
        ({"URL": ["u", "v"], "TEXT": ["no", "no"], "top_caption": ["a dog", "a cat"]}, ["u", "v"]),
        ({"Caption": ["a dog", "a cat"]}, ["0", "1"]),
        ({"image": ["1.jpg", "1.jpg"], "caption": ["a dog", "a cat"]}, ["1.jpg", "1.jpg"]),
    ],
)
def test_parquet_columns_are_found_by_alias(tmp_path, read_all, columns, keys):
    dataset = open_dataset(write_parquet(tmp_path / "a.parquet", columns))
    found = read_all(dataset)
    assert dataset.layout == "table"
    assert dataset.provides == {CAPTION}
    assert found.pairs == list(zip(keys, ["a dog", "a cat"], strict=True))
    assert found.ids == [0, 1]


def test_named_columns_win(tmp_path, read_all):
    path = write_parquet(tmp_path / "a.parquet", {"a": ["x"], "b": ["y"], "caption": ["no"]})
    dataset = open_dataset(path, caption_column="A", key_column="b")
    assert read_all(dataset).pairs == [("y", "x")]
    with pytest.raises(ConfigError, match=r"'caption_column'.*'a', 'b', 'caption'.*'z'"):
        open_dataset(path, caption_column="z")


def test_no_caption_column_lists_what_is_there(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", {"foo": ["x"], "bar": [1]})
    with pytest.raises(DataError, match=r"No caption column.*\['foo', 'bar'\].*caption_column"):
        open_dataset(path)


@pytest.mark.parametrize("order", [("caption", "url"), ("url", "caption")])
def test_headerless_tsv_is_told_by_where_the_urls_are(tmp_path, read_all, order):
    rows = [
        {"caption": 'a "dog', "url": "https://a/1.jpg"},
        {"caption": "a cat", "url": "https://a/2"},
    ]
    path = tmp_path / "cc.tsv"
    path.write_text("".join("\t".join(row[c] for c in order) + "\n" for row in rows))
    dataset = open_dataset(path)
    assert read_all(dataset).pairs == [("https://a/1.jpg", 'a "dog'), ("https://a/2", "a cat")]
    assert any("no header" in note for note in dataset.notes)


def test_a_url_in_the_first_row_means_no_header(tmp_path, read_all):
    path = tmp_path / "cc12m.tsv"
    path.write_text("https://a/1.jpg\ttitle\nhttps://a/2.jpg\tcaption\n")
    assert read_all(open_dataset(path)).captions == ["title", "caption"]


def test_columns_that_hold_no_texts_are_explained(tmp_path, read_all):
    path = write_parquet(tmp_path / "a.parquet", {"caption": [[1, 2]], "x": ["a dog"]})
    with pytest.raises(DataError, match=r"'caption' holds lists .*--caption-column"):
        open_dataset(path)
    assert read_all(open_dataset(path, caption_column="x")).captions == ["a dog"]


def test_csv_with_newlines_quotes_and_blank_lines(tmp_path, read_all):
    path = tmp_path / "a.csv"
    path.write_bytes(
        b'\xef\xbb\xbfkey,caption\r\n1,"two\r\nlines, ""quoted"""\r\n\r\n'
        b'2,5" disc\r\n3,"a\rb"\r\n4\r\n'
    )
    for rows in (1, 2, 100):
        found = read_all(open_dataset(path, shard_rows=rows))
        assert found.pairs == [
            ("1", 'two\nlines, "quoted"'),
            ("2", '5" disc'),
            ("3", "a b"),
        ]
        assert found.ids == [0, 1, 2]
        assert found.reasons == {"sample:wrong_field_count": 1}
        assert found.drops[0].sample_id == 3
    assert len(open_dataset(path, shard_rows=1).shards()) == 4


@pytest.mark.parametrize("order", [("url", "caption"), ("caption", "url")])
def test_line_breaks_in_quotes_of_a_headerless_tsv(tmp_path, read_all, order):
    rows = [
        {"url": "https://a/1", "caption": '"a dog\nand a cat"'},
        {"url": "https://a/2", "caption": "a horse"},
    ]
    path = tmp_path / "a.tsv"
    path.write_text("".join("\t".join(row[c] for c in order) + "\n" for row in rows))
    assert read_all(open_dataset(path)).pairs == [
        ("https://a/1", "a dog\nand a cat"),
        ("https://a/2", "a horse"),
    ]


@pytest.mark.parametrize("before", [1, 500])
def test_an_unclosed_quote_swallows_nothing(tmp_path, read_all, before):
    path = tmp_path / "a.csv"
    path.write_text("key,caption\n" + "1,ok\n" * before + '2,"never closed\n3,lost\n')
    for rows in (1, 2, 1000):
        found = read_all(open_dataset(path, shard_rows=rows))
        assert found.captions == ["ok"] * before + ['"never closed', "lost"]
        assert found.reasons == {"note:unbalanced_quote": 1}


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "csv.gz", "tsv.gz", "json"])
def test_text_formats_and_compression(tmp_path, read_all, ending):
    rows = [{"key": "1", "text": "a dog"}, {"key": "2", "text": "a çat"}]
    if ending == "json":
        content = json.dumps(rows)
    elif ending.startswith("jsonl"):
        content = "\n".join(json.dumps(row) for row in rows)
    else:
        mark = "," if ending.startswith("csv") else "\t"
        content = "\n".join([mark.join(rows[0]), *(mark.join(row.values()) for row in rows)])
    raw = content.encode()
    path = tmp_path / f"a.{ending}"
    path.write_bytes(gzip.compress(raw) if ending.endswith("gz") else raw)
    assert read_all(open_dataset(path, shard_rows=1)).pairs == [("1", "a dog"), ("2", "a çat")]


def test_sbu_json(tmp_path, read_all):
    path = tmp_path / "sbu.json"
    path.write_text(json.dumps({"image_urls": ["http://a"], "captions": ["a dog"]}))
    dataset = open_dataset(path, caption_column="captions")
    assert read_all(dataset).pairs == [("http://a", "a dog")]
    assert read_all(open_dataset(path)).pairs == [("http://a", "a dog")]


def test_bad_json_lines_are_counted(tmp_path, read_all):
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"caption": "ok"}\n[1]\n{"capt\n{"caption": 5}\n{"caption": ["x"]}\n{}\n'
        b'{"caption": "bad \\ud83d"}\n{"caption": "caf\xe9"}\n'
    )
    found = read_all(open_dataset(path))
    assert found.captions == ["ok", "5", "x", None, "bad �", "caf�"]
    assert found.ids == [n * CAPTIONS_PER_ROW for n in (0, 3, 4, 5, 6, 7)]
    assert found.reasons == {
        "sample:invalid_json": 2,
        "note:caption_not_text": 1,
        "caption:null_caption": 1,
        "note:caption_not_utf8": 2,
    }
    for caption in found.captions:
        assert caption is None or caption.encode()


def test_keys_and_details_can_be_written(tmp_path, read_all):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"key": "\\udc80", "caption": "x"}\n{"key": "\xff", "caption": ""}\n\xff\n')
    found = read_all(open_dataset(path))
    assert found.keys == ["\ufffd", "\ufffd"]
    assert [(drop.key, drop.detail) for drop in found.drops] == [("2", "\ufffd"), ("\ufffd", "''")]


def test_captions_that_cannot_be_used_as_they_are(tmp_path, read_all):
    captions = [None, "", " \n\t", "x" * (MAX_CAPTION_CHARS + 5), "ok"]
    found = read_all(open_dataset(write_parquet(tmp_path / "a.parquet", {"caption": captions})))
    assert found.captions == [None, None, None, "x" * MAX_CAPTION_CHARS, "ok"]
    assert found.reasons == {
        "caption:null_caption": 1,
        "caption:empty_caption": 2,
        "note:caption_cut": 1,
    }


def test_invalid_utf8_in_parquet_and_tsv(tmp_path, read_all):
    bad = pa.array([b"caf\xe9", b"ok"], pa.binary())
    text = pa.StringArray.from_buffers(2, bad.buffers()[1], bad.buffers()[2])
    path = write_parquet(tmp_path / "a.parquet", {"caption": text})
    assert read_all(open_dataset(path)).captions == ["caf�", "ok"]
    other = tmp_path / "a.tsv"
    other.write_bytes(b"key\tcaption\n1\tcaf\xe9\n2\tok\n")
    found = read_all(open_dataset(other))
    assert found.captions == ["caf�", "ok"]
    assert found.reasons == {"note:caption_not_utf8": 1}


def test_captions_as_bytes_numbers_and_categories(tmp_path, read_all):
    columns = {"caption": pa.array([b"a dog", b"a cat"], pa.binary())}
    assert read_all(open_dataset(write_parquet(tmp_path / "a.parquet", columns))).captions == [
        "a dog",
        "a cat",
    ]
    columns = {"caption": pa.array(["a", "a"]).dictionary_encode()}
    assert read_all(open_dataset(write_parquet(tmp_path / "b.parquet", columns))).captions == [
        "a",
        "a",
    ]
    found = read_all(open_dataset(write_parquet(tmp_path / "c.parquet", {"caption": [1, None]})))
    assert found.captions == ["1", None]
    assert found.reasons == {"note:caption_not_text": 1, "caption:null_caption": 1}


def test_hugging_face_images(tmp_path, read_all):
    images = [{"bytes": b"one", "path": "1.jpg"}, {"bytes": b"", "path": "2.jpg"}, None]
    path = write_parquet(tmp_path / "a.parquet", {"image": images, "text": ["a", "b", "c"]})
    dataset = open_dataset(path)
    assert dataset.provides == {CAPTION, IMAGE}
    found = read_all(dataset)
    assert found.pairs == [("1.jpg", "a"), ("2.jpg", "b"), ("2", "c")]
    assert found.images == [b"one", None, None]
    assert found.reasons == {"image:empty_image": 1, "image:missing_image": 1}
    text_only = read_all(dataset, frozenset({CAPTION}))
    assert (text_only.pairs, text_only.images, text_only.drops) == (found.pairs, [], [])
    with pytest.raises(ConfigError, match="parts"):
        read_all(dataset, frozenset({"embedding"}))


IMG2DATASET = {
    "url": ["u3", "u1", "u2", "u1", "u4"],
    "caption": ["c3", "c1", "c2", "c1", "c4"],
    "key": ["3", "1", "2", "1", "4"],
    "status": ["success", "success", "failed_to_download", "success", None],
    "error_message": [None, None, "404", None, None],
}


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_img2dataset_metadata_counts_only_what_was_downloaded(tmp_path, read_all, rows):
    path = write_parquet(tmp_path / "00000.parquet", IMG2DATASET)
    found = read_all(open_dataset(path, shard_rows=rows))
    assert found.pairs == [("3", "c3"), ("1", "c1")]
    assert found.ids == [0, 1]
    assert [(d.sample_id, d.key, d.reason, d.detail) for d in found.drops] == [
        (2, "2", "status_failed_to_download", "404"),
        (3, "1", "duplicate_key", ""),
        (4, "4", "status_unknown", ""),
    ]


def test_img2dataset_parquet_output_holds_images(tmp_path, read_all):
    columns = {**IMG2DATASET, "jpg": [b"x", b"y", None, b"z", None]}
    found = read_all(open_dataset(write_parquet(tmp_path / "00000.parquet", columns)))
    assert found.images == [b"x", b"y"]


def test_a_status_column_of_another_tool_drops_nothing(tmp_path, read_all):
    columns = {"caption": ["a", "b"], "status": ["new", "old"]}
    found = read_all(open_dataset(write_parquet(tmp_path / "a.parquet", columns)))
    assert found.captions == ["a", "b"]


def test_damaged_files_are_data_errors(tmp_path, read_all):
    good = write_parquet(tmp_path / "good.parquet", {"caption": ["a"] * 1000})
    (tmp_path / "p").mkdir()
    bad = tmp_path / "p" / "b.parquet"
    bad.write_bytes(good.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"b\.parquet.*truncated"):
        open_dataset(bad)
    # One bad file among good ones stops only its own shard.
    write_parquet(tmp_path / "p" / "a.parquet", {"caption": ["a"]})
    dataset = open_dataset(tmp_path / "p")
    first, second = dataset.shards()
    assert [batch.captions for batch in dataset.read(first, dataset.provides)] == [["a"]]
    with pytest.raises(DataError, match=r"b\.parquet"):
        list(dataset.read(second, dataset.provides))

    packed = tmp_path / "a.csv.gz"
    text = "".join(f"{i},caption {i * 7919}\n" for i in range(20_000))
    packed.write_bytes(gzip.compress(f"key,caption\n{text}".encode())[:-4000])
    with pytest.raises(DataError, match=r"a\.csv\.gz cannot be read to its end"):
        read_all(open_dataset(packed))
    packed.write_bytes(b"key,caption\n1,not gzip\n")
    with pytest.raises(DataError, match=r"a\.csv\.gz"):
        open_dataset(packed)


def test_parquet_damaged_inside(tmp_path, read_all):
    path = write_parquet(
        tmp_path / "a.parquet",
        {"caption": [f"{i * 7919}" for i in range(5000)]},
        compression="zstd",
        write_page_checksum=True,
    )
    content = bytearray(path.read_bytes())
    content[200:400] = b"\xff" * 200
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a\.parquet"):
        read_all(open_dataset(path))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "is empty"),
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"not json\n", "one JSON object per line"),
        ("a.json", b'{"a": 1}', "COCO captions, a list of objects"),
        ("a.json", b'[{"a": 1}', "not valid JSON"),
        ("a.csv", "key,caption\n1,x\n".encode("utf-16"), "UTF-16"),
        ("a.csv", b"key,caption\r1,x\r2,y\r", "CR alone"),
        ("a.csv", b"key,key\n1,x\n", "different names"),
        ("a.parquet", b"", "parquet"),
    ],
)
def test_files_that_are_no_tables(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path / name)


def test_table_without_rows(tmp_path, read_all):
    path = write_parquet(tmp_path / "a.parquet", {"caption": pa.array([], pa.string())})
    assert read_all(open_dataset(path)).ids == []
    (tmp_path / "a.csv").write_text("key,caption\n")
    assert read_all(open_dataset(tmp_path / "a.csv")).ids == []


def test_giant_row_group_is_read_by_range(tmp_path, read_all):
    n = 5000
    frame = pd.DataFrame({"key": range(n), "caption": [f"caption {i}" for i in range(n)]})
    frame.to_parquet(tmp_path / "a.parquet", row_group_size=n)
    dataset = open_dataset(tmp_path / "a.parquet", shard_rows=1500)
    assert [(s.start, s.stop) for s in dataset.shards()] == [
        (0, 1500),
        (1500, 3000),
        (3000, 4500),
        (4500, 5000),
    ]
    found = read_all(dataset)
    assert found.keys == [str(i) for i in range(n)]
    # More cuts than this would decode the row group's beginning over and over.
    assert len(open_dataset(tmp_path / "a.parquet", shard_rows=1).shards()) <= 64


def test_only_needed_bytes_of_text_files_are_read(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("key\tcaption\n" + "".join(f"{i}\tcaption {i}\n" for i in range(10)))
    shards = open_dataset(path, shard_rows=4).shards()
    assert [s.offset for s in shards] == [12, 12 + 4 * 12, 12 + 8 * 12]
