"""Items get done whatever becomes of the workers, and what cannot be done is named."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.engine import EngineChoice, open_engine, workers_kept
from conceptaudit.engine.base import SerialEngine
from conceptaudit.engine.dispatcher import TRIES
from conceptaudit.engine.processes import ProcessEngine
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError

from .conftest import MemoryGroup
from .tasks import Fail, LoseOnce, Where


@pytest.mark.parametrize("how", ["kill", "memory"])
def test_a_lost_worker_is_replaced_and_its_items_are_done(how: str, tmp_path: Path) -> None:
    task = Fail(at=5, how=how, folder=tmp_path, times=TRIES - 1)
    done = dict(ProcessEngine(workers=2).run(task, range(12)))
    assert done == {n: n * n for n in range(12)}
    assert len(list(tmp_path.iterdir())) == TRIES - 1


def test_an_item_that_costs_every_worker_is_named(tmp_path: Path) -> None:
    task = Fail(at=1, how="kill", folder=tmp_path)
    done = []
    with pytest.raises(ConceptAuditError, match=rf"{TRIES} workers died while .* on 1,"):
        done.extend(ProcessEngine(workers=1).run(task, range(4)))
    assert len(list(tmp_path.iterdir())) == TRIES
    assert [item for item, _ in done if item in (2, 3)] == []


def test_an_item_that_needs_more_memory_than_there_is_is_named(
    tmp_path: Path, memory_group: MemoryGroup
) -> None:
    task = Fail(at=0, how=str(memory_group.folder), folder=tmp_path)
    with pytest.raises(ConceptAuditError, match=rf"{TRIES} workers died .* on 0, often .* memory"):
        dict(ProcessEngine(workers=1).run(task, range(2)))
    assert memory_group.kills == TRIES


@dataclass(frozen=True, kw_only=True)
class Hungry(ProcessEngine):
    """Worker processes, of which the one that has done its first item needs too much memory."""

    how: str
    mark: Path

    def run(self, task: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        return super().run(LoseOnce(task, self.how, self.mark), items)


def test_an_audit_whose_worker_the_kernel_kills_writes_the_same_bytes(
    tmp_path: Path, memory_group: MemoryGroup, monkeypatch: pytest.MonkeyPatch
) -> None:
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(f'{{"caption": "a dog and {n} cats"}}\n' for n in range(60)))
    trees = []
    hungry = partial(Hungry, how=str(memory_group.folder), mark=tmp_path / "mark")
    monkeypatch.setattr("conceptaudit.engine.processes.ProcessEngine", hungry)
    for engine in ("serial", "processes"):
        folder = tmp_path / engine
        options = AuditOptions(engine=engine, workers=1, shard_rows=15)
        audit(captions, ["dog", "cat"], folder, options=options)
        trees.append(
            {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        )
    assert memory_group.kills == 1
    assert trees[0] == trees[1]


def test_an_error_of_the_task_comes_out_as_itself(tmp_path: Path) -> None:
    task = Fail(at=2, how="error", folder=tmp_path)
    with pytest.raises(DataError, match="row 3"):
        dict(ProcessEngine(workers=2).run(task, range(4)))
    assert len(list(tmp_path.iterdir())) == 1


def test_the_work_is_shared_and_nothing_is_left_running() -> None:
    pids = Counter(pid for _, pid in ProcessEngine(workers=2).run(Where(), range(60)))
    assert len(pids) == 2
    assert os.getpid() not in pids
    assert not any(map(is_running, pids))


def test_workers_have_nothing_that_the_system_keeps_when_they_are_killed() -> None:
    for _, pid in ProcessEngine(workers=1).run(Where(), range(1)):
        named = [line for line in Path(f"/proc/{pid}/maps").read_text().splitlines() if "/" in line]
        assert named
        assert not [line for line in named if "/dev/shm/" in line]


def test_kept_workers_serve_one_run_after_another_and_end() -> None:
    engine = ProcessEngine(workers=1)
    with workers_kept():
        first = {pid for _, pid in engine.run(Where(), range(2))}
        with workers_kept():
            assert {pid for _, pid in engine.run(Where(), range(2))} == first
        assert all(map(is_running, first))
        squares = dict(engine.run(Fail(at=-1, how="none", folder=Path()), range(3)))
        assert squares == {0: 0, 1: 1, 2: 4}
        (idle,) = first
        os.kill(idle, signal.SIGKILL)
        while is_running(idle):
            time.sleep(0.05)
        second = {pid for _, pid in engine.run(Where(), range(2))}
        assert second.isdisjoint(first)
    assert not any(map(is_running, second))


def test_workers_of_a_run_that_failed_are_not_kept(tmp_path: Path) -> None:
    with workers_kept():
        before = {pid for _, pid in ProcessEngine(workers=1).run(Where(), range(2))}
        with pytest.raises(DataError):
            dict(ProcessEngine(workers=1).run(Fail(at=0, how="error", folder=tmp_path), range(2)))
        assert not any(map(is_running, before))


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_run_that_is_given_up_ends_its_workers() -> None:
    results = ProcessEngine(workers=1).run(Where(), range(1_000))
    _, pid = next(results)
    results.close()  # type: ignore[attr-defined]  # it is a generator
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    parent = os.fork()
    if not parent:
        os.close(reader)
        try:
            for _, pid in ProcessEngine(workers=1).run(Where(), range(1_000_000)):
                os.write(writer, f"{pid}\n".encode())
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as lines:
        worker = int(lines.readline())
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
    while Path(f"/proc/{worker}").exists() and not gone(worker):
        time.sleep(0.05)


def gone(pid: int) -> bool:
    """Whether a process has ended but was not waited for, its parent being dead."""
    state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    return state in "ZX"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (lambda: EngineChoice(kind="threads"), "must be one of .* Got 'threads'"),
        (lambda: EngineChoice(workers=0), "at least 1. Got 0"),
        (lambda: EngineChoice(kind="serial", workers=4), "is one process"),
        (lambda: EngineChoice(kind="processes", address="auto"), "belongs to the engine 'ray'"),
        (lambda: open_engine(0), "at least 1. Got 0"),
    ],
)
def test_choices_that_cannot_be(choice: Callable[[], object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choice()


def test_which_engine_runs() -> None:
    assert open_engine(4, n_items=1) == SerialEngine()
    assert open_engine(4, n_items=3) == ProcessEngine(workers=3)
    assert open_engine(4, n_items=9, on_gpu=True) == SerialEngine()
    assert open_engine(EngineChoice(kind="processes", workers=1)) == ProcessEngine(workers=1)
    assert open_engine(EngineChoice(kind="serial")) == SerialEngine()
