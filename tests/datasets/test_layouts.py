"""Layouts as other people keep them: what each file says, read as what it is.

Every case is (name of the file, content, its (key, caption) pairs); None as key means that the
file has none, so that the sample id stands for it.
"""

import bz2
import gzip
import json
import lzma

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.datasets._rows import CAPTIONS_PER_ROW
from conceptaudit.errors import ConfigError, DataError

DOG, CAT = "a dog on grass", "a cat"
TWO = [("1.jpg", DOG), ("1.jpg", CAT)]
PAIRS = [("1.jpg", DOG), ("2.jpg", CAT)]
LINES = [(None, DOG), (None, CAT)]
TALK = [
    {"from": "human", "value": "<image>\nWhat is it?"},
    {"from": "gpt", "value": DOG},
    {"from": "human", "value": "And a tiger?"},
    {"from": "gpt", "value": CAT},
]
CHAT = [
    {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "a tiger?"}]},
    {"role": "assistant", "content": [{"type": "text", "text": DOG}]},
    {"role": "assistant", "content": CAT},
]
RECORDS = [{"image": "1.jpg", "caption": DOG}, {"image": "2.jpg", "caption": CAT}]
JSON = {
    "lists": ([{"image": "1.jpg", "caption": [DOG, CAT]}], TWO),
    "llava": ([{"id": "x", "image": "1.jpg", "conversations": TALK}], [("x", DOG), ("x", CAT)]),
    "without_image": ([{"id": "x", "conversations": TALK}], [("x", DOG), ("x", CAT)]),
    "messages": ([{"image": "1.jpg", "messages": CHAT}], TWO),
    "idefics": ([{"image": "1.jpg", "texts": [{"user": "a tiger?", "assistant": DOG}]}], TWO[:1]),
    "sentences": ([{"filename": "1.jpg", "sentences": [{"raw": DOG}, {"raw": CAT}]}], TWO),
    "regions": ([{"image_id": 71, "regions": [{"phrase": DOG}, {"phrase": CAT}]}],
                [("71", DOG), ("71", CAT)]),
    "one_record": ({"image": "1.jpg", "caption": [DOG, CAT]}, TWO),
    "data": ({"version": 1, "data": RECORDS}, PAIRS),
    "annotations": ({"annotations": [{"image_id": 1, "caption": DOG}]}, [("1", DOG)]),
    "textcaps": ({"data": [{"image_id": "q", "caption_str": DOG}]}, [("q", DOG)]),
    "by_key": ({"1.jpg": DOG, "2.jpg": CAT}, PAIRS),
    "lists_by_key": ({"1.jpg": [DOG, CAT]}, TWO),
    "even_lists_by_key": ({"1.jpg": [DOG], "2.jpg": [CAT]}, PAIRS),
    "records_by_key": ({"1.jpg": {"caption": DOG}, "2.jpg": {"caption": CAT}}, PAIRS),
    "texts": ([DOG, CAT], LINES),
    "pairs": ([["1.jpg", DOG], ["2.jpg", CAT]], PAIRS),
    "columns": ({"image_urls": ["1.jpg", "2.jpg"], "captions": [DOG, CAT]}, PAIRS),
    "column_of_lists": ({"key": ["1.jpg"], "captions": [[DOG, CAT]]}, TWO),
    "upper_case": ([{"IMAGE": "1.jpg", "CAPTION": DOG}], TWO[:1]),
    "one_list_among_texts": (
        [{"key": "1.jpg", "caption": DOG}, {"key": "2.jpg", "caption": [CAT]}], PAIRS),
    "empty_list": ([{"key": "1.jpg", "caption": []}, {"key": "2.jpg", "caption": [CAT]}],
                   [("1.jpg", None), ("2.jpg", CAT)]),
}  # fmt: skip


def pairs_of(found):
    ids = [str(number) for number in found.ids]
    keys = [None if key == own else key for key, own in zip(found.keys, ids, strict=True)]
    return list(zip(keys, found.captions, strict=True))


