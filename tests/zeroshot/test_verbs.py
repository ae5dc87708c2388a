"""``evaluate`` and ``retrieval`` from the command line, on every layout of an evaluation set."""

import json
import shutil

import pytest

from conceptaudit.cli.main import main

from .conftest import TEMPLATES, write_lines
from .test_sets import parquet


@pytest.fixture
def hugging_face(pictures, class_names, tmp_path):
    parquet(tmp_path / "hf/test-0.parquet", pictures, [i for i, _ in pictures], class_names)
    write_lines(tmp_path / "hf/zeroshot_classification_templates.txt", TEMPLATES)
    return tmp_path / "hf"


@pytest.fixture
def long_tail(image_folder, class_names, tmp_path):
    """As `conceptaudit longtail` leaves it: folders of pictures, a manifest that names them."""
    folder = tmp_path / "tail"
    folder.mkdir()
    shutil.copytree(image_folder, folder / "images", ignore=shutil.ignore_patterns("*.txt"))
    classes = [
        {"concept": name, "folder": name.replace(" ", "_"), "class_index": index}
        for index, name in enumerate(class_names)
    ]
    record = {"kind": "longtail", "classes": [*classes, {"concept": "gnu", "class_index": None}]}
    (folder / "manifest.json").write_text(json.dumps(record))
    write_lines(folder / "zeroshot_classification_templates.txt", TEMPLATES)
    return folder


def told(capsys, *command):
    assert main([str(word) for word in command]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("layout", ["image_folder", "webdataset", "hugging_face", "long_tail"])
def test_every_layout_with_and_without_its_embeddings(layout, request, tmp_path, capsys):
    root = request.getfixturevalue(layout)
    options = ["--clip", "lab", "--name", "lab", "--workers", "1", "--json"]
    plain = told(capsys, "evaluate", root, *options, "-o", tmp_path / "plain")
    kept = tmp_path / "kept"
    saved = told(
        capsys, "evaluate", root, *options, "-o", tmp_path / "a", "--save-embeddings", kept
    )
    again = told(
        capsys, "evaluate", root, *options, "-o", tmp_path / "b", "--embeddings", kept / "lab"
    )
    for found in (saved, again):
        assert found["overall"] == plain["overall"]
        for key in ("n_samples", "n_used", "dropped"):
            assert found["accounts"][0][key] == plain["accounts"][0][key]
    files = [(tmp_path / run / "accuracies.csv").read_bytes() for run in ("plain", "a", "b")]
    assert files[0] == files[1] == files[2]
    assert main(["validate", str(tmp_path / "b")]) == 0


def test_mistakes_are_one_message(image_folder, tmp_path, capsys):
    command = ["evaluate", str(image_folder), "--clip", "lab", "-o", str(tmp_path / "run")]
    for options, message in (
        (["--embeddings", str(tmp_path / "none")], "none"),
        (["--embeddings", str(image_folder)], "folder of image embeddings"),
        (["--embeddings", "a", "--embeddings", "b"], "a folder per model"),
    ):
        assert main([*command, *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert "Traceback" not in error
    assert not (tmp_path / "run" / "manifest.json").exists()
