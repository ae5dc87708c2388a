"""Write down what conceptaudit promises to keep: columns, files, options, names, exit codes.

    python scripts/describe_release.py tests/packaging/release.json

Run it once per release, at the release: `tests/packaging/test_stability.py` holds later versions to
what it wrote.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def described_columns(page: Path) -> dict[str, list[str]]:
    """Return the columns that docs/columns.md lists, by table."""
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    columns: dict[str, list[str]] = {}
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        rows = re.findall(r"^\|(.+?)\|", body, flags=re.MULTILINE)
        names = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
        columns[title.replace("`", "")] = sorted(names)
    return columns


def run_files() -> dict[str, dict[str, list[str]]]:
    """Return the names that each kind of run folder writes."""
    from conceptaudit.store.layouts import LAYOUTS

    return {
        kind: {"files": sorted(layout.files), "stages": sorted(layout.stages)}
        for kind, layout in sorted(LAYOUTS.items())
    }


def options() -> dict[str, list[str]]:
    """Return the options of every verb, and of the verbs below a verb."""
    import typer.main

    from conceptaudit.cli.main import app

    found: dict[str, list[str]] = {}
    left: list[tuple[str, Any]] = [("conceptaudit", typer.main.get_command(app))]
    while left:
        path, command = left.pop()
        names = {name for one in command.params for name in one.opts if name.startswith("-")}
        found[path] = sorted(names - {"--help", "--install-completion", "--show-completion"})
        below = getattr(command, "commands", {})
        left += [(f"{path} {name}", one) for name, one in below.items()]
    return dict(sorted(found.items()))


def written_types() -> dict[str, dict[str, str]]:
    """Return the types of the columns that an audit of three captions writes."""
    import pyarrow.parquet as pq

    from conceptaudit import audit

    captions = ["a brown dog", "two dogs and a cat", "a gold watch"]
    with tempfile.TemporaryDirectory() as folder:
        run = audit(captions, ["dog", "cat", "watch"], Path(folder, "run"))
        tables = {
            "frequencies.parquet": run.folder / "frequencies.parquet",
            "text/*.parquet": next(
                path
                for path in sorted((run.folder / "text").glob("*.parquet"))
                if path.name.count(".") == 1
            ),
        }
        schemas = {name: pq.read_schema(path) for name, path in tables.items()}
    return {
        name: {field.name: str(field.type) for field in schema} for name, schema in schemas.items()
    }


def description() -> dict[str, Any]:
    """Describe the version that is imported."""
    import conceptaudit
    from conceptaudit.cli.main import EXIT_FAULTS, EXIT_USER
    from conceptaudit.process import EXIT_INTERRUPTED

    return {
        "version": metadata.version("conceptaudit"),
        "exit_codes": {
            "done": 0,
            "faults": EXIT_FAULTS,
            "user": EXIT_USER,
            "interrupted": EXIT_INTERRUPTED,
        },
        "columns": described_columns(ROOT / "docs" / "columns.md"),
        "types": written_types(),
        "files": run_files(),
        "options": options(),
        "python": sorted(conceptaudit.__all__),
    }


def main() -> None:
    """Write the description."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.write_text(json.dumps(description(), indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
