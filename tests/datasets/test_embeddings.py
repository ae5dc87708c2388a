import io
import re

import numpy as np
import pandas as pd
import psutil
import pytest

from conceptaudit.datasets import CAPTION, EMBEDDING, open_dataset
from conceptaudit.errors import ConfigError, DataError


def vectors(n, dimension=4, seed=0, dtype=np.float16):
    return np.random.default_rng(seed).standard_normal((n, dimension)).astype(dtype)


@pytest.fixture
def folder(tmp_path):
    """A clip-retrieval folder of three pairs; index 1 is empty, and 10 sorts after 2."""
    (tmp_path / "img_emb").mkdir()
    (tmp_path / "metadata").mkdir()
    for index, n in ((1, 0), (2, 3), (10, 2)):
        np.save(tmp_path / "img_emb" / f"img_emb_{index:02d}.npy", vectors(n, seed=index))
        frame = pd.DataFrame(
            {
                "image_path": [f"{index}-{i}" for i in range(n)],
                "caption": [f"caption {index}-{i}" for i in range(n)],
            },
            dtype=str,
        )
        frame.to_parquet(tmp_path / "metadata" / f"metadata_{index}.parquet")
    return tmp_path


def bare(path, array, **columns):
    path.mkdir(exist_ok=True)
    np.save(path / "image_embeddings.npy", array)
    pd.DataFrame(columns).to_parquet(path / "metadata.parquet")
    return path


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_pairs_go_by_index_and_an_empty_one_shifts_nothing(folder, read_all, rows):
    dataset = open_dataset(folder, shard_rows=rows)
    assert dataset.layout == "embeddings"
    assert dataset.provides == {CAPTION, EMBEDDING}
    found = read_all(dataset)
    assert found.keys == ["2-0", "2-1", "2-2", "10-0", "10-1"]
    assert found.captions == [f"caption {key}" for key in found.keys]
    assert found.ids == [1 << 40, (1 << 40) + 1, (1 << 40) + 2, 2 << 40, (2 << 40) + 1]
    expected = np.concatenate([vectors(3, seed=2), vectors(2, seed=10)]).astype(np.float32)
    np.testing.assert_array_equal(np.stack(found.embeddings), expected)
    assert read_all(dataset, frozenset({CAPTION})).pairs == found.pairs


def test_parent_folder_and_metadata_without_captions(folder, tmp_path, read_all):
    pd.DataFrame({"uid": ["a", "b", "c"]}).to_parquet(folder / "metadata" / "metadata_2.parquet")
    for index in (1, 10):
        (folder / "metadata" / f"metadata_{index}.parquet").unlink()
        (folder / "img_emb" / f"img_emb_{index:02d}.npy").unlink()
    parent = tmp_path.parent / f"{tmp_path.name}-parent"
    parent.mkdir()
    tmp_path.rename(parent / "embeddings")
    dataset = open_dataset(parent)
    assert dataset.provides == {EMBEDDING}
    assert read_all(dataset).keys == ["a", "b", "c"]


def test_without_metadata_keys_are_row_numbers(tmp_path, read_all):
    np.save(tmp_path / "image_embeddings.npy", vectors(3))
    dataset = open_dataset(tmp_path, shard_rows=2)
    assert read_all(dataset).keys == ["0", "1", "2"]


def test_vectors_without_direction_are_dropped_and_zeroed(tmp_path, read_all):
    array = vectors(6, dtype=np.float64)
    array[0, 1], array[1], array[2, 3], array[3, 0] = np.nan, 0.0, np.inf, 1e300
    array[4] = [np.inf, np.nan, 0, 0]
    found = read_all(open_dataset(bare(tmp_path, array, key=list("abcdef"), caption=["x"] * 6)))
    assert [(d.key, d.part, d.reason) for d in found.drops] == [
        ("a", "image", "nan_embedding"),
        ("b", "image", "zero_embedding"),
        ("c", "image", "infinite_embedding"),
        ("d", "image", "infinite_embedding"),
        ("e", "image", "nan_embedding"),
    ]
    assert not np.stack(found.embeddings)[:5].any()
    assert found.captions == ["x"] * 6


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_several_captions_of_an_image_are_samples_and_equal_rows_are_faults(
    tmp_path, read_all, rows
):
    keys, captions = ["a", "a", "b", "a", "b"], ["x", "y", "x", "x", "x"]
    path = bare(tmp_path, vectors(5), image_id=keys, caption=captions)
    found = read_all(open_dataset(path, shard_rows=rows))
    assert found.pairs == [("a", "x"), ("a", "y"), ("b", "x")]
    assert [(d.sample_id, d.key, d.part, d.reason) for d in found.drops] == [
        (3, "a", "sample", "duplicate_key"),
        (4, "b", "sample", "duplicate_key"),
    ]
    np.testing.assert_array_equal(np.stack(found.embeddings), vectors(5)[:3].astype(np.float32))


def test_row_counts_must_agree(tmp_path, read_all):
    dataset = open_dataset(bare(tmp_path, vectors(3), key=["a", "b"], caption=["x", "y"]))
    with pytest.raises(DataError, match=r"Got 3 rows in .*\.npy and 2 in .*metadata\.parquet"):
        read_all(dataset)


