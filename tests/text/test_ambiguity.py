"""Rejected look-alikes are counted, and names that mean many things are named."""

import numpy as np
import pytest

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.mentions import (
    LOOK_ALIKES,
    Annotated,
    Mention,
    MentionTotals,
    RejectedMentions,
    look_alike_columns,
    look_alike_note,
)
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.text.wordnet import MANY_SENSES, ambiguity_note, noun_senses

WORDS = ConceptVocabulary(tuple(Concept(name=name) for name in ("watch", "dog", "bank")))


def added(shards):
    totals = MentionTotals(len(WORDS))
    records = [{LOOK_ALIKES: shard} for shard in shards]
    assert list(totals.noted([*records, {"n_used": 1}])) == [*records, {"n_used": 1}]
    assert totals.n_records == len(shards)
    return totals.accepted, totals.rejected


def test_shards_add_up_to_hand_counts() -> None:
    annotator = CaptionAnnotator(load_pipeline("bundled"), WORDS, any_pos=False, nested=False)
    shards = []
    for captions in (
        ["they watch the dog", "a gold watch", "two people watch a dog watch a dog"],
        ["a dog", "people watch"],
    ):
        sums = RejectedMentions()
        for found in annotator.tag(captions):
            assert not isinstance(found, str)
            sums.add(found)
        shards.append(sums.as_json())
    accepted, rejected = added(shards)
    assert accepted.tolist() == [1, 4, 0]
    assert rejected.tolist() == [4, 0, 0]
    columns = look_alike_columns(accepted, rejected, rejected)
    assert columns["n_text_rejected"].tolist() == [4, 0, 0]
    assert columns["text_rejected_share"][:2].tolist() == [0.8, 0.0]
    assert np.isnan(columns["text_rejected_share"][2])


def test_the_order_of_shards_does_not_matter() -> None:
    first, second = RejectedMentions(), RejectedMentions()
    first.add(Annotated((Mention(2, 0, 1),), (Mention(0, 2, 3),)))
    second.add(Annotated((Mention(2, 0, 1), Mention(1, 4, 5))))
    shards = [first.as_json(), second.as_json()]
    for left, right in zip(added(shards), added(shards[::-1]), strict=True):
        assert left.tolist() == right.tolist()


def test_the_worst_are_named_and_the_rare_are_not() -> None:
    accepted, rejected = np.array([10, 2, 50]), np.array([90, 3, 10])
    note = look_alike_note(WORDS, accepted, rejected)
    assert note is not None
    assert "'watch' 90 % of 100" in note
    assert "dog" not in note
    assert "bank" not in note
    assert look_alike_note(WORDS, accepted, np.zeros(3, dtype=int)) is None


@pytest.mark.parametrize(
    ("name", "least"),
    [("bank", 8), ("crane_(bird)", 2), ("bat", 4), ("hot dogs", 2), ("T-shirt", 1)],
)
def test_senses_of_names(name: str, least: int) -> None:
    senses = noun_senses(name)
    assert senses is not None
    assert senses >= least


def test_names_without_a_noun_sense_are_unknown() -> None:
    assert noun_senses("quickly") is None
    assert noun_senses("zorkmid frobnicator") is None
    assert noun_senses("") is None


def test_the_note_says_how_many_and_which() -> None:
    note = ambiguity_note(WORDS, [MANY_SENSES - 1, None, MANY_SENSES])
    assert note is not None
    assert note.startswith("1 of 3 names")
    assert f"'bank' {MANY_SENSES}" in note
    assert ambiguity_note(WORDS, [1, None, 1]) is None