@pytest.mark.parametrize("shape", JSON)
@pytest.mark.parametrize("ending", ["json", "json.gz", "jsonl", "jsonl.bz2", "json as lines"])
def test_shapes_of_json(tmp_path, read_all, shape, ending):
    content, expected = JSON[shape]
    if ending in ("jsonl", "jsonl.bz2", "json as lines"):
        if not isinstance(content, list) or not all(isinstance(c, dict) for c in content):
            return  # only lists of records have a line for each
        text = "\n".join(json.dumps(record) for record in content) + "\n"
    else:
        text = "\ufeff" + json.dumps(content)
    packed = {"json.gz": gzip.compress, "jsonl.bz2": bz2.compress}.get(ending, bytes)
    path = tmp_path / f"a.{ending.removesuffix(' as lines')}"
    path.write_bytes(packed(text.encode()))
    for rows in (1, 1000):
        assert pairs_of(read_all(open_dataset(path, shard_rows=rows))) == expected


TEXT = {
    "a.en": (f"{DOG}\n{CAT}\n", LINES),
    "captions": (f"{DOG}\n{CAT}\n", LINES),
    "a.txt": (f"{DOG}\r\n{CAT}", LINES),
    "tabs.txt": (f"{DOG}\n{CAT}\tand more\n", [(None, DOG), (None, f"{CAT}\tand more")]),
    "commas.txt": ("a dog, running\na cat, and, more\n",
                   [(None, "a dog, running"), (None, "a cat, and, more")]),
    "one_column.csv": ("a dog, running\na cat, and, more\n",
                       [(None, "a dog, running"), (None, "a cat, and, more")]),
    "no_header.csv": (f"1.jpg,{DOG}\n2.jpg,{CAT}\n", PAIRS),
    "no_header.txt": (f"1.jpg,{DOG}\n2.jpg,{CAT}\n", PAIRS),
    "ids.csv": (f"17,{DOG}\n18,{CAT}\n", [("17", DOG), ("18", CAT)]),
    "commas_in_pairs.csv": ("1.jpg,a dog, running\n2.jpg,a cat\n",
                            [("1.jpg", "a dog, running"), ("2.jpg", "a cat")]),
    "Flickr8k.token.txt": (f"1.jpg#0\t{DOG}\n1.jpg#1\t{CAT}\n", TWO),
    "results.token": (f"1.jpg#0\t{DOG}\n1.jpg#1\ta\tcat\n", [("1.jpg", DOG), ("1.jpg", "a\tcat")]),
    "caption_first.tsv": (f"{DOG}\t1.jpg\n{CAT}\t2.jpg\n", PAIRS),
    "three.csv": (f"1,http://a/1.jpg,{DOG}\n2,http://a/2.jpg,{CAT}\n", [("1", DOG), ("2", CAT)]),
    "captions.txt": (f'image,caption\n1.jpg,"{DOG}"\n2.jpg,{CAT}\n', PAIRS),
    "results.csv": (f"image_name| comment_number| comment\n1.jpg| 0| {DOG}\n2.jpg| 1| {CAT}\n",
                    [("1.jpg", f" {DOG}"), ("2.jpg", f" {CAT}")]),
    "semicolons.csv": (f"image;caption\n1.jpg;{DOG}\n2.jpg;{CAT}\n", PAIRS),
    "really_tabs.csv": (f"image\tcaption\n1.jpg\t{DOG}\n2.jpg\t{CAT}\n", PAIRS),
    "really_commas.tsv": (f"image,caption\n1.jpg,{DOG}\n2.jpg,{CAT}\n", PAIRS),
    "all_quoted.tsv": (f'"image"\t"caption"\n"1.jpg"\t"{DOG}"\n"2.jpg"\t"{CAT}"\n', PAIRS),
    "upper.csv": (f"IMAGE_PATH,TEXT\n1.jpg,{DOG}\n2.jpg,{CAT}\n", PAIRS),
    "header_alone.csv": (f"caption\n{DOG}\n{CAT}\n", LINES),
    "other_header.csv": (f"utterance\n{DOG}\n{CAT}\n", LINES),
    "quoted_breaks.tsv": ('url\tcaption\n1.jpg\t"a dog\non grass"\n2.jpg\ta cat\n',
                          [("1.jpg", "a dog\non grass"), ("2.jpg", "a cat")]),
    "quoted_breaks_first.tsv": ('caption\turl\n"a dog\non grass"\t1.jpg\na cat\t2.jpg\n',
                                [("1.jpg", "a dog\non grass"), ("2.jpg", "a cat")]),
    "bare_quotes.tsv": ('http://a/1\t"a dog\nhttp://a/2\ta 5" cat\nhttp://a/3\tx"\n',
                        [("http://a/1", '"a dog'), ("http://a/2", 'a 5" cat'),
                         ("http://a/3", 'x"')]),
    "json.txt": (json.dumps(RECORDS), PAIRS),
}  # fmt: skip


