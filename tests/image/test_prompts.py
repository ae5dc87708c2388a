"""Prompts of concepts."""

import pytest

from conceptaudit.errors import ConfigError
from conceptaudit.image.concept_vectors import concept_prompts
from conceptaudit.records import Concept, ConceptVocabulary

VOCABULARY = ConceptVocabulary(
    (
        Concept(name="hot_dog", aliases=("frankfurter",)),
        Concept(name="dog", aliases=("hound",), prompts=("my dog",)),
    )
)


def test_names_go_into_every_template() -> None:
    found = concept_prompts(VOCABULARY, ("a photo of a {}.", "{c}"))
    assert found == [["a photo of a hot dog.", "hot dog"], ["my dog"]]


def test_aliases_take_part_where_asked_and_own_prompts_stay() -> None:
    found = concept_prompts(VOCABULARY, ("a {}",), aliases=True)
    assert found == [["a hot dog", "a frankfurter"], ["my dog"]]


def test_a_template_has_one_place_for_the_name() -> None:
    with pytest.raises(ConfigError, match="template"):
        concept_prompts(VOCABULARY, ("a photo",))
