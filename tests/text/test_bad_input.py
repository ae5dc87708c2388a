"""Whatever a web page calls a caption is read, cut, replaced or dropped; nothing is fatal."""

import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import conceptaudit as ca
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.normalize import caption_text
from conceptaudit.text.pipeline import load_pipeline

NAMES = ("dog", "hot dog", "t-shirt", "🐶", "café", "Boeing 747", "c++", "a|b*", "x", "the", "كلب")
WORDS = ConceptVocabulary(tuple(Concept(name=name) for name in NAMES))

CAPTIONS = [
    "a dog",
    "dog " * 25_000,
    "a \x00\x1b[31m dog",
    "a \ud83d dog",
    "🐶" * 10_000,
    "<script>alert('x')</script> <b>dog</b>",
    "https://example.org/a/dog?x=dog",
    "",
    "   ",
    None,
    5,
    3.5,
    True,
    ["a dog"],
    {"a": "dog"},
    "\u202edog\u202c",
    "(" * 20_000,
    "=cmd|' /C calc'!A0 dog",
    "\ufeffdog\r\n\u2028dog",
    "لا كلب ولا dog 犬 und Hund",
]
NOT_TEXT = {"caption:caption_not_text": 1, "caption:empty_caption": 2, "caption:null_caption": 1}


@pytest.fixture(scope="module")
def annotator() -> CaptionAnnotator:
    return CaptionAnnotator(load_pipeline("bundled"), WORDS, any_pos=False, nested=False)


def test_every_kind_of_bad_caption_is_accounted_for(tmp_path: Path) -> None:
    rows = [json.dumps({"url": str(i), "caption": c}) for i, c in enumerate(CAPTIONS)]
    (tmp_path / "bad.jsonl").write_text("\n".join(rows))
    run = ca.audit(tmp_path / "bad.jsonl", ["dog", "🐶"], tmp_path / "run")
    account = run.account["text"]
    assert account["dropped"] == NOT_TEXT
    assert account["noted"] == {"caption_cut": 2, "caption_not_text": 3, "caption_not_utf8": 1}
    assert account["n_samples"] == len(CAPTIONS) == account["n_used"] + sum(NOT_TEXT.values())
    counts = dict(zip(run.table["concept"], run.table["n_text"], strict=True))
    assert counts == {"dog": 10, "🐶": 1}  # a list of captions is as many captions
    evidence = pd.read_parquet(tmp_path / "run" / "evidence.parquet")
    shown = "".join(evidence["before"] + evidence["matched"] + evidence["after"])
    assert shown.isprintable()


def test_bytes_are_read_as_utf8(tmp_path: Path) -> None:
    captions = [b"a dog", b"\xff\xfe dog", b"", None]
    table = pd.DataFrame({"url": list("abcd"), "caption": captions})
    table.to_parquet(tmp_path / "bytes.parquet")
    run = ca.audit(tmp_path / "bytes.parquet", ["dog"], tmp_path / "run")
    assert run.table["n_text"].tolist() == [2]
    assert run.account["text"]["noted"] == {"caption_not_utf8": 1}
    assert run.account["text"]["dropped"] == {"caption:empty_caption": 1, "caption:null_caption": 1}


ANY = st.text(st.characters(exclude_categories=()), max_size=30)
PIECES = st.sampled_from(
    ["dog", "hot", " ", "-", "T-shirt", "🐶", "café", "747", "Boeing", "c++", "'s", "\u200d", "."]
)


@given(st.lists(st.one_of(PIECES, ANY), max_size=12).map("".join))
@settings(max_examples=100, deadline=None)
def test_any_text_is_tagged_and_every_place_is_in_it(
    annotator: CaptionAnnotator, caption: str
) -> None:
    (found,) = annotator.tag([caption])
    assert not isinstance(found, str)
    text = caption_text(caption)
    for mention in (*found.mentions, *found.rejected):
        assert 0 <= mention.start < mention.stop <= len(text)
        assert text[mention.start : mention.stop].strip() == text[mention.start : mention.stop]
        assert 0 <= mention.concept_id < len(WORDS)
    assert not set(found.mentions) & set(found.rejected)


@given(st.text(st.characters(exclude_categories=()), max_size=30))
@settings(max_examples=60, deadline=None)
def test_any_name_is_a_concept_or_said_to_be_none(name: str) -> None:
    words = ConceptVocabulary((Concept(name=name), Concept(name=f"{name} dog")))
    annotator = CaptionAnnotator(load_pipeline("bundled"), words, any_pos=False, nested=False)
    assert set(annotator.unmatchable) <= {0}
    for annotated in annotator.tag([f"a {name} dog", name]):
        assert not isinstance(annotated, str)