@pytest.mark.parametrize("packed", ["", ".gz", ".xz"])
@pytest.mark.parametrize("name", TEXT)
def test_text_files(tmp_path, read_all, name, packed):
    content, expected = TEXT[name]
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}[packed]
    path = tmp_path / f"{name}{packed}"
    path.write_bytes(pack(content.encode()))
    for rows in (1, 1000):
        dataset = open_dataset(path, shard_rows=rows)
        assert dataset.layout == "table"
        found = read_all(dataset)
        assert pairs_of(found) == expected
        assert not {reason for reason in found.reasons if reason.startswith("sample")}


def test_a_header_is_no_sample_and_row_one_is(tmp_path, read_all):
    path = tmp_path / "a.csv"
    path.write_text("0,1\n1.jpg,a dog\n")
    with pytest.raises(DataError, match="--caption-column"):
        open_dataset(path)
    assert read_all(open_dataset(path, caption_column="1", key_column="0")).captions == ["a dog"]
    path.write_text("foo,bar\nsome words here,http://a/1.jpg\n")
    with pytest.raises(DataError, match=r"\['foo', 'bar'\]"):
        open_dataset(path)
    assert read_all(open_dataset(path, caption_column="foo")).captions == ["some words here"]


def test_lists_in_parquet(tmp_path, read_all):
    talk = pa.array(
        [TALK, None], pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))
    )
    tables = {
        "lists": pa.table({"image": ["1.jpg", "2.jpg"], "caption": [[DOG, CAT], []]}),
        "large": pa.table(
            {"image": ["1.jpg", "2.jpg"],
             "Captions": pa.array([[DOG, CAT], None], pa.large_list(pa.large_string()))}
        ),
        "talk": pa.table({"image": ["1.jpg", "2.jpg"], "conversations": talk}),
        "arrays": pa.table({"image": ["1.jpg", "2.jpg"], "text": [np.array([DOG, CAT]), None]}),
    }  # fmt: skip
    for name, table in tables.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path)
        for rows in (1, 1000):
            dataset = open_dataset(path, shard_rows=rows)
            found = read_all(dataset)
            assert pairs_of(found) == [*TWO, ("2.jpg", None)]
            assert found.ids == [0, 1, CAPTIONS_PER_ROW]
            assert found.reasons == {"caption:null_caption": 1}
            assert [s.holds(i) for i in found.ids for s in dataset.shards()].count(True) == 3
        assert any("several captions" in note for note in dataset.notes)


def test_empty_lists_alone(tmp_path, read_all):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"key": ["x"], "caption": pa.array([[]], pa.list_(pa.null()))}), path)
    assert pairs_of(read_all(open_dataset(path))) == [("x", None)]


def test_more_captions_than_a_row_may_have(tmp_path, read_all):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"caption": ["a dog"] * (CAPTIONS_PER_ROW + 1)}, {"caption": "x"}]))
    found = read_all(open_dataset(path))
    assert len(set(found.ids)) == CAPTIONS_PER_ROW + 1
    assert found.reasons == {"note:captions_cut_off": 1}


@pytest.mark.parametrize("first", ["null", "text"])
def test_a_part_whose_captions_are_all_null(tmp_path, read_all, first):
    parts = [
        {"url": ["u1"], "caption": pa.array([None], pa.null()), "text": ["a tiger"]},
        {"url": ["u2"], "caption": ["a dog"], "text": ["a tiger"]},
    ]
    for number, part in enumerate(parts if first == "null" else parts[::-1]):
        pq.write_table(pa.table(part), tmp_path / f"{number}.parquet")
    found = read_all(open_dataset(tmp_path))
    assert sorted(found.pairs, key=str) == [("u1", None), ("u2", "a dog")]
    assert found.reasons == {"caption:null_caption": 1}


