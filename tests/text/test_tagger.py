"""Captions are tagged with the concepts that they name as nouns."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conceptaudit.datasets.base import Shard
from conceptaudit.errors import ConfigError, MissingDependencyError
from conceptaudit.records import Concept, ConceptVocabulary, SampleBatch
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.mentions import NO_MENTIONS, Annotated, Mention
from conceptaudit.text.normalize import caption_text
from conceptaudit.text.pipeline import find_pipeline, load_pipeline
from conceptaudit.text.tagger import TextTagger, annotator_of

SHARD = Shard(name="000000", files=(), file_index=0)
Count = Callable[[str], dict[str, int]]

CONCEPTS = ConceptVocabulary(
    tuple(
        Concept(name=name, aliases=aliases)
        for name, aliases in {
            "dog": ("hound",),
            "hot_dog": (),
            "t-shirt": ("tee shirt",),
            "watch": (),
            "train": (),
            "mouse_(animal)": (),
            "Boeing 747": (),
            "bottle of water": (),
            "Apples": (),
            "Afghanistan": (),
            "café": (),
            "glass": (),
            "spectacles": ("glasses",),
            "wine glass": (),
        }.items()
    )
)


@pytest.fixture(scope="module")
def tagger() -> TextTagger:
    return TextTagger(vocabulary=CONCEPTS, pipeline=find_pipeline())


@pytest.fixture(scope="module")
def count() -> Count:
    annotator = CaptionAnnotator(load_pipeline("bundled"), CONCEPTS, any_pos=False, nested=False)

    def tag(caption: str) -> dict[str, int]:
        (annotated,) = annotator.tag([caption])
        assert not isinstance(annotated, str)
        return {CONCEPTS.names[i]: n for i, n in annotated.counts.items()}

    return tag


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("two dogs and a hound", {"dog": 2}),
        ("hot dogs for a dog", {"hot_dog": 1, "dog": 1}),
        ("the dog's bowl", {"dog": 1}),
        ("A T-shirt, two T-Shirts and a t - shirt", {"t-shirt": 3}),
        ("a man watches the train", {"train": 1}),
        ("they watch a gold watch", {"watch": 1}),
        ("three white mice in a box", {"mouse_(animal)": 1}),
        ("a Boeing 747 taking off", {"Boeing 747": 1}),
        ("bottles of water on a table", {"bottle of water": 1}),
        ("an apple on a plate", {"Apples": 1}),
        ("children in Afghanistan", {"Afghanistan": 1}),
        ("CHILDREN IN AFGHANISTAN", {"Afghanistan": 1}),
        ("people at a café", {"café": 1}),
        ("people at a cafe\u0301", {"café": 1}),
        ("a woman with glasses holds a glass", {"spectacles": 1, "glass": 1}),
        ("old_dog-and-mouse.JPG", {"dog": 1, "mouse_(animal)": 1}),
        ("two wine glasses", {"wine glass": 1}),
        ("a doghouse", {}),
        ("", {}),
    ],
)
def test_counted_by_hand(count: Count, caption: str, expected: dict[str, int]) -> None:
    assert count(caption) == expected


def test_mentions_and_rejected_look_alikes_carry_their_place() -> None:
    annotator = CaptionAnnotator(load_pipeline("bundled"), CONCEPTS, any_pos=False, nested=False)
    caption = "they watch two hot  dogs beside a hot-dog and a watch"
    (found,) = annotator.tag([caption])
    assert isinstance(found, Annotated)
    text = caption_text(caption)
    places = [
        [(CONCEPTS.names[m.concept_id], text[m.start : m.stop]) for m in side]
        for side in (found.mentions, found.rejected)
    ]
    assert places == [
        [("hot_dog", "hot dogs"), ("hot_dog", "hot-dog"), ("watch", "watch")],
        [("watch", "watch")],
    ]


@pytest.mark.parametrize(
    "caption",
    [
        "x" * 10_000,
        "dog " * 2_000,
        "🐶" * 10_000,
        "!?" * 5_000,
        "(" * 10_000,
        "\x00\x07\x1b[31m dog",
        "<script>dog</script>",
        "https://example.org/dog.jpg?dog=1",
        "\u202edog\u202c",
        "كلب dog 犬",
        "12345 67890",
    ],
)
def test_strange_captions_are_captions(count: Count, caption: str) -> None:
    assert all(n > 0 for n in count(caption).values())


@given(st.lists(st.text(max_size=60), max_size=8))
@settings(max_examples=60, deadline=None)
def test_captions_do_not_influence_each_other(captions: list[str]) -> None:
    annotator = CaptionAnnotator(load_pipeline("bundled"), CONCEPTS, any_pos=False, nested=False)
    assert annotator.tag(captions) == [annotator.tag([caption])[0] for caption in captions]


def batches(captions: list[str | None]) -> Iterator[SampleBatch]:
    n = len(captions)
    yield SampleBatch(
        sample_ids=np.arange(n, dtype=np.int64), keys=[str(i) for i in range(n)], captions=captions
    )


def test_a_shard_gives_sorted_tags_with_mentions(tagger: TextTagger) -> None:
    captions: list[str | None] = ["dogs watch the train", "nothing", "a train and dog and dog"]
    table = tagger(SHARD, batches(captions)).tables[".parquet"]
    rows = table[["sample_id", "key", "concept_id", "score"]].to_numpy().tolist()
    assert rows == [[0, "0", 0, 1.0], [0, "0", 4, 1.0], [2, "2", 0, 2.0], [2, "2", 4, 1.0]]
    assert set(table["modality"]) == {"text"}


def test_the_account_adds_up(tagger: TextTagger) -> None:
    summary = tagger(SHARD, batches(["a dog", "a cat"])).summary
    nothing: list[list[int]] = [[], []]
    look_alikes = {"accepted": [[0], [1]], "rejected": nothing, "asked": nothing}
    look_alikes["aliases"] = nothing
    account = {"n_samples": 2, "n_used": 2, "dropped": {}, "noted": {}, "unspaced": 0}
    assert summary == {**account, "look_alikes": look_alikes}


def test_one_caption_that_breaks_the_pipeline_is_dropped_alone(
    tagger: TextTagger, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_doc = type(load_pipeline("bundled")).make_doc

    def fragile(self: object, text: str) -> object:
        if "poison" in text:
            raise RuntimeError(text)
        return make_doc(self, text)

    monkeypatch.setattr(type(load_pipeline("bundled")), "make_doc", fragile)
    # the tagger is asked only about what neither word nor rule decides: here "watch"
    fine, bad = "a dog. Free watch now", "a dog. poison! Free watch now"
    captions: list[str | None] = [fine] * 5 + [bad] + [fine] * 5
    result = tagger(SHARD, batches(captions))
    assert result.summary["dropped"] == {"caption:tagger_failed": 1}
    assert len(result.tables[".parquet"]) == 20
    drops = result.tables[".drops.parquet"]
    assert drops[["key", "detail"]].to_numpy().tolist() == [["5", "RuntimeError: poison!"]]


def test_what_one_batch_taught_the_pipeline_serves_the_next() -> None:
    """Strings of a memory zone are forgotten at its end; no cache may still point at them."""
    caption = "unheard-of zyxwvuts and Zorkmids frobnicate quuxes"
    for name in ("dog", "cat"):
        words = ConceptVocabulary((Concept(name=name),))
        annotator = CaptionAnnotator(load_pipeline("bundled"), words, any_pos=False, nested=False)
        assert annotator.tag([caption]) == annotator.tag([caption]) == [NO_MENTIONS]


def test_concepts_that_can_never_match_are_named() -> None:
    words = ConceptVocabulary((Concept(name="dog"), Concept(name="___"), Concept(name="!!!")))
    tagger = TextTagger(vocabulary=words, pipeline=find_pipeline())
    notes = list(annotator_of(tagger).unmatchable.values())
    assert len(notes) == 2
    assert "'___'" in notes[0]
    assert "'!!!'" in notes[1]


def test_a_pipeline_without_a_tagger_is_refused_with_the_reason(tmp_path: str) -> None:
    import spacy

    spacy.blank("de").to_disk(tmp_path)
    with pytest.raises(ConfigError, match="has no tagger"):
        find_pipeline(str(tmp_path))
    assert find_pipeline(str(tmp_path), pos="any").pos == "any"


def test_counting_strings_needs_no_tagger(tmp_path: str) -> None:
    import spacy

    spacy.blank("de").to_disk(tmp_path)
    words = ConceptVocabulary((Concept(name="Hund"), Concept(name="犬")))
    annotator = CaptionAnnotator(load_pipeline(str(tmp_path)), words, any_pos=True, nested=False)
    assert annotator.tag(["Ein Hund bellt", "犬"]) == [
        Annotated((Mention(0, 4, 8),)),
        Annotated((Mention(1, 0, 1),)),
    ]


def test_a_pipeline_that_is_not_there() -> None:
    with pytest.raises(MissingDependencyError, match="spacy download"):
        find_pipeline("xx_no_such_pipeline")
    with pytest.raises(ConfigError, match="'noun' or 'any'"):
        find_pipeline(pos="verb")


def test_settings_tell_pipelines_and_concepts_apart(tagger: TextTagger) -> None:
    other = TextTagger(vocabulary=CONCEPTS, pipeline=tagger.pipeline, nested=True)
    fewer = TextTagger(
        vocabulary=ConceptVocabulary((Concept(name="dog"),)), pipeline=tagger.pipeline
    )
    assert len({str(t.settings) for t in (tagger, other, fewer)}) == 3
