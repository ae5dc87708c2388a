"""Workers are forked from a process that has loaded what they need, where that is safe."""

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import pytest

from conceptaudit.engine import fork_server
from conceptaudit.engine.base import THREAD_VARIABLES, SerialEngine
from conceptaudit.engine.fork_server import start_context
from conceptaudit.process import claim_process, is_own_process

PROGRAM = """
import json, os, sys
from conceptaudit.engine.base import available_cpus
from conceptaudit.engine.processes import ProcessEngine
from conceptaudit.process import claim_process
from conceptaudit.text.tagger import LOADER

def look(_):
    parent = os.getppid()
    modules = [name for name in ("conceptaudit", "spacy", "torch") if name in sys.modules]
    return parent, modules, len(os.listdir(f"/proc/{parent}/task"))

if __name__ == "__main__":
    claim_process()
    engine = ProcessEngine(workers=available_cpus())
    engine.expect(["nothing:there", "conceptaudit.text.pipeline:nothing", LOADER])
    print(json.dumps([os.getpid(), [told for _, told in engine.run(look, range(8))]]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux alone")
def test_workers_come_from_a_process_of_one_thread_that_ends_with_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    script = tmp_path / "program.py"
    script.write_text(PROGRAM, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], check=True, capture_output=True, text=True, timeout=120
    )
    first, told = json.loads(done.stdout)
    assert done.stderr == ""
    ((server, modules, threads),) = {(p, tuple(found), n) for p, found, n in told}
    assert server != first
    assert modules == ("conceptaudit", "spacy")
    assert threads == 1
    while Path(f"/proc/{server}").exists():
        time.sleep(0.05)


@pytest.fixture
def nothing_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server, "_server", fork_server._ForkServer())
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "1")


@pytest.mark.usefixtures("nothing_asked_for")
def test_within_another_program_workers_start_afresh() -> None:
    assert not is_own_process()
    assert start_context(1).get_start_method() == "spawn"


@pytest.mark.usefixtures("nothing_asked_for")
@pytest.mark.parametrize("case", ["threads asked for", "threads of the user", "a worker"])
def test_what_has_threads_is_not_forked(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONCEPTAUDIT_OWN_PROCESS", "")  # put back as it was, whatever is claimed
    claim_process()
    if case == "threads of the user":
        monkeypatch.setenv("OMP_NUM_THREADS", "4")
    if case == "a worker":
        monkeypatch.setattr(multiprocessing, "parent_process", multiprocessing.current_process)
    threads = 2 if case == "threads asked for" else 1
    assert start_context(threads).get_start_method() == "spawn"


def test_one_process_has_nothing_to_get_ready() -> None:
    SerialEngine().expect(["nothing:there"])
    assert fork_server._LOADERS not in fork_server.os.environ
