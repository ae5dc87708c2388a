"""Image tags of another tagger: joined by key, treated like ours, nothing lost in silence."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conceptaudit.auditing import AuditOptions, AuditRun, audit
from conceptaudit.auditing.image_tags import UNKNOWN_CONCEPTS, UNKNOWN_KEYS
from conceptaudit.cli.main import main
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.imported import import_tags, key_hashes
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
    assert "1 keys of tags" in notes
    assert "1 rows repeat" in notes


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
    assert any("2 rows score below" in note for note in done.notes)
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
        ("01,dog,0.5\n02,cat,0.5\n", "columns"),
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
