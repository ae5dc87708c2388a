"""``conceptaudit index`` as a user meets it."""

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conceptaudit.cli.index import parse_size
from conceptaudit.cli.main import main
from conceptaudit.errors import ConfigError

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 40, 230)}


def png(colour: tuple[int, int, int]) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 40), colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory, tiny_clip: Path) -> Path:
    """Three pictures, embedded by a real model of ours."""
    root = tmp_path_factory.mktemp("index")
    rows = [{"key": name, "image": png(colour)} for name, colour in COLOURS.items()]
    pd.DataFrame(rows).to_parquet(root / "pictures.parquet")
    command = ["embed", str(root / "pictures.parquet"), "--clip", str(tiny_clip)]
    assert main([*command, "-o", str(root / "emb"), "--workers", "1"]) == 0
    assert main(["index", "build", str(root / "emb"), "-o", str(root / "idx")]) == 0
    (root / "red.png").write_bytes(png(COLOURS["red"]))
    return root


def test_build_says_what_it_measured(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["index", "build", str(embedded / "emb"), "-o", str(embedded / "idx"), "--json"]
    assert main(command) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["reused"]
    assert manifest["n_vectors"] == 3
    assert manifest["recall"]["value"] == 1.0
    assert len(manifest["model"]) == 64


def test_search_by_image_finds_the_image_and_draws_it(
    embedded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = embedded / "sheet.png"
    command = ["index", "search", str(embedded / "idx"), "--image", str(embedded / "red.png")]
    assert main([*command, "-k", "2", "--json", "--contact-sheet", str(sheet)]) == 0
    [answer] = json.loads(capsys.readouterr().out)
    assert answer["hits"][0]["key"] == "red"
    assert answer["hits"][0]["score"] == pytest.approx(1.0, abs=1e-3)
    assert len(answer["hits"]) == 2
    colours = Image.open(sheet).convert("RGB").getcolors(1 << 20)
    assert colours is not None
    assert COLOURS["red"] in {colour for _, colour in colours}
    assert main(["index", "search", str(embedded / "idx"), "--text", "a heron", "--text", "x"]) == 0
    assert "a heron" in capsys.readouterr().out


def test_info_and_recall(embedded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["index", "info", str(embedded / "idx")]) == 0
    assert "3 vectors of dimension 16, preset flat" in capsys.readouterr().out
    assert main(["index", "recall", str(embedded / "idx"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["recall"][0]["value"] == 1.0
    np.save(embedded / "q.npy", np.ones((2, 16), np.float32))
    command = ["index", "recall", str(embedded / "idx"), "--queries", str(embedded / "q.npy")]
    assert main(command) == 0


def test_faults_are_exit_code_1(
    embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "emb"
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    vectors = np.random.default_rng(0).standard_normal((900, 16)).astype(np.float32)
    np.save(folder / "img_emb/img_emb_0.npy", vectors)
    keys = pd.DataFrame({"image_path": [str(i) for i in range(900)]})
    keys.to_parquet(folder / "metadata/metadata_0.parquet")
    command = ["index", "build", str(folder), "-o", str(tmp_path / "i"), "--preset", "ivf-sq8"]
    assert main([*command, "--recall", "1"]) == 1
    assert "--recall" in capsys.readouterr().err
    assert main(command) == 0
    whole = (tmp_path / "i/index.faiss").read_bytes()
    with (tmp_path / "i/index.faiss").open("rb+") as stream:
        stream.seek(-20, 2)
        stream.write(b"\0\1\2\3")
    assert main(["index", "info", str(tmp_path / "i"), "--json"]) == 1
    assert "index.faiss" in capsys.readouterr().err
    assert main(["index", "recall", str(tmp_path / "i")]) == 2
    assert "is not as it was written" in capsys.readouterr().err
    (tmp_path / "i/index.faiss").write_bytes(whole)
    manifest = json.loads((tmp_path / "i/manifest.json").read_text())
    manifest["recall"]["promised"] = 1.5
    (tmp_path / "i/manifest.json").write_text(json.dumps(manifest))
    assert main(["index", "recall", str(tmp_path / "i")]) == 1
    assert "below the promised" in capsys.readouterr().err


def test_merging_one_part_is_the_whole(embedded: Path, tmp_path: Path) -> None:
    assert main(["index", "merge", str(embedded / "idx"), "-o", str(tmp_path / "m")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["index", "grow", "{idx}"], "action"),
        (["index", "build", "{emb}"], "--out"),
        (["index", "build", "{emb}", "-o", "{out}", "--memory", "much"], "6GB"),
        (["index", "build", "{emb}", "-o", "{out}", "--memory", "10MB"], "The smallest"),
        (["index", "build", "{emb}", "-o", "{out}", "--preset", "lsh"], "ivf-flat"),
        (["index", "build", "{emb}", "-o", "{out}", "--preset", "gpu-ivf-pq"], "gpu"),
        (["index", "build", "{emb}", "-o", "{out}", "--clip", "lab"], "Leave out --clip"),
        (["index", "build", "{emb}", "-o", "{out}", "--part", "one"], "2/4"),
        (["index", "info", "{idx}", "{idx}"], "takes one folder"),
        (["index", "merge", "{idx}", "{idx}", "-o", "{out}"], "each of the parts"),
        (["index", "search", "{idx}"], "--text or --image"),
        (["index", "search", "{idx}", "--text", "x", "--clip", "lab"], "dimension"),
        (["index", "search", "{idx}", "--image", "/no/such.png"], "/no/such.png"),
        (["index", "search", "{idx}", "--image", "{emb}/manifest.json"], "not_an_image"),
        (["index", "search", "{emb}", "--text", "x"], "not an index"),
        (["index", "info", "{out}"], "manifest"),
        (["index", "recall", "{idx}", "--queries", "/no/such.npy"], "/no/such.npy"),
    ],
)
def test_mistakes_are_one_message_and_exit_code_2(
    embedded: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    names = {"emb": embedded / "emb", "idx": embedded / "idx", "out": tmp_path / "out"}
    expected = 2
    assert main([argument.format(**names) for argument in arguments]) == expected
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_sizes() -> None:
    assert parse_size("500MB") == 500 * 10**6
    with pytest.raises(ConfigError, match="-1GB"):
        parse_size("-1GB")
