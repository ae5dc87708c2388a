"""The published counting algorithm, reproduced for comparison with its published counts.

A caption is a set of keys: the lemmas of its nouns and proper nouns, stripped of everything but
ASCII letters and spaces, case kept. A class name is a set of terms: lower-cased, split at white
space and underscores, each term lemmatised alone, of which the last sub-token's lemma counts. A
caption counts for a class if it holds all of its terms, in any order and anywhere; terms that no
caption of the corpus holds are left out of the question.

That last rule makes a shard's counts depend on the whole corpus: `conceptaudit.text.paper`
runs the algorithm over shards.

References
----------
.. [1] V. Udandarao et al., "No 'Zero-Shot' Without Exponential Data", arXiv:2404.04125, section 2,
   and github.com/bethgelab/frequency_determines_performance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from conceptaudit.artifacts import (
    Json,
    ShardStore,
    digest_of,
    file_digest,
    package_versions,
    write_parquet,
)
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.errors import ConfigError
from conceptaudit.records import ConceptVocabulary, Drop, Int64Array, SampleBatch, Tags
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import check_account, drop_table, part_account, tag_table
from conceptaudit.text.pipeline import ANY_POS, NounPipeline, assigned, load_pipeline, map_docs
from conceptaudit.text.tagger import gather

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

    >>> from conceptaudit.text.pipeline import load_bundled
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
        # a corpus repeats its lemmas
        self._term_of = lru_cache(maxsize=_MAX_CACHED)(self._term)

    def __call__(self, doc: Doc) -> list[int]:
        """Return the ids of the terms that a caption holds, sorted."""
        from spacy.attrs import LEMMA, POS

        found = {
            self._term_of(lemma)
            for lemma, pos in doc.to_array([LEMMA, POS]).tolist()
            if pos in self._nouns
        }
        return sorted(found - {-1})

    def _term(self, lemma: int) -> int:
        return self._number.get(caption_key(self._strings[lemma]), -1)


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


INDEX = "terms"
SEARCH = "text"
"""Folders of the two steps; the second is where every audit has its text tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperIndex:
    """First step: which captions of a shard hold which of the terms asked for."""

    vocabulary: ConceptVocabulary  # whose names are asked for
    # splits, tags and lemmatises captions and names alike. (The published counts come from two
    # different pipelines, ``en_core_web_lg`` for captions and ``en_core_web_sm`` for names.)
    pipeline: NounPipeline
    name: str = field(default=INDEX, init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    def __post_init__(self) -> None:
        if self.pipeline.pos == ANY_POS:
            raise ConfigError(
                "The 'pos' parameter must be 'noun' for the published algorithm, which counts "
                "nouns only. Got 'any' instead."
            )
        nlp = load_pipeline(self.pipeline.name)
        if "token.lemma" not in assigned(nlp):
            raise ConfigError(
                f"The spaCy pipeline {self.pipeline.name!r} has no lemmatizer (it has "
                f"{nlp.pipe_names}), and the published algorithm compares lemmas. Use one that has."
            )

    @property
    def settings(self) -> Json:
        """Everything that can change a term's captions."""
        return {
            "stage": self.name,
            "algorithm": ALGORITHM,
            "concepts": self.vocabulary.digest,
            "pipeline": self.pipeline.digest,
            "versions": package_versions("spacy"),
        }

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Index one shard.

        Returns the samples' account with the ``present`` term ids; a table of (sample, key, term).
        """
        queries = queries_of(self)
        nlp = load_pipeline(self.pipeline.name)
        held = TermsHeld(nlp, queries.terms)
        rows: list[tuple[int, str, int]] = []
        drops: list[Drop] = []
        n_rows = n_used = 0
        for batch in gather(batches, 1):
            drops.extend(batch.drops)
            n_rows += batch.n_rows
            for i, terms in enumerate(map_docs(nlp, batch.captions, held)):
                if isinstance(terms, Exception):
                    drops.append(batch.failure(i, f"{type(terms).__name__}: {terms}"))
                    continue
                n_used += 1
                sample, key = int(batch.sample_ids[i]), batch.keys[i]
                rows.extend((sample, key, term) for term in terms)
        account = part_account(n_rows, drops, part=CAPTION)
        check_account(account, n_used, f"captions of shard {shard.name}")
        table = pd.DataFrame(rows, columns=["sample_id", "key", "term_id"])
        return ShardResult(
            summary={**account, "present": sorted({term for _, _, term in rows})},
            tables={".parquet": table, ".drops.parquet": drop_table(drops)},
        )


_built: dict[tuple[str, str], PaperQueries] = {}


def queries_of(index: PaperIndex) -> PaperQueries:
    """Build a vocabulary's queries once per process."""
    identity = (index.pipeline.name, index.vocabulary.digest)
    if identity not in _built:
        _built.clear()
        _built[identity] = PaperQueries.build(index.vocabulary, index.pipeline)
    return _built[identity]


@dataclass(frozen=True, slots=True, kw_only=True)
class PaperSearch:
    """Second step: term tables of shards to concept tags (score: 1 per caption)."""

    index: ShardStore
    queries: PaperQueries
    present: frozenset[int]  # terms that some shard holds
    folder: Path

    @classmethod
    def over(
        cls, index: ShardStore, queries: PaperQueries, shards: Sequence[Shard], *, folder: Path
    ) -> PaperSearch:
        """Prepare the search over all shards that were indexed."""
        present: set[int] = set()
        for shard in shards:
            present.update(index.read(shard.name)["present"])
        return cls(index=index, queries=queries, present=frozenset(present), folder=folder)

    @property
    def store(self) -> ShardStore:
        """Where the tags go: valid for these terms of these concepts in this corpus."""
        settings = [self.index.digest, self.queries.of_concept, sorted(self.present)]
        return ShardStore(folder=self.folder / SEARCH, digest=digest_of(settings))

    def identified(self, shards: Sequence[Shard]) -> tuple[Shard, ...]:
        """Return the indexed shards, identified by what the first step found in them."""
        records = [(shard, self.index.path(shard.name, ".json")) for shard in shards]
        return tuple(
            replace(shard, fingerprint=file_digest(record))
            for shard, record in records
            if record.exists()
        )

    def __call__(self, shard: Shard) -> None:
        """Search one shard and write its record, with the account and drops of the first step."""
        held, drops = (
            _table(self.index, shard.name, end) for end in (".parquet", ".drops.parquet")
        )
        files: dict[str, Path] = {}
        if held is not None:
            samples, concepts = search(
                held["sample_id"].to_numpy(dtype=np.int64),
                held["term_id"].to_numpy(dtype=np.int64),
                self.queries.of_concept,
                self.present,
            )
            keys = dict(zip(held["sample_id"].tolist(), held["key"].tolist(), strict=True))
            tags = Tags(
                sample_ids=samples,
                keys=[keys[sample] for sample in samples.tolist()],
                concept_ids=concepts.astype(np.int32),
                scores=np.ones(len(samples), dtype=np.float32),
            )
            self._keep(files, shard.name, ".parquet", tag_table(tags, modality="text"))
        if drops is not None:
            self._keep(files, shard.name, ".drops.parquet", drops)
        account = {k: v for k, v in self.index.read(shard.name).items() if k != "present"}
        self.store.write(shard.name, shard.fingerprint, account, files)

    def _keep(self, files: dict[str, Path], shard: str, suffix: str, table: pd.DataFrame) -> None:
        path = self.store.path(shard, suffix)
        remove(path.parent, [path.name])
        if not table.empty:
            write_parquet(path, table)
            files[suffix] = path

    def as_json(self, vocabulary: ConceptVocabulary) -> Json:
        """Say which terms stood for each concept and which of them the corpus lacks."""
        terms = self.queries.terms
        return {
            concept.name: {
                "searched": [terms[t] for t in asked if t in self.present],
                "missing": [terms[t] for t in asked if t not in self.present],
            }
            for concept, asked in zip(vocabulary, self.queries.of_concept, strict=True)
        }


def _table(store: ShardStore, shard: str, suffix: str) -> pd.DataFrame | None:
    path = store.path(shard, suffix)
    return pd.read_parquet(path) if path.exists() else None
