"""Texts of any length count once for a concept, wherever they name it."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.errors import ConfigError
from conceptaudit.text.annotator import PASSAGE_CHARS, by_passage, passages, tag_documents
from conceptaudit.text.mentions import Annotated, Mention

SENTENCE = "The committee agreed on the budget for another year. "
DOCUMENTS = [
    {"id": "d0", "text": SENTENCE * 1_000 + "At the end they saw a zebra."},
    {"id": "d1", "text": "A dog. " + SENTENCE * 300 + "Two dogs."},
    {"id": "d2", "text": "They watch the watch."},
    {"id": "d3", "text": ""},
    {"id": "d4", "text": None},
    {"id": "d5", "text": "Nothing."},
]


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.zst", ".jsonl.gz", ".parquet"])
def test_documents_are_counted_to_their_end(tmp_path: Path, ending: str) -> None:
    path = write(tmp_path / f"documents{ending}")
    run = audit(
        path,
        ["dog", "zebra", "watch"],
        tmp_path / "run",
        options=AuditOptions(unit="document", shard_rows=2),
    )
    assert run.table["n_text"].tolist() == [1, 1, 1]
    assert run.account["text"] == {
        "n_samples": 6,
        "n_used": 4,
        "dropped": {"caption:empty_caption": 1, "caption:null_caption": 1},
        "noted": {},
    }
    tags = [json.loads(line) for line in tag_rows(tmp_path / "run")]
    assert ["d1", 2.0] in tags  # both mentions, passages apart, in one row


def test_a_caption_of_that_length_is_cut_and_that_is_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "documents.jsonl")
    run = audit(path, ["dog", "zebra"], tmp_path / "run")
    assert run.table["n_text"].tolist() == [1, 0]
    assert run.account["text"]["noted"] == {"caption_cut": 2}


def write(path: Path) -> Path:
    lines = "".join(json.dumps(document) + "\n" for document in DOCUMENTS).encode()
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(DOCUMENTS), path)
    elif path.suffix == ".zst":
        halves = lines[:200], lines[200:]  # two frames, as concatenated shards have them
        packed = [pa.compress(half, codec="zstd", asbytes=True) for half in halves]
        path.write_bytes(b"".join(packed))
    elif path.suffix == ".gz":
        import gzip

        path.write_bytes(gzip.compress(lines))
    else:
        path.write_bytes(lines)
    return path


def tag_rows(run: Path) -> list[str]:
    import pandas as pd

    tables = [pd.read_parquet(path) for path in sorted((run / "text").glob("*[0-9].parquet"))]
    return [
        json.dumps([key, score])
        for table in tables
        for key, score in zip(table["key"], table["score"], strict=True)
    ]


def test_a_damaged_archive_is_told(tmp_path: Path) -> None:
    path = tmp_path / "documents.jsonl.zst"
    write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match="truncated, damaged"):
        audit(path, ["dog"], tmp_path / "run", options=AuditOptions(unit="document"))


def test_units_that_are_none_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "documents.jsonl")
    with pytest.raises(ConfigError, match="'unit' parameter"):
        audit(path, ["dog"], tmp_path / "run", options=AuditOptions(unit="page"))


@given(st.text(alphabet="ab .\n!?\u3002x", max_size=400), st.integers(2, 40))
@settings(max_examples=200, deadline=None)
def test_passages_are_the_text(text: str, longest: int) -> None:
    spans = list(passages(text, longest))
    assert "".join(text[start:stop] for start, stop in spans) == text
    assert all(0 < stop - start <= longest for start, stop in spans) or not text


def test_passages_end_where_readers_pause() -> None:
    text = "a " * (PASSAGE_CHARS // 4) + "stop. " + "b " * PASSAGE_CHARS
    (_, first), *_ = passages(text)
    assert text[:first].endswith("stop. ")


def test_offsets_are_those_of_the_document() -> None:
    def tag(texts: list[str]) -> list[Annotated | str]:
        return [Annotated((Mention(0, 1, 2),), (Mention(1, 0, 1),)) for _ in texts]

    (found,) = tag_documents(tag, ["x" * (PASSAGE_CHARS + 1)])
    assert isinstance(found, Annotated)
    starts = [mention.start for mention in found.mentions]
    assert len(starts) > 1
    assert starts == [mention.start + 1 for mention in found.rejected]


def test_a_passage_that_fails_loses_its_document_alone() -> None:
    def tag(texts: list[str]) -> list[Annotated | str]:
        return ["ValueError: no" if "poison" in text else Annotated() for text in texts]

    assert tag_documents(tag, ["good", "x " * PASSAGE_CHARS + "poison", "good"]) == [
        Annotated(),
        "ValueError: no",
        Annotated(),
    ]


def test_many_documents_are_read_a_few_at_a_time() -> None:
    sizes = []

    def read(texts: list[str]) -> list[int]:
        sizes.append(len(texts))
        return [len(text) for text in texts]

    found = list(by_passage(read, ["abc"] * 2_000))
    assert found == [[(0, 3)]] * 2_000
    assert max(sizes) <= 512