def test_images_in_lists(tmp_path, read_all):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    tables = {
        "image_bytes": pa.array([[b"i"], [b"j", b"k"], [None]], pa.list_(pa.binary())),
        "images": pa.array(
            [[{"bytes": b"i"}], [{"bytes": b"j"}, {"bytes": b"k"}], []], pa.list_(struct)
        ),
    }
    for name, column in tables.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(
            pa.table({"text": ["<__dj__image> a dog <|__dj__eoc|>", "b", "c"], name: column}), path
        )
        dataset = open_dataset(path)
        assert dataset.provides == {CAPTION, IMAGE}
        found = read_all(dataset)
        assert found.images == [b"i", b"j", None]
        assert found.reasons == {"note:extra_image": 1, "image:missing_image": 1}
    path = tmp_path / "named.parquet"
    pq.write_table(pa.table({"caption": ["x"], "photo": [b"p"]}), path)
    assert open_dataset(path).provides == {CAPTION}
    assert read_all(open_dataset(path, image_column="photo")).images == [b"p"]


def test_rows_that_may_have_been_swallowed(tmp_path, read_all):
    path = tmp_path / "a.csv"
    path.write_text('id,caption\n1,"a dog\n2,a cat\n3,a horse"\n4,a boat\n')
    found = read_all(open_dataset(path))
    assert found.reasons == {"note:rows_swallowed": 1}
    path.write_text('id,caption\n1,"""A dog runs\n2,A cat sits\n3,"""A horse stands\n4,A boat\n')
    found = read_all(open_dataset(path))
    assert [key for key, _ in found.pairs] == ["1", "2", "3", "4"]
    assert found.reasons == {"note:unbalanced_quote": 2}
    path.write_text('id,caption\n1,"a dog\nand more words, here"\n2,a boat\n')
    assert not read_all(open_dataset(path)).reasons


def test_folders_of_lists(tmp_path, read_all):
    many = "".join(f"a dog {i}\n" for i in range(9))
    for name in ("train.en", "val.en"):
        (tmp_path / name).write_text(many)
    (tmp_path / "README.txt").write_text("about")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "table"
    assert len(read_all(dataset).ids) == 18
    (tmp_path / "train.de").write_text(many)
    with pytest.raises(ConfigError, match=r"choose with a pattern such as '\*\.de'"):
        open_dataset(tmp_path)
    assert len(read_all(open_dataset(f"{tmp_path}/*.en")).ids) == 18


def test_images_beside_their_list_of_captions(tmp_path):
    (tmp_path / "Images").mkdir()
    (tmp_path / "Images" / "1.jpg").write_bytes(b"i")
    (tmp_path / "captions.txt").write_text("image,caption\n" + "1.jpg,a dog\n" * 9)
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "files"
    assert any("captions.txt" in note and "name it" in note for note in dataset.notes)
    assert open_dataset(tmp_path / "captions.txt").provides == {CAPTION}


MEMBERS = [("jpg", b"i"), ("txt", b"a dog")]


def members(*names):
    return [(name, b"i" if name.lower().endswith("jpg") else b"a dog") for name in names]


@pytest.mark.parametrize(
    ("names", "keys", "reasons"),
    [
        (["a.input.jpg", "a.outputs.txt", "b.input.jpg", "b.outputs.txt"], ["a", "b"], {}),
        (["a.x.JPG", "a.x.TXT"], ["a"], {}),
        (["St. Peter 0.jpg", "St. Peter 0.txt", "St. Peter 1.jpg", "St. Peter 1.txt"],
         ["St. Peter 0", "St. Peter 1"], {}),
        (["d/v1.0/a.jpg", "d/v1.0/a.txt"], ["d/v1.0/a"], {}),
        (["0.jpg", "0.txt", "St. Peter 0.jpg", "St. Peter 0.txt", "St. Peter 1.jpg"],
         ["0"], {"sample:key_cut_at_first_dot": 2}),
        (["0.jpg", "0.txt", "0.mask.png"], ["0"], {}),
        (["0.jpg", "0.txt", "1.cls"], ["0"], {"sample:no_image_or_caption": 1}),
    ],
)  # fmt: skip
def test_dots_in_names_of_members(tmp_path, write_tar, read_all, names, keys, reasons):
    dataset = open_dataset(write_tar(tmp_path / "a.tar", members(*names)))
    found = read_all(dataset)
    assert found.keys == keys
    assert found.captions == ["a dog"] * len(keys)
    assert found.images == [b"i"] * len(keys)
    assert found.reasons == reasons
    every = [*found.ids, *(drop.sample_id for drop in found.drops)]
    assert len(set(every)) == len(every)
    if "sample:key_cut_at_first_dot" in reasons:
        assert {drop.key for drop in found.drops} == {"St. Peter 0", "St. Peter 1"}
        assert any("'St. Peter 0'" in note for note in dataset.notes)


