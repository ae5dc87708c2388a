"""What the survival tests share: small data, the program as a process, folders compared."""

import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = ("a dog", "a cat and a dog", "they watch", "hot dogs", "my watch", "a red bus")
CONCEPTS = ["dog", "hot dog", "watch", "cat"]


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder; logs hold clocks and are left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith("log.jsonl")
    }


@pytest.fixture(name="tree")
def tree_fixture() -> Callable[[Path], dict[str, str]]:
    return tree


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 captions in a JSONL file, and the concepts beside it."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = random.Random(0)
    lines = [json.dumps({"caption": f"{rng.choice(WORDS)} {i}", "key": str(i)}) for i in range(600)]
    (folder / "captions.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "concepts.txt").write_text("\n".join(CONCEPTS) + "\n")
    return folder


@pytest.fixture(scope="session")
def command(corpus: Path) -> Callable[..., list[str]]:
    """The command line of a small audit."""

    def build(out: Path, *options: str) -> list[str]:
        return [
            *(sys.executable, "-m", "conceptaudit", "audit", str(corpus / "captions.jsonl")),
            *("-c", str(corpus / "concepts.txt"), "-o", str(out), "--shard-rows", "20"),
            *(options or ("--workers", "1")),
        ]

    return build


@pytest.fixture(scope="session")
def calm(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An undisturbed audit of the corpus."""
    from conceptaudit.auditing import AuditOptions, audit

    folder = tmp_path_factory.mktemp("calm") / "run"
    options = AuditOptions(shard_rows=20, workers=1)
    audit(str(corpus / "captions.jsonl"), str(corpus / "concepts.txt"), folder, options=options)
    return folder


@pytest.fixture(scope="session")
def again(corpus: Path) -> Callable[[Path], None]:
    """Run the same audit in this process."""
    from conceptaudit.auditing import AuditOptions, audit

    def run(out: Path) -> None:
        options = AuditOptions(shard_rows=20, workers=1)
        audit(str(corpus / "captions.jsonl"), str(corpus / "concepts.txt"), out, options=options)

    return run


@pytest.fixture(scope="session")
def program() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a command to its end."""

    def run(arguments: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.run(
            arguments, capture_output=True, text=True, check=False, env=environment, **options
        )

    return run


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated dataset of 240 pictures in tars of 20."""
    from conceptaudit.lab import LabConfig, generate

    folder = tmp_path_factory.mktemp("lab")
    generate(LabConfig(n_samples=240, shard_size=20, image_size=48), folder / "lab")
    return folder / "lab"


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every input that the verbs need, as small as they take it."""
    from conceptaudit.cli.main import main
    from conceptaudit.lab import LabConfig, generate, lab_vocabulary, write_image_folder

    folder = tmp_path_factory.mktemp("foreign")
    lines = [f"{i},a dog and a cat {i}" if i % 3 else f"{i},a red bus" for i in range(60)]
    (folder / "captions.csv").write_text("\n".join(["key,caption", *lines]) + "\n")
    (folder / "concepts.txt").write_text("dog\ncat\nbus\n")
    config = LabConfig(n_samples=36, shard_size=12, image_size=48)
    generate(config, folder / "lab")
    names = lab_vocabulary(config).names
    (folder / "lab.txt").write_text("\n".join(names) + "\n")
    write_image_folder(config, folder / "all", per_concept=1)
    for name in names[:8]:
        shutil.move(folder / "all" / name, folder / "testset" / name)
    shutil.rmtree(folder / "all")
    rows = [f"m,lab,{name},{i % 9},9" for i, name in enumerate(names)]
    (folder / "accuracies.csv").write_text(
        "\n".join(["model,dataset,concept,n_correct,n_images", *rows]) + "\n"
    )
    lab = f"{folder}/lab"
    concepts = ("-c", f"{folder}/lab.txt", "--workers", "1")
    for command in (
        ("embed", lab, "--clip", "lab", "-o", f"{folder}/embeddings", "--workers", "1"),
        ("audit", lab, *concepts, "-o", f"{folder}/audited-text"),
        (
            *("audit", f"{folder}/embeddings", *concepts, "--clip", "lab", "--threshold", "0.25"),
            *("-o", f"{folder}/audited"),
        ),
        (
            *("fit", f"{folder}/audited", "-a", f"{folder}/accuracies.csv", "--pretraining"),
            *("all", "-o", f"{folder}/curve"),
        ),
    ):
        assert main(list(command)) == 0, command
    return folder
