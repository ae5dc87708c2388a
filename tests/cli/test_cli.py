"""The program as a user meets it: help, exit codes, messages, JSON."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.cli.console import printable, say_table
from conceptaudit.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]
GUIDES = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"conceptaudit {verb}" in text
    for line in text.splitlines():
        if line.strip().startswith("--") and len(line.split()) == 1:
            pytest.fail(f"{line.strip()} has no help")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_in_the_readme_or_a_guide(verb: str) -> None:
    assert f"conceptaudit {verb}" in GUIDES


def test_every_page_is_found_from_the_readme_and_no_link_leads_nowhere() -> None:
    root = Path(__file__).parents[2]
    seen: set[Path] = set()
    waiting = [root / "README.md"]
    while waiting:
        page = waiting.pop()
        if page.suffix != ".md" or page in seen:
            continue
        seen.add(page)
        links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        local = [(page.parent / link).resolve() for link in links if "://" not in link]
        assert [str(path) for path in local if not path.exists()] == []
        waiting += local
    assert set((root / "docs").glob("*.md")) <= seen


def test_no_summary_of_a_verb_is_cut_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "..." not in text.partition("Commands:")[2]
    for verb, short in VERBS.items():
        assert f"{verb} " in text
        assert short in text


def test_a_tilde_that_the_shell_left_alone_is_the_home_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("text\na dog\n")
    (tmp_path / "c.txt").write_text("dog\n")
    command = ["audit", "~/t.csv", "-c", "~/c.txt", "--out=~/run", "--workers", "1"]
    assert main(command) == 0
    assert (tmp_path / "run" / "frequencies.csv").is_file()
    assert not (tmp_path / "~").exists()
    assert main(["validate", "~/run"]) == 0
    assert "nothing wrong" in capsys.readouterr().out


def test_large_numbers_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    say_table(["n"], [[10_000.4], [1714.0], [0.12345], [float("inf")]])
    assert capsys.readouterr().out.split()[2:] == ["10,000", "1,714", "0.123", "inf"]


def test_options_without_help_are_found() -> None:
    from typer.main import get_command

    from conceptaudit.cli.main import app

    for name, command in get_command(app).commands.items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name}: {parameter.name} has no help"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "/no/such/place", "-c", "{concepts}", "-o", "{out}"], "/no/such/place"),
        (["audit", "{table}", "-c", "/no/such/list.txt", "-o", "{out}"], "/no/such/list.txt"),
        (["audit", "{nocaption}", "-c", "{concepts}", "-o", "{out}"], "height"),
        (["audit", "{table}", "-c", "{empty}", "-o", "{out}"], "concept"),
        (["audit", "{table}", "-c", "{concepts}", "-o", "{table}"], "{table}"),
        (["audit", "{table}", "-c", "{concepts}", "-o", "{out}", "--threshold", "7"], "threshold"),
        (["audit", "{table}", "-c", "{concepts}", "-o", "{out}", "--spacy-model", "no_x"], "no_x"),
        (["audit", "{table}"], "Missing option"),
        (["predict", "{out}", "--frequencies", "{counts}"], "{out}"),
        (["fit", "{counts}", "-a", "/no/such", "-o", "{out}"], "/no/such"),
        (["fit", "{table}", "-a", "/no/such", "-o", "{out}"], "'concept' column"),
    ],
)
def test_a_users_mistake_is_one_message_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    pd.DataFrame({"text": ["a dog"]}).to_parquet(tmp_path / "t.parquet")
    pd.DataFrame({"height": [1], "width": [2]}).to_parquet(tmp_path / "n.parquet")
    (tmp_path / "c.txt").write_text("dog\n")
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "counts.csv").write_text("concept,n_text\ndog,3\n")
    names = {
        "table": tmp_path / "t.parquet",
        "nocaption": tmp_path / "n.parquet",
        "concepts": tmp_path / "c.txt",
        "counts": tmp_path / "counts.csv",
        "empty": tmp_path / "empty.txt",
        "out": tmp_path / "out",
    }
    assert main([argument.format(**names) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message.format(**names) in error
    assert "Traceback" not in error


def test_audit_json_is_json(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["a dog", None]}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "c.txt").write_text("dog\ncat\n")
    command = ["audit", "t.parquet", "-c", "c.txt", "-o", "run", "--json", "--workers", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "conceptaudit", *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    summary = json.loads(done.stdout)
    assert summary["account"]["text"]["dropped"] == {"caption:null_caption": 1}
    assert summary["n_concepts_found"] == {"n_text": 1}
    assert "Warning" not in done.stderr


def test_debug_shows_the_traceback() -> None:
    from conceptaudit.errors import ConceptAuditError

    with pytest.raises(ConceptAuditError):
        main(["--debug", "audit", "/no/such", "-c", "/no/such", "-o", "/no/such"])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("conceptaudit ")


def test_tables_line_up_and_carry_no_control_characters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_table(["name", "n"], [["犬\x1b[31m", 1200], ["dog", None]])
    lines = capsys.readouterr().out.splitlines()
    assert "\x1b" not in "".join(lines)
    assert lines[2].endswith("1,200")
    assert printable("a\u202eb") == "a\ufffdb"
