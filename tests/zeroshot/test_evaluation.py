"""Classes are scored among all classes; what cannot be decoded is excluded and named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel, find_clip
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.zeroshot.evaluation import evaluate_image_folder

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
VOCABULARY = ConceptVocabulary(tuple(Concept(name=name) for name in COLOURS))


class ColourClip:
    """An encoder whose concepts are orthonormal: mean colour, and the colour's name."""

    name = "colour"

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        means = np.array(
            [np.asarray(image, dtype=np.float32).mean(axis=(0, 1)) for image in images]
        )
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        return np.array(
            [[float(name in text) for name in COLOURS] for text in texts], dtype=np.float32
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (4, 4), colour).save(tmp_path / name / f"{i}.png")
    Image.new("RGB", (4, 4), (0, 0, 255)).save(tmp_path / "red" / "wrong.png")
    (tmp_path / "green" / "broken.jpg").write_bytes(b"not a picture")
    return tmp_path


def test_counted_by_hand(folder: Path) -> None:
    result = evaluate_image_folder(folder, VOCABULARY, ColourClip(), dataset="d")
    table = result.accuracies.table
    assert table["n_correct"].tolist() == [3, 3, 3]
    assert table["n_images"].tolist() == [4, 3, 3]
    assert table["accuracy"].tolist() == [0.75, 1.0, 1.0]
    assert result.confusions.to_numpy().tolist() == [["red", "blue", 1]]
    assert len(result.excluded) == 1
    assert result.excluded[0].startswith("green/broken.jpg: not_an_image")


def test_a_class_without_images_can_still_be_the_wrong_answer(folder: Path) -> None:
    for path in (folder / "blue").iterdir():
        path.unlink()
    (folder / "blue").rmdir()
    result = evaluate_image_folder(folder, VOCABULARY, ColourClip())
    assert result.accuracies.table["concept"].tolist() == ["red", "green"]
    assert result.accuracies.table["n_correct"].tolist() == [3, 3]


def test_no_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="None of the 3 classes"):
        evaluate_image_folder(tmp_path, VOCABULARY, ColourClip())


def test_the_bundled_model_knows_its_head_and_not_its_tail(tmp_path: Path) -> None:
    from conceptaudit.lab import lab_training, lab_vocabulary
    from conceptaudit.lab.folders import draw_test_picture

    training = lab_training()
    vocabulary = lab_vocabulary(training.config)
    clip: ClipModel = find_clip("lab", device="cpu")
    names = vocabulary.names
    head, never = names[:10], names[-training.config.zero_concepts :][:10]
    for name in (*head, *never):
        (tmp_path / name).mkdir()
        for number in range(200, 208):
            picture = draw_test_picture(training.config, name, number)
            (tmp_path / name / f"{number}.jpg").write_bytes(picture)
    result = evaluate_image_folder(
        tmp_path, vocabulary, clip, templates=training.templates, dataset="lab"
    )
    accuracy = result.accuracies.table.set_index("concept")["accuracy"]
    assert accuracy[list(head)].mean() >= 0.8
    assert accuracy[list(never)].mean() <= 0.1
