"""An audit as an array of jobs ends as one undisturbed run does."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conceptaudit.artifacts import LOCK, STARTED, exclusive
from conceptaudit.auditing import AuditOptions, audit, audit_part, merge_audit
from conceptaudit.cli.main import main
from conceptaudit.engine.array_tasks import Part, uncovered
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.lab import LabConfig, generate
from conceptaudit.store.locks import sharing

CONCEPTS = ["dog", "cat", "hot_dog", "zebra"]
OPTIONS = AuditOptions(shard_rows=10, evidence=2)
N_PARTS = 3


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def captions(tmp_path: Path) -> Path:
    texts = [f"{n} dogs and a cat" if n % 3 else "hot dogs for sale" for n in range(45)]
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"key": [str(n) for n in range(45)], "TEXT": texts}).to_parquet(path)
    return path


@pytest.fixture
def undisturbed(captions: Path, tmp_path: Path) -> dict[str, bytes]:
    audit(captions, CONCEPTS, tmp_path / "whole", options=OPTIONS)
    return tree(tmp_path / "whole")


def run_part(captions: Path, folder: Path, index: int) -> None:
    part = Part(index=index, count=N_PARTS)
    audit_part(captions, CONCEPTS, folder, part, options=OPTIONS)


def test_parts_and_a_merge_write_what_one_run_writes(
    captions: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    for index in (2, 0, 1, 0):  # in any order, and again
        run_part(captions, tmp_path / "run", index)
    run = merge_audit(tmp_path / "run")
    assert run.redone["text"] == {"kept": 5, "redone": {}}
    assert run.redone["counts"] == {"kept": 5, "redone": {}}
    assert tree(tmp_path / "run") == undisturbed


def test_the_same_audit_without_a_part_finishes_too(
    captions: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    run_part(captions, tmp_path / "run", 1)
    audit(captions, CONCEPTS, tmp_path / "run", options=replace(OPTIONS, workers=1))
    assert tree(tmp_path / "run") == undisturbed


def test_what_killed_parts_leave_is_cleared_away(
    captions: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    folder = tmp_path / "run"
    for index in range(N_PARTS):
        run_part(captions, folder, index)
    (folder / f"{LOCK}-1-of-3").touch()
    (folder / "text/.0000000-0000000000000.parquet.partial").write_bytes(b"half")
    damaged = next((folder / "text").glob("*0.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    run = merge_audit(folder)
    assert run.redone["text"]["kept"] == 4
    assert tree(folder) == undisturbed


def test_a_part_leaves_the_partial_files_of_others(captions: Path, tmp_path: Path) -> None:
    run_part(captions, tmp_path / "run", 0)
    others = tmp_path / "run/text/.0.parquet.abc.partial"
    others.write_bytes(b"half")
    run_part(captions, tmp_path / "run", 1)
    assert others.exists()


def test_missing_shards_are_named(captions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    for index in (0, 2):
        run_part(captions, folder, index)
    with pytest.raises(DataError, match=r"2 of 5 shards .* Run --shard 1/3 again"):
        merge_audit(folder)
    assert not (folder / "manifest.json").exists()
    run = merge_audit(folder, compute_missing=True)
    assert run.redone["text"]["kept"] == 3
    assert run.account["text"]["n_samples"] == 45


def test_parts_on_different_file_systems(
    captions: Path, tmp_path: Path, undisturbed: dict[str, bytes]
) -> None:
    folders = [tmp_path / f"node{index}" for index in range(N_PARTS)]
    for index, folder in enumerate(folders):
        run_part(captions, folder, index)
    merge_audit(tmp_path / "run", folders)
    assert tree(tmp_path / "run") == undisturbed


def test_a_damaged_record_of_a_part_is_computed_again(captions: Path, tmp_path: Path) -> None:
    folders = [tmp_path / f"node{index}" for index in range(N_PARTS)]
    for index, folder in enumerate(folders):
        run_part(captions, folder, index)
    record = next((folders[1] / "text").glob("*.json"))
    record.write_bytes(record.read_bytes().replace(b'"n_samples":', b'"n_samples":1'))
    run = merge_audit(tmp_path / "run", folders)
    assert run.redone["text"] == {"kept": 4, "redone": {"missing": 1}}
    assert run.account["text"]["n_samples"] == 45


def test_parts_of_other_runs_are_refused(captions: Path, tmp_path: Path) -> None:
    run_part(captions, tmp_path / "a", 0)
    other = replace(OPTIONS, nested=True)
    audit_part(captions, CONCEPTS, tmp_path / "b", Part(index=1, count=2), options=other)
    with pytest.raises(ArtifactMismatchError, match="no part of the run"):
        merge_audit(tmp_path / "run", [tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ArtifactMismatchError, match="other inputs or settings"):
        audit_part(captions, CONCEPTS, tmp_path / "a", Part(index=1, count=2), options=other)


def test_results_that_contradict_each_other_are_refused(captions: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_part(captions, tmp_path / name, 0)
    record = next((tmp_path / "b/counts").glob("*.json"))
    from conceptaudit.artifacts import canonical_json, digest_of

    body = json.loads(record.read_text(encoding="utf-8"))
    del body["sha256"]
    body["result"]["agreement"]["n_text_tagged"] += 1
    record.write_text(canonical_json({**body, "sha256": digest_of(body)}) + "\n", encoding="utf-8")
    with pytest.raises(ArtifactMismatchError, match="hold different results"):
        merge_audit(tmp_path / "run", [tmp_path / "a", tmp_path / "b"])


def test_changed_data_are_noticed(captions: Path, tmp_path: Path) -> None:
    for index in range(N_PARTS):
        run_part(captions, tmp_path / "run", index)
    pd.DataFrame({"TEXT": ["a dog"] * 45}).to_parquet(captions)
    with pytest.raises(ArtifactMismatchError, match="are not those"):
        merge_audit(tmp_path / "run")


def test_a_list_without_a_name_cannot_be_read_again(captions: Path, tmp_path: Path) -> None:
    from conceptaudit.vocabulary import read_concepts

    vocabulary = read_concepts(CONCEPTS).vocabulary
    audit_part(captions, vocabulary, tmp_path / "run", Part(index=0, count=1), options=OPTIONS)
    with pytest.raises(ConfigError, match="does not name the concepts"):
        merge_audit(tmp_path / "run")


def test_locks(captions: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    first, second = Part(index=0, count=2), Part(index=1, count=2)
    with sharing(folder, str(first)), sharing(folder, str(second)):
        with pytest.raises(ArtifactMismatchError, match="part 0-of-2"), sharing(folder, str(first)):
            pass
        with pytest.raises(ArtifactMismatchError, match="Another run"), exclusive(folder):
            pass
    assert not list(folder.iterdir())
    with exclusive(folder), pytest.raises(ArtifactMismatchError, match="over all parts"):
        run_part(captions, folder, 0)
    with sharing(folder, str(first)):
        with sharing(folder, str(second)):
            pass
        with pytest.raises(ArtifactMismatchError, match="Another run"), exclusive(folder):
            pass


@pytest.mark.parametrize("threshold", [0.2, None], ids=["fixed", "calibrated"])
def test_images(threshold: float | None, tmp_path: Path) -> None:
    lab = generate(LabConfig(n_samples=60, shard_size=15, seed=3), tmp_path / "data")
    options = AuditOptions(clip="lab", threshold=threshold, near_duplicates="exact")
    audit(lab.folder, ["dog", "cat", "red car"], tmp_path / "whole", options=options)
    for index in (1, 0):
        part = Part(index=index, count=2)
        done = audit_part(
            lab.folder, ["dog", "cat", "red car"], tmp_path / "run", part, options=options
        )
        assert ("image" in done.redone) == (threshold is not None)
    run = merge_audit(tmp_path / "run")
    assert run.redone["embeddings"]["kept"] == 4
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


@pytest.mark.parametrize("mode", ["fast", "paper"])
def test_other_ways_to_count_captions(mode: str, captions: Path, tmp_path: Path) -> None:
    if mode == "paper":
        rows = pd.read_parquet(captions)
        rows.assign(url=[f"http://x.example/{n}.jpg" for n in range(len(rows))]).to_parquet(
            captions
        )
    options = replace(OPTIONS, text_mode=mode)
    audit(captions, CONCEPTS, tmp_path / "whole", options=options)
    for index in range(2):
        part = Part(index=index, count=2)
        audit_part(captions, CONCEPTS, tmp_path / "run", part, options=options)
    merge_audit(tmp_path / "run")
    assert tree(tmp_path / "run") == tree(tmp_path / "whole")


@pytest.mark.parametrize("text", ["", "17", "500/500", "-1/3", "1/0", "a/b", "1/2/3", "٣/4"])
def test_no_part(text: str) -> None:
    with pytest.raises(ConfigError, match="'shard' parameter"):
        Part.parse(text)


@given(st.integers(0, 200), st.integers(1, 50))
def test_every_shard_belongs_to_one_part(n_shards: int, count: int) -> None:
    parts = [Part(index=index, count=count) for index in range(count)]
    shares = [k for part in parts for k in part.share(range(n_shards))]
    assert sorted(shares) == list(range(n_shards))
    assert uncovered(n_shards, parts[1:]) == list(parts[0].share(range(n_shards)))


def test_the_verbs(
    captions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "concepts.txt").write_text("dog\ncat\n", encoding="utf-8")
    one = ["--engine", "serial"]
    call = [
        "audit",
        str(captions),
        "-c",
        str(tmp_path / "concepts.txt"),
        "--shard-rows",
        "10",
        *one,
    ]
    run = str(tmp_path / "run")
    for shard in ("0/2", "1/2"):
        assert main([*call, "-o", run, "--shard", shard]) == 0
    assert "conceptaudit merge" in capsys.readouterr().out
    assert main([*call, "-o", run, "--shard", "2/2"]) == 2
    assert main([*call, "-o", run, "--shard", "0/2", "--overwrite"]) == 2
    assert main(["merge", run, str(tmp_path)]) == 2
    assert main(["merge", str(tmp_path)]) == 2
    capsys.readouterr()
    assert main(["merge", run, "--json", *one]) == 0
    assert json.loads(capsys.readouterr().out)["n_concepts_found"] == {"n_text": 2}
    assert main(["validate", run]) == 0
    told = json.loads((tmp_path / "run" / STARTED).read_text(encoding="utf-8"))
    assert told["options"] == {"shard_rows": 10}
