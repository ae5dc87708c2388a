"""Full disks, read-only disks, two runs at once, clocks that jump, results that rot."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conceptaudit.artifacts import exclusive
from conceptaudit.cli.main import main
from conceptaudit.errors import DataError
from conceptaudit.validation import validate


def mount(folder: Path, options: str) -> None:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount program, which a small disk needs")
    if done.returncode:
        pytest.skip(f"mounting a small disk is not allowed here: {done.stderr.decode().strip()}")


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    mount(folder, "size=100k")
    # unmounts when this process ends, however it ends: its end of the pipe is then closed
    command = ["sh", "-c", 'read -r _; exec umount -l "$1"', "sh", str(folder)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    yield folder
    guard.communicate()
    assert guard.returncode == 0


def test_a_small_disk_goes_with_the_process_that_mounted_it(tmp_path):
    code = (
        "import os, pathlib, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "import test_disk\n"
        "disk = test_disk.small_disk.__wrapped__(pathlib.Path(sys.argv[2]))\n"
        "assert os.path.ismount(next(disk))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != -signal.SIGKILL:
        pytest.skip(f"mounting a small disk is not allowed here: {done.stderr[-200:]}")
    deadline = time.monotonic() + 60
    while (tmp_path / "disk").is_mount() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not (tmp_path / "disk").is_mount()


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_is_said_and_what_was_done_is_kept(small_disk, again, calm, tree):
    run = small_disk / "run"
    with pytest.raises(DataError, match=r"Cannot write .*[Nn]o space left"):
        again(run)
    assert not list(small_disk.rglob("*partial*"))
    done = {path: path.stat().st_mtime_ns for path in (run / "text").glob("*.json")}
    assert done
    remount(small_disk, "size=50m")
    again(run)
    assert tree(run) == tree(calm)
    assert {path: path.stat().st_mtime_ns for path in done} == done


def test_a_read_only_disk_is_said(small_disk, command, again, calm, tree, capsys):
    run = small_disk / "run"
    remount(small_disk, "size=50m")
    again(run)
    (run / "manifest.json").unlink()
    remount(small_disk, "ro")
    assert main(command(run)[3:]) == 2
    assert main(command(small_disk / "other")[3:]) == 2
    said = capsys.readouterr().err
    assert "Read-only file system" in said
    assert "Traceback" not in said
    remount(small_disk, "rw")
    again(run)
    assert tree(run) == tree(calm)


def test_the_second_of_two_runs_is_refused(tmp_path, command, again, calm, tree, capsys):
    run = tmp_path / "run"
    with exclusive(run):
        assert main(command(run)[3:]) == 2
        assert "Another run is writing" in capsys.readouterr().err
        assert [path.name for path in run.iterdir()] == [".lock"]
    again(run)
    assert tree(run) == tree(calm)


@pytest.mark.parametrize("jump", [-40 * 365 * 86_400, 40 * 365 * 86_400])
def test_clocks_may_jump(tmp_path, again, calm, tree, jump):
    run = shutil.copytree(calm, tmp_path / "run")
    moment = time.time_ns() + jump * 10**9
    for path in run.rglob("*"):
        os.utime(path, ns=(moment, moment))
    (run / "frequencies.parquet").unlink()
    (run / "text" / "0000000-0000000000040.json").unlink()
    again(run)
    assert tree(run) == tree(calm)
    kept = [path for path in (run / "text").iterdir() if path.stat().st_mtime_ns == moment]
    assert len(kept) >= len(list((calm / "text").glob("*.json"))) - 1


def test_results_that_rot_are_found_and_made_again(tmp_path, again, calm, tree):
    run = shutil.copytree(calm, tmp_path / "run")
    rng = random.Random(0)
    rotten = [path for path in sorted(run.rglob("*")) if path.is_file() and rng.random() < 0.4]
    for path in rotten:
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    named = {fault.file for fault in validate(run).faults}
    if run / "manifest.json" not in rotten:
        assert {path.relative_to(run).as_posix() for path in rotten} <= named
    if run / "run.json" in rotten:
        shutil.copy(calm / "run.json", run / "run.json")  # or --resume
    again(run)
    assert tree(run) == tree(calm)
    assert validate(run).faults == ()


def test_what_a_killed_run_left_half_written_is_removed(tmp_path, again, calm, tree):
    run = shutil.copytree(calm, tmp_path / "run")
    for name in (".frequencies.parquet", "text/.0000000-0000000000020.parquet", ".run.json"):
        (run / f"{name}.partial").write_bytes(b"PAR1")
    (run / "manifest.json").unlink()
    again(run)
    assert tree(run) == tree(calm)