def test_members_that_are_named(tmp_path, write_tar, read_all):
    names = ["a.input.jpg", "a.target.jpg", "a.outputs.txt", "a.inputs.txt"]
    content = [(name, name.encode()) for name in names]
    path = write_tar(tmp_path / "a.tar", content)
    found = read_all(open_dataset(path, image_column="target.jpg", caption_column="outputs.txt"))
    assert (found.keys, found.images, found.captions) == (["a"], [names[1].encode()], [names[2]])
    path = write_tar(tmp_path / "b.tar", [("a.input.jpg", b"i"), ("a.outputs.txt", b"a dog")])
    found = read_all(open_dataset(path, caption_column="outputs.txt"))
    assert (found.keys, found.images, found.captions) == (["a"], [b"i"], ["a dog"])
    path = write_tar(tmp_path / "c.tar", [("a.pic", b"i"), ("a.words", b"a dog")])
    with pytest.raises(DataError, match=r"but \.pic, \.words.*--image-column and --caption-column"):
        open_dataset(path)
    found = read_all(open_dataset(path, image_column="pic", caption_column="words"))
    assert (found.keys, found.images, found.captions) == (["a"], [b"i"], ["a dog"])


def test_several_images_of_a_sample_are_named(tmp_path, write_tar, read_all):
    """Not keys with dots: every sample has the same endings."""
    content = [
        (f"{key}.{ending}", ending.encode())
        for key in "ab"
        for ending in ("seg.png", "img.png", "caption.txt")
    ]
    path = write_tar(tmp_path / "a.tar", content)
    with pytest.raises(DataError, match=r"\.caption\.txt, \.img\.png, \.seg\.png.*--image-column"):
        open_dataset(path)
    found = read_all(open_dataset(path, image_column="img.png", caption_column="caption.txt"))
    assert (found.keys, found.images) == (["a", "b"], [b"img.png"] * 2)
    assert found.captions == ["caption.txt"] * 2


@pytest.mark.parametrize("show", [json.dumps, repr])
def test_printed_lists_of_captions_in_a_table(show, tmp_path, read_all):
    """Hugging Face's Flickr30k table; a caption in brackets is one caption."""
    rows = [("1.jpg", [DOG, CAT]), ("2.jpg", ["it's a dog"])]
    table = pd.DataFrame({"filename": [r[0] for r in rows], "raw": [show(r[1]) for r in rows]})
    table.to_csv(tmp_path / "a.csv", index=False)
    found = read_all(open_dataset(tmp_path / "a.csv"))
    assert found.captions == [DOG, CAT, "it's a dog"]
    assert found.keys == ["1.jpg", "1.jpg", "2.jpg"]
    table.assign(raw=["[a dog]", show([DOG])]).to_csv(tmp_path / "b.csv", index=False)
    assert read_all(open_dataset(tmp_path / "b.csv")).captions == ["[a dog]", show([DOG])]


def test_lists_of_captions_in_archives(tmp_path, write_tar, read_all):
    record = json.dumps({"captions": [DOG, CAT]}).encode()
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"i"), ("1.json", record), ("2.jpg", b"j")])
    dataset = open_dataset(path)
    for parts in (None, frozenset({IMAGE})):
        found = read_all(dataset, parts)
        assert found.keys == ["1", "1", "2"]
        assert found.ids == [0, 1, CAPTIONS_PER_ROW]
        assert found.images == [b"i", b"i", b"j"]
    assert read_all(dataset).captions == [DOG, CAT, None]
