"""Paths that are not UTF-8, a deleted folder, the permissions that a user wants, odd text."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conceptaudit.artifacts import ShardStore, read_json, write_json, write_text
from conceptaudit.cli.main import main
from conceptaudit.errors import DataError
from conceptaudit.validation import validate

CAPTIONS = "key,caption\n" + "".join(f"{i},a dog {i}\n" for i in range(30))


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A folder whose name is Latin-1, with captions and concepts whose names are, too."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"the file system takes only names in UTF-8: {error}")
    (folder / os.fsdecode(b"donn\xe9es.csv")).write_text(CAPTIONS)
    (folder / os.fsdecode(b"id\xe9es.txt")).write_text("dog\ncat\n")
    return folder


def test_inputs_that_are_not_utf_8_are_audited_in_parts_and_merged(
    odd: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    captions, concepts = (str(next(odd.glob(ending))) for ending in ("*.csv", "*.txt"))
    command = ["audit", captions, "-c", concepts, "--shard-rows", "10", "--workers", "1", "-o"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*command, str(whole)]) == 0
    for part in range(2):
        assert main([*command, str(parts), "--shard", f"{part}/2"]) == 0
    assert main(["merge", str(parts), "--workers", "1"]) == 0
    assert read_json(parts / "run.json")["dataset"] == captions
    assert validate(parts).faults == ()
    for name in ("frequencies.csv", "manifest.json", "run.json"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes()
    assert main([*command, str(odd / "run")]) == 2
    assert "not UTF-8" in capsys.readouterr().err
    assert len(list(odd.iterdir())) == 2


def test_names_that_are_not_utf_8_are_read_back(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_json(tmp_path / "a.json", {"name": name})
    json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert read_json(tmp_path / "a.json") == {"name": name}


def test_a_folder_that_was_deleted_is_named(tmp_path: Path) -> None:
    script = 'mkdir gone; cd gone; rmdir ../gone; "$@"'
    program = [sys.executable, "-m", "conceptaudit", "validate", "run"]
    done = subprocess.run(
        ["bash", "-c", script, "bash", *program], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"current folder has been deleted" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_the_users_mask_is_honoured(tmp_path: Path, mask: int, mode: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "a")
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_a_file_that_cannot_be_read_back_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ShardStore(folder=tmp_path, digest="settings")
    shard = "0000000-0000000000000"
    write_text(store.path(shard, ".parquet"), "table")
    store.write(shard, "input", {}, {".parquet": store.path(shard, ".parquet")})

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("conceptaudit.store.files.hashlib.file_digest", fail)
    fault = store.fault(shard, "input")
    assert fault is not None
    assert fault.startswith("damaged")
    assert "Input/output error" in fault


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-32-be"])
def test_wide_encodings_are_named_rightly(tmp_path: Path, encoding: str, capsys) -> None:
    text = "\ufeff" if encoding.endswith("be") else ""
    (tmp_path / "captions.csv").write_text(CAPTIONS)
    (tmp_path / "wide.csv").write_bytes((text + CAPTIONS).encode(encoding))
    (tmp_path / "wide.txt").write_bytes((text + "dog\ncat\n").encode(encoding))
    (tmp_path / "concepts.txt").write_text("dog\ncat\n")
    out = ["-o", str(tmp_path / "run"), "--workers", "1"]
    wide, plain = str(tmp_path / "wide.csv"), str(tmp_path / "captions.csv")
    assert main(["audit", wide, "-c", str(tmp_path / "concepts.txt"), *out]) == 2
    assert f"is {encoding[:6].upper()}" in capsys.readouterr().err
    assert main(["audit", plain, "-c", str(tmp_path / "wide.txt"), *out]) == 0
    assert [one["concept"] for one in read_json(tmp_path / "run" / "concepts.json")] == [
        "dog",
        "cat",
    ]


def test_a_column_of_nulls_holds_nothing_and_stops_nothing(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    nulls, texts = pa.nulls(2), pa.array(["a dog", "a cat"])
    pq.write_table(pa.table({"key": nulls, "caption": texts, "url": nulls}), tmp_path / "k.parquet")
    pq.write_table(pa.table({"key": texts, "caption": nulls}), tmp_path / "c.parquet")
    (tmp_path / "concepts.txt").write_text("dog\n")
    for name, used in (("k", 2), ("c", 0)):
        command = ["audit", str(tmp_path / f"{name}.parquet"), "-c", str(tmp_path / "concepts.txt")]
        assert main([*command, "-o", str(tmp_path / name), "--workers", "1"]) == 0
        assert read_json(tmp_path / name / "manifest.json")["account"]["text"]["n_used"] == used


def test_a_digest_of_what_is_not_there_is_our_error(tmp_path: Path) -> None:
    from conceptaudit.artifacts import file_digest

    with pytest.raises(DataError, match="Cannot read"):
        file_digest(tmp_path / "none")
