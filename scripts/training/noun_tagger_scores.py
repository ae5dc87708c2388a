"""Measure a noun tagger: on English-EWT with gold tokens, on captions, and its speed."""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from noun_tagger_corpus import Sentence, is_function_word
from spacy.language import Language
from spacy.tokens import Doc

from conceptaudit.text.word_forms import ANY_NOUN, ANY_OTHER, WordForms

_NOUNS = {"NOUN", "PROPN"}
CAPTION_FILES = ("flickr30k_en", "flickr8k", "laion_alt_text_10k", "cc3m_validation")


def score_gold(nlp: Language, sentences: Sequence[Sentence], *, lower: bool) -> dict[str, float]:
    """Accuracy on gold tokens; NOUN and PROPN are one class, lemmas are compared without case."""
    docs = [Doc(nlp.vocab, words=[w.lower() if lower else w for w in s.words]) for s in sentences]
    counts: collections.Counter[str] = collections.Counter()
    for doc, gold in zip(nlp.pipe(docs, batch_size=256), sentences, strict=True):
        for token, pos, lemma in zip(doc, gold.pos, gold.lemmas, strict=True):
            counts["tokens"] += 1
            counts["pos"] += token.pos_ == pos
            counts["predicted"] += token.pos_ in _NOUNS
            counts["lemma_any"] += token.lemma_.lower() == lemma.lower()
            if pos in _NOUNS:
                counts["nouns"] += 1
                counts["found"] += token.pos_ in _NOUNS
                counts["lemma"] += token.lemma_.lower() == lemma.lower()
    return {
        "pos": counts["pos"] / counts["tokens"],
        "noun_precision": counts["found"] / counts["predicted"],
        "noun_recall": counts["found"] / counts["nouns"],
        "lemma_of_nouns": counts["lemma"] / counts["nouns"],
        "lemma": counts["lemma_any"] / counts["tokens"],
    }


def read_captions(folder: Path, name: str) -> list[str]:
    """All captions of one of ``CAPTION_FILES``."""
    if name == "cc3m_validation":
        lines = (folder / f"{name}.tsv").read_text(encoding="utf-8").splitlines()
        return [line.split("\t")[0] for line in lines]
    table = pd.read_parquet(folder / f"{name}.parquet")
    column = "caption" if "caption" in table else "TEXT"
    return [str(text) for text in table[column] if isinstance(text, str)]


class NounOnlyWords:
    """Which tokens of captions can only be nouns.

    A token counts if its lower-cased form consists of letters and every lemma that it may inflect
    from, in Open English WordNet, is a noun. ``function_words`` do not count: WordNet has no
    pronouns, prepositions or conjunctions, and lists "at", "he" and "us" as nouns (astatine,
    helium, a country). They are the forms that English-EWT train tags as closed-class words or
    interjections at least half of the time.
    """

    def __init__(self, forms: WordForms, train: Iterable[Sentence]) -> None:
        self._plain = WordForms(entries=forms.entries, lemma_exceptions={}, not_nouns=[])
        tags: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        for sentence in train:
            for word, pos in zip(sentence.words, sentence.pos, strict=True):
                tags[word.lower()][pos] += 1
        self.function_words = {w for w, c in tags.items() if is_function_word(c)}
        self._known: dict[str, bool] = {}

    def __contains__(self, word: str) -> bool:
        word = word.lower()
        if word not in self._known:
            code = self._plain.code(word)
            self._known[word] = (
                word.isalpha()
                and word not in self.function_words
                and bool(code & ANY_NOUN)
                and not code & ANY_OTHER
            )
        return self._known[word]


def score_captions(nlp: Language, captions: Sequence[str], words: NounOnlyWords) -> dict[str, Any]:
    """Share of the tokens that can only be nouns which the pipeline tags as nouns."""
    n = hits = 0
    missed: collections.Counter[str] = collections.Counter()
    for doc in nlp.pipe(captions, batch_size=256):
        for token in doc:
            if token.text in words:
                n += 1
                if token.pos_ in _NOUNS:
                    hits += 1
                else:
                    missed[f"{token.lower_}/{token.pos_}"] += 1
    return {"nounness": hits / n, "n": n, "missed": dict(missed.most_common(12))}


def captions_per_second(
    pipelines: dict[str, Language], captions: Sequence[str], *, rounds: int = 3
) -> dict[str, float]:
    """Captions per second of processor time, the best of alternating runs; batches of 256."""
    best = dict.fromkeys(pipelines, 0.0)
    for _ in range(rounds):
        for name, nlp in pipelines.items():
            start = time.process_time()
            for _doc in nlp.pipe(captions, batch_size=256):
                pass
            best[name] = max(best[name], len(captions) / (time.process_time() - start))
    return best
