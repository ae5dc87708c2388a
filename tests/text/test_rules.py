"""The precision of every rule, on tokens labelled by hand; the docstrings have the figures."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from conceptaudit.text.rules import ACCEPT, REJECT, RULES, decide
from conceptaudit.text.token_table import split_words, word_key
from conceptaudit.text.word_classes import CAPITAL, NOUN_ONLY, Around, word_class

if TYPE_CHECKING:
    from conftest import Place

FOLDER = Path(__file__).parent


def around(places: list[tuple[str, int]]) -> Around:
    """Lay out captions around the word that holds a character of each."""
    classes, captions, at = [], [], []
    for number, (text, character) in enumerate(places):
        for word, start in split_words(text):
            if start <= character < start + len(word):
                at.append(len(classes))
            classes.append(word_class(word_key(word)) | (CAPITAL if word[:1].isupper() else 0))
            captions.append(number)
    assert len(at) == len(places)
    return Around(np.array(classes), np.array(captions), np.array(at))


@pytest.fixture(scope="module")
def labelled(place: Place) -> tuple[Around, pd.DataFrame]:
    """What stands around all labelled words that can be something else than a noun."""
    tables = [pd.read_csv(FOLDER / name) for name in ("noun_labels.csv", "everyday_nouns.csv")]
    table = pd.concat(tables, ignore_index=True)
    table["noun_only"] = [bool(word_class(word) & NOUN_ONLY) for word in table["word"]]
    table = table[~table["noun_only"]]
    return around(place(table)), table


def test_docstrings_have_the_precision(labelled: tuple[Around, pd.DataFrame]) -> None:
    words, table = labelled
    is_noun = (table["label"] == "noun").to_numpy()
    decided = np.zeros(len(table), dtype=bool)
    wrong = {}
    for rule, verdict in RULES:
        here = rule(words) & ~decided
        decided |= here
        if verdict in (ACCEPT, REJECT):
            right = int((is_noun == (verdict == ACCEPT))[here].sum())
            stated = re.search(r"(\d+) of (\d+)\.", rule.__doc__ or "")
            if (right, int(here.sum())) != (stated and tuple(map(int, stated.groups()))):
                wrong[rule.__name__] = f"{right} of {here.sum()}."
    assert not wrong


@pytest.mark.parametrize(("corpus", "share", "precision"), [
    ("flickr30k_en", 0.70, 0.99), ("flickr8k", 0.70, 0.99),
    ("laion_alt_text_10k", 0.50, 0.99), ("cc3m_validation", 0.60, 0.98),
])  # fmt: skip
def test_rules_decide_most_words_and_are_right(
    labelled: tuple[Around, pd.DataFrame], corpus: str, share: float, precision: float
) -> None:
    words, table = labelled
    here = (table["corpus"] == corpus).to_numpy()
    verdicts = decide(words)[here]
    is_noun = (table["label"] == "noun").to_numpy()[here]
    decided = verdicts != 0
    assert decided.mean() >= share
    assert ((verdicts == ACCEPT) == is_noun)[decided].mean() >= precision


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("garden *combs for the home", ACCEPT),
        ("photo of kitchen *forks", ACCEPT),
        ("a dog with a leash *poses for the camera", REJECT),
        ("dog with leash *poses for the camera", 0),
        ("a kitchen with a stove, *sink and microwave", ACCEPT),
        ("A kitchen with stove, window, and *sink in it.", ACCEPT),
        ("lights shining on the cupboard and *sink", ACCEPT),
        ("Eat, *sink and swim", 0),
        ("Two children sit on a bench and *watch", 0),
        ("great mens *watch", ACCEPT),
        ("A small dog *jumps over a log", REJECT),
        ("A person wearing *skis", ACCEPT),
        ("A man and a woman hold *signs", 0),
        ("two boys *swing from a rope", REJECT),
        ("a group of women *watch .", REJECT),
        ("the umpire closely *watches", REJECT),
        ("Live Love *Show Metal Sign", 0),
        ("a *table", ACCEPT),
    ],
)
def test_examples_that_nobody_drew(text: str, verdict: int) -> None:
    start = text.index("*")
    assert decide(around([(text.replace("*", ""), start)])).tolist() == [verdict]


def test_no_rule_is_listed_twice() -> None:
    assert max(Counter(rule.__name__ for rule, _ in RULES).values()) == 1
