"""The documentation: tutorials run, generated references are whole, the README is short."""

import importlib
import json
import re
import shlex
from pathlib import Path

import pytest

from conceptaudit.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SERIAL = ("vocab", "audit", "longtail", "evaluate")
"""Verbs that start workers: one process is enough for a thousand samples."""


@pytest.fixture(scope="module")
def docs():
    return importlib.import_module("make_docs")


def run_blocks(text: str) -> int:
    """Run a page's commands and Python in order, in the folder that is current."""
    names: dict[str, object] = {}
    blocks = [block for block in FENCE.finditer(text) if block[1] in ("sh", "python")]
    for block in blocks:
        if block[1] == "python":
            exec(block[2], names)
            continue
        for line in block[2].strip().splitlines():
            program, verb, *rest = shlex.split(line)
            assert program == "conceptaudit"
            more = ["--engine", "serial"] if verb in SERIAL else []
            assert main([verb, *rest, *more]) == 0, line
    return len(blocks)


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_blocks(path.read_text(encoding="utf-8")) >= 5


def test_the_example_of_a_tagger_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_blocks((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")) == 2


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_notebooks_hold_the_tutorials(path, docs):
    text = path.read_text(encoding="utf-8")
    book = json.loads(json.dumps(docs.notebook(text)))
    assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
    cells = book["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    blocks = [block for block in FENCE.finditer(text) if block[1] in ("sh", "python")]
    assert [cell.removeprefix("%%bash\n") for cell in code] == [b[2].strip() for b in blocks]


def test_the_command_reference_has_every_verb_and_option(docs):
    import typer.main

    from conceptaudit.cli.main import app

    page = docs.command_reference()
    parts = dict(
        zip(*[iter(re.split(r"^## (.+)$", page, flags=re.MULTILINE)[1:])] * 2, strict=True)
    )
    assert list(parts) == list(VERBS)
    commands = typer.main.get_command(app).commands
    for verb, text in parts.items():
        for option in commands[verb].params:
            long = [name for name in option.opts if name.startswith("--")]
            assert all(name in text for name in long), (verb, long)


def test_the_python_reference_has_every_name(docs):
    import conceptaudit

    page = docs.python_reference()
    for name in conceptaudit.__all__:
        assert f"\n## {name}\n" in page


def test_pages_that_would_load_from_elsewhere_are_refused(docs, tmp_path):
    page = tmp_path / "page.html"
    page.write_text('<a href="https://example.org">x</a><img src="here.png">')
    docs.check_nothing_remote(tmp_path)
    page.write_text('<script src="https://example.org/x.js"></script>')
    with pytest.raises(SystemExit, match="loads"):
        docs.check_nothing_remote(tmp_path)


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    words = re.sub(r"\]\([^)]*\)|<!--.*?-->", "]", text).split()
    assert len(words) <= 1200
