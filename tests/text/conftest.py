"""Real captions, and what counts at labelled places in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import spacy

from conceptaudit.records import Concept, ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.mentions import Annotated
from conceptaudit.text.normalize import caption_text
from conceptaudit.text.pipeline import load_bundled

FILES = {
    "flickr30k_en": "flickr30k_en.parquet",
    "flickr8k": "flickr8k.parquet",
    "laion_alt_text_10k": "laion_alt_text_10k.parquet",
    "cc3m_validation": "cc3m_validation.tsv",
}

Annotate = Callable[[list[str], list[str]], list[Annotated]]
Judge = Callable[[pd.DataFrame, str], pd.DataFrame]
Place = Callable[[pd.DataFrame], list[tuple[str, int]]]


@pytest.fixture(scope="session")
def captions(realdata: Path) -> dict[str, list[str]]:
    """The captions of every set by its name."""
    texts = {}
    for corpus, name in FILES.items():
        path = realdata / "captions" / name
        if path.suffix == ".tsv":
            lines = path.read_text(encoding="utf-8").splitlines()
            texts[corpus] = [line.split("\t")[0] for line in lines]
        else:
            table = pd.read_parquet(path)
            column = table["caption" if "caption" in table else "TEXT"]
            texts[corpus] = [str(text) for text in column if isinstance(text, str)]
    return texts


@pytest.fixture(scope="session")
def annotate() -> Annotate:
    """Finds concepts of given names with the bundled tagger, names within names included."""
    nlp = load_bundled()

    def run(names: list[str], texts: list[str]) -> list[Annotated]:
        vocabulary = ConceptVocabulary(tuple(Concept(name=name) for name in names))
        found = CaptionAnnotator(nlp, vocabulary, any_pos=False, nested=True).tag(texts)
        return [annotated for annotated in found if not isinstance(annotated, str)]

    return run


@pytest.fixture(scope="session")
def place(captions: dict[str, list[str]]) -> Place:
    """Finds the caption of every labelled token, and its first character there."""
    tokenize = spacy.blank("en")

    def run(table: pd.DataFrame) -> list[tuple[str, int]]:
        places = []
        for row in table.itertuples():
            text = caption_text(captions[row.corpus][row.row])
            token = tokenize(text)[row.token]
            assert token.lower_ == row.word
            places.append((text, token.idx))
        return places

    return run


@pytest.fixture(scope="session")
def judge(place: Place, annotate: Annotate) -> Judge:
    """Adds to labelled places ``counted``: whether the concept in a column counts there."""

    def run(table: pd.DataFrame, column: str) -> pd.DataFrame:
        places = place(table)
        names = sorted(set(table[column]))
        found = annotate(names, [text for text, _ in places])
        counted = [
            any(
                names[mention.concept_id] == name and mention.start <= start < mention.stop
                for mention in annotated.mentions
            )
            for annotated, (_, start), name in zip(found, places, table[column], strict=True)
        ]
        return table.assign(counted=counted, right=(table["label"] == "noun") == counted)

    return run
