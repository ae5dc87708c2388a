"""Pairs that need no tagger, and pairs that do: together they are what the whole pipeline finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.normalize import caption_texts
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.sampling import CERTAIN, MANY, Pairs, ranks

NAMES = ("watch", "orange", "dog", "hot dog", "tank top", "top", "zebra", "play")
TEXT = "a the they watch watches orange hot dog dogs tank top zebra play plays - , . in"
WORDS = TEXT.split(" ")


@pytest.fixture(scope="module")
def annotator() -> CaptionAnnotator:
    concepts = ConceptVocabulary(tuple(Concept(name=name) for name in NAMES))
    return CaptionAnnotator(load_pipeline("bundled"), concepts, any_pos=False, nested=False)


def keys_of(pairs: Pairs) -> np.ndarray:
    return pairs.captions * np.int64(len(NAMES)) + pairs.concepts


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), max_size=6))
@settings(max_examples=60, deadline=None)
def test_certain_pairs_and_decided_ones_are_what_tagging_finds(
    annotator: CaptionAnnotator, captions: list[str]
) -> None:
    texts = caption_texts(captions)
    pairs = annotator.pairs(texts)
    keys, certain = keys_of(pairs), pairs.forms == CERTAIN
    assert (np.diff(keys) > 0).all()
    found = annotator.find(texts, keys[~certain])
    decided = found.captions * np.int64(len(NAMES)) + found.concepts
    assert np.isin(decided, keys[~certain]).all()
    told = {
        caption * len(NAMES) + concept
        for caption, annotated in enumerate(annotator.tag(captions))
        if not isinstance(annotated, str)
        for concept in annotated.counts
    }
    assert set(keys[certain].tolist()) | set(decided[found.accepted].tolist()) == told


def test_only_pairs_that_are_asked_for_are_found(annotator: CaptionAnnotator) -> None:
    texts = ["they watch an orange play", "a gold watch"]
    watch = np.array([0, 1], dtype=np.int64) * len(NAMES) + NAMES.index("watch")
    found = annotator.find(texts, watch)
    assert found.captions.tolist() == [0, 1]
    assert found.accepted.tolist() == [False, True]
    assert [
        texts[i][a:b] for i, a, b in zip(found.captions, found.starts, found.stops, strict=True)
    ] == [
        "watch",
        "watch",
    ]
    assert not annotator.find(texts, watch[:0]).captions.size


def test_forms_and_contexts_by_hand(annotator: CaptionAnnotator) -> None:
    texts = ["Free play now", "Free play now", "Sale plays ,", "Free play now play", "a zebra"]
    pairs = annotator.pairs(texts)
    by_caption = dict(zip(pairs.captions.tolist(), range(5), strict=True))
    forms = [int(pairs.forms[by_caption[i]]) for i in range(5)]
    contexts = [int(pairs.contexts[by_caption[i]]) for i in range(5)]
    assert forms[0] == forms[1] != forms[2]
    assert contexts[0] == contexts[1] != contexts[2]
    assert contexts[3] == MANY
    assert forms[4] == CERTAIN
    assert pairs.mentions[by_caption[3]] == 2


def test_a_form_is_of_one_concept(annotator: CaptionAnnotator) -> None:
    texts = [f"Free {name} now" for name in NAMES] + [f"they {name} it" for name in NAMES]
    pairs = annotator.pairs(texts)
    is_open = pairs.forms != CERTAIN
    concepts = {}
    for form, concept in zip(pairs.forms[is_open], pairs.concepts[is_open], strict=True):
        assert concepts.setdefault(int(form), int(concept)) == concept
    assert len(set(concepts.values())) > 1


def test_another_seed_is_another_order() -> None:
    samples, forms = np.arange(50), np.full(50, 7)
    one, two = (np.argsort(ranks(samples, forms, seed=seed)).tolist() for seed in (0, 1))
    assert one != two
    assert sorted(one) == sorted(two) == list(range(50))
