"""Build the documentation site: pages, generated references, tutorials as notebooks. Strictly.

    python scripts/make_docs.py --site SITE

Needs the extra `docs`. Nothing is fetched: a page that would load a script, style or font from
another place fails the build, and so does a link that leads nowhere. Pages lie in the site as in
the repository, so that their links are right in both.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import typer.main
import yaml

import conceptaudit
from conceptaudit.cli.main import VERBS, app

ROOT = Path(__file__).parents[1]
BESIDE = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE", "CITATION.cff")
CARDS = ("indexes/README.md", "conceptaudit/*/models/*/README.md")
FENCE = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REMOTE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")
SECTION = re.compile(r"^(\w[\w ]+)\n-{3,}$", re.MULTILINE)


def stage(folder: Path) -> None:
    """Lay out everything that the site is made of."""
    pages = folder / "pages"
    shutil.copytree(ROOT / "docs", pages / "docs", ignore=shutil.ignore_patterns("mkdocs.yml"))
    others = [ROOT / name for name in BESIDE]
    others += [path for pattern in CARDS for path in sorted(ROOT.glob(pattern))]
    for path in others:
        target = pages / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    reference = pages / "docs" / "reference"
    reference.mkdir(exist_ok=True)
    (reference / "cli.md").write_text(command_reference(), encoding="utf-8")
    (reference / "python.md").write_text(python_reference(), encoding="utf-8")
    for path in sorted((pages / "docs" / "tutorials").glob("*.md")):
        text = path.read_text(encoding="utf-8")
        book = json.dumps(notebook(text), indent=1, ensure_ascii=False)
        path.with_suffix(".ipynb").write_text(book + "\n", encoding="utf-8")
        link = f"\n\n[This page as a notebook]({path.stem}.ipynb)\n"
        title, _, rest = text.partition("\n")
        path.write_text(title + link + rest, encoding="utf-8")
    settings = yaml.safe_load((ROOT / "docs" / "mkdocs.yml").read_text(encoding="utf-8"))
    [benchmarks] = [one["Benchmarks"] for one in settings["nav"] if "Benchmarks" in one]
    measured = sorted((ROOT / "docs").glob("benchmarks-*.md"))
    benchmarks += [f"docs/{path.name}" for path in measured] + ["docs/paper-counts.md"]
    [guides] = [one["Guides"] for one in settings["nav"] if "Guides" in one]
    listed = json.dumps(settings["nav"])
    guides += [  # pages that nobody has put anywhere else
        f"docs/{path.name}"
        for path in sorted((ROOT / "docs").glob("*.md"))
        if f"docs/{path.name}" not in listed
    ]
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(settings), encoding="utf-8")


def command_reference() -> str:
    """Write every verb's ``--help`` down."""
    group = typer.main.get_command(app)
    parts = ["# Commands and options", "What `conceptaudit VERB --help` prints, generated from it."]
    parts += ["```text", _help(group, "conceptaudit"), "```"]
    for verb, short in VERBS.items():
        command = group.commands[verb]  # type: ignore[attr-defined]
        parts += [f"## {verb}", short, "```text", _help(command, f"conceptaudit {verb}"), "```"]
    return "\n\n".join(parts).replace("```text\n\n", "```text\n").replace("\n\n```", "\n```") + "\n"


def _help(command: object, path: str) -> str:
    context = command.make_context(path, [], resilient_parsing=True, terminal_width=100)  # type: ignore[attr-defined]
    return str(command.get_help(context)).strip()  # type: ignore[attr-defined]


def python_reference() -> str:
    """Write the signatures and docstrings of the public names down."""
    parts = ["# Python", "The names in `conceptaudit.__all__`, generated from their docstrings."]
    for name in conceptaudit.__all__:
        value = getattr(conceptaudit, name)
        parts += [f"## {name}", *documented(name, value)]
        if not inspect.isclass(value) or issubclass(value, Exception):
            continue
        for method, function in vars(value).items():
            member = function.fget if isinstance(function, property) else function
            member = getattr(member, "__func__", member)
            if not method.startswith("_") and inspect.isfunction(member) and member.__doc__:
                parts += [f"### {name}.{method}", *documented(method, member)]
    return "\n\n".join(parts) + "\n"


def documented(name: str, value: object) -> Iterator[str]:
    """Yield the signature of something, and its docstring as Markdown."""
    if callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
        try:
            signature = str(inspect.signature(value, eval_str=False)).replace("'", "")
            yield f"```python\n{name}{signature}\n```"
        except ValueError:
            pass
    text = inspect.getdoc(value) or ""
    pieces = SECTION.split(text)
    yield escaped(pieces[0])
    for title, body in zip(pieces[1::2], pieces[2::2], strict=True):
        yield f"**{title}**"
        if title == "Examples":
            yield f"```pycon\n{body.strip()}\n```"
        elif title in ("Parameters", "Attributes", "Returns", "Raises", "Yields"):
            yield "\n".join(entries(body))
        else:
            yield escaped(body)


def entries(body: str) -> Iterator[str]:
    """Yield the entries of a numpydoc section as a list."""
    for line in body.strip().splitlines():
        if line and not line.startswith(" "):
            head, colon, kind = line.partition(" : ")
            yield f"- `{head}`" + (f" ({escaped(kind)})" if colon else "")
        elif line.strip():
            yield f"  {escaped(line.strip())}"


def escaped(text: str) -> str:
    """Make text of a docstring safe in Markdown, its double backticks single."""
    return re.sub(r"([<>\[\]*_|])", r"\\\1", text).strip() if "`" not in text else _ticked(text)


def _ticked(text: str) -> str:
    parts = re.split(r"(``.+?``|`.+?`)", text, flags=re.DOTALL)
    return "".join(
        f"`{part.strip('`')}`" if part.startswith("`") else re.sub(r"([<>\[\]*_|])", r"\\\1", part)
        for part in parts
    ).strip()


def notebook(text: str) -> dict[str, object]:
    """Turn a tutorial into a notebook: its blocks of code are cells."""
    cells: list[dict[str, object]] = []

    def add(kind: str, source: str) -> None:
        if source.strip():
            lines = source.strip().splitlines(keepends=True)
            more = {} if kind == "markdown" else {"outputs": [], "execution_count": None}
            cells.append(
                {"cell_type": kind, "id": f"c{len(cells)}", "metadata": {}, "source": lines, **more}
            )

    end = 0
    for block in FENCE.finditer(text):
        if block[1] not in ("sh", "python"):
            continue
        add("markdown", text[end : block.start()])
        add("code", ("%%bash\n" if block[1] == "sh" else "") + block[2])
        end = block.end()
    add("markdown", text[end:])
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells,
        "metadata": {"kernelspec": kernel},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def check_nothing_remote(site: Path) -> None:
    """Refuse pages that would load something from elsewhere."""
    for path in sorted(site.rglob("*.html")):
        loaded = [
            one
            for one in REMOTE.findall(path.read_text(encoding="utf-8"))
            if 'rel="canonical"' not in one and "rel=canonical" not in one
        ]
        if loaded:
            raise SystemExit(f"{path.relative_to(site)} loads {loaded[0]}")


def main() -> None:
    """Build the site."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--site", type=Path, required=True, help="folder to write")
    site: Path = parser.parse_args().site.resolve()
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder))
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
        quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # about the theme's successor
        command += ["--site-dir", str(site)]
        subprocess.run(command, cwd=folder, env=quiet, check=True)
    check_nothing_remote(site)
    print(f"{len(list(site.rglob('*.html')))} pages in {site}")


if __name__ == "__main__":
    main()
