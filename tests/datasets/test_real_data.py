"""Published data of every kind; the folder is not part of the project."""

import numpy as np
import pandas as pd

from conceptaudit.datasets import CAPTION, EMBEDDING, IMAGE, open_dataset


def test_laion_alt_texts(realdata, read_all):
    path = realdata / "captions" / "laion_alt_text_10k.parquet"
    found = read_all(open_dataset(path, shard_rows=3000))
    frame = pd.read_parquet(path)
    assert found.keys == frame["URL"].tolist()
    assert found.captions == frame["TEXT"].tolist()
    assert not found.drops


def test_flickr30k(realdata):
    path = realdata / "captions" / "flickr30k_en.parquet"
    dataset = open_dataset(path)
    shards = dataset.shards()
    assert len(shards) == 8
    batches = list(dataset.read(shards[-1], dataset.provides))
    tail = pd.read_parquet(path).iloc[shards[-1].start :]
    assert [c for b in batches for c in b.captions] == tail["caption"].tolist()
    assert [k for b in batches for k in b.keys] == tail["image"].tolist()


def test_conceptual_captions(realdata, read_all):
    path = realdata / "captions" / "cc3m_validation.tsv"
    found = read_all(open_dataset(path, shard_rows=1000))
    lines = path.read_text().splitlines()
    assert [f"{caption}\t{key}" for key, caption in found.pairs] == lines
    assert len(found.ids) == 15_833


def test_several_captions_per_image_embedding(realdata, read_all):
    dataset = open_dataset(realdata / "clip" / "flickr8k_vitb32", shard_rows=64)
    found = read_all(dataset)
    assert len(set(found.ids)) == len(found.ids) == 500
    assert len(set(found.keys)) == 100
    assert not found.drops
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, atol=1e-3)


def test_clip_retrieval_output(realdata, read_all):
    dataset = open_dataset(realdata / "clip" / "clip_retrieval_output")
    assert dataset.provides == {CAPTION, EMBEDDING}
    found = read_all(dataset)
    assert len(found.ids) == 9
    assert found.keys[0].endswith("img1.png")


def test_coco(realdata, read_all):
    dataset = open_dataset(realdata / "photos" / "coco-mini")
    assert dataset.layout == "coco"
    found = read_all(dataset, frozenset({CAPTION}))
    assert len(found.ids) == 795
    assert len(set(found.keys)) == 159
    shard = dataset.shards()[0]
    batch = next(iter(dataset.read(shard, frozenset({IMAGE}))))
    assert all(image.startswith(b"\xff\xd8") for image in batch.images)


def test_image_column_of_raw_bytes(realdata):
    path = realdata / "cifar100" / "test.parquet"
    assert open_dataset(path).provides == {IMAGE}
    dataset = open_dataset(path, caption_column="name", shard_rows=300)
    batch = next(iter(dataset.read(dataset.shards()[33], dataset.provides)))
    frame = pd.read_parquet(path).iloc[9900 : 9900 + len(batch)]
    assert batch.captions == frame["name"].tolist()
    assert batch.images == frame["image"].tolist()
