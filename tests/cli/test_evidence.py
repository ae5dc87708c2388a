"""The evidence verb shows what was counted, marks it, and stays safe on a terminal."""

import json
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.main import main


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    captions = ["a gold watch", "people watch a dog", "a dog \x1b]0;title\x07 and a watch"]
    table = pd.DataFrame({"url": ["\x1b[31mred", "u1", "u2"], "caption": captions})
    table.to_parquet(folder / "captions.parquet")
    options = AuditOptions(cooccurrence=True)
    audit(folder / "captions.parquet", ["watch", "dog", "zebra"], folder / "run", options=options)
    return folder / "run"


def test_what_counts_and_what_does_not(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", str(run), "watch", "zebra", "--together"]) == 0
    text = capsys.readouterr().out
    counted, rejected = text.split("watch, not counted: no noun")
    assert "gold [watch]" in counted
    assert "people [watch] a dog   (u1)" in rejected
    assert "named together with" in text
    assert "zebra: no caption holds its words" in text
    assert "\x1b" not in text
    assert "\x07" not in text


def test_json_for_machines(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evidence", str(run), "dog", "--together", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["matched"] for row in shown["dog"]["evidence"]] == ["dog", "dog"]
    assert {row["concept_b"]: row["n"] for row in shown["dog"]["together"]} == {"watch": 1}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{run}", "wach"], "Did you mean 'watch'?"),
        (["{none}", "watch"], "is no audit's folder"),
    ],
)
def test_mistakes_are_one_line(
    run: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    names = {"run": run, "none": tmp_path}
    assert main(["evidence", *(a.format(**names) for a in arguments)]) == 2
    assert message in capsys.readouterr().err
