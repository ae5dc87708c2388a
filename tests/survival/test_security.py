"""What strangers' data may try, row by row of the table in docs/security.md."""

import ast
import gzip
import io
import json
import pickle
import re
import socket
import stat
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import conceptaudit
from conceptaudit.artifacts import inert_text, whole_file, write_csv
from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.cli.console import emit_json
from conceptaudit.cli.main import main
from conceptaudit.datasets import _delimited, _json, _tar, open_dataset
from conceptaudit.errors import ConceptAuditError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.reading import exact_text
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.readers import read_accuracies

PACKAGE = Path(conceptaudit.__file__).parent
ESCAPES = "\x1b[31mred\x07 \u202eback\u202c \x9b2J"
NEVER = (
    r"^\s*(import|from)\s+(c?pickle|dill|joblib|shelve|marshal|xml|lxml|requests|urllib\.request|http|httpx)\b",
    r"torch\.load\(",
    r"allow_pickle=True",
    r"yaml\.(load|full_load|unsafe_load)\(",
    r"\b(extract|extractall|unpack_archive|mktemp)\(",
    r"shell=True",
    r"os\.system\(",
)


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


OUR_OWN_SVG = "report/print_chart.py: from xml.etree import ElementTree as ET"
"""It parses the charts that the package has drawn, in which every text is escaped, and no file."""


@pytest.mark.parametrize("pattern", NEVER)
def test_the_package_never_uses(pattern):
    found = {
        f"{path.relative_to(PACKAGE)}: {line.strip()}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line)
    }
    assert found - {OUR_OWN_SVG} == set()


def test_text_is_never_run():
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in {"eval", "exec", "compile", "__import__"}, path.name


