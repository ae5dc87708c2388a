"""The lab from the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.cli.main import main


def test_a_dataset_and_its_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "lab"
    arguments = ["lab", "generate", "-o", str(out), "--samples", "12", "--workers", "1", "--json"]
    assert main([*arguments, "--knob", "empty_caption_rate=1.0"]) == 0
    assert json.loads(capsys.readouterr().out)["knobs"]["empty_caption_rate"] == 1.0
    truth = pd.read_parquet(out / "truth.parquet")
    assert len(truth) == 12
    assert not truth["text_ok"].any()


def test_a_test_set(tmp_path: Path) -> None:
    arguments = ["lab", "testset", "-o", str(tmp_path / "t"), "--per-concept", "1"]
    assert main([*arguments, "--knob", "n_concepts=3"]) == 0
    assert len(list((tmp_path / "t").glob("*/*.jpg"))) == 3


def test_knobs_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "knobs", "--knob", "zero_concepts=dog,cat"]) == 0
    assert "zipf_exponent" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate"], "-o"),
        (["destroy"], "destroy"),
        (["generate", "-o", "x", "--knob", "shard_size=0"], "shard_size"),
        (["generate", "-o", "x", "--knob", "zipf_exponent=-1"], "zipf_exponent"),
        (["generate", "-o", "x", "--knob", "max_objects=99"], "max_objects"),
        (["generate", "-o", "x", "--knob", "no_such_knob=1"], "no_such_knob"),
        (["generate", "-o", "x", "--knob", "seed"], "NAME=VALUE"),
        (["generate", "-o", "x", "--format", "floppy"], "floppy"),
    ],
)
def test_impossible_knobs_are_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["lab", *arguments]) == 2
    assert message in capsys.readouterr().err
