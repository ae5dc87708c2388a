"""What is shipped beside the code: licences, citation, changelog, workflows, scripts."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def shipped_data() -> list[str]:
    """Files of the package that are no code, as paths below the repository."""
    passing = {".py", ".pyc"}
    found = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "conceptaudit").rglob("*")
        if path.is_file() and path.suffix not in passing and "__pycache__" not in path.parts
    ]
    return sorted(found)


def listed_in_notice(path: str, notice: set[str]) -> bool:
    """Whether the file or a folder that holds it is listed."""
    above = [path, *(parent.as_posix() for parent in Path(path).parents)]
    return any(one in notice for one in above)


def test_every_data_file_has_its_licence_in_notice():
    lines = (ROOT / "NOTICE").read_text(encoding="utf-8").splitlines()
    notice = {line.strip() for line in lines if re.fullmatch(r"conceptaudit/\S+", line)}
    data = shipped_data()
    assert len(data) > 30
    texts = [path for path in data if "LICENSE" in path]
    unlisted = [path for path in data if not listed_in_notice(path, notice) and path not in texts]
    assert not unlisted
    packed = {path.split("/")[1] for path in ("conceptaudit/indexes",)}
    stale = {one for one in notice if not (ROOT / one).exists() and one.split("/")[1] not in packed}
    assert not stale
    words = "\n".join(lines)
    assert all(path in words for path in texts if not path.startswith("conceptaudit/text/models"))


def test_changelog_and_citation_know_the_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(
        r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$", changelog, re.MULTILINE
    )
    assert released[0][0] == PROJECT["version"]
    assert [date for _, date in released] == sorted((d for _, d in released), reverse=True)
    sections = set(re.findall(r"^### (.+)$", changelog, re.MULTILINE))
    assert sections <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert str(citation["date-released"]) == released[0][1]
    assert {"cff-version", "message", "title", "authors", "license"} <= citation.keys()


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=str)
def test_workflows_run_what_is_there(path):
    text = path.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["name"] == path.stem
    assert True in workflow  # YAML reads the key `on` as a truth value
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        if "uses" in job:
            assert (ROOT / job["uses"]).is_file()
            continue
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
    for script in re.findall(r"(?:\.ci|scripts)/[\w./]+", text):
        assert (ROOT / script).is_file(), script
    for extras in re.findall(r"\.\[([\w,]+)\]", text):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys()


def test_publishing_needs_no_secret():
    text = (ROOT / ".github" / "workflows" / "publish.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["publish"]
    assert job["permissions"] == {"id-token": "write"}
    assert "password:" not in text
    assert "secrets." not in text


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_forms_are_whole(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    if path.name == "config.yml":
        return
    assert {"name", "description", "body"} <= form.keys()
    fields = [one for one in form["body"] if one["type"] != "markdown"]
    assert len({one["id"] for one in fields}) == len(fields) > 0
    assert all(one["attributes"]["label"] for one in fields)


def test_shell_scripts_parse():
    scripts = [ROOT / ".ci" / name for name in ("run", "oldest", "wheel")]
    for path in [*scripts, ROOT / "scripts" / "check"]:
        done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_completion_knows_verbs_and_options():
    import os
    import sys

    def complete(words: str) -> list[str]:
        environment = {
            **os.environ,
            "_CONCEPTAUDIT_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        # the program's own name is what its shell function calls
        code = (
            "import sys; sys.argv = ['conceptaudit']; from conceptaudit.__main__ import run; run()"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert complete("conceptaudit aud") == ["audit"]
    assert complete("conceptaudit merge --comp") == ["--compute-missing"]
