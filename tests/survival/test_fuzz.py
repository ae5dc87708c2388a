"""Damaged files never crash a reader: a short run of fuzz_readers.py, and past finds."""

import importlib
import io
import json
import re
import tarfile

import numpy as np
import pandas as pd
import pytest

from conceptaudit.artifacts import STARTED, ShardStore, digest_of
from conceptaudit.auditing.array_jobs import merge_audit
from conceptaudit.datasets import open_dataset
from conceptaudit.errors import ArtifactMismatchError, ConceptAuditError, ConfigError, DataError
from conceptaudit.frequency.readers import read_frequencies
from conceptaudit.image.calibration import Calibration
from conceptaudit.image.calibration.labels import read_labels
from conceptaudit.image.index.source import open_source
from conceptaudit.image.tag_files import read_tag_rows
from conceptaudit.image.vectors import read_concept_vectors
from conceptaudit.longtail import read_long_tail
from conceptaudit.longtail.examples import read_examples
from conceptaudit.longtail.pretraining import open_pretraining
from conceptaudit.longtail.source import read_audit
from conceptaudit.reading import read_parquet
from conceptaudit.report.inputs import read_predictions, read_run
from conceptaudit.store.run_folder import RunFolder
from conceptaudit.validation import validate
from conceptaudit.vocabulary import read_concepts
from conceptaudit.zeroshot.readers import read_accuracies
from conceptaudit.zeroshot.sets import open_evaluation_set

SLOW = ("records", "parts", "run-manifest", "run-tables", "run-evidence", "run-check", "index",
        "curve", "long-tail-set")  # fmt: skip
"""Readers whose seeds take seconds to make, or whose cases cost most: in the long run only."""

CASES = 25


@pytest.fixture(scope="module")
def fuzz():
    return importlib.import_module("fuzz_readers")


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


def tar_with_header(path, start, field, kind=b"0"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("0.txt")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"a dog"))
    data = bytearray(buffer.getvalue())
    data[start : start + len(field)] = field
    data[156:157] = kind
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\x00 " % sum(data[:512])
    path.write_bytes(data)
    return path


def test_a_member_larger_than_any_disk(tmp_path):
    path = tar_with_header(tmp_path / "a.tar", 124, b"\x80" + b"\x7f" * 11)
    with pytest.raises(DataError, match=r"a\.tar is damaged|truncated"):
        open_dataset(path)


def test_a_first_member_that_ends_before_it_begins(tmp_path):
    path = tar_with_header(tmp_path / "a.tar", 124, b"\x80" + b"\xff" * 11, b"x")
    with pytest.raises(DataError, match=r"a\.tar is damaged: after byte 0"):
        open_dataset(path)


@pytest.mark.parametrize("row", ['{"\\ud800": 1}', '{"key": "1", "concept": "\\ud800"}'])
def test_tags_that_are_no_text(tmp_path, row):
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"key": "0", "concept": "dog", "score": 0.5}}\n{row}\n')
    with pytest.raises(DataError, match=r"Line 2 of .*t\.jsonl holds text that is no"):
        list(read_tag_rows(path))


@pytest.mark.parametrize("header", [b"{'shape': (3,{[]: 1}", b"{'descr': 01}", b"("])
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
    run = RunFolder.at(tmp_path, kind="audit", digest="d" * 64)
    for how in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(ArtifactMismatchError, match="not an audit of conceptaudit"):
            run.check(**how)


def test_names_that_are_longer_than_a_file_system_allows(fuzz, tmp_path):
    long = "a" * 3000
    coco = {"images": [{"id": 0, "file_name": f"{long}.jpg"}],
            "annotations": [{"image_id": 0, "id": 0, "caption": "a dog"}]}  # fmt: skip
    (tmp_path / "captions.json").write_text(json.dumps(coco))
    assert open_dataset(tmp_path / "captions.json").provides == {"caption"}

    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"kind": "index", "files": {long: "0"}}))
    assert [(fault.file, fault.what) for fault in validate(folder).faults] == [(long, "missing")]

    store = ShardStore(folder=tmp_path / "text", digest="d")
    body = {"digest": store.expected("f"), "files": {long: "0"}, "result": 1, "shard": "s"}
    store.folder.mkdir()
    store.path("s", ".json").write_text(json.dumps({**body, "sha256": digest_of(body)}))
    assert store.fault("s", "f") == f"damaged: {long} is missing"


@pytest.mark.parametrize("files", [[["a", "b"]], "x", 3, None])
def test_records_whose_files_are_no_names(tmp_path, files):
    store = ShardStore(folder=tmp_path, digest="d")
    body = {"digest": store.expected("f"), "files": files, "result": 1, "shard": "s"}
    store.path("s", ".json").write_text(json.dumps({**body, "sha256": digest_of(body)}))
    assert "does not say what it was made from" in store.fault("s", "f")


