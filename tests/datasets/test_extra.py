"""What rows say besides: the same whatever the layout."""

import io
import json
import tarfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.datasets import CAPTION, EMBEDDING, EXTRA, IMAGE, open_dataset

COLUMNS = {
    "URL": ["http://a/0", "http://a/1", "http://a/2"],
    "LICENSE": ["CC-BY", None, "?"],
    "NSFW": ["UNLIKELY", "NSFW", "UNSURE"],
    "punsafe": [0.1, 0.9, 0.2],
    "pwatermark": [0.5, 0.0, 0.99],
}
EXPECTED = {
    "url": COLUMNS["URL"],
    "license": COLUMNS["LICENSE"],
    "nsfw": COLUMNS["NSFW"],
    "unsafe": COLUMNS["punsafe"],
    "watermark": COLUMNS["pwatermark"],
}
KEYS = ["000", "001", "002"]
CAPTIONS = ["a cat", "a dog", "a fish"]


def jpeg():
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), (9, 90, 9)).save(stream, "JPEG")
    return stream.getvalue()


def records():
    return [
        {name: values[i] for name, values in COLUMNS.items() if values[i] is not None}
        for i in range(3)
    ]


def write_table(folder):
    table = pd.DataFrame({"key": KEYS, "TEXT": CAPTIONS, **COLUMNS})
    table.to_parquet(folder / "meta.parquet")
    return folder / "meta.parquet"


def write_tsv(folder):
    table = pd.DataFrame({"key": KEYS, "TEXT": CAPTIONS, **COLUMNS})
    table.to_csv(folder / "meta.tsv", sep="\t", index=False)
    return folder / "meta.tsv"


def write_embeddings(folder):
    for place in ("img_emb", "metadata"):
        (folder / "emb" / place).mkdir(parents=True)
    np.save(folder / "emb" / "img_emb" / "img_emb_0.npy", np.eye(3, 4, dtype=np.float16))
    table = pd.DataFrame({"image_path": KEYS, "caption": CAPTIONS, **COLUMNS})
    table.to_parquet(folder / "emb" / "metadata" / "metadata_0.parquet")
    return folder / "emb"


def members():
    for i, key in enumerate(KEYS):
        yield f"{key}.jpg", jpeg()
        yield f"{key}.txt", CAPTIONS[i].encode()
        yield f"{key}.json", json.dumps(records()[i]).encode()


def write_tar(folder):
    with tarfile.open(folder / "00000.tar", "w") as archive:
        for name, data in members():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return folder / "00000.tar"


def write_files(folder):
    (folder / "files").mkdir()
    for name, data in members():
        (folder / "files" / name).write_bytes(data)
    return folder / "files"


@pytest.mark.parametrize(
    "write", [write_table, write_tsv, write_embeddings, write_tar, write_files]
)
def test_every_layout_tells_the_same(tmp_path, write):
    dataset = open_dataset(write(tmp_path))
    assert EXTRA not in dataset.provides
    parts = dataset.provides & {CAPTION, IMAGE, EMBEDDING}
    [batch] = dataset.read(dataset.shards()[0], parts | {EXTRA})
    assert list(batch.keys) == KEYS
    told = {
        name: [None if pd.isna(value) or value == "" else value for value in values]
        for name, values in batch.extra.items()
    }
    if write is write_tsv:  # whose numbers are text
        told |= {name: [float(v) for v in told[name]] for name in ("unsafe", "watermark")}
    assert told == EXPECTED
    [plain] = dataset.read(dataset.shards()[0], parts)
    assert plain.extra is None


def test_rows_that_are_dropped_take_their_columns_along(tmp_path):
    table = pd.DataFrame({"key": ["a", "b", "a"], "caption": CAPTIONS, "punsafe": [0.1, 0.2, 0.3]})
    table["status"] = ["success", "failed_to_download", "success"]
    table["error_message"] = None
    table.to_parquet(tmp_path / "meta.parquet")
    dataset = open_dataset(tmp_path / "meta.parquet")
    [batch] = dataset.read(dataset.shards()[0], frozenset({CAPTION, EXTRA}))
    assert batch.extra == {"unsafe": [0.1]}
    assert len(batch.drops) == 2


def test_json_that_is_no_object_says_nothing(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for key, text in (("a", "[1]"), ("b", "{"), ("c", '{"punsafe": 0.5}')):
        (folder / f"{key}.jpg").write_bytes(jpeg())
        (folder / f"{key}.json").write_text(text)
    dataset = open_dataset(folder)
    [batch] = dataset.read(dataset.shards()[0], frozenset({IMAGE, EXTRA}))
    assert batch.extra == {"unsafe": [None, None, 0.5]}


def test_coco_names_the_licence_of_each_photograph(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(jpeg())
    content = {
        "licenses": [{"id": 3, "name": "CC BY-NC-ND", "url": "http://cc/3"}, "broken"],
        "images": [
            {"id": 1, "file_name": "a.jpg", "license": 3, "coco_url": "http://coco/a.jpg"},
            {"id": 2, "file_name": "b.jpg", "license": 9, "flickr_url": 5},
        ],
        "annotations": [{"image_id": i, "caption": "a cat"} for i in (1, 2)],
    }
    path = tmp_path / "captions_val2017.json"
    path.write_text(json.dumps(content))
    dataset = open_dataset(path, images=tmp_path / "images")
    [batch] = dataset.read(dataset.shards()[0], dataset.provides | {EXTRA})
    assert batch.extra == {"url": ["http://coco/a.jpg", None], "license": ["CC BY-NC-ND", None]}
