"""The published algorithm, against a second implementation of it written here, on every quirk."""

import json
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.auditing import AuditOptions, audit
from conceptaudit.errors import ConfigError
from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.paper import PaperIndex, caption_key, query_terms, search
from conceptaudit.text.pipeline import find_pipeline, load_bundled, load_pipeline

CAPTIONS = [
    "two dogs and a cat",
    "a hot stand that sells dogs",
    "children in Afghanistan",
    "Boeing 747 at the airport",
    "a boeing on the runway",
    "the airport of the city",
    "a T-shirt on a chair",
    "a chair beside a shirt",
    "a chair and a chair",
    "they watch the train",
    "a dog",
    "a dog",
]

COUNTED_BY_HAND = {
    "dog": 4,  # the lemma of "dogs"; exact duplicates count each
    "Dogs": 4,  # the name is lower-cased and lemmatised
    "hot_dog": 4,  # "hot" is no noun in any caption, so it is dropped and dogs remain
    "zebra dog": 4,  # a term that no caption holds is dropped
    "zebra": 0,
    "Afghanistan": 0,  # the index keeps the case of a proper noun, the query does not
    "boeing 747": 1,  # digits are stripped from the index: only the lower-case "boeing" is left
    "boeing 757": 1,
    "airport city": 1,  # a bag of words
    "chair shirt": 2,  # of "T-shirt" and "shirt": anywhere, in any order
    "t-shirt": 2,  # the last sub-token of the term is "shirt"
    "chair": 3,
    "watch": 0,  # a verb here
    "train": 1,
    "crane (bird)": 0,
    "_": 0,
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "captions.parquet"
    pd.DataFrame({"TEXT": CAPTIONS}).to_parquet(path)
    return path


def counts(path: Path, names: list[str], out: Path, **options: object) -> dict[str, int]:
    run = audit(path, names, out, options=AuditOptions(text_mode="paper", **options))
    return dict(zip(run.table["concept"], run.table["n_text"].astype(int), strict=True))


def independently(captions: list[str], names: list[str]) -> dict[str, int]:
    """The published scripts' loops, written down once more in the plainest way."""
    nlp = load_bundled()
    index: dict[str, set[int]] = {}
    for i, doc in enumerate(nlp.pipe(captions)):
        for token in doc:
            if token.pos_ in {"NOUN", "PROPN"}:
                index.setdefault(re.sub(r"[^A-Za-z ]", "", token.lemma_), set()).add(i)
    found = {}
    for name in names:
        sets = []
        for term in re.split(r"[_\s]+", name.lower()):
            lemma = None
            for token in nlp(term):
                lemma = token.lemma_
            if lemma in index:
                sets.append(index[lemma])
        found[name] = len(set.intersection(*sets)) if sets else 0
    return found


def test_counted_by_hand(corpus: Path, tmp_path: Path) -> None:
    names = list(COUNTED_BY_HAND)
    # "dog" and "Dogs" differ in case alone and would be merged as one concept
    first = counts(corpus, [n for n in names if n != "Dogs"], tmp_path / "a")
    second = counts(corpus, ["Dogs"], tmp_path / "b")
    assert {**first, **second} == COUNTED_BY_HAND
    assert independently(CAPTIONS, names) == COUNTED_BY_HAND


@pytest.mark.parametrize("shard_rows", [1, 5])
def test_any_sharding_gives_the_same(corpus: Path, tmp_path: Path, shard_rows: int) -> None:
    """A term may be held by another shard than the one that asks for it."""
    names = [name for name in COUNTED_BY_HAND if name != "Dogs"]
    whole = counts(corpus, names, tmp_path / "whole")
    assert counts(corpus, names, tmp_path / "cut", shard_rows=shard_rows) == whole
    bytes_of = [(tmp_path / run / "frequencies.csv").read_bytes() for run in ("whole", "cut")]
    assert bytes_of[0] == bytes_of[1]


def test_real_captions_as_the_published_loops_count_them(realdata: Path, tmp_path: Path) -> None:
    table = pd.read_parquet(realdata / "captions/laion_alt_text_10k.parquet")[1000:1200]
    path = tmp_path / "laion.parquet"
    table.to_parquet(path)
    names = pd.read_csv(realdata / "clip/detic_text_embeddings/lvis_categories.csv")["name"][::4]
    ours = counts(path, names.tolist(), tmp_path / "run", shard_rows=70)
    assert ours == independently(table["TEXT"].tolist(), names.tolist())
    assert sum(ours.values()) > 20


def test_terms_are_told(corpus: Path, tmp_path: Path) -> None:
    counts(corpus, ["zebra dog", "boeing 747"], tmp_path / "run")
    told = json.loads((tmp_path / "run/paper_terms.json").read_text())
    assert told["zebra dog"] == {"searched": ["dog"], "missing": ["zebra"]}
    assert told["boeing 747"] == {"searched": ["boeing"], "missing": ["747"]}


def test_rows_without_url_or_caption_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "laion.parquet"
    captions = ["a dog", "a dog", "a dog", None, ""]
    pd.DataFrame({"TEXT": captions, "URL": ["u", None, "", "v", "w"]}).to_parquet(path)
    run = audit(path, ["dog"], tmp_path / "run", options=AuditOptions(text_mode="paper"))
    assert run.table["n_text"].tolist() == [1]
    assert run.account["text"]["dropped"] == {
        "caption:empty_caption": 1,
        "caption:null_caption": 1,
        "sample:missing_url": 2,
    }
    ours = audit(path, ["dog"], tmp_path / "ours")
    assert ours.table["n_text"].tolist() == [3]


def test_a_resumed_run_has_the_same_bytes(corpus: Path, tmp_path: Path) -> None:
    names = ["dog", "hot_dog"]
    counts(corpus, names, tmp_path / "a", shard_rows=4)
    counts(corpus, names, tmp_path / "b", shard_rows=4)
    for gone in ("terms/0000000-0000000000004.json", "text/0000000-0000000000008.parquet"):
        (tmp_path / "b" / gone).unlink()
    counts(corpus, names, tmp_path / "b", shard_rows=4)
    for path in sorted((tmp_path / "a").rglob("*")):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.is_dir() or path.read_bytes() == other.read_bytes(), path.name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pos": "any"}, "counts nouns only"),
        ({"nested": True}, "bags of words"),
        ({"unit": "document"}, "bags of words"),
    ],
)
def test_what_the_algorithm_does_not_know_is_refused(
    corpus: Path, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        counts(corpus, ["dog"], tmp_path / "run", **options)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="'text_mode' parameter of AuditOptions must be one of"):
        AuditOptions(text_mode="papers")