def test_a_model_of_published_results_that_is_no_text(tmp_path):
    path = tmp_path / "pets_class_results.json"
    path.write_text('{"backbone\\ud800_pretrainedB": {"classwise": {"dog": 5}}}')
    with pytest.raises(DataError, match=r"pets_class_results\.json: the model"):
        read_accuracies(path)


def test_an_example_whose_path_is_none(tmp_path):
    (tmp_path / "e.csv").write_bytes(b"concept,path\ndog,a\0b.jpg\n")
    with pytest.raises(DataError, match="Cannot read the example"):
        read_examples(tmp_path / "e.csv", ["dog"], ["dog"])


def test_predictions_that_are_none(tmp_path):
    good = {"concept": ["dog"], "accuracy": [0.5], "low": [0.1], "high": [0.9]}
    path = tmp_path / "p.parquet"
    pd.DataFrame(good).to_parquet(path)
    damaged = path.read_bytes().replace(b'"name": "low"', b'"mane": "low"')
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"p\.parquet as parquet"):
        read_predictions(path)
    with pytest.raises(DataError, match="has the column 'concept' twice"):
        read_predictions(pd.concat([pd.DataFrame(good), pd.DataFrame(good)], axis=1))


@pytest.mark.parametrize("flags", [["x"], [None], [0.5]])
def test_a_truth_that_is_none(tmp_path, fuzz, flags):
    reader = fuzz.READERS["truth"]
    [files] = reader.seeds()
    table = pd.read_parquet(io.BytesIO(files["truth.parquet"]))
    table.assign(link_rot=flags * len(table)).to_parquet(tmp_path / "truth.parquet")
    with pytest.raises(DataError, match="'link_rot' must be true or false"):
        reader.read(tmp_path)
    (tmp_path / "truth.parquet").write_bytes(files["truth.parquet"][:-40])
    with pytest.raises(DataError, match=r"truth\.parquet"):
        reader.read(tmp_path)


def audit_folder(folder, **changes):
    told = {"kind": "audit", "settings": [{"stage": "embeddings"}], "shards": ["0"]} | changes
    concepts = [{"concept": "dog", "aliases": ["hound"]}]
    (folder / "manifest.json").write_text(json.dumps(told))
    (folder / "concepts.json").write_text(json.dumps(concepts))
    pd.DataFrame({"concept": ["dog"], "n_text": [1]}).to_parquet(folder / "frequencies.parquet")
    return folder


@pytest.mark.parametrize(
    "change",
    [{"shards": 3}, {"shards": None}, {"shards": ["../x"]}, {"shards": [1]}, {"settings": 3}],
)
def test_audits_whose_shards_or_settings_are_none(tmp_path, change):
    with pytest.raises(DataError, match=r"manifest\.json is damaged"):
        open_source(audit_folder(tmp_path, **change))


@pytest.mark.parametrize("dataset", ["a" * 5000, "nowhere", "a\0b"])
def test_data_of_a_pretraining_audit_that_are_nowhere(tmp_path, dataset):
    with pytest.raises(DataError, match="are not there"):
        open_pretraining(audit_folder(tmp_path, settings=[], dataset=dataset), "m")


def test_a_location_that_is_longer_than_a_file_system_allows():
    with pytest.raises(ConfigError, match="an existing file"):
        open_dataset("a" * 5000)


def test_settings_of_a_pretraining_audit_that_are_none(tmp_path):
    with pytest.raises(DataError, match="stored no embeddings"):
        open_pretraining(audit_folder(tmp_path, settings=3), "m")


@pytest.mark.parametrize("aliases", [3, 0.5, "hound", [3], {"a": 1}])
def test_aliases_of_an_audit_that_are_none(tmp_path, aliases):
    audit_folder(tmp_path)
    (tmp_path / "concepts.json").write_text(json.dumps([{"concept": "dog", "aliases": aliases}]))
    with pytest.raises(DataError, match=r"concepts\.json is damaged: aliases of 'dog'"):
        read_audit(tmp_path)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"classes": 3}, "classes"),
        ({"classes": [3]}, "classes[0].concept"),
        ({"classes": [{"concept": "dog", "folder": "dog", "included": 1}]}, "classes[0].included"),
        (
            {"classes": [{"concept": "dog", "included": True, "n_images": 1, "n_missing": 0}]},
            "classes[0].n_text",
        ),
        ({"notes": [3]}, "notes"),
        ({"removed": {"x": "y"}}, "removed"),
        ({"n_images": -1}, "n_images"),
    ],
)
def test_long_tail_sets_that_are_none(fuzz, tmp_path, change, named):
    [files] = fuzz.READERS["long-tail-set"].seeds()
    told = json.loads(files["manifest.json"])
    for name, data in {**files, "manifest.json": json.dumps(told | change).encode()}.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=re.escape(f"lacks a proper '{named}'")):
        read_long_tail(tmp_path)


