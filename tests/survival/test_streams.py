"""Output that fails stops no run: results are whole, the exit code is the documented one."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-m", "conceptaudit")
FULL = Path("/dev/full")


def shell(command: list[str], redirection: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a command under a shell's redirection; what is not redirected is captured."""
    return subprocess.run(
        ["bash", "-c", f'set -o pipefail; "$@" {redirection}', "bash", *command],
        capture_output=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.fixture
def full() -> None:
    if not FULL.exists():
        pytest.skip("there is no /dev/full, the device that is always full")


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    "redirection",
    [
        "2>&1 | true",
        "| true",
        "2> >(true)",
        ">/dev/full",
        "2>/dev/full",
        ">/dev/full 2>&1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
    ],
)
def test_a_run_goes_on_without_its_output(tmp_path, command, calm, tree, redirection):
    done = shell(command(tmp_path / "run"), redirection)
    assert done.returncode == 0, done
    assert tree(tmp_path / "run") == tree(calm)
    assert b"Traceback" not in done.stdout + done.stderr
    assert b"Exception ignored" not in done.stdout + done.stderr
    if redirection == ">/dev/full":
        assert done.stderr.decode().splitlines()[-1].startswith("Standard output could not be")
    if redirection == "2>/dev/full":
        assert done.stdout.decode().splitlines()[-1].startswith("Standard error could")


@pytest.mark.usefixtures("full")
def test_errors_keep_their_exit_code(tmp_path, command):
    wrong = command(tmp_path / "run", "--level", "7")
    for redirection in ("", "2>/dev/full", "2>&-", "2>&1 | cat >/dev/full", ">&- 2>&-"):
        assert shell(wrong, redirection).returncode in ((2, 1) if "|" in redirection else (2,))
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("full")
def test_an_answer_that_is_lost_on_a_full_disk_is_no_success(tmp_path, calm, command):
    validate = [*PROGRAM, "validate", str(calm)]
    assert shell(validate, "").returncode == 0
    assert shell(validate, "| true").returncode == 0
    for answer in (validate, command(tmp_path / "run", "--json")):
        done = shell(answer, ">/dev/full")
        assert done.returncode == 2
        said = done.stderr.decode().splitlines()
        assert said[-1].startswith("Standard output could not be written to (No space left")
        assert b"Traceback" not in done.stderr


def test_a_terminal_that_is_lost_stops_no_run(tmp_path, command, calm, tree):
    ours, theirs = pty.openpty()
    with subprocess.Popen(command(tmp_path / "run"), stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        os.read(ours, 1)  # the bars have begun
        os.close(ours)
        assert process.wait(timeout=300) == 0
    assert tree(tmp_path / "run") == tree(calm)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_encoding_takes_what_is_printed(tmp_path, monkeypatch, encoding):
    names = ["Ærø", "猫", "🐕"]
    (tmp_path / "captions.csv").write_text("key,caption\n1,a 猫 and an Ærø\n")
    (tmp_path / "concepts.txt").write_text("\n".join(names) + "\n")
    command = [*PROGRAM, "audit", "captions.csv", "-c", "concepts.txt", "--workers", "1", "-o"]
    plain = [*command, "run"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.chdir(tmp_path)
    done = shell(plain, "", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    done.stdout.decode(encoding)
    done = shell([*plain, "--json"], "", PYTHONIOENCODING=encoding, PYTHONUTF8="0")
    assert json.loads(done.stdout.decode(encoding))["n_concepts"] == 3


def test_no_result_takes_the_place_of_a_closed_stream(tmp_path):
    """A file opened as number 1 or 2 would get what libraries print."""
    code = (
        "import os, sys\n"
        "from conceptaudit.cli.streams import hold_standard_files\n"
        "hold_standard_files()\n"
        f"handle = os.open({str(tmp_path / 'result')!r}, os.O_WRONLY | os.O_CREAT)\n"
        "os.write(2, b'a warning of a library')\n"
        "sys.exit(handle < 3)\n"
    )
    assert shell([sys.executable, "-c", code], "<&- >&- 2>&-").returncode == 0
    assert (tmp_path / "result").read_bytes() == b""