def test_a_pipeline_without_lemmas_is_refused(tmp_path: Path) -> None:
    import spacy

    nlp = spacy.blank("en")
    nlp.add_pipe("morphologizer").add_label("POS=NOUN")
    nlp.initialize()
    nlp.to_disk(tmp_path / "nolemma")
    words = ConceptVocabulary((Concept(name="dog"),))
    with pytest.raises(ConfigError, match="no lemmatizer"):
        PaperIndex(vocabulary=words, pipeline=find_pipeline(str(tmp_path / "nolemma")))


@given(st.text(max_size=40))
@settings(max_examples=12, deadline=None)
def test_any_name_has_a_query_and_any_lemma_a_key(text: str) -> None:
    ((*terms,),) = query_terms(load_bundled(), [text])
    assert len(set(terms)) == len(terms)
    assert re.fullmatch("[A-Za-z ]*", caption_key(text))


@given(
    st.sets(st.tuples(st.integers(0, 8), st.integers(0, 5)), max_size=30),
    st.lists(st.lists(st.integers(0, 6), max_size=3), min_size=1, max_size=5),
)
@settings(max_examples=50, deadline=None)
def test_search_is_an_intersection(held: set[tuple[int, int]], queries: list[list[int]]) -> None:
    present = frozenset(term for _, term in held)
    pairs = sorted(held)
    samples, concepts = search(
        np.array([s for s, _ in pairs], dtype=np.int64),
        np.array([t for _, t in pairs], dtype=np.int64),
        queries,
        present,
    )
    expected = set()
    for concept, terms in enumerate(queries):
        sets = [{s for s, t in held if t == term} for term in set(terms) & present]
        expected |= {(s, concept) for s in (set.intersection(*sets) if sets else ())}
    found = list(zip(samples.tolist(), concepts.tolist(), strict=True))
    assert set(found) == expected
    assert all(a < b for a, b in pairwise(found))


STRANGE = [
    "x" * 100_000 + " dog",
    "\x00\x07\x1b[31m dog",
    "\ud800 dog",
    "🐶" * 300,
    "<b>dog</b> https://example.org/dog.jpg",
    "",
    None,
    7,
    ["dog"],
    "كلب dog 犬",
]


def test_strange_captions_are_counted_or_told(tmp_path: Path) -> None:
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps({"text": caption}) + "\n" for caption in STRANGE))
    run = audit(path, ["dog"], tmp_path / "run", options=AuditOptions(text_mode="paper"))
    account = run.account["text"]
    assert account["dropped"] == {
        "caption:empty_caption": 1,
        "caption:null_caption": 1,
    }
    assert account["noted"] == {"caption_cut": 1, "caption_not_text": 1, "caption_not_utf8": 1}
    assert account["n_used"] == len(STRANGE) - 2  # a list of captions is as many captions


def test_a_caption_that_breaks_the_pipeline_is_lost_alone(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(load_pipeline("bundled"))
    make_doc = kind.make_doc

    def fragile(self: object, text: str) -> object:
        if "Boeing" in text:
            raise RuntimeError("no")
        return make_doc(self, text)

    monkeypatch.setattr(kind, "make_doc", fragile)
    run = audit(corpus, ["airport"], tmp_path / "run", options=AuditOptions(text_mode="paper"))
    assert run.account["text"]["dropped"] == {"caption:tagger_failed": 1}
    assert run.table["n_text"].tolist() == [1]
