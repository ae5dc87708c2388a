"""What is a kind of what."""

import pytest

from conceptaudit.text.wordnet import _kinds, is_hyponym_of, kinds_of, senses_of


@pytest.mark.parametrize(
    ("name", "parent", "expected"),
    [
        ("dhole", "animal", True),
        ("dholes", "animal", True),
        ("Great_Dane", "dog", True),
        ("dog", "dog", True),
        ("dog", "great dane", False),
        ("violin", "musical instrument", True),
        ("violin", "animal", False),
        ("crane", "bird", True),
        ("crane", "device", True),
        ("tropical fish", "fish", True),
        ("kotoxyz", "animal", None),
        ("...", "animal", None),
    ],
)
def test_kinds(name, parent, expected):
    assert is_hyponym_of(name, parent) is expected


def test_the_word_of_a_synset_is_tried_where_the_name_is_unknown():
    assert is_hyponym_of("qxqx", "animal", "dog.n.01") is True
    assert is_hyponym_of("qxqx", "animal", "n02084071") is None
    assert senses_of("dog", "cat.n.01") == senses_of("dog")


def test_general_senses_come_first_so_there_is_no_circle():
    above = _kinds().above
    assert len(above) > 70_000
    assert all(parent < sense for sense, parents in enumerate(above) for parent in parents)
    assert [sense for sense, parents in enumerate(above) if not parents] == [0]


@pytest.mark.parametrize(
    ("name", "synset", "kind", "expected"),
    [
        ("person", None, "surfer", True),
        ("person", None, "people", True),
        ("people", None, "surfer", False),  # a people is a group
        ("person", None, "pole", False),  # first of all a rod, though a Pole is a person
        ("person", None, "cat", False),
        ("dog", None, "terrier", True),
        ("shoes", None, "gym shoe", True),
        ("mouse", "mouse.n.04", "computer mouse", True),
        ("mouse", "mouse.n.04", "field mouse", False),
        ("toilet", None, "men's", False),  # matching would take it for "men"
        ("sports ball", None, "ball", False),  # the lexicon lacks the phrase: nothing is known
    ],
)
def test_kinds_by_their_main_sense(
    name: str, synset: str | None, kind: str, expected: bool
) -> None:
    assert (kind in kinds_of(name, synset)) is expected
