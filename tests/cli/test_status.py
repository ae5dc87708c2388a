"""How far a run is, and what is there of it so far."""

import json
import os
import time
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.artifacts import LOG, MANIFEST, STARTED
from conceptaudit.cli.main import main
from conceptaudit.lab import LabConfig, generate, lab_vocabulary
from conceptaudit.runstatus import FINISHED, RUNNING, STOPPED, run_status

CONFIG = LabConfig(n_samples=48, shard_size=12, image_size=48, seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate(CONFIG, folder / "lab")
    names = sorted(lab_vocabulary(CONFIG).names)
    (folder / "concepts.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def begun(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An audit of four shards, of which three parts of four are done."""
    run = tmp_path_factory.mktemp("runs") / "run"
    call = ["audit", str(data / "lab"), "-c", str(data / "concepts.txt"), "-o", str(run)]
    for part in ("0/4", "1/4", "3/4"):
        assert main([*call, "--engine", "serial", "--shard", part]) == 0
    return run


@pytest.fixture(scope="module")
def partial(begun: Path) -> Path:
    out = begun.with_name("so-far")
    before = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    assert main(["merge", str(begun), "--partial", "-o", str(out), "--engine", "serial"]) == 0
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} == before
    return out


def test_status_of_parts(begun, capsys):
    found = run_status(begun)
    assert (found.kind, found.state, found.n_parts) == ("audit", STOPPED, 4)
    assert found.parts_done == (0, 1, 3)
    assert found.missing == "Run --shard 2/4 again"
    assert {stage.name: (stage.n_done, stage.n_all) for stage in found.stages} == {
        "text": (3, 4),
        "counts": (3, 4),
    }
    records = [json.loads(path.read_text()) for path in sorted((begun / "text").glob("*.json"))]
    assert found.n_samples == sum(one["result"]["n_samples"] for one in records) > 0
    assert found.n_dropped == sum(sum(one["result"]["dropped"].values()) for one in records)
    assert found.core_hours > 0
    assert main(["status", str(begun), "--price-cpu", "3600"]) == 0
    shown = capsys.readouterr().out
    assert "parts: 3 of 4 done, 0 running" in shown
    assert "missing: Run --shard 2/4 again" in shown
    assert "in money" in shown
    assert main(["status", str(begun), "--json", "--price-cpu", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["cost"] == pytest.approx(2 * told["core_hours"])


def test_rate_and_time_left(begun, tmp_path):
    run = tmp_path / "run"
    (run / "text").mkdir(parents=True)
    (run / STARTED).write_text((begun / STARTED).read_text())
    now = time.time()
    for number, record in enumerate(sorted((begun / "text").glob("*.json"))):
        copy = run / "text" / record.name
        copy.write_bytes(record.read_bytes())
        os.utime(copy, (now, now - 600 + 300 * number))
    moment = "2026-01-01T00:00:00+00:00"
    machine = {"n_usable": 8, "n_gpus": 2}
    lines = [{"time": moment, "event": "start", "process": "a", "machine": machine}]
    lines.append({"time": moment.replace("T00", "T03"), "event": "progress", "process": "a"})
    (run / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"time": "cu')
    found = run_status(run)
    assert found.state == RUNNING
    [stage] = found.stages
    assert stage.per_hour == pytest.approx(12, rel=1e-3)
    assert found.hours_left == pytest.approx(1 / 12, rel=1e-3)
    assert (found.core_hours, found.gpu_hours) == (24.0, 6.0)
    assert found.cost(price_cpu=0.5, price_gpu=2.0) == 24.0


def test_a_partial_merge_counts_what_is_there(begun, partial, data, tmp_path):
    table = pd.read_parquet(partial / "frequencies.parquet")
    assert (table["partial_share"] == 0.75).all()
    manifest = json.loads((partial / MANIFEST).read_text())
    assert (manifest["partial"]["n_shards"], manifest["partial"]["n_all"]) == (3, 4)
    assert manifest["notes"][0].startswith("Partial: 3 of 4 shards")
    assert (manifest["sampled"]["n_read"], manifest["sampled"]["sampled_from"]) == (36, 48)
    # the three shards audited by themselves
    for name in ("00000", "00001", "00003"):
        for path in (data / "lab").glob(f"{name}*"):
            (tmp_path / path.name).write_bytes(path.read_bytes())
    call = ["audit", str(tmp_path), "-c", str(data / "concepts.txt"), "--engine", "serial"]
    alone = tmp_path.with_name("alone")
    assert main([*call, "-o", str(alone)]) == 0
    expected = pd.read_parquet(alone / "frequencies.parquet")
    pd.testing.assert_frame_equal(table.drop(columns="partial_share"), expected)


def test_partial_is_said_by_report_validate_and_status(partial, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert main(["report", str(partial), "-o", str(page)]) == 0
    assert "Partial: 3 of 4 shards" in page.read_text(encoding="utf-8")
    assert main(["validate", str(partial)]) == 0
    assert run_status(partial).state == FINISHED
    assert main(["status", str(partial)]) == 0
    assert "PARTIAL: 3 of 4 shards" in capsys.readouterr().out


def test_what_partial_refuses(begun, partial, tmp_path, capsys):
    assert main(["merge", str(begun), "--partial"]) == 2
    assert "-o" in capsys.readouterr().err
    assert main(["merge", str(begun), "--overwrite"]) == 2
    assert main(["merge", str(begun), "--partial", "-o", str(begun)]) == 2
    assert main(["merge", str(tmp_path), "--partial", "-o", str(tmp_path / "x")]) == 2
    assert main(["status", str(tmp_path)]) == 2
    assert "run.json is missing" in capsys.readouterr().err
    # a later look at the same audit replaces the earlier one where that is asked for
    again = ["merge", str(begun), "--partial", "-o", str(partial), "--overwrite"]
    assert main([*again, "--engine", "serial"]) == 0
