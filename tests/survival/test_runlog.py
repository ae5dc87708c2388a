"""The log of a run says what happened, survives kills, and belongs to no manifest."""

import json
import socket
import time

import pytest

from conceptaudit.cli.console import Pace, _LineProgress, duration
from conceptaudit.cli.main import main
from conceptaudit.errors import DataError
from conceptaudit.progress import SilentProgress
from conceptaudit.runlog import RunLog, run_log
from conceptaudit.validation import validate


def events(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_audit_logs_itself_and_validates(tmp_path, command, program, calm, tree, capsys):
    run = tmp_path / "run"
    done = program(command(run))
    assert done.returncode == 0, done.stderr
    assert main(command(run)[3:]) == 0  # finds everything done
    capsys.readouterr()
    told = events(run / "log.jsonl")
    assert told[0]["event"] == "start"
    assert told[0]["kind"] == "audit"
    assert told[0]["digest"] == json.loads((run / "run.json").read_text())["digest"]
    assert {"conceptaudit", "numpy"} <= told[0]["versions"].keys()
    assert {"system", "processor", "n_processors"} <= told[0]["machine"].keys()
    ends = {one["stage"]: one for one in told if one["event"] == "stage_end"}
    assert {"text", "counts"} <= ends.keys()
    assert ends["text"]["done"] == 30
    assert ends["text"]["peak_bytes"] > 1 << 20
    accounts = [one for one in told if one["event"] == "account"]
    assert accounts[0]["account"]["text"]["n_samples"] == 600
    assert accounts[0]["samples_per_second"]["text"] > 0
    assert accounts[1]["redone"]["text"] == {"kept": 30, "redone": {}}
    assert accounts[1]["samples_per_second"] == {}
    assert [one["event"] for one in told].count("start") == 2
    assert told[-1]["event"] == "end"
    assert tree(run) == tree(calm)
    assert validate(run).faults == ()
    names = json.loads((run / "manifest.json").read_text())["files"]
    assert "log.jsonl" not in names
    assert socket.gethostname() not in (run / "log.jsonl").read_text()


def test_nothing_is_written_before_a_stage_starts(tmp_path):
    with pytest.raises(DataError), run_log(tmp_path, None, kind="audit"):
        raise DataError("refused")
    assert list(tmp_path.iterdir()) == []


def fail_within(folder, error):
    with run_log(folder, None, kind="audit") as log:
        log.start("text", 3)
        raise error


def test_failures_and_interruptions_are_logged(tmp_path):
    for error, event in ((DataError("file x"), "failed"), (KeyboardInterrupt(), "interrupted")):
        with pytest.raises(type(error)):
            fail_within(tmp_path, error)
        assert events(tmp_path / "log.jsonl")[-1]["event"] == event
    told = events(tmp_path / "log.jsonl")
    assert [one["message"] for one in told if one["event"] == "failed"] == ["file x"]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    with run_log(tmp_path, None, kind="audit") as log:
        log.start("text", 1)
        log.advance()
        log.finish()


def test_the_inner_progress_is_told_everything(tmp_path):
    told = []

    class Told(SilentProgress):
        def start(self, stage, total, unit="shards"):
            told.append((stage, total, unit))

        def advance(self, units=1):
            told.append(units)

        def finish(self):
            told.append("finish")

    log = RunLog(tmp_path / "log", Told(), kind="k", started=tmp_path / "run.json")
    log.start("index", None, "vectors")
    log.advance(7)
    log.finish()
    assert told == [("index", None, "vectors"), 7, "finish"]


def test_accounts_of_models_and_of_runs_are_found(tmp_path):
    log = RunLog(tmp_path / "log", SilentProgress(), kind="k", started=tmp_path / "run.json")
    log.start("text", 4)
    log.finish()
    work = {"text": {"kept": 2, "redone": {"missing": 2}}}
    for account in ({"n_samples": 10}, [{"n_samples": 10}], {"text": {"n_samples": 10}}):
        log.account(account, work)
    rates = [one["samples_per_second"]["text"] for one in events(tmp_path / "log")[-3:]]
    assert len(set(rates)) == 1
    assert rates[0] > 0


def test_pace_forgets_what_an_earlier_run_did():
    clock = iter([0.0, 0.5, *(10.0 * i for i in range(1, 8))])
    pace = Pace(lambda: next(clock))
    for done in (5_000, *range(5_001, 5_008)):
        pace.add(done)
    assert pace.rate == pytest.approx(7 / 69.5)
    assert pace.seconds_left(5_017) == pytest.approx(10 * 69.5 / 7)
    assert pace.seconds_left(None) is None
    assert duration(59.6) == "60 s"


def test_a_line_a_minute_even_while_nothing_is_done(monkeypatch, capsys):
    monkeypatch.setattr("conceptaudit.cli.console.LINE_SECONDS", 0.5)
    lines = _LineProgress()
    lines.start("text", 8)
    lines.advance()
    deadline = time.monotonic() + 30
    said = ""
    while "text: 1/8 shards in" not in said and time.monotonic() < deadline:
        time.sleep(0.05)
        said += capsys.readouterr().err
    lines.finish()
    lines.close()
    assert "text: 1/8 shards in" in said
