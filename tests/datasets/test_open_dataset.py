import os
import pickle
import subprocess
import sys
from dataclasses import asdict

import fsspec
import numpy as np
import pandas as pd
import pytest

from conceptaudit.datasets import LAYOUTS, open_dataset
from conceptaudit.errors import ConfigError, DataError

TSV = "key\tcaption\n1\ta dog\n2\ta cat\n3\ta cow\n"


def test_missing_and_empty_and_unknown(tmp_path):
    with pytest.raises(ConfigError, match=r"'location'.*nowhere"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match=r"'location'.*\*\.tar"):
        open_dataset(f"{tmp_path}/*.tar")
    with pytest.raises(ConfigError, match="which is empty"):
        open_dataset(tmp_path)
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "b.bin").write_bytes(b"x")
    (tmp_path / "LICENSE").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"found 2 × \.bin, 1 × no ending"):
        open_dataset(tmp_path)
    with pytest.raises(ConfigError, match=r"found 1 × \.bin"):
        open_dataset(tmp_path / "a.bin")
    with pytest.raises(ConfigError, match=r"one of the endings"):
        open_dataset(tmp_path, layout="table")
    with pytest.raises(ConfigError, match=r"for layout 'coco'"):
        open_dataset(tmp_path, layout="coco")


def test_a_run_of_ours_is_no_dataset(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "log.jsonl").write_text('{"text": "a dog"}\n')
    (tmp_path / "frequencies.csv").write_text("text\na dog\n")
    with pytest.raises(ConfigError, match=r"is a run of conceptaudit .*embed"):
        open_dataset(tmp_path)
    assert open_dataset(tmp_path / "frequencies.csv").layout == "table"


def test_parameters_that_do_not_fit(tmp_path):
    (tmp_path / "a.tsv").write_text(TSV)
    with pytest.raises(ConfigError, match=r"'layout'.*'auto' or one of.*'wds'"):
        open_dataset(tmp_path, layout="wds")
    with pytest.raises(ConfigError, match=r"'shard_rows'.*at least 1.*0"):
        open_dataset(tmp_path, shard_rows=0)
    with pytest.raises(ConfigError, match=r"'images' parameter.*None for layout 'table'"):
        open_dataset(tmp_path, images="x")
    with pytest.raises(ConfigError, match=r"'embedding_array'"):
        open_dataset(tmp_path, embedding_array="b32_img")


def test_mixtures_must_be_told_apart(tmp_path, read_all):
    (tmp_path / "a.tsv").write_text(TSV)
    (tmp_path / "b.csv").write_text("caption\nx\n")
    with pytest.raises(ConfigError, match=r"tables of one format.*\.csv.*\.tsv.*pattern"):
        open_dataset(tmp_path)
    assert len(read_all(open_dataset(f"{tmp_path}/*.csv")).ids) == 1
    (tmp_path / "b.csv").unlink()
    (tmp_path / "1.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="both images and tables"):
        open_dataset(tmp_path)
    assert read_all(open_dataset(tmp_path, layout="table")).captions == ["a dog", "a cat", "a cow"]
    assert read_all(open_dataset(tmp_path, layout="files")).images == [b"x"]


def test_a_readme_beside_tables_is_no_caption(tmp_path):
    (tmp_path / "a.tsv").write_text(TSV)
    (tmp_path / "README.txt").write_text("about")
    (tmp_path / "infos.json").write_text("{}")
    assert open_dataset(tmp_path).layout == "table"


def test_files_are_in_name_order_and_hidden_ones_left_out(tmp_path, read_all):
    for name in ("b/2", "a", "b/1", ".hidden/x", ".b"):
        path = tmp_path / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"caption\n{name}\n")
    for location in (tmp_path, f"{tmp_path}/**/*.csv", f"file://{tmp_path}"):
        found = read_all(open_dataset(location))
        assert found.captions == ["a", "b/1", "b/2"]
        assert found.ids == [0, 1 << 40, 2 << 40]
        assert found.keys == [str(number) for number in found.ids]


def test_tables_whose_schema_changes_between_files(tmp_path, read_all):
    pd.DataFrame({"TEXT": ["a"], "URL": ["u"]}).to_parquet(tmp_path / "1.parquet")
    pd.DataFrame({"caption": ["b"], "url": ["v"]}).to_parquet(tmp_path / "2.parquet")
    assert read_all(open_dataset(tmp_path)).pairs == [("u", "a"), ("v", "b")]
    pd.DataFrame({"x": ["c"]}).to_parquet(tmp_path / "3.parquet")
    dataset = open_dataset(tmp_path)
    with pytest.raises(DataError, match=r"No caption column.*3\.parquet"):
        list(dataset.read(dataset.shards()[2], dataset.provides))


def test_shards_and_datasets_travel(tmp_path, read_all):
    (tmp_path / "a.tsv").write_text(TSV)
    dataset = open_dataset(tmp_path, shard_rows=2)
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy == dataset
    assert copy.shards() == dataset.shards()
    assert len(pickle.dumps(dataset)) < 2000
    names = [shard.name for shard in dataset.shards()]
    assert names == sorted(names) == ["0000000-0000000000000", "0000000-0000000000002"]
    assert read_all(copy).captions == ["a dog", "a cat", "a cow"]


