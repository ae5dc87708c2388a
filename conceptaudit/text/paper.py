"""The published counting algorithm, reproduced for comparison with its published counts.

A caption is a set of keys: the lemmas of its nouns and proper nouns, stripped of everything but
ASCII letters and spaces, case kept. A class name is a set of terms: lower-cased, split at white
space and underscores, each term lemmatised alone, of which the last sub-token's lemma counts. A
caption counts for a class if it holds all of its terms, in any order and anywhere; terms that no
caption of the corpus holds are left out of the question.

That last rule makes a shard's counts depend on the whole corpus: `conceptaudit.text.paper_stages`
runs the algorithm over shards.

References
----------
.. [1] V. Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv:2404.04125, section 2,
   and github.com/bethgelab/frequency_determines_performance.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.records import ConceptVocabulary, Int64Array
from conceptaudit.text.pipeline import NounPipeline, load_pipeline

if TYPE_CHECKING:
    from spacy.language import Language
    from spacy.tokens import Doc

ALGORITHM = "arXiv:2404.04125"

_NOT_LETTERS = re.compile("[^A-Za-z ]")
_BETWEEN_TERMS = re.compile(r"[_\s]+")
_MAX_CACHED = 500_000


def caption_key(lemma: str) -> str:
    """Return the key under which a noun's lemma is indexed.

    >>> caption_key("T-shirt"), caption_key("747"), caption_key("café")
    ('Tshirt', '', 'caf')
    """
    return _NOT_LETTERS.sub("", lemma)


def query_terms(nlp: Language, names: Sequence[str]) -> list[tuple[str, ...]]:
    """Turn class names into the terms that are searched for.

    >>> from conceptaudit.text.bundled import load_bundled
    >>> query_terms(load_bundled(), ["Hot_Dogs", "t-shirt", "crane (bird)"])
    [('hot', 'dog'), ('shirt',), ('crane', ')')]
    """
    split = [[term for term in _BETWEEN_TERMS.split(name.lower()) if term] for name in names]
    different = list(dict.fromkeys(term for terms in split for term in terms))
    tagged = zip(different, nlp.pipe(different), strict=True)
    lemmas = {term: doc[-1].lemma_ for term, doc in tagged if len(doc)}
    return [
        tuple(dict.fromkeys(lemmas[term] for term in terms if term in lemmas)) for terms in split
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperQueries:
    """The terms of every concept of a vocabulary, by number."""

    terms: tuple[str, ...]  # all different terms; a term's id is its position
    of_concept: tuple[tuple[int, ...], ...]  # term ids per concept

    @classmethod
    def build(cls, vocabulary: ConceptVocabulary, pipeline: NounPipeline) -> PaperQueries:
        """Make the queries of a vocabulary's names; the algorithm knows no aliases."""
        asked = query_terms(load_pipeline(pipeline.name), vocabulary.names)
        terms = tuple(sorted({term for terms in asked for term in terms}))
        number = {term: i for i, term in enumerate(terms)}
        return cls(
            terms=terms, of_concept=tuple(tuple(number[t] for t in terms) for terms in asked)
        )


class TermsHeld:
    """Finds the terms asked for among the nouns of a tagged caption."""

    def __init__(self, nlp: Language, terms: Sequence[str]) -> None:
        from spacy.symbols import NOUN, PROPN

        self._nouns = frozenset({NOUN, PROPN})
        self._strings = nlp.vocab.strings
        self._number = {term: i for i, term in enumerate(terms)}
        self._known: dict[int, int] = {}

    def __call__(self, doc: Doc) -> list[int]:
        """Return the ids of the terms that a caption holds, sorted."""
        from spacy.attrs import LEMMA, POS

        found = {
            self._term(lemma)
            for lemma, pos in doc.to_array([LEMMA, POS]).tolist()
            if pos in self._nouns
        }
        return sorted(found - {-1})

    def _term(self, lemma: int) -> int:
        term = self._known.get(lemma)
        if term is None:
            if len(self._known) >= _MAX_CACHED:
                self._known.clear()
            term = self._number.get(caption_key(self._strings[lemma]), -1)
            self._known[lemma] = term
        return term


def search(
    sample_ids: Int64Array,
    term_ids: Int64Array,
    queries: Sequence[Sequence[int]],
    present: frozenset[int],
) -> tuple[Int64Array, Int64Array]:
    """Find the captions that hold all terms of a concept that the corpus holds.

    `sample_ids` and `term_ids` have the shape (n,), the result (m,).

    >>> samples, terms = np.array([0, 0, 1]), np.array([0, 1, 1])
    >>> search(samples, terms, [(0, 1), (1, 2), (2,)], frozenset({0, 1}))
    (array([0, 0, 1]), array([0, 1, 1]))
    """
    asked: list[tuple[int, int]] = [
        (term, concept)
        for concept, terms in enumerate(queries)
        for term in dict.fromkeys(terms)
        # what no caption of the whole corpus holds is not asked for: the published rule
        if term in present
    ]
    links: Any = pd.DataFrame(asked, columns=["t", "c"], dtype="int64")
    needed = links.groupby("c").size()
    held = pd.DataFrame({"s": sample_ids, "t": term_ids}, dtype="int64")
    pairs = held.merge(links, on="t").groupby(["s", "c"]).size().reset_index(name="n")
    full = pairs[pairs["n"] == pairs["c"].map(needed)].sort_values(["s", "c"])
    return full["s"].to_numpy(dtype=np.int64), full["c"].to_numpy(dtype=np.int64)
