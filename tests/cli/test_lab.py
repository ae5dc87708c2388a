"""The lab from the command line."""

import json
import os
import signal
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


@pytest.mark.parametrize("action", ["generate", "testset"])
def test_a_killed_run_can_be_run_again(tmp_path: Path, action: str) -> None:
    options = ["--knob", "n_concepts=3"] if action == "testset" else ["--samples", "9"]
    options += ["--knob", "shard_size=3", "--knob", "image_size=48", "--workers", "1"]

    def write(out: Path, *more: str) -> int:
        arguments = ["lab", action, "-o", str(out), "--per-concept", "2", *options, *more]
        return main(arguments)

    def held(folder: Path) -> dict[str, bytes]:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}

    assert write(tmp_path / "calm") == 0
    expected = held(tmp_path / "calm")
    assert write(tmp_path / "calm") == 0  # finished: nothing to do
    for moment in range(1, 4):
        out = tmp_path / f"run-{moment}"
        process = os.fork()
        if not process:
            _die_at(moment)
            write(out)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
        assert (out / "run.json").exists()
        assert not (out / "lab.json").exists()
        assert write(out, "--seed", "1") == 2  # other data than it was begun for
        assert write(out) == 0
        assert held(out) == expected
    assert write(tmp_path / "calm", "--seed", "1") == 2
    assert held(tmp_path / "calm") == expected


def _die_at(moment: int) -> None:
    """Die when the n-th image of this process is encoded."""
    from conceptaudit.lab import folders, samples

    encode, left = samples.encode, moment

    def dying(*arguments: object) -> bytes:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(*arguments)  # type: ignore[arg-type] -- handed on as they are

    samples.encode = folders.encode = dying  # type: ignore[assignment] -- likewise