def test_fingerprints(tmp_path):
    path = tmp_path / "set" / "a.tsv"
    path.parent.mkdir()
    path.write_text(TSV)
    os.utime(path, ns=(1, 1))

    def prints(location, **options):
        return [shard.fingerprint for shard in open_dataset(location, **options).shards()]

    before = prints(path.parent)
    assert prints(path.parent) == before == prints(path)  # the same names, however it was named
    assert len(set(prints(path, shard_rows=1))) == 3
    assert prints(path, caption_column="key") != before
    moved = tmp_path / "moved"
    path.parent.rename(moved)
    assert prints(moved) == before
    os.utime(moved / "a.tsv", ns=(1, 2))
    assert prints(moved) != before
    (moved / "a.tsv").write_text(TSV + "4\tnew\n")
    os.utime(moved / "a.tsv", ns=(1, 1))
    assert prints(moved) != before


def everything(root, write_tar):
    """One small dataset of every layout."""
    for layout in LAYOUTS:
        (root / layout).mkdir(parents=True)
    (root / "table" / "a.tsv").write_text(TSV)
    pd.DataFrame({"key": ["1"], "caption": ["x"]}).to_csv(
        root / "table" / "b.tsv.gz", sep="\t", index=False
    )
    write_tar(root / "webdataset" / "0.tar", [("1.txt", b"a dog"), ("1.jpg", b"i")])
    pd.DataFrame(
        {"key": ["2"], "status": ["failed_to_download"], "error_message": ["404"]}
    ).to_parquet(root / "webdataset" / "0.parquet")
    (root / "files" / "dog").mkdir()
    (root / "files" / "dog" / "1.jpg").write_bytes(b"i")
    (root / "files" / "dog" / "1.txt").write_bytes(b"a dog")
    np.save(root / "embeddings" / "image_embeddings.npy", np.ones((3, 2), np.float16))
    pd.DataFrame({"key": list("abc"), "caption": list("xyz")}).to_parquet(
        root / "embeddings" / "metadata.parquet"
    )
    (root / "coco" / "images").mkdir()
    (root / "coco" / "images" / "1.jpg").write_bytes(b"i")
    (root / "coco" / "captions_a.json").write_text(
        '{"images": [{"id": 1, "file_name": "1.jpg"}],'
        ' "annotations": [{"image_id": 1, "caption": "a dog"}]}'
    )


@pytest.mark.parametrize("layout", LAYOUTS)
def test_urls_read_like_local_files(tmp_path, read_all, write_tar, memory, layout):
    everything(tmp_path, write_tar)
    local = open_dataset(tmp_path / layout, shard_rows=2)
    url = memory(tmp_path / layout, f"bucket/{layout}")
    remote = open_dataset(url, shard_rows=2)
    assert remote.layout == local.layout == layout
    assert remote.provides == local.provides
    here, there = asdict_of(read_all(local)), asdict_of(read_all(remote))
    assert there == here
    assert here["ids"]
    first = remote.shards()
    assert [s.fingerprint for s in remote.shards()] == [s.fingerprint for s in first]
    assert all(s.files[0].startswith("memory://") for s in first)


def asdict_of(found):
    fields = asdict(found)
    fields["embeddings"] = [row.tolist() for row in fields["embeddings"]]
    return fields


def test_one_remote_file_and_patterns(tmp_path, read_all, write_tar, memory):
    everything(tmp_path, write_tar)
    memory(tmp_path / "webdataset", "w")
    for url in ("memory://w/0.tar", "memory://w/*.tar"):
        found = read_all(open_dataset(url))
        assert found.pairs == [("1", "a dog")]
        assert found.reasons == {"sample:status_failed_to_download": 1}
    with pytest.raises(ConfigError, match="names nothing that exists"):
        open_dataset("memory://w/none")
    with pytest.raises(ConfigError, match="names nothing that exists"):
        open_dataset("memory://w/*.csv")


def test_remote_change_changes_the_fingerprint(tmp_path, memory):
    (tmp_path / "a.tsv").write_text(TSV)
    url = memory(tmp_path / "a.tsv", "b/a.tsv")
    [before] = open_dataset(url).shards()
    fsspec.filesystem("memory").pipe_file("/b/a.tsv", TSV.replace("dog", "cog").encode())
    [after] = open_dataset(url).shards()
    assert before.fingerprint != after.fingerprint


def test_unknown_protocol():
    with pytest.raises(ConfigError, match="nosuch"):
        open_dataset("nosuch://bucket/a.parquet")


def test_importing_loads_no_heavy_package():
    code = (
        "import sys, conceptaudit.records; before = set(sys.modules);"
        "import conceptaudit.datasets, conceptaudit.vocabulary;"
        "loaded = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "print(sorted(loaded & {'torch', 'spacy', 'faiss', 'fsspec', 'pyarrow', 'yaml', 'PIL'}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
