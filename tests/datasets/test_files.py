import json

import pandas as pd
import pytest
from PIL import Image

from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.errors import ConfigError


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_img2dataset_files_output(tmp_path, read_all, rows):
    write(
        tmp_path,
        {
            "00000/000000001.jpg": "one",
            "00000/000000001.txt": "a dog",
            "00000/000000001.json": json.dumps({"caption": "json"}),
            "00000/000000000.jpg": "zero",
            "00000/000000000.txt": "a cat",
            "00000_stats.json": "{}",
            "00001/000010000.jpg": "ten",
            "00001/000010000.txt": b"caf\xe9",
        },
    )
    pd.DataFrame(
        {
            "key": ["000000002", "000000001", "000000000"],
            "status": ["failed_to_download", "success", "success"],
            "error_message": ["404", None, None],
        }
    ).to_parquet(tmp_path / "00000.parquet")
    dataset = open_dataset(tmp_path, shard_rows=rows)
    assert dataset.layout == "files"
    found = read_all(dataset)
    assert found.pairs == [("000000000", "a cat"), ("000000001", "a dog"), ("000010000", "caf�")]
    assert found.images == [b"zero", b"one", b"ten"]
    assert found.ids == [0, 1, 1 << 40]
    assert [(d.sample_id, d.key, d.reason) for d in found.drops if d.part == "sample"] == [
        (2, "000000002", "status_failed_to_download")
    ]
    assert any("did not finish them (00001)" in note for note in dataset.notes)
    assert read_all(open_dataset(tmp_path, caption_column="caption")).captions[1] == "json"


def test_a_shard_whose_downloads_all_failed_is_reported(tmp_path, read_all):
    write(tmp_path, {"00000/0.jpg": "zero", "00000/0.txt": "a cat"})
    for shard, key, status in (("00000", "0", "success"), ("00001", "1", "failed_to_download")):
        pd.DataFrame({"key": [key], "status": [status], "error_message": [None]}).to_parquet(
            tmp_path / f"{shard}.parquet"
        )
    (tmp_path / "00001").mkdir()
    found = read_all(open_dataset(tmp_path))
    assert found.keys == ["0"]
    assert found.reasons == {"sample:status_failed_to_download": 1}
    (tmp_path / "00001").rmdir()
    assert read_all(open_dataset(tmp_path, layout="files")).drops == found.drops


def test_plain_folder_with_captions_ignores_a_readme(tmp_path, read_all):
    write(
        tmp_path,
        {"a.b.JPG": "i", "a.b.txt": "a dog", "c.png": "", "README.txt": "hello", "LICENSE": "x"},
    )
    found = read_all(open_dataset(tmp_path))
    assert found.pairs == [("a.b", "a dog"), ("c", None)]
    assert found.reasons == {
        "sample:no_image": 1,
        "image:empty_image": 1,
        "caption:missing_caption": 1,
    }


def test_class_folders_without_captions(tmp_path, read_all):
    write(tmp_path, {"dog/1.jpg": "d", "cat/1.jpg": "c", "notes/README.txt": "x"})
    dataset = open_dataset(tmp_path)
    assert dataset.provides == {IMAGE}
    found = read_all(dataset)
    assert (found.keys, found.images) == (["cat/1", "dog/1"], [b"c", b"d"])


def test_captions_alone(tmp_path):
    write(tmp_path, {"1.txt": "a dog"})
    assert open_dataset(tmp_path).provides == {CAPTION}


def test_links_do_not_loop_and_count_once(tmp_path, read_all):
    root = write(tmp_path / "set", {"a/1.jpg": "x", "b/2.jpg": "y"})
    outside = write(tmp_path / "other", {"3.jpg": "z"})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "again.jpg").symlink_to(root / "b" / "2.jpg")
    (root / "a" / "broken.jpg").symlink_to(root / "nowhere")
    (root / "c").symlink_to(outside)
    (root / "a" / "far.jpg").symlink_to(outside / "3.jpg")
    dataset = open_dataset(root)
    assert read_all(dataset).keys == ["a/1", "a/far", "b/2", "c/3"]
    assert any("3 symbolic links" in note for note in dataset.notes)


def test_only_folders(tmp_path):
    write(tmp_path, {"1.jpg": "x"})
    with pytest.raises(ConfigError, match="must be a folder"):
        open_dataset(tmp_path / "1.jpg", layout="files")
    with pytest.raises(ConfigError, match="must hold images or captions"):
        open_dataset(write(tmp_path / "d", {"a.bin": "x"}), layout="files")


def test_links_to_images_inside_the_data_are_told_once_with_their_number(tmp_path, capsys):
    from conceptaudit.cli.main import main

    root = tmp_path / "data"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (32, 32), (number * 90, 0, 60)).save(root / name / f"{number}.jpg")
            (root / name / f"{number}.txt").write_text("a dog")
    (tmp_path / "far.jpg").write_bytes((root / "a" / "1.jpg").read_bytes())
    (root / "b" / "far.jpg").symlink_to(tmp_path / "far.jpg")
    (root / "b" / "far.txt").write_text("a cat")
    for number in range(2):
        (root / "b" / f"again-{number}.jpg").symlink_to(root / "a" / f"{number}.jpg")
    (tmp_path / "c.txt").write_text("dog\ncat\n")
    command = ["audit", str(root), "-c", str(tmp_path / "c.txt"), "-o", str(tmp_path / "run")]
    assert main([*command, "--workers", "1"]) == 0
    said = capsys.readouterr()
    told = [line for line in (said.out + said.err).splitlines() if "symbolic link" in line]
    assert len(told) == 1
    assert "2 symbolic links" in told[0]
    table = pd.read_csv(tmp_path / "run" / "frequencies.csv").set_index("concept")
    assert table["n_text"].to_dict() == {"dog": 6, "cat": 1}
