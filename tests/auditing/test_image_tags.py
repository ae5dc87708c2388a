"""Image tags of another tagger: joined by key, treated like ours, nothing lost in silence."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.auditing.taggers import UNKNOWN_CONCEPTS, UNKNOWN_KEYS
from conceptaudit.cli.main import main
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.external_tags import import_tags, key_hashes
from conceptaudit.image.tag_files import read_tag_rows
from conceptaudit.records import Concept, ConceptVocabulary

CONCEPTS = ConceptVocabulary(
    (Concept(name="dog", aliases=("hound",)), Concept(name="hot_dog"), Concept(name="cat"))
)
CAPTIONS = {"01": "a dog", "02": "a cat and a dog", "03": "hot dogs", "04": "nothing", "05": "dog"}
TAGS = [
    ("01", "dog", 0.9),
    ("01", "Hound", 0.95),  # an alias: the same concept again
    ("02", "Dog", 0.4),
    ("02", "cat", -3.5),
    ("03", "hot dog", 0.8),
    ("03", "bun", 0.7),  # no concept of the list
    ("04", "", 0.0),  # looked at, nothing found
    ("99", "cat", 0.5),  # no such sample
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "captions.csv"
    frame = pd.DataFrame({"key": list(CAPTIONS), "caption": list(CAPTIONS.values())})
    frame.to_csv(path, index=False)
    return path


def write_tags(path: Path, rows: list[tuple[str, str, float]] | None = None) -> str:
    frame = pd.DataFrame(rows or TAGS, columns=["key", "concept", "score"])
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))
    else:
        frame.to_csv(path, index=False, sep="\t" if path.suffix == ".tsv" else ",")
    return str(path)


def run(table: Path, tags: str, out: Path, **options: object) -> AuditRun:
    return audit(table, CONCEPTS, out, options=AuditOptions(image_tags=tags, **options))


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".jsonl"])
def test_counted_by_hand(table: Path, tmp_path: Path, ending: str) -> None:
    done = run(table, write_tags(tmp_path / f"tags{ending}"), tmp_path / "run")
    counts = done.table.set_index("concept")
    assert counts["n_text"].tolist() == [3, 1, 1]
    assert counts["n_image"].tolist() == [2, 1, 1]
    assert counts["n_joint"].tolist() == [2, 1, 1]
    assert counts.loc["dog", "n_image_high"] == pytest.approx(6.30, abs=0.01)
    assert done.account["image"] == {
        "n_samples": 5,
        "n_used": 4,
        "dropped": {"image:no_image_tags": 1},
        "noted": {},
    }
    assert done.alignment.n_both_tagged == 3
    assert done.alignment.n_misaligned == 0
    written = pd.concat(
        [pd.read_parquet(path) for path in (tmp_path / "run/image").glob("*0.parquet")]
    )
    assert written[["key", "concept_id"]].to_numpy().tolist() == [
        ["01", 0],
        ["02", 0],
        ["02", 2],
        ["03", 1],
    ]
    np.testing.assert_allclose(written["score"], [0.95, 0.4, -3.5, 0.8], rtol=1e-6)
    unknown = pd.read_parquet(tmp_path / "run" / UNKNOWN_KEYS)
    assert unknown.to_numpy().tolist() == [["99", 1]]
    concepts = pd.read_csv(tmp_path / "run" / UNKNOWN_CONCEPTS)
    assert concepts.to_numpy().tolist() == [["bun", 1]]
    notes = " ".join(done.notes)
    assert "1 key of tags" in notes
    assert "1 row with a key and concept" in notes


def test_any_sharding_and_any_order_of_rows_count_the_same(table: Path, tmp_path: Path) -> None:
    whole = run(table, write_tags(tmp_path / "a.csv"), tmp_path / "whole")
    shuffled = write_tags(tmp_path / "b.csv", [TAGS[i] for i in (7, 3, 0, 6, 5, 1, 4, 2)])
    for name, options in {"cut": {"shard_rows": 2}, "two": {"shard_rows": 2, "workers": 2}}.items():
        cut = run(table, shuffled, tmp_path / name, **options)
        pd.testing.assert_frame_equal(cut.table, whole.table)
        assert cut.account == whole.account


def test_a_threshold_leaves_out_weak_tags_but_not_their_keys(table: Path, tmp_path: Path) -> None:
    tags = write_tags(tmp_path / "tags.csv")
    done = run(table, tags, tmp_path / "run", image_tag_threshold=0.5)
    assert done.table["n_image"].tolist() == [1, 1, 0]
    assert done.account["image"]["n_used"] == 4
    assert any("2 rows with a score below" in note for note in done.notes)
    again = run(table, tags, tmp_path / "run", image_tag_threshold=0.5)
    assert again.redone["image"] == {"kept": 1, "redone": {}}
    pd.testing.assert_frame_equal(again.table, done.table)


def test_tags_without_scores(table: Path, tmp_path: Path) -> None:
    path = tmp_path / "tags.csv"
    path.write_text("Image_ID,Label\n01,dog\n02,cat\n")
    assert run(table, str(path), tmp_path / "run").table["n_image"].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="'score'"):
        run(table, str(path), tmp_path / "r", image_tag_threshold=0.5)


def test_captions_that_share_a_key_share_its_tags(tmp_path: Path) -> None:
    table = tmp_path / "five.csv"
    table.write_text("key,caption\n01,a dog\n01,a cat\n01,dogs\n")
    done = run(table, write_tags(tmp_path / "tags.csv", [("01", "dog", 1.0)]), tmp_path / "run")
    assert done.table["n_image"].tolist() == [3, 0, 0]
    assert done.table["n_joint"].tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("key,concept,score\n01,dog,nan\n", r"score = 'nan' in row 1 .*'01'"),
        ("key,concept,score\n01,dog,1\n02,cat,inf\n", "row 2"),
        ("key,concept,score\n01,dog,high\n", "'high' in row 1"),
        ("key,concept,score\n01,dog,\n", "row 1"),
        ("key,concept,score\n01,dog\n", "cannot be read"),
        ("x,y,z\nk1,dog,0.5\n", "columns"),
        ("", "empty"),
    ],
)
def test_bad_files(table: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tags.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        run(table, str(tmp_path / "tags.csv"), tmp_path / "run")


def test_other_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 but not really PAR1")
    (tmp_path / "b.jsonl").write_text('{"key": "1", "concept": "dog"}\n[1, 2]\n')
    (tmp_path / "c.jsonl").write_text('{"key": "1", "concept"\n')
    (tmp_path / "d.csv").write_bytes(b"key,concept\n1,\xff\xfe\n")
    for name, message in {
        "a.parquet": "a.parquet",
        "b.jsonl": "Line 2",
        "c.jsonl": "Line 1",
    }.items():
        with pytest.raises(DataError, match=message):
            list(read_tag_rows(tmp_path / name))
    with pytest.raises(DataError, match=r"d\.csv"):
        list(read_tag_rows(tmp_path / "d.csv"))
    with pytest.raises(ConfigError, match="endings"):
        list(read_tag_rows(tmp_path / "tags.xlsx"))


def test_bad_calls(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="choose one"):
        AuditOptions(image_tags="tags.csv", clip="lab")
    with pytest.raises(ConfigError, match="image_tags"):
        AuditOptions(image_tag_threshold=0.5)
    with pytest.raises(ConfigError, match="finite"):
        AuditOptions(image_tags="tags.csv", image_tag_threshold=float("nan"))
    (tmp_path / "c.txt").write_text("dog\n")
    command = ["audit", str(table), "-c", str(tmp_path / "c.txt"), "-o", str(tmp_path / "out")]
    assert main([*command, "--image-tags", str(tmp_path / "none.csv")]) == 2
    assert "none.csv" in capsys.readouterr().err


def test_many_rows_in_buckets_are_found_again(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"k{i}", CONCEPTS.names[j], s)
        for i, j, s in zip(
            rng.integers(0, 4000, 9000), rng.integers(0, 3, 9000), rng.random(9000), strict=True
        )
    ]
    write_tags(tmp_path / "t.parquet", rows)
    imported = import_tags(tmp_path / "t.parquet", "x", CONCEPTS, tmp_path / "b")
    best: dict[tuple[str, str], float] = {}
    for key, concept, score in rows:
        best[key, concept] = max(score, best.get((key, concept), 0.0))
    assert imported.summary["counts"]["n_repeated"] == 9000 - len(best)
    stored = np.concatenate([np.asarray(imported.bucket(n)) for n in range(64)])
    want = sorted(
        (int(key_hashes([key])[0]), CONCEPTS.names.index(concept), np.float32(score))
        for (key, concept), score in best.items()
    )
    assert [tuple(row) for row in stored.tolist()] == want


LISTS = {"key": ["01", "02", "04"], "classes": [["dog", "bun"], ["dog", "cat"], []],
         "scores": [[0.9, 0.8], [0.3, 0.7], []]}  # fmt: skip
BOXES = [
    {"key": "01", "objects": [{"class": "dog", "score": 0.9, "box": [0, 0, 1, 1]}]},
    {"key": "02", "objects": [{"label": "dog", "confidence": 0.3}, {"label": "cat", "conf": 0.7}]},
    {"key": "04", "objects": []},
]


def lists_of_tags(folder: Path, form: str) -> Path:
    path = folder / form
    if form == "lists.parquet":
        pd.DataFrame(LISTS).to_parquet(path)
    elif form == "boxes.parquet":
        pd.DataFrame(
            {"key": LISTS["key"], "objects": [row["objects"] for row in BOXES]}
        ).to_parquet(path)
    elif form == "lists.jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in BOXES))
    elif form == "lists.json":
        path.write_text(json.dumps(pd.DataFrame(LISTS).to_dict("records")))
    elif form == "by_key.json":
        path.write_text(
            '{"01": {"dog": 0.9, "bun": 0.8}, "02": {"dog": 0.3, "cat": 0.7}, "04": {}}'
        )
    elif form == "plain.csv":
        path.write_text("01,dog,0.9\n02,dog,0.3\n02,cat,0.7\n04,,0\n")
    elif form == "parts":
        path.mkdir()
        for number, row in enumerate(BOXES):
            (path / f"{number}.jsonl").write_text(json.dumps(row))
    else:
        with tarfile.open(path, "w") as archive:
            for row in BOXES:
                info = tarfile.TarInfo(f"{row['key']}.json")
                content = json.dumps(row).encode()
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return path


FORMS = (
    "lists.parquet", "boxes.parquet", "lists.jsonl", "lists.json", "by_key.json", "plain.csv",
    "parts", "tags.tar",
)  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_tags_as_datasets_carry_them(table: Path, tmp_path: Path, form: str) -> None:
    done = run(table, str(lists_of_tags(tmp_path, form)), tmp_path / "run")
    assert done.table["n_image"].tolist() == [2, 0, 1]
    assert done.account["image"]["n_used"] == 3
    again = run(table, str(tmp_path / form), tmp_path / "run_high", image_tag_threshold=0.5)
    assert again.table["n_image"].tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ram.csv", "01,dog,bun\n02,dog,cat,grass\n04\n"),
        ("ram.txt", "01\tdog | bun\n02\tdog | cat | grass\n04\t\n"),
        ("ram.jsonl", "".join(json.dumps({"image_path": key, "tags": tags}) + "\n"
                              for key, tags in zip(LISTS["key"], ["dog | bun", "dog | cat", ""],
                                                   strict=True))),
        ("header.csv", "image_id,tags\n01,dog | bun\n02,dog | cat\n04,\n"),
    ],
)  # fmt: skip
def test_tags_without_scores_in_one_line(
    table: Path, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    done = run(table, str(tmp_path / name), tmp_path / "run")
    assert done.table["n_image"].tolist() == [2, 0, 1]
    assert done.account["image"]["n_used"] == 3


def test_tags_inside_the_dataset_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"uid": ["a", "b"], "text": ["a dog", "a dog"], "tags": [["dog"], ["cat"]]}
    pd.DataFrame({**columns, "confidences": [[0.9], [0.8]]}).to_parquet(path)
    done = run(path, str(path), tmp_path / "run")
    assert done.table["n_image"].tolist() == [1, 0, 1]
    assert done.table["n_joint"].tolist() == [1, 0, 0]


def test_more_tags_than_scores(table: Path, tmp_path: Path) -> None:
    pd.DataFrame({"key": ["01"], "tags": [["dog", "cat"]], "scores": [[0.5]]}).to_parquet(
        tmp_path / "t.parquet"
    )
    with pytest.raises(DataError, match=r"Got 2 tags .* and 1 score"):
        run(table, str(tmp_path / "t.parquet"), tmp_path / "run")


def test_tags_are_checked_before_captions_are_read(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"{i},dog,0.5\n" for i in range(3)) + "9,dog,high\n"
    (tmp_path / "t.csv").write_text("key,concept,score\n" + rows)
    with pytest.raises(DataError, match="'high' in row 4"):
        run(table, str(tmp_path / "t.csv"), tmp_path / "run")
    assert not (tmp_path / "run" / "text").exists()
