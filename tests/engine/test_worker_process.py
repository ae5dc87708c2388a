"""What is asked of a process comes back, and what cannot is told."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest

from conceptaudit.cli.notices import gathered_warnings
from conceptaudit.engine.worker_process import WorkerProcess
from conceptaudit.errors import DataError

from .tasks import lock_of, nothing, pid_of, raise_odd, refuse, wait_forever, warn


@pytest.fixture(scope="module")
def process() -> Iterator[WorkerProcess]:
    one = WorkerProcess(multiprocessing.get_context("spawn"), nothing)
    yield one
    one.shutdown()


def test_answers_come_in_order(process: WorkerProcess) -> None:
    futures = [process.submit(abs, -n) for n in range(20)]
    assert [future.result(60) for future in futures] == list(range(20))


def test_an_error_comes_with_the_place_where_it_was_raised(process: WorkerProcess) -> None:
    with pytest.raises(DataError, match="row 3") as caught:
        process.submit(refuse, 3).result(60)
    assert "in refuse" in caught.value.__notes__[0]
    assert process.submit(abs, -1).result(60) == 1


def test_what_cannot_travel_is_told_and_the_process_goes_on(process: WorkerProcess) -> None:
    with pytest.raises(TypeError, match="pickle"):
        process.submit(len, threading.Lock()).result(60)
    with pytest.raises(TypeError, match=r"lock object .* pickle"):
        process.submit(lock_of, 0).result(60)
    with pytest.raises(TypeError, match="missing 1 required"):
        process.submit(raise_odd, 0).result(60)
    assert process.submit(abs, -2).result(60) == 2


def test_a_killed_process_is_told_to_all_who_wait_and_to_who_asks_later() -> None:
    one = WorkerProcess(multiprocessing.get_context("spawn"), nothing)
    pid = one.submit(pid_of, 0).result(60)
    waiting = [one.submit(wait_forever, 0), one.submit(abs, -1)]
    os.kill(pid, signal.SIGKILL)
    for future in waiting:
        with pytest.raises(BrokenProcessPool):
            future.result(60)
    with pytest.raises(BrokenProcessPool):
        one.submit(abs, -1)
    one.shutdown(cancel_futures=True)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_what_was_not_begun_can_be_taken_back() -> None:
    one = WorkerProcess(multiprocessing.get_context("spawn"), nothing)
    futures = [one.submit(abs, -n) for n in range(50)]
    one.shutdown(cancel_futures=True)
    assert all(future.cancelled() or future.result(60) >= 0 for future in futures)
    assert futures[-1].cancelled()


def test_warnings_come_with_the_answer_and_not_on_standard_error(
    process: WorkerProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    lines: list[str] = []
    with gathered_warnings(lines.append):
        assert [process.submit(warn, n).result(60) for n in (1, 1, 2)] == [1, 1, 2]
    assert lines == [
        "note: tasks warns: row 1 is odd",
        "note: some warns: column 1 is odd",
        "note: tasks warns: row 2 is odd",
        "note: some warns: column 2 is odd",
    ]
    assert capfd.readouterr().err == ""
