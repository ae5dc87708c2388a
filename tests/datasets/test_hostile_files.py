"""One bad file among good ones: it is named, soon and in little memory, and may be skipped."""

import gzip
import io
import json
import os
import socket
import tarfile
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conceptaudit.auditing import audit
from conceptaudit.datasets import _delimited, _files, _parquet, open_dataset
from conceptaudit.datasets._files import reading
from conceptaudit.errors import ArtifactMismatchError, DataError
from conceptaudit.options.audit import AuditOptions

GOOD = ("0.txt", b"a dog")


def header(name, size, kind=b"0"):
    """One block of a ustar header; a size in base 256 where it is negative."""
    info = tarfile.TarInfo(name)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size.to_bytes(12, "big", signed=True) if size < 0 else b"%011o\0" % size
    block[156:157] = kind
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def padded(content):
    return content + b"\0" * (-len(content) % 512)


def pax(content, kind=b"x"):
    return header("pax", len(content), kind) + padded(content)


END = b"\0" * 1024
MEMBER = header("1.txt", 5) + padded(b"a cat")
QUADRATIC = b"".join(b"2 " for _ in range(200_000))
HOSTILE_TARS = {
    "chained": pax(b"9 a=bcde\n") * 5_000 + MEMBER,
    "chained_long_names": (header("x", 3, b"L") + padded(b"abc")) * 5_000 + MEMBER,
    "digits": pax(b"1" * 500_000) + MEMBER,
    "short_records": pax(QUADRATIC) + MEMBER,
    "digits_in_a_value": pax(b"500009 a=" + b"1" * 499_999 + b"\n") + MEMBER,
    "no_length": pax(b"0 a=b\n") + MEMBER,
    "many_records": pax(b"6 a=b\n" * 2_000) + MEMBER,
    "many_global_records": b"".join(
        pax(
            b"".join(b"%d k%d=%s\n" % (14, i * 500 + j + 1_000_000, b"ab") for j in range(500)),
            b"g",
        )
        for i in range(4)
    )
    + MEMBER,
    "huge_header": header("x", 1 << 31, b"x"),
    "huge_name": header("x", 1 << 33, b"L"),
    "negative_size": header("1.txt", -1024) + END,
    "negative_header": header("x", -1024, b"x") + END,
    "negative_pax_size": pax(b"14 size=-2048\n") + MEMBER,
    "size_beyond_the_end": header("1.txt", 1 << 40) + END,
}


@pytest.mark.parametrize("case", HOSTILE_TARS)
def test_hostile_archives_are_named(tmp_path, write_tar, read_all, case):
    write_tar(tmp_path / "0.tar", [GOOD])
    (tmp_path / "1.tar").write_bytes(HOSTILE_TARS[case] + END)
    dataset = open_dataset(tmp_path)
    good, bad = dataset.shards()
    assert [b.captions for b in dataset.read(good, dataset.provides)] == [["a dog"]]
    with pytest.raises(DataError, match=r"1\.tar"):
        list(dataset.read(bad, dataset.provides))


def sparse_map(n_numbers):
    """A sparse member of pax format 1.0 whose map claims so many numbers."""
    records = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    return pax(records) + header("1.txt", 512) + padded(b"%d\n" % n_numbers + b"1" * 400)


@pytest.mark.parametrize(
    "member",
    [
        sparse_map(1 << 40),
        pax(b"22 GNU.sparse.map=0,5\n") + MEMBER,
        pax(b"22 GNU.sparse.size=10\n") + MEMBER,
    ],
)
def test_sparse_members_are_dropped_and_their_maps_not_read(tmp_path, read_all, member):
    path = tmp_path / "a.tar"
    path.write_bytes(header("0.txt", 5) + padded(b"a dog") + member + MEMBER + END)
    found = read_all(open_dataset(path))
    assert found.captions[0] == "a dog"
    assert found.reasons["caption:not_a_regular_file"] == 1


