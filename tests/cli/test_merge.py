"""Every verb that has --shard: parts and a merge write what the command writes in one go."""

import json
import shutil
from pathlib import Path

import pytest

from conceptaudit.artifacts import LOG, MARK
from conceptaudit.cli.main import main
from conceptaudit.cli.parts import without_own
from conceptaudit.lab import LabConfig, generate, lab_vocabulary
from conceptaudit.lab.folders import draw_test_picture

CONFIG = LabConfig(n_samples=48, shard_size=12, image_size=48, seed=5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small set of pictures with captions, its audit, and pictures to evaluate on."""
    folder = tmp_path_factory.mktemp("data")
    generate(CONFIG, folder / "lab")
    names = sorted(lab_vocabulary(CONFIG).names)[:12]
    (folder / "concepts.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
    for number, name in enumerate(names[:4]):
        picture = folder / "testset" / name / f"{number}.jpg"
        picture.parent.mkdir(parents=True)
        picture.write_bytes(draw_test_picture(CONFIG, name, number))
    call = ["audit", str(folder / "lab"), "-c", str(folder / "concepts.txt"), "--clip", "lab"]
    assert main([*call, "-o", str(folder / "audited"), "--workers", "1"]) == 0
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(LOG)
    }


CALLS = {
    "evaluate": ["evaluate", "{data}/testset", "--clip", "lab", "-o", "{out}/run"],
    "evaluate-saving": [
        *("evaluate", "{data}/testset", "--clip", "lab", "-o", "{out}/run"),
        *("--save-embeddings", "{out}/kept"),
    ],
    "retrieval": ["retrieval", "{data}/lab", "--clip", "lab", "-o", "{out}/run"],
    "longtail": [
        *("longtail", "{data}/audited", "--images", "{data}/testset", "-o", "{out}/run"),
        *("--k", "4", "--min-per-class", "1", "--include-zero"),
    ],
    "vocab": ["vocab", "{data}/lab", "-o", "{out}/run", "--shard-rows", "10"],
    "embed": ["embed", "{data}/lab", "--clip", "lab", "-o", "{out}/run", "--text"],
    "calibrate": [
        *("calibrate", "{data}/lab", "-c", "{data}/concepts.txt", "--clip", "lab"),
        *("-o", "{out}/calibration.json", "--work", "{out}/run", "--scores-only"),
    ],
}


@pytest.mark.parametrize("name", CALLS)
def test_parts_and_a_merge(name, data, tmp_path, capsys):
    def call(out: Path) -> list[str]:
        out.mkdir(exist_ok=True)
        parts = [part.format(data=data, out=out) for part in CALLS[name]]
        return [*parts, "--workers", "1", "--engine", "serial"]

    assert main(call(tmp_path / "whole")) == 0
    split = tmp_path / "split"
    run = str(split / "run")
    assert main([*call(split), "--shard", "1/2"]) == 0
    assert f"conceptaudit merge {run}" in capsys.readouterr().out
    assert main(["merge", run]) == 2
    assert "Run --shard 0/2 again" in capsys.readouterr().err
    assert main([*call(split), "--shard", "0/2"]) == 0
    capsys.readouterr()
    assert main(["merge", run, "--workers", "1", "--engine", "serial", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)
    expected = tree(tmp_path / "whole")
    found = tree(split)
    assert found.keys() == expected.keys()
    # digests of inputs know when a file was written: also of embeddings that the call saved
    spared = ".json" if name == "evaluate-saving" else None
    other = [path for path in found if found[path] != expected[path]]
    assert [path for path in other if Path(path).suffix != spared] == []


def test_missing_parts_are_computed_where_asked(data, tmp_path, capsys):
    call = ["evaluate", str(data / "testset"), "--clip", "lab", "--workers", "1"]
    run = tmp_path / "run"
    assert main([*call, "-o", str(run), "--shard=2/3"]) == 0
    assert main(["merge", str(run), "--compute-missing", "--workers=1"]) == 0
    assert main([*call, "-o", str(tmp_path / "whole")]) == 0
    assert tree(run) == tree(tmp_path / "whole")


@pytest.mark.parametrize("name", ["evaluate", "longtail"])
def test_folders_that_were_brought_together(name, data, tmp_path, monkeypatch):
    call = [*(part.format(data=data, out=".") for part in CALLS[name]), "--workers", "1"]
    places = {node: tmp_path / node for node in ("whole", "gathered", "0/2", "1/2")}
    for node, place in places.items():
        place.mkdir(parents=True)
        monkeypatch.chdir(place)
        if node == "whole":
            assert main(call) == 0
        elif node != "gathered":
            assert main([*call, "--shard", node]) == 0
            shutil.copytree(place, places["gathered"], dirs_exist_ok=True)
    monkeypatch.chdir(places["gathered"])
    assert main(["merge", "run"]) == 0
    assert tree(places["gathered"]) == tree(places["whole"])


def test_what_cannot_be_merged(data, tmp_path, capsys):
    call = ["evaluate", str(data / "testset"), "--clip", "lab", "--workers", "1"]
    run = tmp_path / "run"
    one = [*call, "-o", str(run), "--shard"]
    assert main([*one, "0/2", "--level", "0.8"]) == 0
    assert main([*one, "1/2"]) == 2
    assert "other inputs or settings" in capsys.readouterr().err
    assert main([*one, "1/2", "--resume"]) == 0
    assert main(["merge", str(run)]) == 2
    assert "different commands" in capsys.readouterr().err
    assert main([*one, "0/2", "--overwrite"]) == 2
    assert "removes what other parts have written" in capsys.readouterr().err
    for mark in run.glob(f"{MARK}*"):
        mark.unlink()
    assert main(["merge", str(run)]) == 2
    assert "kind 'evaluation' without a finished part" in capsys.readouterr().err
    for damaged in (
        '{"part": [3, 2], "n_shards": 1, "asked": []}',
        '{"part": [0, 2], "n_shards": 1e300, "asked": []}',
        '{"part": [0, 2], "n_shards": 999999999999, "asked": []}',
    ):
        (run / f"{MARK}0-of-2.json").write_text(damaged)
        assert main(["merge", str(run)]) == 2
        assert "says of no part" in capsys.readouterr().err


@pytest.mark.parametrize(
    "asked",
    [
        "rm -rf /",
        ["report", "x", "-o", "{run}"],
        ["embed", "x", "--clip", "lab", "-o", "{run}/../other"],
        ["embed", "{run}", "--clip", "lab", "--out=elsewhere"],
        ["embed", "x", "--clip", "lab", "-o", "{run}", "--overwrite"],
        ["embed", "x", "--clip", "{run}", "-o", "{run}", "--allow-pickle-weights"],
        ["embed", "x", "--clip", "lab", "-o", "\0", "-o", "{run}"],
        ["embed", "x", "--clip", "lab", "-o", "\ud800"],
        ["embed", "x", "--clip", "lab", "-o", "/"],
    ],
)
def test_a_mark_cannot_ask_for_anything_else(asked, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    words = [word.format(run=run) for word in asked] if isinstance(asked, list) else asked
    mark = {"part": [0, 1], "n_shards": 1, "asked": words}
    (run / f"{MARK}0-of-1.json").write_text(json.dumps(mark), encoding="utf-8")
    assert main(["merge", str(run)]) == 2
    assert "which a merge does not run" in capsys.readouterr().err


def test_a_folder_may_be_named_from_within(data, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    call = ["evaluate", str(data / "testset"), "--clip", "lab", "--workers", "1", "-o", "."]
    for shard in ("0/2", "1/2"):
        assert main([*call, "--shard", shard]) == 0
    assert main(["merge", "."]) == 0
    assert (tmp_path / "run" / "accuracies.csv").exists()


def test_parts_of_a_calibration_need_a_folder(data, tmp_path, capsys):
    call = ["calibrate", str(data / "lab"), "-c", str(data / "concepts.txt"), "--clip", "lab"]
    assert main([*call, "-o", str(tmp_path / "c.json"), "--shard", "0/2"]) == 2
    assert "--work" in capsys.readouterr().err


def test_what_a_part_is_told_for_itself():
    given = ["embed", "--debug", "d", "--engine", "ray", "--shard", "3/8", "-o", "e", "--resume"]
    assert without_own(given) == ["embed", "d", "-o", "e"]
    assert without_own(["a", "--workers=2", "--worker", "x"]) == ["a", "--worker", "x"]
