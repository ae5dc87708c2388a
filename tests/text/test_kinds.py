"""What is a kind of what."""

import pytest

from conceptaudit.text.kinds import _kinds, is_kind_of, senses_of


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
    assert is_kind_of(name, parent) is expected


def test_the_word_of_a_synset_is_tried_where_the_name_is_unknown():
    assert is_kind_of("qxqx", "animal", "dog.n.01") is True
    assert is_kind_of("qxqx", "animal", "n02084071") is None
    assert senses_of("dog", "cat.n.01") == senses_of("dog")


def test_general_senses_come_first_so_there_is_no_circle():
    above = _kinds().above
    assert len(above) > 70_000
    assert all(parent < sense for sense, parents in enumerate(above) for parent in parents)
    assert [sense for sense, parents in enumerate(above) if not parents] == [0]
