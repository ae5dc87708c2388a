"""Any change to a finished run is found and named."""

import json
import shutil
import subprocess
import sys

import pandas as pd
import pytest

from conceptaudit.artifacts import RunFolder, digest_of, file_digest, write_json
from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.errors import ConfigError
from conceptaudit.validation import validate


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("validation")
    captions = [f"a dog and {i} cats" for i in range(30)]
    pd.DataFrame({"caption": captions, "key": [str(i) for i in range(30)]}).to_parquet(
        folder / "set.parquet"
    )
    options = AuditOptions(workers=1, shard_rows=10)
    audit(folder / "set.parquet", ["dog", "cat", "yak"], folder / "run", options=options)
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def seal(run, name):
    """Make the manifest agree with a file that was changed, as a careful forger would."""
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"][name] = file_digest(run / name)
    write_json(run / "manifest.json", manifest)


def test_a_finished_run_has_no_fault(finished):
    found = validate(finished)
    assert found.faults == ()
    assert found.kind == "audit"
    assert found.n_files > 8
    assert found.n_records == 6  # three shards, tagged and counted


def test_every_file_is_watched(run):
    names = sorted(json.loads((run / "manifest.json").read_text())["files"])
    for name in names:
        before = (run / name).read_bytes()
        (run / name).write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
        changed = {fault.file for fault in validate(run).faults}
        assert name in changed
        (run / name).unlink()
        assert (name, "missing") in {(f.file, f.what) for f in validate(run).faults}
        (run / name).write_bytes(before)
    assert validate(run).faults == ()


def test_what_does_not_belong(run):
    (run / "text" / "notes.txt").write_text("mine")
    [fault] = validate(run).faults
    assert fault.file == "text/notes.txt"
    assert "no part of the run" in fault.what


def test_an_account_that_does_not_add_up(run):
    path = next(p for p in sorted((run / "text").glob("*.json")))
    record = json.loads(path.read_text())
    record["result"]["n_used"] -= 1
    record.pop("sha256")
    path.write_text(json.dumps({**record, "sha256": digest_of(record)}))
    name = path.relative_to(run).as_posix()
    seal(run, name)
    [fault] = validate(run).faults
    assert fault.file == name
    assert fault.what == "does not add up: 10 samples, 9 used, 0 dropped"


def test_counts_that_contradict_their_interval(run):
    table = pd.read_parquet(run / "frequencies.parquet")
    table["n_text"] += 1000
    table.to_parquet(run / "frequencies.parquet")
    seal(run, "frequencies.parquet")
    [fault] = validate(run).faults
    assert fault.what.startswith("n_text outside its interval for 3 concepts")


def test_a_run_that_is_not_finished(run):
    (run / "manifest.json").unlink()
    [fault] = validate(run).faults
    assert "not finished" in fault.what


def test_names_that_lead_outside(run):
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"]["../outside"] = "0" * 64
    write_json(run / "manifest.json", manifest)
    assert ("../outside", "lies outside the folder") in {
        (f.file, f.what) for f in validate(run).faults
    }


@pytest.mark.parametrize("junk", ["[]", "{", '{"files": 3}', '{"files": {"a": null}}'])
def test_a_manifest_of_nonsense(run, junk):
    (run / "manifest.json").write_text(junk)
    assert validate(run).faults


def test_any_other_folder(tmp_path):
    with pytest.raises(ConfigError, match="no folder that conceptaudit has finished"):
        validate(tmp_path)


def test_exit_codes(run, tmp_path):
    def code(folder):
        command = [sys.executable, "-m", "conceptaudit", "validate", str(folder), "--json"]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert code(run) == 0
    (run / "alignment.json").unlink()
    assert code(run) == 1
    assert code(tmp_path) == 2


def test_runs_inside_a_run_are_checked_where_its_manifest_names_them(tmp_path):
    inner = RunFolder.at(tmp_path / "demo" / "audit", kind="audit", digest="0" * 64)
    outer = RunFolder.at(tmp_path / "demo", kind="demo", digest="1" * 64)
    with outer.hold():
        with inner.hold():
            inner.finish({})
        outer.finish({"holds": ["audit", "evaluation", "..", "", "a\0b", 3]})
    (tmp_path / "demo" / "audit" / "note.txt").write_text("mine")
    faults = {fault.file: fault.what for fault in validate(tmp_path / "demo").faults}
    assert faults == {
        "audit/note.txt": "no part of the run: the manifest does not name it",
        "evaluation/manifest.json": "missing",
    }
