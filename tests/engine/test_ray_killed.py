"""Whatever of a Ray run is killed, the next run writes the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conceptaudit.auditing import AuditOptions, audit

WITHIN = 240.0
"""Seconds in which a busy machine starts a cluster, or a run ends that has lost it."""


def processes_of(parent: int, word: str) -> list[int]:
    """Process ids of a process's descendants whose command line begins with a word."""
    parents, commands = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                commands[int(entry.name)] = (
                    (entry / "cmdline").read_bytes().split(b"\0")[0].decode()
                )
            except (OSError, ValueError):
                continue
            parents[int(entry.name)] = int(status[1])
    found = []
    for pid, command in commands.items():
        above = pid
        while above in parents and above != parent:
            above = parents[above]
        if above == parent and Path(command).name.startswith(word):
            found.append(pid)
    return found


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captions, and an undisturbed audit of them."""
    pytest.importorskip("ray")
    folder = tmp_path_factory.mktemp("corpus")
    rows = "".join(f"a dog and they watch {n}\n" for n in range(400))
    (folder / "captions.csv").write_text(f"caption\n{rows}")
    again(folder, folder / "calm")
    return folder


def again(corpus: Path, out: Path) -> None:
    options = AuditOptions(shard_rows=4, workers=1)
    audit(str(corpus / "captions.csv"), ["dog", "watch"], out, options=options)


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "log.jsonl"
    }


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["driver", "raylet", "ray::TaskActor"])
def test_the_next_run_writes_the_same_bytes(corpus: Path, tmp_path: Path, killed: str) -> None:
    (tmp_path / "concepts.txt").write_text("dog\nwatch\n")
    run = tmp_path / "run"
    command = [
        *(sys.executable, "-m", "conceptaudit", "audit", str(corpus / "captions.csv"), "-c"),
        *(str(tmp_path / "concepts.txt"), "-o", str(run), "--shard-rows", "4"),
        *("--engine", "ray", "--workers", "1"),
    ]
    with (tmp_path / "said").open("wb") as said:
        driver = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
    deadline = time.monotonic() + WITHIN
    while len(list(run.glob("text/*.json"))) < 2:
        assert driver.poll() is None, (tmp_path / "said").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    victims = [driver.pid] if killed == "driver" else processes_of(driver.pid, killed)
    assert victims
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    try:
        code = driver.wait(WITHIN)
    finally:
        driver.kill()
    text = (tmp_path / "said").read_text()
    if killed == "ray::TaskActor":  # it is replaced
        assert code == 0, text
    else:
        assert code != 0, text
    assert "Traceback" not in text
    again(corpus, run)
    assert tree(run) == tree(corpus / "calm")
