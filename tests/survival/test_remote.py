"""Remote files that fail for a while are read all the same; those that fail for good are named."""

import json
from collections import Counter
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pandas as pd
import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.spec import AbstractFileSystem

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.datasets import _remote, open_dataset
from conceptaudit.errors import DataError


class FlakyFileSystem(AbstractFileSystem):
    """Local files behind a bad network; what goes wrong is set by each test."""

    protocol = "flaky"
    cachable = False
    fails: ClassVar[Counter[str]] = Counter()
    """By kind of call (``"info"``, ``"open"``, ``"ls"``, ``"read"``): failures still to come."""

    error: type[Exception] = TimeoutError
    asked: ClassVar[Counter[str]] = Counter()
    short = False
    cut: int | None = None
    """Reads find no byte from here on, as when a connection is closed early."""

    local = LocalFileSystem()

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + str(path).removeprefix("flaky://").strip("/")

    def _maybe_fail(self, call):
        FlakyFileSystem.asked[call] += 1
        if FlakyFileSystem.fails[call] > 0:
            FlakyFileSystem.fails[call] -= 1
            raise FlakyFileSystem.error(f"{call} failed")

    def info(self, path, **_):
        self._maybe_fail("info")
        return self.local.info(self._strip_protocol(path))

    def ls(self, path, detail=True, **_):
        self._maybe_fail("ls")
        found = self.local.ls(self._strip_protocol(path), detail=True)
        return found if detail else [one["name"] for one in found]

    def _open(self, path, mode="rb", **_):
        self._maybe_fail("open")
        return FlakyStream(self, self._strip_protocol(path), mode)


class FlakyStream:
    def __init__(self, filesystem, path, mode):
        self.filesystem = filesystem
        self.stream = Path(path).open(mode)  # noqa: SIM115 -- closed below

    def read(self, size=-1):
        self.filesystem._maybe_fail("read")
        if FlakyFileSystem.cut is not None:
            size = min(size, max(FlakyFileSystem.cut - self.stream.tell(), 0))
        return self.stream.read(max(size // 2, 1) if FlakyFileSystem.short and size > 0 else size)

    def seek(self, *place):
        return self.stream.seek(*place)

    def close(self):
        self.stream.close()


@pytest.fixture(autouse=True)
def flaky(monkeypatch):
    fsspec.register_implementation("flaky", FlakyFileSystem, clobber=True)
    monkeypatch.setattr(_remote, "WAITS", (0.0, 0.0, 0.0, 0.0))
    monkeypatch.setattr(FlakyFileSystem, "fails", Counter())
    monkeypatch.setattr(FlakyFileSystem, "asked", Counter())
    monkeypatch.setattr(FlakyFileSystem, "short", False)
    monkeypatch.setattr(FlakyFileSystem, "cut", None)
    monkeypatch.setattr(FlakyFileSystem, "error", TimeoutError)
    return FlakyFileSystem


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    for name in ("0", "1", "deep/2"):
        rows = [{"caption": f"a dog {name} {i}", "key": f"{name}-{i}"} for i in range(5)]
        (data / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data


def keys(location: str) -> list[str]:
    dataset = open_dataset(location, shard_rows=2)
    return [
        key
        for shard in dataset.shards()
        for batch in dataset.read(shard, dataset.provides)
        for key in batch.keys
    ]


@pytest.mark.parametrize("error", [TimeoutError, ConnectionResetError, RuntimeError, OSError])
@pytest.mark.parametrize("call", ["info", "open", "ls", "read"])
def test_what_fails_a_few_times_loses_and_repeats_nothing(folder, flaky, monkeypatch, call, error):
    calm = keys(str(folder))
    monkeypatch.setattr(flaky, "error", error)
    for n in (1, 4):
        flaky.fails[call] = n
        assert keys(f"flaky://{folder}") == calm
        assert flaky.fails[call] <= 0
    assert len(calm) == len(set(calm)) == 15


def test_a_pattern_lists_as_a_folder_does(folder, flaky):
    flaky.fails["ls"] = 1
    assert keys(f"flaky://{folder}/*.jsonl") == keys(f"{folder}/*.jsonl")
    flaky.fails["ls"] = 1
    assert keys(f"flaky://{folder}/**/*.jsonl") == keys(str(folder))


def test_short_reads_are_completed(folder, flaky, monkeypatch):
    pd.DataFrame({"caption": [f"a dog {i}" for i in range(500)]}).to_parquet(folder / "a.parquet")
    calm = keys(f"{folder}/a.parquet")
    monkeypatch.setattr(flaky, "short", True)
    assert keys(f"flaky://{folder}/a.parquet") == calm
    np.save(folder / "image_embeddings.npy", np.eye(40, 4, dtype=np.float32) + 1)
    dataset = open_dataset(f"flaky://{folder}", layout="embeddings")
    [batch] = dataset.read(dataset.shards()[0], dataset.provides)
    assert batch.embeddings.sum() == 40 * 4 + 4


@pytest.mark.parametrize("call", ["info", "open", "ls", "read"])
def test_what_fails_for_good_is_named_and_never_smaller(folder, flaky, call):
    flaky.fails[call] = 10**6
    with pytest.raises(DataError, match=r"flaky://.*cannot be read: TimeoutError.*5 tries"):
        keys(f"flaky://{folder}")


def test_a_file_that_breaks_off_is_named(folder, flaky, monkeypatch):
    monkeypatch.setattr(flaky, "cut", 30)
    with pytest.raises(DataError, match=r"0\.jsonl cannot be read: EOFError ends at byte 30"):
        keys(f"flaky://{folder}")


def test_what_is_not_there_is_not_asked_for_again(folder, flaky):
    with pytest.raises(ValueError, match="names nothing that exists"):
        keys(f"flaky://{folder}/nothing")
    assert flaky.asked["info"] <= 2


def test_an_audit_over_a_bad_network_counts_what_it_counts_over_a_good_one(folder, flaky, tmp_path):
    options = AuditOptions(workers=1, shard_rows=2)
    calm = audit(str(folder), ["dog", "cat"], tmp_path / "calm", options=options)
    for call in ("info", "open", "ls", "read"):
        flaky.fails[call] = 3
    found = audit(f"flaky://{folder}", ["dog", "cat"], tmp_path / "run", options=options)
    assert found.account == calm.account
    assert found.table["n_text"].tolist() == calm.table["n_text"].tolist() == [15, 0]


def test_one_file_that_cannot_be_fetched_is_skipped_and_named(folder, flaky, tmp_path, monkeypatch):
    opened = FlakyFileSystem._open

    def broken(self, path, mode="rb", **options):
        if str(path).endswith("1.jsonl"):
            raise PermissionError("no entry")
        return opened(self, path, mode, **options)

    monkeypatch.setattr(FlakyFileSystem, "_open", broken)
    options = AuditOptions(workers=1, skip_unreadable=True)
    run = audit(f"flaky://{folder}", ["dog", "cat"], tmp_path / "run", options=options)
    assert run.table["n_text"].tolist() == [10, 0]
    assert any("1.jsonl" in note and "no entry" in note for note in run.notes)
