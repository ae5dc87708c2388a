"""A file is replaced where a record vouches for it, and is anybody's otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from conceptaudit.artifacts import read_json, write_text
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.store.checking import check_written
from conceptaudit.store.outputs import OutputFile, output_files, staged


def write(path: Path, text: str) -> None:
    with staged(output_files("predictions", [path])) as files:
        write_text(files[path], text)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_written_with_its_record_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "p.csv"
    write(path, "one")
    record = path.with_name("p.csv.json").read_bytes()
    check_written(path)
    write(path, "two")
    assert path.read_text() == "two"
    assert names(path.parent) == {"p.csv", "p.csv.json"}
    write(path, "one")
    assert path.with_name("p.csv.json").read_bytes() == record


@pytest.mark.parametrize("earlier", [None, "ours"])
def test_a_users_file_is_not_replaced(tmp_path: Path, earlier: str | None) -> None:
    path = tmp_path / "p.csv"
    if earlier is not None:
        write(path, earlier)
    path.write_text("judged by hand")
    before = names(tmp_path)
    with pytest.raises(ArtifactMismatchError, match="Nothing was written"):
        write(path, "two")
    assert path.read_text() == "judged by hand"
    assert names(tmp_path) == before


def test_a_record_of_anybodys_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "p.csv.json").write_text('{"kind": "mine"}')
    with pytest.raises(ArtifactMismatchError, match=r"p\.csv\.json is there"):
        write(tmp_path / "p.csv", "two")
    assert names(tmp_path) == {"p.csv.json"}


def test_folders_and_devices_are_refused(tmp_path: Path) -> None:
    for place in (tmp_path, Path("/dev/null")):
        with pytest.raises(ConfigError, match="must be a file"):
            write(place, "x")
    assert not Path("/dev/null").is_file()


def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    link = tmp_path / "p.csv"
    link.symlink_to(tmp_path / "far" / "p.csv")
    write(link, "one")
    assert link.is_symlink()
    assert (tmp_path / "far" / "p.csv").read_text() == "one"


def test_files_of_one_command_name_each_other(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "deep" / "b.csv"]
    with staged(output_files("comparison", paths)) as files:
        files.about["level"] = 0.9
        for path in paths:
            write_text(files[path], path.name)
    record = read_json(tmp_path / "a.csv.json")
    assert record["level"] == 0.9
    assert record["with"] == {"deep/b.csv": read_json(tmp_path / "deep" / "b.csv.json")["sha256"]}


def test_a_failed_command_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    write(path, "one")
    with (
        pytest.raises(DataError, match="Cannot read"),
        staged(output_files("predictions", [path])) as files,
    ):
        files[path].mkdir()
    assert path.read_text() == "one"
    assert names(tmp_path) == {"p.csv", "p.csv.json"}


def test_a_command_killed_between_record_and_file_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.csv"
    write(path, "one")
    calm = tmp_path / "calm" / "p.csv"
    write(calm, "two")

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("conceptaudit.store.outputs.os.path.realpath", killed)
        output = OutputFile(path=path, kind="predictions")
        (tmp_path / "new").write_text("two")
        digest = read_json(calm.with_name("p.csv.json"))["digest"]
        with pytest.raises(KeyboardInterrupt):
            output.put(tmp_path / "new", {"digest": digest})
    with pytest.raises(DataError, match="is not the file"):
        check_written(path)
    write(path, "two")
    check_written(path)
    assert path.read_text() == "two"
    assert "replaces" not in read_json(path.with_name("p.csv.json"))
