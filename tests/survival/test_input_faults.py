"""Damaged input: bad samples are counted and listed, bad files are named, nothing counts twice."""

import io
import json
import random
import tarfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ArtifactMismatchError, ConceptAuditError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.lab import CORRUPTIONS, LabConfig, generate

FLIPS = 150


@pytest.mark.parametrize("rate", [0.001, 0.01, 0.1])
def test_corrupt_samples_are_counted_as_they_were_planted(tmp_path, rate):
    knobs = {f"{kind}_rate": rate for kind in CORRUPTIONS}
    config = LabConfig(n_samples=300, shard_size=100, image_size=48, seed=3, **knobs)
    generate(config, tmp_path / "lab")
    truth = pd.read_parquet(tmp_path / "lab" / "truth.parquet")
    dataset = open_dataset(f"{tmp_path}/lab/*.tar")
    n_texts = n_images = 0
    ids = set()
    for shard in dataset.shards():
        for batch in dataset.read(shard, dataset.provides):
            assert ids.isdisjoint(batch.sample_ids.tolist())
            ids.update(batch.sample_ids.tolist())
            n_texts += sum(caption is not None for caption in batch.captions or [])
            n_images += sum(map(decodes, batch.images or []))
    # bytes that are no UTF-8 are read as U+FFFD, noted and used
    assert n_texts == (truth["text_ok"] | (truth["corrupt"] == "bad_utf8")).sum()
    assert n_images == truth["image_ok"].sum()
    options = AuditOptions(workers=1)
    run = audit(f"{tmp_path}/lab/*.tar", ["dog", "cat"], tmp_path / "run", options=options)
    account = run.account["text"]
    assert account["n_used"] == n_texts
    assert account["n_samples"] - n_texts == sum(account["dropped"].values())


def decodes(image):
    if image is None:
        return False
    try:
        return decode_image(image) is not None
    except UndecodableImageError:
        return False


def read(path, **options):
    dataset = open_dataset(path, **options)
    found = []
    for shard in dataset.shards():
        for batch in dataset.read(shard, dataset.provides):
            vectors = batch.embeddings
            rows = zip(
                batch.sample_ids.tolist(),
                batch.keys,
                batch.captions or [None] * len(batch),
                [None] * len(batch) if vectors is None else vectors.tolist(),
                strict=True,
            )
            found += [*rows, *batch.drops]
    return found


def outcome(path, **options):
    """What is read, or what is said about it."""
    try:
        return read(path, **options)
    except ConceptAuditError as error:
        return str(error)


def flipped(data, rng):
    changed = bytearray(data)
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def test_a_flipped_bit_in_parquet_with_checksums_is_found_or_harmless(tmp_path):
    path = tmp_path / "a.parquet"
    rng = random.Random(0)
    texts = [f"a dog {rng.random()}" for _ in range(60)]
    table = pa.table({"caption": texts, "key": [str(i) for i in range(60)]})
    pq.write_table(table, path, write_page_checksum=True)
    whole, calm = path.read_bytes(), read(path)
    for _ in range(FLIPS):
        path.write_bytes(flipped(whole, rng))
        found = outcome(path)
        assert found == calm or "a.parquet" in found


def test_a_flipped_bit_in_tar_headers_is_found_or_harmless(tmp_path):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for i in range(6):
            info = tarfile.TarInfo(f"{i}.txt")
            info.size = 512
            archive.addfile(info, io.BytesIO(f"a dog {i}".ljust(512, ".").encode()))
    whole, calm = path.read_bytes(), read(path)
    rng = random.Random(0)
    for _ in range(FLIPS):
        changed = bytearray(whole)
        place = 1024 * rng.randrange(6) + rng.randrange(512)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        found = outcome(path)
        assert found == calm or "a.tar" in found, place


def test_a_flipped_bit_in_an_array_header_is_found_or_harmless(tmp_path):
    path = tmp_path / "image_embeddings.npy"
    np.save(path, np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32))
    whole, calm = path.read_bytes(), read(tmp_path, layout="embeddings")
    for place in range(128):
        for bit in range(8):
            changed = bytearray(whole)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            found = outcome(tmp_path, layout="embeddings")
            assert found == calm or "image_embeddings.npy" in found, (place, bit)


def captions(path, n):
    path.write_text(
        "".join(json.dumps({"caption": "a dog", "key": str(i)}) + "\n" for i in range(n))
    )


def test_a_file_that_vanishes_is_named_and_others_are_finished(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("0", "1", "2"):
        captions(data / f"{name}.jsonl", 30)
    vanish_after(monkeypatch, lambda: (data / "1.jsonl").unlink(missing_ok=True))
    with pytest.raises(DataError, match=r"1\.jsonl does not exist \(any more\)"):
        audit(data, ["dog"], tmp_path / "run", options=AuditOptions(workers=1))
    captions(data / "1.jsonl", 30)
    options = AuditOptions(workers=1, skip_unreadable=True)
    run = audit(data, ["dog"], tmp_path / "skipping", options=options)
    assert run.table["n_text"].tolist() == [60]
    assert any("1.jsonl does not exist" in note for note in run.notes)


def vanish_after(monkeypatch, change):
    """Change files when the first shard has been read."""
    from conceptaudit.datasets.table import TableDataset

    read_shard = TableDataset.read

    def reading(self, shard, parts):
        yield from read_shard(self, shard, parts)
        change()

    monkeypatch.setattr(TableDataset, "read", reading)


def test_a_file_that_grows_while_it_is_read_is_named(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    captions(path, 30)

    def grow():
        with path.open("a") as stream:
            stream.write(json.dumps({"caption": "a dog"}) + "\n")

    vanish_after(monkeypatch, grow)
    with pytest.raises(DataError, match=r"a\.jsonl changed while it was read"):
        audit(path, ["dog"], tmp_path / "run", options=AuditOptions(workers=1))


def test_a_file_that_changes_between_reading_and_the_end_is_told(tmp_path, monkeypatch):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("0", "1"):
        captions(data / f"{name}.jsonl", 30)
    monkeypatch.setattr(
        "conceptaudit.auditing.run.shards_to_count", lambda shards, _: grown(data, shards)
    )
    options = AuditOptions(workers=1)
    run = audit(data, ["dog"], tmp_path / "run", options=options)
    assert run.table["n_text"].tolist() == [60]
    assert any("1 file changed during the run" in note for note in run.notes)
    monkeypatch.undo()
    with pytest.raises(ArtifactMismatchError, match="--resume"):
        audit(data, ["dog"], tmp_path / "run", options=options)
    again = audit(data, ["dog"], tmp_path / "run", options=options, resume=True)
    assert again.table["n_text"].tolist() == [70]


def grown(data, shards):
    captions(data / "0.jsonl", 40)
    return shards