def test_missing_metadata_stops_its_shard_only(folder, read_all):
    (folder / "metadata" / "metadata_10.parquet").unlink()
    pd.DataFrame({"caption": ["x"]}).to_parquet(folder / "metadata" / "metadata_7.parquet")
    dataset = open_dataset(folder)
    assert any("metadata_7.parquet" in note for note in dataset.notes)
    *good, bad = dataset.shards()
    for shard in good:
        list(dataset.read(shard, dataset.provides))
    with pytest.raises(DataError, match=r"img_emb_10\.npy has no metadata"):
        list(dataset.read(bad, dataset.provides))


def npy(array, **options):
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.array([[1, None]], dtype=object), allow_pickle=True), "Python objects"),
        (npy(vectors(3))[:-1], r"truncated: 3 rows of 4 float16 need 152 bytes. Got 151"),
        (npy(vectors(3))[:40], r"no \.npy array"),
        (b"", r"no \.npy array"),
        (b"\x80\x04pickle", r"no \.npy array"),
        (npy(vectors(3)).replace(b"}", b" "), r"no \.npy array"),
        (npy(vectors(3)).replace(b"(3, 4)", b"(3, 0)"), r"shape \(3, 0\)"),
        (npy(np.zeros(3, np.float32)), r"shape \(3,\)"),
        (npy(np.zeros((3, 2), np.int8)), "int8"),
    ],
)
def test_arrays_that_cannot_be_used(tmp_path, content, message):
    path = bare(tmp_path, vectors(3), key=["a", "b", "c"])
    (path / "image_embeddings.npy").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_dataset(path)


def test_two_files_of_one_index(folder):
    np.save(folder / "img_emb" / "img_emb_2.npy", vectors(3))
    with pytest.raises(DataError, match="have the same one"):
        open_dataset(folder)


@pytest.fixture
def datacomp(tmp_path):
    np.savez_compressed(
        tmp_path / "ab.npz", b32_img=vectors(5), l14_img=vectors(5, 8, seed=1), b32_txt=vectors(5)
    )
    pd.DataFrame({"uid": list("abcde"), "text": list("vwxyz"), "url": ["u"] * 5}).to_parquet(
        tmp_path / "ab.parquet"
    )
    return tmp_path


@pytest.mark.parametrize("rows", [2, 100])
def test_datacomp_archives(datacomp, read_all, rows):
    found = read_all(open_dataset(datacomp, shard_rows=rows))
    assert found.pairs == list(zip("abcde", "vwxyz", strict=True))
    np.testing.assert_array_equal(np.stack(found.embeddings), vectors(5).astype(np.float32))
    dataset = open_dataset(datacomp, embedding_array="l14_img", shard_rows=rows)
    expected = vectors(5, 8, seed=1).astype(np.float32)
    np.testing.assert_array_equal(np.stack(read_all(dataset).embeddings), expected)
    with pytest.raises(ConfigError, match=r"one of \['b32_img', 'l14_img', 'b32_txt'\].*'x'"):
        open_dataset(datacomp, embedding_array="x")


def test_datacomp_files_without_partner_are_told(datacomp):
    pd.DataFrame({"uid": ["x"]}).to_parquet(datacomp / "other.parquet")
    assert any("other.parquet" in note for note in open_dataset(datacomp).notes)


def test_damaged_archive(datacomp):
    content = (datacomp / "ab.npz").read_bytes()
    (datacomp / "ab.npz").write_bytes(content[:-30])
    with pytest.raises(DataError, match=r"ab\.npz"):
        open_dataset(datacomp)


def test_one_array_is_no_dataset(tmp_path):
    np.save(tmp_path / "img_emb_0.npy", vectors(2))
    with pytest.raises(ConfigError, match="folder that holds embeddings and metadata"):
        open_dataset(tmp_path / "img_emb_0.npy")
    with pytest.raises(ConfigError, match="layout 'embeddings'"):
        open_dataset(tmp_path, layout="embeddings")


def test_memory_does_not_grow_with_the_array(tmp_path):
    n, dimension = 100_000, 512  # 205 MB as float32
    array = np.lib.format.open_memmap(
        tmp_path / "image_embeddings.npy", mode="w+", dtype=np.float16, shape=(n, dimension)
    )
    array[:] = 1
    array.flush()
    del array
    dataset = open_dataset(tmp_path, shard_rows=n)
    process = psutil.Process()
    before = process.memory_info().rss
    rows, most = 0, 0
    for shard in dataset.shards():
        for batch in dataset.read(shard, dataset.provides):
            rows += len(batch)
            most = max(most, process.memory_info().rss - before)
    assert rows == n
    assert most < 60e6


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_arrays_that_are_stored_column_by_column(tmp_path, read_all, rows, dtype):
    array = np.asfortranarray(vectors(7).astype(dtype))
    np.save(tmp_path / "image_embeddings.npy", array)
    pd.DataFrame({"caption": list("abcdefg")}).to_parquet(tmp_path / "metadata.parquet")
    found = read_all(open_dataset(tmp_path, shard_rows=rows))
    np.testing.assert_array_equal(np.stack(found.embeddings), array.astype(np.float32))
    assert found.captions == list("abcdefg")