def test_links_and_devices_are_not_followed(tmp_path, read_all):
    secret = tmp_path / "secret.txt"
    secret.write_text("a secret")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("0.txt", tarfile.LNKTYPE), ("1.txt", tarfile.SYMTYPE),
                           ("2.txt", tarfile.FIFOTYPE), ("3.txt", tarfile.CHRTYPE)):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, str(secret)
            archive.addfile(info)
        info = tarfile.TarInfo("4.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"a dog"))
    found = read_all(open_dataset(tmp_path / "a.tar"))
    assert found.captions == [None, None, None, None, "a dog"]
    assert found.reasons == {"caption:not_a_regular_file": 4}


def test_a_pax_header_with_long_values_is_read(tmp_path, read_all):
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("é" * 500 + ".txt")
        info.size = 5
        info.pax_headers = {"SCHILY.xattr.user.note": "=x\n12 y=" * 5_000, "mtime": "1.25"}
        archive.addfile(info, io.BytesIO(b"a dog"))
    assert read_all(open_dataset(tmp_path / "a.tar")).pairs == [("é" * 500, "a dog")]


def good_table(path):
    pq.write_table(pa.table({"TEXT": ["a dog"], "key": ["1"]}), path)


def write_twice(path):
    names = ["TEXT", "TEXT"]
    pq.write_table(pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=names), path)


def write_dictionary_bomb(path):
    """Write ten thousand rows that each repeat eight megabytes: a few kilobytes."""
    value = pa.array(["a dog " * 1_300_000])
    indices = pa.array(np.zeros(10_000, dtype=np.int32))
    pq.write_table(pa.table({"TEXT": pa.DictionaryArray.from_arrays(indices, value)}), path)


def write_page_bomb(path):
    texts = pa.array(["a" * (1 << 20)] * 3)
    pq.write_table(pa.table({"TEXT": texts}), path, use_dictionary=False, compression="zstd")


def write_nested(path):
    value, kind = [None], pa.int8()
    for _ in range(60):
        value, kind = [value], pa.list_(kind)
    pq.write_table(pa.table({"TEXT": pa.array([value], pa.list_(kind))}), path)


@pytest.mark.parametrize(
    "write",
    [write_twice, write_dictionary_bomb, write_page_bomb, write_nested,
     lambda path: path.write_bytes(b"PAR1" + b"\xff" * 400 + b"PAR1"),
     lambda path: path.write_bytes(b"")],
)  # fmt: skip
def test_hostile_tables_are_named(tmp_path, monkeypatch, write):
    monkeypatch.setattr(_parquet, "MIN_BOMB_BYTES", 1 << 20)
    good_table(tmp_path / "0.parquet")
    write(tmp_path / "1.parquet")
    dataset = open_dataset(tmp_path)
    good, *bad = dataset.shards()
    assert [b.captions for b in dataset.read(good, dataset.provides)] == [["a dog"]]
    for shard in bad:
        with pytest.raises(DataError, match=r"1\.parquet"):
            list(dataset.read(shard, dataset.provides))


def test_a_dictionary_of_long_values_is_read_in_small_batches(tmp_path, monkeypatch, read_all):
    monkeypatch.setattr(_parquet, "MAX_BATCH_BYTES", 1 << 16)
    texts = ["a dog " * 1_000, "a cat " * 1_000] * 50
    pq.write_table(pa.table({"TEXT": texts}), tmp_path / "a.parquet")
    dataset = open_dataset(tmp_path / "a.parquet")
    [shard] = dataset.shards()
    batches = list(dataset.read(shard, dataset.provides))
    assert [text for batch in batches for text in batch.captions] == texts
    assert max(map(len, batches)) == (1 << 16) // (2 * (6_000 + 4))


def test_a_column_that_is_null_in_one_file_has_no_captions_there(tmp_path, read_all):
    good_table(tmp_path / "0.parquet")
    pq.write_table(pa.table({"TEXT": pa.nulls(3), "key": list("abc")}), tmp_path / "1.parquet")
    found = read_all(open_dataset(tmp_path))
    assert found.captions == ["a dog", None, None, None]
    assert found.reasons == {"caption:null_caption": 3}


def npy(shape="(3, 4)", dtype="'<f4'", order="False", body=48, version=b"\1\0", length=None):
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    width = 2 if version == b"\1\0" else 4
    size = (len(text) if length is None else length).to_bytes(width, "little")
    return b"\x93NUMPY" + version + size + text + b"\0" * body


