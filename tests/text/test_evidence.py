"""Evidence is a fair sample that no sharding changes, with the words in their place."""

import random

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.evidence import (
    CONTEXT,
    COUNTED,
    REJECTED,
    EvidenceReservoir,
    limit_of,
    merge_evidence,
    named_evidence,
)
from conceptaudit.text.mentions import NO_MENTIONS, Annotated, Mention
from conceptaudit.text.normalize import caption_text

WORDS = ConceptVocabulary(tuple(Concept(name=name) for name in ("dog", "cat", "watch")))
Found = list[tuple[int, str, Annotated]]


def reservoir(found: Found, size: int, *, seed: int = 0) -> pd.DataFrame:
    kept = EvidenceReservoir(WORDS, size=size, seed=seed)
    for sample, caption, annotated in found:
        kept.add(sample, f"k{sample}", caption, annotated)
    return kept.table()


@st.composite
def corpora(draw: st.DrawFn) -> Found:
    concepts = st.lists(st.integers(0, 2), max_size=3)
    rows = draw(st.lists(st.tuples(concepts, concepts), max_size=40))
    return [
        (
            i,
            "a dog or a cat",
            Annotated(
                tuple(Mention(concept, 2, 5) for concept in counted),
                tuple(Mention(concept, 11, 14) for concept in rejected),
            ),
        )
        for i, (counted, rejected) in enumerate(rows)
    ]


@given(corpora(), st.integers(1, 6), st.integers(1, 7), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=40)
def test_no_sharding_and_no_order_changes_it(
    found: Found, size: int, n_shards: int, rng: random.Random
) -> None:
    whole = merge_evidence([reservoir(found, size)], size=size)
    rng.shuffle(found)
    parts = [reservoir(found[i::n_shards], size) for i in range(n_shards)]
    rng.shuffle(parts)
    merged = merge_evidence(parts, size=size)
    pd.testing.assert_frame_equal(merged, whole)
    for (_, kind), rows in merged.groupby(["concept_id", "kind"]):
        assert len(rows) <= limit_of(str(kind), size)


@given(corpora())
@settings(deadline=None, max_examples=40)
def test_everything_is_kept_where_there_is_room(found: Found) -> None:
    table = reservoir(found, 400)
    pairs = {(m.concept_id, COUNTED, i) for i, _, a in found for m in a.mentions}
    pairs |= {(m.concept_id, REJECTED, i) for i, _, a in found for m in a.rejected}
    kept = table[["concept_id", "kind", "sample_id"]].itertuples(index=False, name=None)
    assert set(kept) == pairs
    assert len(table) == len(pairs)


def test_the_sample_is_fair() -> None:
    found = [(i, "a dog", Annotated((Mention(0, 2, 5),))) for i in range(4_000)]
    early = [(reservoir(found, 40, seed=s)["sample_id"] < 2_000).sum() for s in range(20)]
    # 800 draws, half of them early: within five standard deviations
    assert 400 - 71 <= sum(early) <= 400 + 71
    assert (
        len(set(map(str, (reservoir(found, 5, seed=s)["sample_id"].tolist() for s in range(3)))))
        == 3
    )


def test_words_stand_in_their_context() -> None:
    caption = "x" * 100 + " a\x00big_dog\x1b[31m barks " + "y" * 100
    text = caption_text(caption)
    start = text.index("dog")
    table = reservoir([(3, caption, Annotated((Mention(0, start, start + 3),)))], 2)
    row = named_evidence(table, WORDS).iloc[0]
    assert (row["concept"], row["kind"], row["matched"], row["start"]) == (
        "dog",
        COUNTED,
        "dog",
        start,
    )
    assert row["before"] + row["matched"] + row["after"] in text
    assert len(row["before"]) == len(row["after"]) == CONTEXT
    assert row["before"].endswith(" a big ")
    assert "\x1b" not in row["after"]


def test_nothing_kept_is_an_empty_table() -> None:
    assert reservoir([(1, "a dog", Annotated((Mention(0, 2, 5),)))], 0).empty
    assert reservoir([(1, "nothing", NO_MENTIONS)], 3).empty
    assert merge_evidence([], size=3).empty


@pytest.mark.parametrize("name", ["dog", "cat"])
def test_the_order_of_the_list_does_not_matter(name: str) -> None:
    turned = ConceptVocabulary(WORDS.concepts[::-1])
    kept = []
    for words in (WORDS, turned):
        concept = words.names.index(name)
        held = EvidenceReservoir(words, size=3)
        for i in range(50):
            held.add(i, str(i), "a dog", Annotated((Mention(concept, 2, 5),)))
        kept.append(held.table()["sample_id"].tolist())
    assert kept[0] == kept[1]
