import json

import pytest

from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.errors import ConfigError, DataError

COCO = {
    "images": [{"id": 1, "file_name": "1.jpg"}, {"id": 2, "file_name": "2.jpg"}, {"id": 3}],
    "annotations": [
        {"image_id": 2, "id": 10, "caption": "a dog"},
        {"image_id": 1, "id": 11, "caption": "a cat"},
        {"image_id": 2, "id": 12, "caption": "a hound"},
        {"image_id": 9, "id": 13, "caption": "lost"},
        {"caption": "no image"},
    ],
}
KARPATHY = {
    "dataset": "coco",
    "images": [
        {"filepath": "val", "filename": "1.jpg", "sentences": [{"raw": "a"}, {"raw": "b"}]},
        {"filename": 7},
    ],
}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_sample_per_caption_with_images_beside(tmp_path, read_all, rows):
    path = write(tmp_path / "annotations" / "captions_train2017.json", COCO)
    images = tmp_path / "train2017"
    images.mkdir()
    (images / "1.jpg").write_bytes(b"one")
    (images / "2.jpg").write_bytes(b"two")
    for location in (path, tmp_path):
        dataset = open_dataset(location, shard_rows=rows)
        assert dataset.layout == "coco"
        assert dataset.provides == {CAPTION, IMAGE}
        found = read_all(dataset)
        assert found.pairs == [
            ("2.jpg", "a dog"),
            ("1.jpg", "a cat"),
            ("2.jpg", "a hound"),
            ("9", "lost"),
        ]
        assert found.images == [b"two", b"one", b"two", None]
        assert found.ids == [0, 1, 2, 3]
        assert found.reasons == {"image:missing_image": 1, "sample:malformed_annotation": 1}
        assert any("Without a caption, and not counted: 1 image" in n for n in dataset.notes)
        assert any("captions of 3 images" in n for n in dataset.notes)


def test_a_caption_per_picture_needs_no_warning(tmp_path):
    single = COCO | {"annotations": COCO["annotations"][:2]}
    notes = open_dataset(write(tmp_path / "captions_x.json", single)).notes
    assert not any("too narrow" in note for note in notes)


def test_named_image_folder(tmp_path, read_all):
    path = write(tmp_path / "captions_x.json", COCO)
    assert open_dataset(path).provides == {CAPTION}
    folder = tmp_path / "far" / "away"
    folder.mkdir(parents=True)
    with pytest.raises(ConfigError, match="'images' parameter"):
        open_dataset(path, images=folder)
    (folder / "2.jpg").write_bytes(b"two")
    assert read_all(open_dataset(path, images=folder)).images == [b"two", None, b"two", None]


def test_changed_images_change_the_fingerprint(tmp_path):
    path = write(tmp_path / "captions_x.json", COCO)
    (tmp_path / "2.jpg").write_bytes(b"two")
    before = open_dataset(path).shards()[0].fingerprint
    assert open_dataset(path).shards()[0].fingerprint == before
    (tmp_path / "2.jpg").write_bytes(b"other")
    assert open_dataset(path).shards()[0].fingerprint != before


def test_file_names_do_not_leave_the_folder(tmp_path, read_all):
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    content = {
        "images": [
            {"id": 1, "file_name": "../secret.jpg"},
            {"id": 2, "file_name": str(tmp_path / "secret.jpg")},
            {"id": 3, "file_name": "3.jpg"},
        ],
        "annotations": [{"image_id": i, "caption": "x"} for i in (1, 2, 3)],
    }
    path = write(tmp_path / "set" / "captions_x.json", content)
    (tmp_path / "set" / "3.jpg").write_bytes(b"ok")
    found = read_all(open_dataset(path))
    assert found.images == [None, None, b"ok"]
    assert found.reasons == {"image:unsafe_file_name": 2}


def test_karpathy_splits(tmp_path, read_all):
    path = write(tmp_path / "dataset_coco.json", KARPATHY)
    (tmp_path / "val").mkdir()
    (tmp_path / "val" / "1.jpg").write_bytes(b"one")
    dataset = open_dataset(path)
    found = read_all(dataset)
    assert found.pairs == [("1.jpg", "a"), ("1.jpg", "b")]
    assert found.images == [b"one", b"one"]
    assert found.reasons == {"sample:malformed_annotation": 1}


def test_instances_hold_no_captions(tmp_path):
    content = {"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": [0, 0, 1, 1]}]}
    with pytest.raises(DataError, match=r"hold no captions but \['image_id', 'bbox'\]"):
        open_dataset(write(tmp_path / "instances.json", content))


def test_damaged_json_beside_a_good_one(tmp_path):
    write(tmp_path / "captions_a.json", COCO)
    (tmp_path / "captions_b.json").write_text(json.dumps(COCO)[:-5])
    dataset = open_dataset(tmp_path)
    good, bad = dataset.shards()
    assert sum(len(batch) for batch in dataset.read(good, dataset.provides)) == 4
    with pytest.raises(DataError, match=r"captions_b\.json is not valid JSON"):
        list(dataset.read(bad, dataset.provides))
