"""Files in the making belong to living processes, and what the dead leave is taken over."""

import os
import random
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conceptaudit.artifacts import write_text
from conceptaudit.store.partials import remove_abandoned, whole

WRITER = """
import pathlib, sys
from conceptaudit.store.partials import whole
with whole(pathlib.Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print(partial.name, flush=True)
    sys.stdin.readline()
    partial.write_text("all of the other's")
"""

HAMMER = """
import os, pathlib, sys
from conceptaudit.store.partials import whole
path, mine = pathlib.Path(sys.argv[1]), sys.argv[2]
while True:
    with whole(path) as partial, partial.open("w") as stream:
        for _ in range(20):
            stream.write(mine)
            stream.flush()
    print(flush=True)
"""


@contextmanager
def writer(path: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a process that has half-written a file and waits; yield it and the partial's name."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        try:
            yield process, name
        finally:
            process.kill()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_is_taken_over(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with writer(target) as (process, name):
        process.send_signal(signal.SIGKILL)
    assert names(tmp_path) == [name] == [".report.html.partial"]
    with whole(target) as partial:
        assert (partial.name, partial.read_bytes()) == (name, b"")
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        partial.write_text("whole")
    assert names(tmp_path) == ["report.html"]
    assert target.read_text() == "whole"


def test_what_a_living_writer_holds_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with writer(target) as (process, name):
        write_text(target, "mine")
        assert names(tmp_path) == [name, "report.html"]
        assert not remove_abandoned(tmp_path / name)
        assert (tmp_path / name).read_text() == "half"
        process.communicate("\n")
        assert process.returncode == 0
    assert target.read_text() == "all of the other's"
    assert names(tmp_path) == ["report.html"]


def test_writers_that_died_side_by_side_leave_nothing(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    with writer(target) as (first, _), writer(target) as (second, _), writer(target) as (third, _):
        assert len(names(tmp_path)) == 3
        second.communicate("\n")
        for process in (first, third):
            process.send_signal(signal.SIGKILL)
            process.wait()
    assert names(tmp_path) == [".report.html.2.partial", ".report.html.partial", "report.html"]
    write_text(target, "mine")
    assert names(tmp_path) == ["report.html"]


def hammer(path: Path, text: str) -> "subprocess.Popen[str]":
    """Start a process that writes a file over and over; it has written once."""
    process = subprocess.Popen(
        [sys.executable, "-c", HAMMER, str(path), text], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_writers_that_are_killed_while_others_write_never_spoil_a_file(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    rng = random.Random(0)
    texts = [letter * 1_000 for letter in "abc"]
    crowd = [hammer(target, text) for text in texts]
    try:
        for _ in range(9):
            time.sleep(rng.random() * 0.03)
            dying = rng.randrange(len(crowd))
            crowd[dying].kill()
            crowd[dying].communicate()
            assert target.read_text() in [text * 20 for text in texts]
            crowd[dying] = hammer(target, texts[dying])
    finally:
        for process in crowd:
            process.kill()
            process.communicate()
    write_text(target, "mine")
    assert names(tmp_path) == ["report.html"]


@pytest.mark.parametrize("kind", ["link", "second name", "folder"])
def test_names_that_lead_elsewhere_are_not_followed(tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("keep")
    taken = tmp_path / ".report.html.partial"
    if kind == "folder":
        taken.mkdir()
    else:
        (os.symlink if kind == "link" else os.link)(theirs, taken)
    write_text(tmp_path / "report.html", "mine")
    assert theirs.read_text() == "keep"
    assert (tmp_path / "report.html").read_text() == "mine"
    assert names(tmp_path) == [".report.html.partial", "report.html", "theirs"]


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    target = tmp_path / "report.html"
    (tmp_path / ".report.html.partial").write_text("whose?")
    monkeypatch.setattr("conceptaudit.store.partials.fcntl.flock", refuse)
    write_text(target, "mine")
    assert target.read_text() == "mine"
    assert (tmp_path / ".report.html.partial").read_text() == "whose?"