def test_columns_in_an_archive_are_refused_with_a_remedy_that_works(tmp_path, read_all):
    array = np.asfortranarray(vectors(3))
    np.savez(tmp_path / "a.npz", b32_img=array)
    pd.DataFrame({"text": ["x", "y", "z"]}).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"numpy\.savez\(PATH, NAME=numpy\.ascontiguousarray"):
        read_all(open_dataset(tmp_path))
    np.savez(tmp_path / "a.npz", b32_img=np.ascontiguousarray(array))
    assert len(read_all(open_dataset(tmp_path)).embeddings) == 3


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("metadata.csv", lambda table, path: table.to_csv(path, index=False)),
        ("metadata.tsv", lambda table, path: table.to_csv(path, index=False, sep="\t")),
        ("metadata.jsonl", lambda table, path: table.to_json(path, orient="records", lines=True)),
        ("metadata.json", lambda table, path: table.to_json(path, orient="records")),
        ("meta", lambda table, path: table.to_parquet(path)),
        ("captions.parquet", lambda table, path: table.to_parquet(path)),
        ("metadata.npz", lambda table, path: np.savez(path, caption=table["caption"].astype("U"))),
    ],
)
def test_metadata_of_another_form_is_named_with_what_to_do(
    tmp_path, read_all, monkeypatch, name, write
):
    np.save(tmp_path / "image_embeddings.npy", vectors(2))
    table = pd.DataFrame({"image_path": ["7", "8"], "caption": ["a dog", "a cat"]})
    write(table, tmp_path / name)
    (tmp_path / "stats").mkdir()
    (tmp_path / "stats" / "0.json").write_text("{}")
    dataset = open_dataset(tmp_path)
    assert dataset.provides == {EMBEDDING}
    [note] = [note for note in dataset.notes if "is not read" in note]
    assert note.startswith(f"{name} lies beside the embeddings")
    monkeypatch.chdir(tmp_path)
    code = re.search(r"pandas\.(read_\w+)\((.*?)\)\.to_parquet\('(.*)'\)", note)
    if code is not None:  # the remedy, as it stands
        options = {"sep": "\t"} if "sep=" in code[2] else {}
        options |= {"lines": "lines=True" in code[2]} if "lines=" in code[2] else {}
        getattr(pd, code[1])(name, dtype=str, **options).to_parquet(code[3])
    elif "rename it to" in note:
        (tmp_path / name).rename(re.search(r"rename it to (.*)\.$", note)[1])
    else:
        assert "Write its captions and keys to metadata.parquet." in note
        return
    found = read_all(open_dataset(tmp_path))
    assert found.pairs == [("7", "a dog"), ("8", "a cat")]


def test_arrays_beside_tables_are_named(tmp_path, read_all):
    np.save(tmp_path / "vectors.npy", vectors(2))
    pd.DataFrame({"caption": ["a", "b"]}).to_parquet(tmp_path / "captions.parquet")
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "table"
    assert any("vectors.npy lies beside the tables" in note for note in dataset.notes)
    (tmp_path / "vectors.npy").rename(tmp_path / "image_embeddings.npy")
    (tmp_path / "captions.parquet").rename(tmp_path / "metadata.parquet")
    assert len(read_all(open_dataset(tmp_path)).embeddings) == 2
    (tmp_path / "metadata.parquet").unlink()
    (tmp_path / "image_embeddings.npy").rename(tmp_path / "vectors.npy")
    with pytest.raises(ConfigError, match=r"Embeddings \(vectors\.npy\) are read from"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("rows", [1, 100])
def test_lists_of_captions_share_their_vector(tmp_path, read_all, rows):
    array = vectors(3)
    bare(tmp_path / "e", array, image_path=["a", "b", "c"], caption=[["x", "y"], [], ["z"]])
    dataset = open_dataset(tmp_path / "e", shard_rows=rows)
    found = read_all(dataset)
    assert found.pairs == [("a", "x"), ("a", "y"), ("b", None), ("c", "z")]
    expected = array[[0, 0, 1, 2]].astype(np.float32)
    np.testing.assert_array_equal(np.stack(found.embeddings), expected)
    assert read_all(dataset, frozenset({EMBEDDING})).ids == found.ids


def test_vectors_without_an_ending_are_named_and_the_remedy_works(tmp_path):
    vectors = tmp_path / "img_emb" / "img_emb_0"
    vectors.parent.mkdir()
    with vectors.open("wb") as stream:
        np.save(stream, np.eye(2, dtype=np.float32))
    (tmp_path / "metadata").mkdir()
    pd.DataFrame({"image_path": ["a", "b"], "caption": ["a dog", "a cat"]}).to_parquet(
        tmp_path / "metadata" / "metadata_0.parquet"
    )
    notes = open_dataset(tmp_path).notes
    assert any("rename it to img_emb/img_emb_0.npy" in note for note in notes)
    vectors.rename(vectors.with_suffix(".npy"))
    assert open_dataset(tmp_path).layout == "embeddings"
