"""What is written: as other programs read it, the same bytes, by any engine, after any kill."""

import io
import tarfile

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.curate import CurateOptions, curate
from conceptaudit.engine import EngineChoice
from conceptaudit.errors import ConfigError
from conceptaudit.store.files import file_digest


def digests(folder):
    return {
        str(path.relative_to(folder)): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("log.jsonl", ".lock")
    }


def test_datacomps_subset_is_sorted_pairs(known, tmp_path):
    kept = known.kept(tmp_path / "out", cap=40.0, formats=("datacomp",))
    uids = np.load(tmp_path / "out" / "uids.npy")
    assert uids.dtype == np.dtype("u8,u8")
    # as DataComp's own resharder makes them (resharder.py)
    plain = [(int(uid[:16], 16), int(uid[16:32], 16)) for uid in kept["key"]]
    assert uids.tolist() == sorted(plain)


def test_img2dataset_and_hugging_face_tables(known, tmp_path, monkeypatch):
    monkeypatch.setattr("conceptaudit.curate.writing.PER_PART", 100)
    out = tmp_path / "out"
    kept = known.kept(out, cap=40.0, temper=0.5, formats=("img2dataset", "huggingface"))
    rows = known.table.set_index("uid").loc[kept["key"]]
    table = pd.read_parquet(out / "img2dataset.parquet")
    assert table["url"].tolist() == rows["url"].tolist()
    assert table["caption"].tolist() == rows["text"].tolist()
    assert table["weight"].to_numpy() == pytest.approx(kept["weight"].to_numpy())
    parts = sorted((out / "data").glob("*.parquet"))
    assert parts[0].name == f"train-00000-of-{len(parts):05d}.parquet"
    joined = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    pd.testing.assert_frame_equal(joined, table)


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tars")
    texts = ["a dog", "a dog", "a cat", "a dog", "a zebra", "a dog"]
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for i in range(3):
                data = texts[shard * 3 + i].encode()
                info = tarfile.TarInfo(f"{shard:05d}{i:04d}.txt")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    run = tmp_path_factory.mktemp("audited") / "run"
    audit(folder, ["dog", "cat", "zebra"], run, options=AuditOptions(workers=1))
    return run


def test_webdataset_archives_with_weights(archives, tmp_path):
    out = tmp_path / "out"
    options = CurateOptions(temper=1.0, formats=("webdataset",))
    curate([archives], out, options=options, workers=1)
    shards = pd.read_csv(out / "webdataset_shards.csv")
    weights = np.array([(0.25 + 0.25 + 1) / 3, (0.25 + 1 + 0.25) / 3])
    assert shards["weight"].to_numpy() == pytest.approx(weights / weights.mean())
    text = (out / "webdataset_train_data.txt").read_text()
    assert "--train-data-upsampling-factors '1::1'" in text
    assert text.count(".tar") == 2


def test_open_clip_reads_the_shard_list(archives, tmp_path):
    open_clip_train = pytest.importorskip(
        "open_clip_train.data", reason="open_clip's training code needs webdataset"
    )
    out = tmp_path / "out"
    curate([archives], out, options=CurateOptions(formats=("webdataset",)), workers=1)
    _, data, _, weights, _ = (out / "webdataset_train_data.txt").read_text().split("'")
    urls, numbers = open_clip_train.expand_urls(data, weights)
    assert len(urls) == len(numbers) == 2


def test_keys_that_are_no_uids_are_refused(archives, tmp_path):
    with pytest.raises(ConfigError, match="DataComp's uids"):
        curate([archives], tmp_path / "o", options=CurateOptions(formats=("datacomp",)), workers=1)
    options = CurateOptions(formats=("img2dataset",))
    with pytest.raises(ConfigError, match="needs URLs"):
        curate([archives], tmp_path / "p", options=options, workers=1)


@pytest.mark.slow
def test_every_engine_writes_the_same_bytes(known, tmp_path):
    options = CurateOptions(
        cap=40.0, density=True, keep=("similarity > 0.15",), drop_copies=True, size=200
    )
    curate([known.run], tmp_path / "a", options=options, workers=1)
    two = EngineChoice(kind="processes", workers=2)
    curate([known.run], tmp_path / "b", options=options, workers=two)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")


def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(known, tmp_path, monkeypatch):
    options = CurateOptions(cap=40.0, temper=0.5)
    curate([known.run], tmp_path / "calm", options=options, workers=1)

    class StoppedError(Exception):
        pass

    def stop(*_):
        raise StoppedError

    monkeypatch.setattr("conceptaudit.curate.build.write_kept", stop)
    with pytest.raises(StoppedError):
        curate([known.run], tmp_path / "out", options=options, workers=1)
    monkeypatch.undo()
    before = (tmp_path / "out" / "kept-0").stat().st_mtime_ns
    curate([known.run], tmp_path / "out", options=options, workers=1)
    assert (tmp_path / "out" / "kept-0").stat().st_mtime_ns == before  # nothing was drawn again
    assert digests(tmp_path / "calm") == digests(tmp_path / "out")
