"""Files of the user survive every verb, in its own folders and in those that it must not touch."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from conceptaudit.cli.main import main

from .verbs import FILES, OVERWRITE, PLAIN, VERBS, lay, survivors, tree


@pytest.fixture(scope="session")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory):
    """A finished run of a verb, made once."""
    runs: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in runs:
            runs[name] = tmp_path_factory.mktemp(name)
            assert main(VERBS[name].at(data, runs[name])) == 0
        return runs[name]

    return make


CASES = [(name, mode) for name, verb in VERBS.items() for mode in verb.modes]


@pytest.mark.parametrize(("name", "mode"), CASES, ids=[f"{n}-{m}" for n, m in CASES])
def test_files_of_the_user_survive(data, finished, tmp_path, name, mode):
    verb = VERBS[name]
    place = shutil.copytree(finished(name), tmp_path / "copy")
    if "{place}" in " ".join(verb.command):
        assert main(verb.at(data, place)) == 0
    texts = lay(place / verb.held)
    more = () if mode == PLAIN else (*verb.other, f"--{mode}")
    code = main(verb.at(data, place, *more))
    assert survivors(texts) == texts
    assert code == 0
    for path in texts:
        path.unlink()
    if mode == OVERWRITE:
        assert main(verb.at(data, tmp_path / "calm", *verb.other)) == 0
        assert tree(place / verb.held) == tree(tmp_path / "calm" / verb.held)


@pytest.mark.parametrize("name", [name for name, verb in VERBS.items() if verb.parts])
def test_files_of_the_user_survive_parts_and_their_merge(data, tmp_path, name):
    verb, place = VERBS[name], tmp_path / "place"
    assert main(verb.at(data, place, "--shard", "0/2")) == 0
    held = place / (".run.building" if name == "longtail" else verb.held)
    texts = lay(held)
    assert main(verb.at(data, place, "--shard", "1/2")) == 0
    assert survivors(texts) == texts
    merged = place / ("work" if name == "calibrate" else verb.out)
    code = main(["merge", str(merged), *(["--workers", "1"])])
    assert survivors(texts) == texts
    assert code == 0


def test_merge_does_not_follow_a_link_in_place_of_a_stage(data, tmp_path, capsys):
    verb = VERBS["audit"]
    for part in range(2):
        assert main(verb.at(data, tmp_path, "--shard", f"{part}/2")) == 0
    documents = tmp_path / "documents"
    documents.mkdir()
    texts = lay(documents)
    shutil.rmtree(tmp_path / "run" / "counts")
    (tmp_path / "run" / "counts").symlink_to(documents)
    for command in (["merge", str(tmp_path / "run")], verb.at(data, tmp_path)):
        assert main(command) == 2
        assert "counts is a link" in capsys.readouterr().err
        assert survivors(texts) == texts


OVERLAPS = [
    *((name, verb.command, source) for name, verb in VERBS.items() for source in verb.inputs),
    *((name, command, source) for name, (command, inputs) in FILES.items() for source in inputs),
]


@pytest.mark.parametrize(
    ("name", "command", "source"), OVERLAPS, ids=[f"{n}-{s}" for n, _, s in OVERLAPS]
)
def test_outputs_are_kept_apart_from_inputs(data, tmp_path, capsys, name, command, source):
    before = tree(data)
    (tmp_path / "link").symlink_to(data)
    words = [word.format(data=data, place=tmp_path) for word in command]
    flags = [f"--{mode}" for mode in VERBS[name].modes if mode != PLAIN] if name in VERBS else []
    inside = [data / source / "new"] if (data / source).is_dir() else []
    for out in (data / source, tmp_path / "link" / source, data, *inside):
        for flag in ([], *([flag] for flag in flags)):
            assert main([*words, "-o", str(out), *flag]) == 2
            said = capsys.readouterr().err
            assert "which this command reads" in said
            assert "--overwrite" not in said
            assert said.count("\n") == 1
    assert tree(data) == before


OUTPUTS = [
    *((name, verb.command) for name, verb in VERBS.items()),
    *((name, command) for name, (command, _) in FILES.items()),
    ("lab", ("lab", "generate")),
    ("demo", ("demo",)),
]


@pytest.mark.parametrize(("name", "command"), OUTPUTS, ids=[n for n, _ in OUTPUTS])
def test_urls_are_no_places_to_write_to(data, tmp_path, monkeypatch, capsys, name, command):
    monkeypatch.chdir(tmp_path)
    words = [word.format(data=data, place=tmp_path / "place") for word in command]
    assert main([*words, "-o", "s3://bucket/run"]) == 2
    said = capsys.readouterr().err
    assert "written to a file system" in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_of_the_user_is_not_replaced(data, tmp_path, capsys, name):
    words = [word.format(data=data, place=tmp_path) for word in FILES[name][0]]
    out = tmp_path / "out.csv"
    out.write_text("of the user\n")
    flags = [["--overwrite"]] if name == "vocab" else []
    for flag in ([], *flags):
        assert main([*words, "-o", str(out), *flag]) == 2
        said = capsys.readouterr().err
        assert "Nothing was written" in said
        assert out.read_text() == "of the user\n"
    out.unlink()
    for _ in range(2):
        assert main([*words, "-o", str(out)]) == 0
    written = tree(tmp_path)
    out.write_bytes(out.read_bytes() + b"changed by the user\n")
    assert main([*words, "-o", str(out)]) == 2
    assert out.read_bytes().endswith(b"changed by the user\n")
    assert tree(tmp_path).keys() == written.keys()
