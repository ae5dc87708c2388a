"""A small evaluation set of lab pictures, in every layout that an evaluation set can have."""

import io
import tarfile
from pathlib import Path

import pytest

from conceptaudit.lab import lab_training, lab_vocabulary
from conceptaudit.lab.folders import draw_test_picture

EVERY = 16
PER_CLASS = 3
TEMPLATES = ("a photo of a {c}", "picture of a {c}")


@pytest.fixture(scope="session")
def class_names() -> list[str]:
    config = lab_training().config
    return sorted(lab_vocabulary(config).names[::EVERY])


@pytest.fixture(scope="session")
def pictures(class_names: list[str]) -> list[tuple[int, bytes]]:
    """Class index and encoded picture, in class order; from frequent concepts to rare ones."""
    config = lab_training().config
    return [
        (index, draw_test_picture(config, name, 400 + number))
        for index, name in enumerate(class_names)
        for number in range(PER_CLASS)
    ]


def write_lines(path: Path, lines: list[str] | tuple[str, ...]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory, class_names, pictures) -> Path:
    root = tmp_path_factory.mktemp("folders") / "lab-folders"
    for number, (index, data) in enumerate(pictures):
        folder = root / class_names[index].replace(" ", "_")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04d}.jpg").write_bytes(data)
    write_lines(root / "zeroshot_classification_templates.txt", TEMPLATES)
    return root


def add_member(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


@pytest.fixture(scope="session")
def webdataset(tmp_path_factory, class_names, pictures) -> Path:
    """As ``clip_benchmark_export_wds`` writes one: two archives of pictures and labels."""
    root = tmp_path_factory.mktemp("wds") / "lab-wds"
    (root / "test").mkdir(parents=True)
    half = len(pictures) // 2
    for shard, rows in enumerate((pictures[:half], pictures[half:])):
        with tarfile.open(root / "test" / f"{shard}.tar", "w") as archive:
            for number, (index, data) in enumerate(rows):
                add_member(archive, f"s{shard}{number:06d}.jpg", data)
                add_member(archive, f"s{shard}{number:06d}.cls", str(index).encode())
    write_lines(root / "test" / "nshards.txt", ["2"])
    write_lines(root / "classnames.txt", class_names)
    write_lines(root / "zeroshot_classification_templates.txt", TEMPLATES)
    return root
