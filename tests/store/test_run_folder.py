"""A run folder is claimed, cleared and finished by one protocol, and nothing foreign is touched."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pandas as pd
import pytest

from conceptaudit.artifacts import (
    MANIFEST,
    STARTED,
    RunFolder,
    ShardStore,
    digest_of,
    read_json,
    write_csv,
    write_json,
    write_parquet,
)
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.store.checking import check_finished, identify
from conceptaudit.store.layouts import LAYOUTS
from conceptaudit.store.removing import remove

SHARDS = ("0000000-0000000000000", "0000000-0000000000040")
FIRST, SECOND = digest_of("first"), digest_of("second")
FOREIGN = (
    "notes.txt",
    "frequencies-old.csv",
    ".film.partial",
    "thesis/chapter.tex",
    "text/notes.json",
    "text/mine.parquet",
    "text/0000007-0000000000000.parquet",
    "counts/.film.partial",
    "images/cat.jpg",
)


def run_of(path: Path, digest: str = FIRST, **more: object) -> RunFolder:
    return RunFolder.at(path, kind="audit", digest=digest, shards=SHARDS, **more)


def write_run(run: RunFolder, **how: bool) -> None:
    """Write a small audit as a verb does."""
    with run.hold(**how):
        for stage in ("text", "counts"):
            store = ShardStore(folder=run.path / stage, digest=run.digest)
            store.discard_others(frozenset(run.shards))
            for shard in run.shards:
                table = store.path(shard, ".parquet")
                write_parquet(table, pd.DataFrame({"digest": [run.digest]}))
                store.write(shard, "input", {"n": 1}, {".parquet": table})
        write_csv(run.path / "frequencies.csv", pd.DataFrame({"digest": [run.digest]}))
        run.finish({"dataset": "data"})


def add_foreign(folder: Path) -> None:
    for name in FOREIGN:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"of the user: {name}")


def foreign_survives(folder: Path) -> bool:
    return all((folder / name).read_text() == f"of the user: {name}" for name in FOREIGN)


def files(folder: Path) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def test_new_and_empty_folders_just_start(tmp_path: Path) -> None:
    for resume in (False, True):
        assert run_of(tmp_path / "new").check(resume=resume) == "new"
        assert run_of(tmp_path).check(resume=resume) == "new"


def test_the_same_run_goes_on_and_another_is_refused_unless_the_user_decides(
    tmp_path: Path,
) -> None:
    write_run(run_of(tmp_path))
    assert run_of(tmp_path).check() == "resume"
    other = run_of(tmp_path, SECOND)
    with pytest.raises(ArtifactMismatchError, match=r"--resume.*--overwrite"):
        other.check()
    assert other.check(resume=True) == "resume"
    assert other.check(overwrite=True) == "overwrite"
    with pytest.raises(ConfigError):
        other.check(resume=True, overwrite=True)


def test_advice_names_only_options_that_the_verb_has(tmp_path: Path) -> None:
    write_run(run_of(tmp_path))
    with pytest.raises(ArtifactMismatchError) as error:
        run_of(tmp_path, SECOND, options=("overwrite",)).check()
    assert "--overwrite" in str(error.value)
    assert "--resume" not in str(error.value)


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_folders_of_others_are_refused(tmp_path: Path, how: dict[str, bool]) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ArtifactMismatchError, match=r"thesis\.tex") as error:
        run_of(tmp_path).check(**how)
    assert "--overwrite" not in str(error.value)


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize(
    "started",
    [
        {},
        [],
        {"digest": FIRST},
        {"digest": FIRST, "kind": "audit"},
        {"digest": "abc", "kind": "audit", "version": 1},
        {"digest": FIRST, "kind": "training", "version": 1},
        {"digest": FIRST, "kind": "audit", "version": 99},
        {"digest": FIRST, "kind": ["audit"], "version": 1},
    ],
)
def test_a_run_file_of_any_other_program_makes_no_folder_ours(
    tmp_path: Path, started: object, how: dict[str, bool]
) -> None:
    (tmp_path / STARTED).write_text(json.dumps(started))
    (tmp_path / "weights.bin").write_text("months of training")
    with pytest.raises(ArtifactMismatchError, match="Name a new or empty folder"):
        write_run(run_of(tmp_path), **how)
    assert (tmp_path / "weights.bin").read_text() == "months of training"
    assert json.loads((tmp_path / STARTED).read_text()) == started
    assert files(tmp_path) == {STARTED, "weights.bin"}


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_a_folder_of_another_kind_is_refused(tmp_path: Path, how: dict[str, bool]) -> None:
    write_run(run_of(tmp_path))
    before = files(tmp_path)
    index = RunFolder.at(tmp_path, kind="index", digest=FIRST)
    with pytest.raises(ArtifactMismatchError, match="holds an audit") as error:
        index.check(**how)
    assert "--overwrite" not in str(error.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
def test_files_of_the_user_survive(
    tmp_path: Path, how: dict[str, bool], caplog: pytest.LogCaptureFixture
) -> None:
    write_run(run_of(tmp_path))
    add_foreign(tmp_path)
    digest = SECOND if how else FIRST
    with caplog.at_level(logging.WARNING):
        write_run(run_of(tmp_path, digest), **how)
    assert foreign_survives(tmp_path)
    assert not set(read_json(tmp_path / MANIFEST)["files"]) & set(FOREIGN)
    if how.get("overwrite"):
        assert f"{len(FOREIGN)} files not of conceptaudit were left alone" in caplog.text
    for name in FOREIGN:
        (tmp_path / name).unlink()
    write_run(run_of(tmp_path / "calm", digest))
    ours = {n: (tmp_path / n).read_bytes() for n in files(tmp_path) if not n.startswith("calm/")}
    calm = {n: (tmp_path / "calm" / n).read_bytes() for n in files(tmp_path / "calm")}
    assert ours == calm


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("stage", ["text", "counts"])
def test_a_stage_folder_that_is_a_link_is_refused(
    tmp_path: Path, stage: str, how: dict[str, bool]
) -> None:
    run, theirs = run_of(tmp_path / "run"), tmp_path / "documents"
    write_run(run)
    remove(run.path, [p for p in files(run.path) if p.startswith(f"{stage}/")])
    theirs.mkdir()
    (theirs / "letter.txt").write_text("keep")
    (run.path / stage).symlink_to(theirs)
    with pytest.raises(ArtifactMismatchError, match=f"{stage} is a link"):
        write_run(run_of(run.path, FIRST if not how else SECOND), **how)
    assert (theirs / "letter.txt").read_text() == "keep"
    assert files(theirs) == {"letter.txt"}


def test_a_manifest_cannot_name_files_elsewhere_to_be_removed(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run")
    write_run(run)
    (tmp_path / "letter.txt").write_text("keep")
    manifest = read_json(run.path / MANIFEST)
    manifest["files"] |= {"../letter.txt": FIRST, str(tmp_path / "letter.txt"): FIRST}
    write_json(run.path / MANIFEST, manifest)
    write_run(run_of(run.path, SECOND), overwrite=True)
    assert remove(run.path, ["../letter.txt"]) == 0
    assert (tmp_path / "letter.txt").read_text() == "keep"


def test_what_a_killed_run_left_goes_with_the_next(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    write_run(run)
    remove(tmp_path, [MANIFEST, f"text/{SHARDS[0]}.json"])
    left = (".frequencies.csv.partial", f"text/.{SHARDS[0]}.parquet.partial", "text/x.txt")
    for name in left:
        (tmp_path / name).touch()
    other = RunFolder.at(tmp_path, kind="audit", digest=SECOND, shards=SHARDS[1:])
    with other.hold(resume=True):
        # the table has no record any more, and the new run lacks its shard
        assert files(tmp_path / "text") == {"x.txt", f"{SHARDS[1]}.json", f"{SHARDS[1]}.parquet"}
        assert not (tmp_path / "frequencies.csv").exists()
        assert not (tmp_path / left[0]).exists()


def test_a_run_with_other_inputs_is_not_taken_for_finished(tmp_path: Path) -> None:
    write_run(run_of(tmp_path))
    check_finished(tmp_path)
    with run_of(tmp_path, SECOND).hold(resume=True):
        assert not (tmp_path / MANIFEST).exists()
    with pytest.raises(DataError, match="not finished"):
        check_finished(tmp_path)


def test_readers_see_a_file_of_another_run(tmp_path: Path) -> None:
    write_run(run_of(tmp_path))
    (tmp_path / "frequencies.csv").write_text("of another run")
    with pytest.raises(DataError, match=r"frequencies\.csv is not the file"):
        check_finished(tmp_path)


@pytest.fixture
def names() -> list[str]:
    return [name for layout in LAYOUTS.values() for name in layout.files]


def test_every_kind_is_known_by_what_it_writes(tmp_path: Path, names: list[str]) -> None:
    assert len(names) > 40
    for kind in LAYOUTS:
        folder = tmp_path / kind
        with RunFolder.at(folder, kind=kind, digest=FIRST).hold():
            pass
        held = identify(folder)
        assert held is not None
        assert (held.kind, held.digest) == (kind, FIRST)
