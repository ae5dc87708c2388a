"""Tagging only where it matters finds what tagging every caption finds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text import window_network
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.normalize import caption_text
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.window_network import laid_out, read_network
from conceptaudit.vocabulary import read_concepts

AMBIGUOUS = ConceptVocabulary(
    tuple(
        Concept(name=name)
        for name in (
            "watch", "orange", "train", "hot dog", "dog", "tank top", "tank", "top", "play", "men",
            "t-shirt", "glass", "wine glass", "bottle of water", "water", "cover", "Boeing 747",
        )
    )
)  # fmt: skip


@pytest.fixture(scope="module")
def annotator() -> CaptionAnnotator:
    found = CaptionAnnotator(load_pipeline("bundled"), AMBIGUOUS, any_pos=False, nested=False)
    assert found.takes_shortcuts
    return found


def real_captions(realdata: Path, n: int) -> list[str]:
    flickr = pd.read_parquet(realdata / "captions/flickr30k_en.parquet")["caption"]
    photos = pd.read_parquet(realdata / "captions/flickr8k.parquet")["caption"]
    web = pd.read_parquet(realdata / "captions/laion_alt_text_10k.parquet")["TEXT"].dropna()
    table = (realdata / "captions/cc3m_validation.tsv").read_text(encoding="utf-8")
    alt = [line.split("\t")[0] for line in table.split("\n") if line]
    return [*flickr[-n:], *photos[-n:], *web[-n:], *alt[-n:]]


@pytest.mark.parametrize("nested", [False, True])
def test_real_captions_are_read_as_the_whole_pipeline_reads_them(
    realdata: Path, *, nested: bool
) -> None:
    lvis = read_concepts(realdata / "clip/detic_text_embeddings/lvis_categories.csv").vocabulary
    captions = real_captions(realdata, 250 if nested else 750)
    annotator = CaptionAnnotator(load_pipeline("bundled"), lvis, any_pos=False, nested=nested)
    assert annotator.takes_shortcuts
    whole = annotator.whole([caption_text(caption) for caption in captions])
    assert annotator.tag(captions) == whole
    # and again, now that every word and many surroundings are known
    assert annotator.tag(captions) == whole


TEXT = (
    "a the they watch watches watching Watch Orange orange train trains hot dog dogs Dogs "
    "t-shirt T shirt tank top play plays men James covered wine glass glasses bottle of "
    "water Boeing 747 - -- . , ! 's don't cannot U.S. naïve 🐶 犬 hot-dog tank/top (watch) "
    "watch, play."
)
WORDS = st.sampled_from(TEXT.split())


@given(st.lists(WORDS, max_size=12), st.sampled_from([" ", "  ", "\u3000", "\t"]))
@settings(max_examples=150, deadline=None)
def test_any_words_are_read_as_the_whole_pipeline_reads_them(
    annotator: CaptionAnnotator, words: list[str], space: str
) -> None:
    caption = space.join(words)
    assert annotator.tag([caption]) == annotator.whole([caption_text(caption)])


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_is_split_as_the_tokenizer_splits_it(
    annotator: CaptionAnnotator, text: str
) -> None:
    caption = caption_text(text)
    words = annotator.splitter([caption])
    doc = load_pipeline("bundled").make_doc(caption)
    assert [annotator.words.texts[i] for i in words.ids] == [token.text for token in doc]
    assert words.starts.tolist() == [token.idx for token in doc]


def test_close_decisions_are_left_to_the_pipeline(
    annotator: CaptionAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a margin that nothing clears, every open caption goes through the pipeline."""
    captions = ["they watch a gold watch", "orange trains", "Watches", "an orange on top"]
    monkeypatch.setattr("conceptaudit.text.deciding.CLEAR_MARGIN", 1e9)
    unsure = CaptionAnnotator(load_pipeline("bundled"), AMBIGUOUS, any_pos=False, nested=False)
    assert unsure.tag(captions) == annotator.tag(captions) == unsure.whole(captions)


def test_full_tables_are_emptied_without_changing_anything(
    annotator: CaptionAnnotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conceptaudit.text.annotator.MAX_DISTINCT", 3)
    small = CaptionAnnotator(load_pipeline("bundled"), AMBIGUOUS, any_pos=False, nested=False)
    for captions in (["a dog on a train"], ["they watch a gold watch"], ["hot dogs"]):
        assert small.tag(captions) == annotator.tag(captions)


def test_the_network_gives_the_pipelines_scores() -> None:
    nlp = load_pipeline("bundled")
    network = read_network(nlp)
    assert network is not None
    texts = ["a man watches two boats", "Orange", "x " * 40]
    docs = [nlp.make_doc(text) for text in texts]
    output = nlp.get_pipe("morphologizer").model.get_ref("softmax")
    for doc, vectors in zip(docs, nlp.get_pipe("tok2vec").model.predict(docs), strict=True):
        expected = vectors @ output.get_param("W").T + output.get_param("b")
        found = network.scores(*laid_out(network, [token.text for token in doc]))
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_another_architecture_gets_whole_captions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_network, "_PROBE", ("a dog",))
    monkeypatch.setattr(window_network, "_agrees", lambda *_: False)
    careful = CaptionAnnotator(load_pipeline("bundled"), AMBIGUOUS, any_pos=False, nested=False)
    assert not careful.takes_shortcuts
    (found,) = careful.tag(["they watch a gold watch"])
    assert not isinstance(found, str)
    assert found.counts == {0: 1}
    assert [mention.concept_id for mention in found.rejected] == [0]
