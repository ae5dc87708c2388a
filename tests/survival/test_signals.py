"""Ctrl-C and SIGTERM drop what is in the making, leave nothing behind, and exit with 130."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SECONDS = 120


def interrupted(command, run: Path, *, sign, group, wanted, pattern):
    """Start a command, send a signal when `wanted` files are there, and wait for its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=environment,
    ) as process:
        deadline = time.monotonic() + SECONDS
        while len(list(run.glob(pattern))) < wanted:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, "nothing was written"
            time.sleep(0.005)
        workers = psutil.Process(process.pid).children(recursive=True)
        (os.killpg if group else os.kill)(process.pid, sign)
        out, errors = process.communicate(timeout=SECONDS)
        psutil.wait_procs(workers, timeout=10)
        return process.returncode, out, errors, [one for one in workers if one.is_running()]


def check(found, run: Path) -> None:
    code, out, errors, workers = found
    assert code == 130, errors
    assert out == ""
    *progress, last = errors.splitlines()
    assert last == "Interrupted. Run the same command again to go on."
    # a run that takes more than a second says how far it is, and nothing else
    assert all(line.endswith("…") or "shards in" in line for line in progress), errors
    assert workers == []
    assert [path.name for path in run.rglob("*") if "partial" in path.name] == []
    assert not (run / ".lock").exists()
    assert not (run / "manifest.json").exists()
    assert '"event": "interrupted"' in (run / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("workers", "sign", "group"),
    [(1, signal.SIGTERM, False), (2, signal.SIGINT, True)],
    ids=["SIGTERM to one process", "Ctrl-C to three"],
)
def test_an_audit_is_interrupted_and_goes_on(
    tmp_path, command, calm, again, tree, workers, sign, group
):
    run = tmp_path / "run"
    call = command(run, "--workers", str(workers))
    found = interrupted(call, run, sign=sign, group=group, wanted=2, pattern="text/*.json")
    check(found, run)
    again(run)
    assert tree(run) == tree(calm)


@pytest.mark.parametrize(("workers", "sign"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_embedding_is_interrupted(tmp_path, lab, workers, sign):
    run = tmp_path / "run"
    call = [
        *(sys.executable, "-m", "conceptaudit", "embed", f"{lab}/*.tar", "--clip", "lab"),
        *("-o", str(run), "--workers", str(workers)),
    ]
    group = workers > 1
    found = interrupted(call, run, sign=sign, group=group, wanted=1, pattern="shards/*.json")
    check(found, run)


def test_workers_do_not_outlive_a_killed_parent(tmp_path, command):
    run = tmp_path / "run"
    call = command(run, "--workers", "2")
    _, _, _, workers = interrupted(
        call, run, sign=signal.SIGKILL, group=False, wanted=2, pattern="text/*.json"
    )
    assert workers == []


def answers(pid: int) -> bool:
    """Whether a process has said what it does about SIGTERM: before, nothing of ours has run."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("seconds", [0, 0.05, 0.2, 0.4, 0.7, 1.0, 1.5])
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_the_program_is_interrupted_from_its_first_moment(tmp_path, command, seconds, sign):
    with subprocess.Popen(
        command(tmp_path / "run"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not answers(process.pid):
            time.sleep(0.001)
        time.sleep(seconds)
        process.send_signal(sign)
        out, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (130, "")
    *progress, last = errors.splitlines()
    assert last == "Interrupted. Run the same command again to go on."
    # a run that takes more than a second says how far it is, and nothing else
    assert all(line.endswith("…") or "shards in" in line for line in progress), errors