@pytest.mark.parametrize(
    "content",
    [
        npy(shape="(9999999999999, 4)"),
        npy(shape="(1, 99999999999)"),
        npy(shape="(-1, 4)"),
        npy(shape="(3, 1" + "0" * 5_000 + ")"),
        npy(dtype="'O'"),
        npy(dtype="[('a', '<f4')]"),
        npy(version=b"\2\0", length=(1 << 32) - 1),
        npy(version=b"\3\0", length=(1 << 32) - 1),
        npy(shape="(" * 300 + "3" + ")" * 300),
        b"\x80\x04\x95pickle.",
        b"",
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_hostile_arrays_are_named(tmp_path, read_all, content, packed):
    name = "0.npz" if packed else "img_emb/img_emb_0.npy"
    (tmp_path / "img_emb").mkdir()
    (tmp_path / "metadata").mkdir()
    if packed:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("b32_img.npy", content)
        table = tmp_path / "0.parquet"
    else:
        (tmp_path / name).write_bytes(content)
        table = tmp_path / "metadata/metadata_0.parquet"
    pd.DataFrame({"caption": list("abc"), "uid": list("123")}).to_parquet(table)
    with pytest.raises(DataError, match=name.rpartition("/")[2]):
        read_all(open_dataset(tmp_path, layout="embeddings"))


def test_a_long_header_is_not_read(tmp_path):
    from conceptaudit.datasets import _embedding_files

    stream = io.BytesIO(npy(version=b"\2\0", length=_embedding_files.MAX_HEADER_BYTES + 1))
    with pytest.raises(DataError, match="header claims 65,537 bytes"):
        _embedding_files._reader(stream, 1 << 40, "a.npy")


def test_fields_are_read_up_to_the_limit_of_lines(tmp_path, read_all):
    documents = ["dog, " * 60_000, 'a "cat"\n' * 9_000 + "end"]
    pd.DataFrame({"text": documents, "url": ["u", "v"]}).to_csv(tmp_path / "a.csv", index=False)
    found = read_all(open_dataset(tmp_path / "a.csv", unit="document"))
    assert found.captions == documents
    assert not found.reasons


def test_a_record_beyond_the_limit_is_one_bad_sample(tmp_path, read_all, monkeypatch):
    monkeypatch.setattr(_delimited, "MAX_LINE_BYTES", 1 << 12)
    long = "x" * 10_000
    broken = '"' + "y" * 3_000 + "\n" + "z" * 3_000 + '\n and on",u4\n'
    rows = f"caption,url\na dog,u1\n{long},u2\na cat,u3\n{broken}a cow,u5\n"
    (tmp_path / "a.csv").write_text(rows)
    for shard_rows in (1, 2, 100):
        found = read_all(open_dataset(tmp_path / "a.csv", shard_rows=shard_rows))
        assert found.pairs == [("u1", "a dog"), ("u3", "a cat"), ("u5", "a cow")]
        assert found.reasons == {"sample:record_too_long": 2}
        assert [drop.sample_id for drop in found.drops] == [1, 3]
    lines = ['{"caption": "a dog"}', json.dumps({"caption": long}), '{"caption": "a cat"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = read_all(open_dataset(tmp_path / "a.jsonl"))
    assert (found.captions, found.reasons) == (
        ["a dog", "a cat"],
        {"sample:record_too_long": 1},
    )


def test_a_quote_that_stays_open_takes_linear_time(tmp_path, read_all):
    line = 'x "" ' * 20 + "\n"
    (tmp_path / "a.csv").write_text('caption,url\n"a dog",u1\n"open' + line * 12_000)
    found = read_all(open_dataset(tmp_path / "a.csv"))
    assert found.captions[0] == "a dog"
    assert found.reasons["sample:wrong_field_count"] == 12_000


def deep(n):
    return "[" * n + "]" * n


@pytest.mark.parametrize("n", [100, 900, 990, 5_000, 1_000_000])
def test_deep_json_is_one_bad_sample(tmp_path, read_all, n):
    lines = ['{"caption": "a dog"}', f'{{"caption": {deep(n)}}}', '{"caption": "a cat"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    found = read_all(open_dataset(tmp_path / "a.jsonl"))
    assert [caption for caption in found.captions if caption] == ["a dog", "a cat"]
    assert sum(found.reasons.values()) == 1


def test_nuls_in_tables_are_text(tmp_path, read_all):
    (tmp_path / "a.csv").write_bytes(b'caption,url\na\0dog,u1\n"a\0cat",u2\n')
    assert read_all(open_dataset(tmp_path / "a.csv")).captions == ["a\0dog", "a\0cat"]


@pytest.mark.parametrize("ending", ["csv.gz", "jsonl.gz", "json.gz", "tsv.bz2", "csv.xz"])
@pytest.mark.parametrize("content", [b"\n", b"a dog,1\n", b" "])
def test_packed_bombs_are_named(tmp_path, monkeypatch, read_all, ending, content):
    import bz2
    import lzma

    monkeypatch.setattr(_files, "MIN_BOMB_BYTES", 1 << 16)
    monkeypatch.setattr(_delimited, "MAX_BLANK_LINES", 10_000)
    pack = {"gz": gzip, "bz2": bz2, "xz": lzma}[ending.rpartition(".")[2]]
    (tmp_path / f"a.{ending}").write_bytes(pack.compress(b"caption,url\n" + content * (1 << 19)))
    with pytest.raises(DataError, match=rf"a\.{ending}"):
        read_all(open_dataset(tmp_path / f"a.{ending}"))


def test_zstandard_bombs_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "MIN_BOMB_BYTES", 1 << 20)
    packed = pa.Codec("zstd").compress(b"caption,url\n" + b"a dog,1\n" * (1 << 20), asbytes=True)
    (tmp_path / "a.csv.zst").write_bytes(packed)
    dataset = open_dataset(tmp_path / "a.csv.zst")
    [shard] = dataset.shards()
    with pytest.raises(DataError, match="unpacks to more than 200 times its size"):
        list(dataset.read(shard, dataset.provides))


def test_what_is_no_file_is_not_read(tmp_path, monkeypatch, read_all):
    good_table(tmp_path / "0.parquet")
    os.mkfifo(tmp_path / "1.parquet")
    listener = socket.socket(socket.AF_UNIX)
    monkeypatch.chdir(tmp_path)  # a socket's address has a hundred characters
    listener.bind("2.parquet")
    (tmp_path / "3.parquet").mkdir()
    good_table(tmp_path / "3.parquet/part-0.parquet")
    (tmp_path / ".ipynb_checkpoints").mkdir()
    good_table(tmp_path / ".ipynb_checkpoints/0-checkpoint.parquet")
    (tmp_path / "4.parquet").symlink_to("/dev/zero")
    found = read_all(open_dataset(tmp_path))
    listener.close()
    assert found.captions == ["a dog", "a dog"]


@pytest.mark.parametrize(
    "error", [KeyError("x"), RecursionError("deep"), MemoryError(), AssertionError(), TypeError()]
)
def test_every_exception_names_the_file(error):
    with pytest.raises(DataError, match=r"a\.tar") as caught, reading("a.tar"):
        raise error
    assert caught.value.__cause__ is error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ArtifactMismatchError("ours")])
def test_interruptions_and_our_own_errors_pass(error):
    with pytest.raises(type(error)) as caught, reading("a.tar"):
        raise error
    assert caught.value is error


def test_a_reader_that_fails_in_a_way_nobody_thought_of_is_skipped(
    tmp_path, write_tar, monkeypatch
):
    from conceptaudit.datasets import webdataset

    for name in ("0.tar", "1.tar"):
        write_tar(tmp_path / name, [GOOD])
    real = webdataset.read_groups

    def read_groups(*args, **options):
        if options["file_index"]:
            raise ZeroDivisionError("nobody thought of it")
        return real(*args, **options)

    monkeypatch.setattr(webdataset, "read_groups", read_groups)
    run = audit(tmp_path, ["dog"], tmp_path.parent / f"{tmp_path.name}-run",
                options=AuditOptions(workers=1, skip_unreadable=True))  # fmt: skip
    assert run.table["n_text"].tolist() == [1]
    with pytest.raises(DataError, match=r"1\.tar.*ZeroDivisionError: nobody thought"):
        audit(tmp_path, ["dog"], tmp_path.parent / f"{tmp_path.name}-run2",
              options=AuditOptions(workers=1))  # fmt: skip
