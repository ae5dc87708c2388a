"""Damaged files never crash a reader: a short run of scripts/fuzz_readers.py, and past finds."""

import importlib
import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.artifacts import STARTED, claim, digest_of
from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ArtifactMismatchError, ConceptAuditError, DataError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.image.calibration import Calibration
from conceptaudit.image.calibration.labels import read_labels
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.reading import read_parquet
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.readers import read_accuracies

SCRIPTS = Path(__file__).parents[2] / "scripts"
SLOW = ("run", "records", "index", "curve", "evaluation-set")
"""Readers whose seeds take seconds to make: in the long run only."""

CASES = 40


@pytest.fixture(scope="module")
def fuzz():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield importlib.import_module("fuzz_readers")
    finally:
        sys.path.remove(str(SCRIPTS))


def test_a_short_run_finds_nothing(fuzz, tmp_path):
    faults = {}
    for name, reader in fuzz.READERS.items():
        if name in SLOW:
            continue
        seeds = reader.seeds()
        (tmp_path / name).mkdir()
        workshop = fuzz.Workshop(tmp_path / name)
        for files in seeds:
            assert fuzz.run_case(reader, workshop, files) is None
        for case in range(CASES):
            files = fuzz.case_files(reader, seeds, name, 1, case)
            fault = fuzz.run_case(reader, workshop, files)
            if fault is not None:
                faults[name, case] = fault
    assert faults == {}


def test_cases_are_the_same_every_time_and_not_all_alike(fuzz):
    reader = fuzz.READERS["csv"]
    seeds = reader.seeds()
    first = [fuzz.case_files(reader, seeds, "csv", 0, i) for i in range(30)]
    again = [fuzz.case_files(reader, seeds, "csv", 0, i) for i in reversed(range(30))]
    assert first == again[::-1]
    assert len({json.dumps(sorted(map(repr, one.items()))) for one in first}) > 20


def test_the_harness_finds_what_is_wrong(fuzz, tmp_path):
    def read(folder):
        if b"x" in (folder / "a").read_bytes():
            raise KeyError("x")

    reader = fuzz.Reader(seeds=lambda: [{"a": b"abc"}], read=read)
    workshop = fuzz.Workshop(tmp_path)
    assert fuzz.run_case(reader, workshop, {"a": b"abc"}) is None
    found = fuzz.run_case(reader, workshop, {"a": b"abxc"})
    assert found["error"] == "KeyError"
    assert fuzz.smallest(lambda data: b"x" in data, b"a" * 500 + b"x" + b"b" * 500) == b"x"


def tar_with_header(path, start, field):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("0.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"a dog"))
    data = bytearray(buffer.getvalue())
    data[start : start + len(field)] = field
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\x00 " % sum(data[:512])
    path.write_bytes(data)
    return path


def test_a_member_larger_than_any_disk(tmp_path):
    path = tar_with_header(tmp_path / "a.tar", 124, b"\x80" + b"\x7f" * 11)
    with pytest.raises(DataError, match=r"a\.tar is damaged|truncated"):
        open_dataset(path)


@pytest.mark.parametrize("header", [b"{'shape': (3,", b"{[]: 1}", b"{'descr': 01}", b"("])
def test_array_headers_that_are_no_literals(tmp_path, header):
    text = header.ljust(117) + b"\n"
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    with pytest.raises(DataError, match=r"a\.npy"):
        read_concept_vectors(tmp_path / "a.npy", 3)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("pets_cc3m_rampp0.7_search_counts.json", {"dog": 10**25}),
        ("pets_cc3m_rampp0.7_search_counts.json", {"dog": 1 << 63}),
        ("pets_cc3m_rampp0.7_search_counts.json", {"\ud800": 1}),
    ],
)
def test_counts_that_are_none(tmp_path, name, content):
    (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"counts\.json"):
        read_frequencies(tmp_path / name)


def test_a_column_of_counts_that_is_there_twice(tmp_path):
    (tmp_path / "f.csv").write_text("concept,n_text,N_text \ndog,1,2\n")
    with pytest.raises(DataError, match=r"f\.csv has the column 'n_text' twice"):
        read_frequencies(tmp_path / "f.csv")


@pytest.mark.parametrize("classwise", ["x", None, [1], {"\ud800": 5}, {"dog": "5"}])
def test_published_accuracies_that_are_none(tmp_path, classwise):
    path = tmp_path / "pets_class_results.json"
    path.write_text(json.dumps({"backboneA_pretrainedB": {"classwise": classwise}}))
    with pytest.raises(DataError, match=r"pets_class_results\.json"):
        read_accuracies(path)


def test_more_images_than_there_can_be(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("model,dataset,concept,n_correct,n_images\nm,d,dog,1,1e300\n")
    with pytest.raises(DataError, match="can be counted"):
        read_accuracies(path)


@pytest.mark.parametrize("index", ["Infinity", "-Infinity", "NaN", "1e999", "[1]", '"x"'])
def test_class_indexes_that_are_none(tmp_path, index):
    (tmp_path / "c.json").write_text(f'[{{"concept": "dog", "class_index": {index}}}]')
    with pytest.raises(ConceptAuditError):
        read_concepts(tmp_path / "c.json")


@pytest.mark.parametrize("change", [{"evidence": 3}, {"evidence": [[1]]}, {"rates": "x"}])
def test_calibrations_that_are_none(fuzz, tmp_path, change):
    [files] = fuzz.READERS["calibration"].seeds()
    body = json.loads(files["c.sealed.json"]) | change
    del body["sha256"]
    (tmp_path / "c.json").write_text(json.dumps({**body, "sha256": digest_of(body)}))
    with pytest.raises(DataError, match="is damaged"):
        Calibration.load(tmp_path / "c.json")


def test_labels_without_a_concept(tmp_path):
    (tmp_path / "l.csv").write_text("key,concept\n1,dog\n2,\n")
    with pytest.raises(DataError, match="Row 2 of"):
        read_labels(tmp_path / "l.csv", read_concepts(["dog"]).vocabulary)


def test_text_in_parquet_that_is_no_text(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    bad = pa.StringArray.from_buffers(
        1, pa.py_buffer(np.array([0, 2], np.int32).tobytes()), pa.py_buffer(b"\xff\xfe")
    )
    pq.write_table(pa.table({"concept": bad}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet as parquet: .*UTF8"):
        read_parquet(tmp_path / "a.parquet")
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"b\.parquet"):
        read_parquet(tmp_path / "b.parquet", columns=["c"])


@pytest.mark.parametrize("content", ["[]", '"x"', "{", "", '{"digest": ["d"]}'])
def test_a_folder_whose_start_is_damaged_is_not_resumed(tmp_path, content):
    (tmp_path / STARTED).write_text(content)
    with pytest.raises(ArtifactMismatchError, match="other inputs or settings"):
        claim(tmp_path, "d", resume=False, overwrite=False)
    assert claim(tmp_path, "d", resume=True, overwrite=False) == "resume"