def test_pickles_are_not_opened(tmp_path):
    mark = tmp_path / "pwned"
    objects = np.array([Evil(mark)], dtype=object)
    (tmp_path / "data").mkdir()
    for name in ("image_embeddings.npy", "plain.npy"):
        np.save(tmp_path / "data" / name, objects, allow_pickle=True)
    (tmp_path / "data" / "plain.npy").write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(DataError, match="never loaded"):
        open_dataset(tmp_path / "data")
    for name in ("image_embeddings.npy", "plain.npy"):
        with pytest.raises(DataError, match="Cannot read concept vectors"):
            read_concept_vectors(tmp_path / "data" / name, 1)
    assert not mark.exists()


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.mkdir [pwned]",
        "- !!python/object/new:os.mkdir [pwned]",
        "a: &a [x, x]\nb: &b [*a, *a]\nconcepts: [{name: dog, aliases: [*b, *b]}]",
    ],
)
def test_yaml_makes_no_objects_and_no_bombs(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    Path("c.yaml").write_text(text)
    with pytest.raises(ConceptAuditError):
        read_concepts("c.yaml")
    assert [path.name for path in Path().iterdir()] == ["c.yaml"]


def hostile_tar(path):
    """An archive whose members want out, and whose links want in."""
    with tarfile.open(path, "w") as archive:
        names = ("../../out", "/tmp/out", "a/../../out", "C:\\out", "0")
        for name in names:
            for ending, content in (("txt", b"a dog"), ("jpg", b"not a picture")):
                info = tarfile.TarInfo(f"{name}.{ending}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        kinds = (
            tarfile.SYMTYPE,
            tarfile.LNKTYPE,
            tarfile.CHRTYPE,
            tarfile.BLKTYPE,
            tarfile.FIFOTYPE,
        )
        for number, kind in enumerate(kinds, 1):
            info = tarfile.TarInfo(f"{number}.txt")
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    return len(names), len(kinds)


def test_archives_write_and_read_nothing_outside(tmp_path):
    inside = tmp_path / "deep" / "inside"
    inside.mkdir(parents=True)
    n_samples, n_links = hostile_tar(inside / "a.tar")
    run = audit(
        inside / "a.tar", ["dog"], inside / "run", options=AuditOptions(workers=1, evidence=5)
    )
    assert run.table["n_text"].tolist() == [n_samples]
    assert run.account["text"]["dropped"] == {"caption:not_a_regular_file": n_links}
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert {path.name for path in inside.iterdir()} == {"a.tar", "run"}
    assert not Path("/tmp/out.txt").exists()
    shown = b"".join(p.read_bytes() for p in (inside / "run").rglob("*") if p.is_file())
    assert b"root:x:" not in shown


@pytest.mark.parametrize("hook", ["=cmd|' /C calc'!A1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "＝1"])
def test_formulas_are_inert_in_every_csv_and_read_back_as_they_were(tmp_path, hook):
    table = pd.DataFrame({"concept": [hook, "dog"], "accuracy": [0.25, -0.0]})
    write_csv(tmp_path / "a.csv", table.assign(model="m", dataset="d"))
    line = (tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()[1].lstrip('"')
    assert line.startswith("'")
    assert exact_text(inert_text(hook)) == hook
    found = read_accuracies(tmp_path / "a.csv")
    assert found.table["concept"].tolist() == [hook, "dog"]


def test_numbers_are_no_formulas():
    assert [inert_text(text) for text in ("-0.5", "+1e-3", "-7")] == ["-0.5", "+1e-3", "-7"]


def test_captions_cannot_steer_the_terminal(tmp_path, capsys):
    rows = [{"caption": f"a dog {ESCAPES}", "key": f"k{ESCAPES}"} for _ in range(3)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "c.txt").write_text("dog\n")
    run = str(tmp_path / "run")
    assert main(["audit", str(tmp_path / "a.jsonl"), "-c", str(tmp_path / "c.txt"), "-o", run]) == 0
    for more in ([], ["--json"]):
        assert main(["evidence", run, "dog", *more]) == 0
    emit_json({"caption": ESCAPES})
    said = capsys.readouterr()
    for character in "\x1b\x07\x9b\u202e":
        assert character not in said.out + said.err
    assert json.loads(said.out[said.out.rindex("{") :]) == {"caption": ESCAPES}


def test_pictures_that_unpack_to_too_much_are_refused():
    from PIL import Image

    stream = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(stream, "PNG")
    with pytest.raises(UndecodableImageError) as caught:
        decode_image(stream.getvalue())
    assert caught.value.reason == "decompression_bomb"


@pytest.mark.parametrize(
    "text",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>',
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    ],
)
def test_markup_is_no_picture(text):
    with pytest.raises(UndecodableImageError) as caught:
        decode_image(text)
    assert caught.value.reason == "not_an_image"


def test_packed_files_cannot_take_all_memory_or_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(_delimited, "MAX_LINE_BYTES", 1 << 16)
    monkeypatch.setattr(_json, "MAX_JSON_BYTES", 1 << 16)
    monkeypatch.setattr(_tar, "MIN_BOMB_BYTES", 1 << 16)
    line = b'{"caption": "a dog"}\n'
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(line + b"a" * (1 << 20) + b"\n" + line))
    [batch] = read(tmp_path / "a.jsonl.gz")
    assert batch.captions == ["a dog", "a dog"]
    assert [drop.reason for drop in batch.drops] == ["record_too_long"]
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(b"[" + b" " * (1 << 20) + b"]"))
    with pytest.raises(DataError, match="has to be read whole"):
        list(read(tmp_path / "a.json.gz"))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, size in (("0.txt", 5), ("1.txt", 1 << 23)):
            info = tarfile.TarInfo(name)
            info.size = size
            archive.addfile(info, io.BytesIO(b"a dog".ljust(size)))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(buffer.getvalue()))
    with pytest.raises(DataError, match="made to fill a disk"):
        list(read(tmp_path / "a.tar.gz"))


def read(path):
    dataset = open_dataset(path)
    for shard in dataset.shards():
        yield from dataset.read(shard, dataset.provides)


def test_urls_are_never_fetched(tmp_path, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("something is fetched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    urls = [f"http://127.0.0.1:9/{i}.jpg" for i in range(4)]
    table = pd.DataFrame({"URL": urls, "TEXT": ["a dog", "a cat", "", "a dog"]})
    table.to_parquet(tmp_path / "a.parquet")
    run = tmp_path / "run"
    found = audit(tmp_path / "a.parquet", ["dog"], run, options=AuditOptions(workers=1))
    assert found.table["n_text"].tolist() == [2]
    from conceptaudit.report import write_report

    write_report(tmp_path / "report.html", run=run, dataset=tmp_path / "a.parquet")


def test_files_are_private_until_they_are_whole(tmp_path):
    with whole_file(tmp_path / "a.txt") as partial:
        assert stat.S_IMODE(partial.stat().st_mode) == 0o600
        partial.write_text("x")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644
