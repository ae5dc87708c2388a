"""Temporary folders go with their process, or with the next one where it was killed."""

import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

from conceptaudit.store.partials import PREFIX, ScratchFolder

HOLDER = """
import pathlib, sys
from conceptaudit.store.partials import ScratchFolder
folder = ScratchFolder(pathlib.Path(sys.argv[1]))
(folder.path / "deep").mkdir()
(folder.path / "deep" / "a").write_text("a")
print(folder.path, flush=True)
sys.stdin.readline()
folder.close()
"""


def test_a_folder_is_private_and_goes(tmp_path: Path) -> None:
    with ScratchFolder(tmp_path) as folder:
        assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IRWXU
        (folder / "a").write_text("a")
    assert list(tmp_path.iterdir()) == []


def test_folders_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with (
        subprocess.Popen(command, **options) as dead,
        subprocess.Popen(command, **options) as alive,
    ):
        paths = [Path(one.stdout.readline().strip()) for one in (dead, alive)]
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert all((path / "deep" / "a").exists() for path in paths)
        ScratchFolder(tmp_path).close()
        assert list(tmp_path.iterdir()) == [paths[1]]
        alive.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_what_only_looks_alike_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "thesis"
    target.mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(target)
    (tmp_path / f"{PREFIX}file").touch()
    shared = tmp_path / f"{PREFIX}shared"
    shared.mkdir()
    shared.chmod(0o755)
    ScratchFolder(tmp_path).close()
    assert len(list(tmp_path.iterdir())) == 4
    shutil.rmtree(shared)
