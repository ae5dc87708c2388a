import gzip
import io
import json
import tarfile

import pandas as pd
import pytest

from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.errors import ConfigError, DataError

SAMPLES = [
    ("0.jpg", b"one"),
    ("0.txt", b"a dog\n"),
    ("0.json", json.dumps({"caption": "json"}).encode()),
    ("1.webp", b"two"),
    ("1.json", json.dumps({"caption": "a cat"}).encode()),
]


def test_captions_from_text_else_json(tmp_path, read_all, write_tar):
    path = write_tar(tmp_path / "00000.tar", SAMPLES)
    dataset = open_dataset(path)
    found = read_all(dataset)
    assert dataset.layout == "webdataset"
    assert found.pairs == [("0", "a dog"), ("1", "a cat")]
    assert found.images == [b"one", b"two"]
    assert read_all(dataset, frozenset({CAPTION})).images == []
    assert read_all(open_dataset(path, caption_column="caption")).captions == ["json", "a cat"]


@pytest.mark.parametrize("ending", [".tar.gz", ".tgz"])
def test_members_need_not_be_adjacent(tmp_path, read_all, write_tar, ending):
    order = [SAMPLES[i] for i in (3, 1, 4, 0, 2)]
    path = write_tar(tmp_path / "a.tar", order)
    expected = ([("1", "a cat"), ("0", "a dog")], [b"two", b"one"])
    found = read_all(open_dataset(path))
    assert (found.pairs, found.images) == expected
    packed = tmp_path / f"b{ending}"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    found = read_all(open_dataset(packed))
    assert (found.pairs, found.images) == expected


def test_the_first_of_a_repeated_key_counts(tmp_path, read_all, write_tar):
    members = [("1.jpg", b"a"), ("1.txt", b"first"), ("2.txt", b"x"), ("2.jpg", b"b")]
    members += [("1.jpg", b"c"), ("1.txt", b"second")]
    found = read_all(open_dataset(write_tar(tmp_path / "a.tar", members)))
    assert found.pairs == [("1", "first"), ("2", "x")]
    assert found.images == [b"a", b"b"]
    assert [(d.sample_id, d.key, d.part, d.reason) for d in found.drops] == [
        (2, "1", "sample", "duplicate_key")
    ]


def test_faulty_members(tmp_path, read_all, write_tar):
    members = [
        ("1.jpg", b""),
        ("1.txt", b"caf\xe9"),
        ("2.txt", b""),
        ("2.png", b"x"),
        ("3.jpg", b"x"),
        ("4.txt", b"no image"),
        ("5.jpg", b"x"),
        ("5.json", b"{broken"),
        ("6.jpg", b"x"),
        ("6.png", b"y"),
        ("6.txt", b"two images"),
        ("7.cls", b"3"),
    ]
    found = read_all(open_dataset(write_tar(tmp_path / "a.tar", members)))
    assert found.captions == ["caf�", None, None, "no image", None, "two images"]
    assert found.images == [None, b"x", b"x", None, b"x", b"x"]
    assert found.reasons == {
        "image:empty_image": 1,
        "note:caption_not_utf8": 1,
        "caption:empty_caption": 1,
        "caption:missing_caption": 1,
        "image:missing_image": 1,
        "caption:invalid_json": 1,
        "note:extra_image": 1,
        "sample:no_image_or_caption": 1,
    }


def test_links_devices_and_paths_never_touch_the_file_system(tmp_path, read_all):
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind in (("1.jpg", tarfile.SYMTYPE), ("2.jpg", tarfile.CHRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
            text = tarfile.TarInfo(name.replace("jpg", "txt"))
            text.size = 1
            archive.addfile(text, io.BytesIO(b"x"))
        for name in ("../../3.jpg", "/4.jpg"):
            info = tarfile.TarInfo(name)
            info.size = 1
            archive.addfile(info, io.BytesIO(b"i"))
    path = tmp_path / "a.tar"
    path.write_bytes(buffer.getvalue())
    before = set(tmp_path.parent.rglob("*"))
    found = read_all(open_dataset(path))
    assert found.images == [None, None, b"i", b"i"]
    assert found.reasons["image:not_a_regular_file"] == 2
    assert set(tmp_path.parent.rglob("*")) == before


def write_table(path, rows):
    columns = ["url", "key", "status", "error_message"]
    pd.DataFrame(rows, columns=columns).to_parquet(path)


def test_table_in_completion_order_is_joined_by_key(tmp_path, read_all, write_tar):
    write_tar(tmp_path / "00000.tar", SAMPLES)
    write_table(
        tmp_path / "00000.parquet",
        [
            ("u3", "3", "failed_to_download", "404"),
            ("u1", "1", "success", None),
            ("u2", "2", "failed_to_resize", "bad"),
            ("u0", "0", "success", None),
            ("u5", "5", "success", None),
            ("u2", "2", "failed_to_resize", "bad"),
        ],
    )
    (tmp_path / "00000_stats.json").write_text("{}")
    for location in (tmp_path, tmp_path / "00000.tar", f"{tmp_path}/*.tar"):
        dataset = open_dataset(location)
        found = read_all(dataset)
        assert found.pairs == [("0", "a dog"), ("1", "a cat")]
        assert [(d.sample_id, d.key, d.reason, d.detail) for d in found.drops] == [
            (2, "2", "duplicate_key", "bad u2"),
            (3, "2", "status_failed_to_resize", "bad u2"),
            (4, "3", "status_failed_to_download", "404 u3"),
            (5, "5", "missing_from_shard", "u5"),
        ]
        assert not any("did not finish" in note for note in dataset.notes)
        assert len(dataset.shards()[0].files) == 2


def test_unfinished_shards_are_noted(tmp_path, write_tar):
    for shard in ("00000", "00001"):
        write_tar(tmp_path / f"{shard}.tar", SAMPLES)
    (tmp_path / "00000_stats.json").write_text("{}")
    assert any("did not finish them (00001)" in note for note in open_dataset(tmp_path).notes)


@pytest.mark.parametrize("cut", [1, 600, 1024, 2000, 2560])
def test_truncated_archives_are_data_errors(tmp_path, read_all, write_tar, cut):
    path = write_tar(tmp_path / "b.tar", SAMPLES)
    path.write_bytes(path.read_bytes()[:cut])
    write_tar(tmp_path / "a.tar", SAMPLES)
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"b\.tar"):
        list(dataset.read(dataset.shards()[1], dataset.provides))


def test_joined_archives_are_not_lost_in_silence(tmp_path, read_all, write_tar):
    path = write_tar(tmp_path / "b.tar", SAMPLES)
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match="goes on after its end marker"):
        read_all(open_dataset(path))


def test_images_without_captions(tmp_path, write_tar):
    path = write_tar(tmp_path / "a.tar", [("1.jpg", b"x"), ("1.cls", b"0")])
    assert open_dataset(path).provides == {IMAGE}


def test_nothing_usable(tmp_path, write_tar):
    path = write_tar(tmp_path / "a.tar", [("1.cls", b"0")])
    with pytest.raises(DataError, match="must hold images"):
        open_dataset(path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a.csv").write_text("caption\nx\n")
    with pytest.raises(ConfigError, match=r"must name \.tar archives"):
        open_dataset(tmp_path / "d", layout="webdataset")
