"""Nothing that the last release promised has gone without a word in the changelog."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
RELEASE = json.loads(Path(__file__).with_name("release.json").read_text(encoding="utf-8"))


def items(described: dict[str, Any]) -> set[tuple[str, str]]:
    columns = {
        ("columns", f"{table}: {one}")
        for table, names in described["columns"].items()
        for one in names
    }
    files = {
        (f"files of {kind}", name)
        for kind, names in described["files"].items()
        for name in [*names["files"], *names["stages"]]
    }
    options = {
        ("options", f"{verb} {one}")
        for verb, names in described["options"].items()
        for one in names
    }
    types = {
        ("types", f"{table}: {column} {kind}")
        for table, schema in described["types"].items()
        for column, kind in schema.items()
    }
    return {
        *(columns | files | options | types),
        *(("python", name) for name in described["python"]),
        *(("exit_codes", f"{name} {code}") for name, code in described["exit_codes"].items()),
    }


@pytest.fixture(scope="module")
def now() -> set[tuple[str, str]]:
    return items(importlib.import_module("describe_release").description())


def said_gone(changelog: str) -> set[str]:
    """What the changelog names, in backticks, as removed or changed since the last release."""
    since = changelog.split("## [Unreleased]")[1].split("\n## [", maxsplit=1)[0]
    parts = re.split(r"^### (\w+)$", since, flags=re.MULTILINE)
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    told = texts.get("Removed", "") + texts.get("Changed", "")
    return set(re.findall(r"`([^`]+)`", told))


def test_nothing_promised_has_gone(now):
    before = items(RELEASE)
    assert len(before) > 500  # the description is not empty
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    named = said_gone(changelog)
    gone = {
        one for one in before - now if not any(name in one[1] or name == one[1] for name in named)
    }
    assert not gone, "named neither under Removed nor under Changed in CHANGELOG.md"


def test_a_change_counts_as_named_only_where_the_changelog_says_so():
    text = "## [Unreleased]\n\n### Added\n\n- `new`\n\n### Removed\n\n- `old`\n\n## [1.0]\n- `x`\n"
    assert said_gone(text) == {"old"}