def test_a_picture_of_a_long_tail_set_that_is_no_path(fuzz, tmp_path):
    reader = fuzz.READERS["long-tail-set"]
    [files] = reader.seeds()
    files["manifest.csv"] = files["manifest.csv"].replace(b"images/dog/0001_a.jpg", b"a\0b")
    del files["manifest.json"]
    told = json.loads(reader.seeds()[0]["manifest.json"])
    files["manifest.json"] = json.dumps({**told, "digest": "other"}).encode()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    assert "hot dog" in reader.read(tmp_path)


@pytest.mark.parametrize(
    "one", [3, {"class_index": 0}, {"class_index": 0, "concept": "dog", "folder": 3}]
)
def test_classes_of_an_evaluated_set_that_are_none(tmp_path, one):
    (tmp_path / "images").mkdir()
    (tmp_path / "manifest.json").write_text(json.dumps({"classes": [one]}))
    with pytest.raises(DataError, match=r"manifest\.json (lists no classes|is damaged)"):
        open_evaluation_set(tmp_path)


def test_curves_that_cannot_predict(fuzz, tmp_path):
    reader = fuzz.READERS["curve"]
    [files] = reader.seeds()
    told = json.loads(files["curve.json"])
    changes = [
        {"fits": [], "points": []},
        {"seed": -1},
        {"fits": [{**told["fits"][0], "model": "\ud800"}]},
        {"concepts": {**told["concepts"], "dataset": [None] * 12}},
        {"concepts": {**told["concepts"], "count": [-1.0] * 12}},
    ]
    for change in changes:
        (tmp_path / "curve.json").write_text(json.dumps(told | change))
        with pytest.raises(DataError, match="is a damaged curve"):
            reader.read(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": 3},
        {"dataset": None},
        {"concepts": 3},
        {"options": {"spacy_model": {}}},
        {"options": {"caption_column": 3}},
        {"options": {"templates": [3]}},
        {"options": {"nested": 1}},
        {"options": {"unknown": 1}},
        {"options": 3},
    ],
)
def test_a_run_whose_first_file_is_damaged_is_not_merged(tmp_path, change):
    told = {"kind": "audit", "dataset": str(tmp_path), "concepts": ["dog"], "options": {}}
    (tmp_path / STARTED).write_text(json.dumps(told | change))
    with pytest.raises(DataError, match=r"is damaged|no options of an audit"):
        merge_audit(tmp_path)


REPORTED = {
    "kind": "audit",
    "account": {"text": {"n_samples": 1, "n_used": 1, "dropped": {}, "noted": {}}},
    "digest": "d",
    "level": 0.9,
    "notes": [],
    "reading": {},
    "settings": [None],
    "shards": ["0"],
    "versions": {},
}
AGREEING = {
    "n_both_tagged": 2,
    "n_agreeing": 1,
    "n_misaligned": 1,
    "level": 0.9,
    "misalignment_degree": 0.5,
    "misaligned_among_tagged": 0.5,
    "misaligned_among_tagged_low": 0.1,
    "misaligned_among_tagged_high": 0.9,
}


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("manifest.json", {"account": {"text": {"n_samples": "x"}}}, "account"),
        ("manifest.json", {"account": {}}, "account"),
        ("manifest.json", {"level": float("nan")}, "level"),
        ("manifest.json", {"reading": None}, "reading"),
        ("manifest.json", {"settings": [3]}, "settings"),
        ("manifest.json", {"shards": ["../x"]}, "shards"),
        ("alignment.json", {"n_agreeing": None}, "n_agreeing"),
        ("alignment.json", {"misaligned_among_tagged_low": "x"}, "misaligned_among_tagged_low"),
        ("alignment.json", {"corrected": 3}, "corrected"),
        (
            "alignment.json",
            {"corrected": {"nothing_named_is_shown": 0.5}},
            "corrected.nothing_named_is_shown_low",
        ),
    ],
)
def test_audits_that_cannot_be_reported(tmp_path, file, change, named):
    audit_folder(tmp_path)
    for name, told in (("manifest.json", REPORTED), ("alignment.json", AGREEING)):
        (tmp_path / name).write_text(json.dumps(told | (change if name == file else {})))
    wanted = f"{re.escape(file)} is damaged: it lacks a proper '{re.escape(named)}'"
    with pytest.raises(DataError, match=f"{wanted}|level must lie"):
        read_run(tmp_path)


def test_an_audit_without_a_count_is_not_reported(tmp_path):
    audit_folder(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(REPORTED))
    table = pd.DataFrame({"concept": ["dog", "cat"], "n_text": pd.array([1, None], "Int64")})
    table.to_parquet(tmp_path / "frequencies.parquet")
    with pytest.raises(DataError, match="row 2: n_text is missing for concept 'cat'"):
        read_run(tmp_path)


def test_a_table_that_a_scan_of_arrows_waits_for_for_ever(fuzz, tmp_path):
    reader = fuzz.READERS["run-evidence"]
    files = fuzz.case_files(reader, reader.seeds(), "run-evidence", 11, 13_063)
    assert fuzz.run_case(reader, fuzz.Workshop(tmp_path), files) is None
