"""Why a concept was counted: a few of its captions, with the matched words in their context.

For every concept the captions with the smallest hash of (seed, sample, concept) are kept, some of
what counted and some of what was rejected as no noun. That is a uniform sample which merges by
keeping the smallest again, so no sharding, order or number of workers changes it.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from hashlib import sha256

import numpy as np
import pandas as pd

from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.mentions import Annotated, Mention
from conceptaudit.text.normalize import caption_text

EVIDENCE = ".evidence.parquet"
"""Ending of a shard's evidence, beside its tags."""

COUNTED, REJECTED = "counted", "rejected"

CONTEXT = 40
"""Characters of a caption that are kept on each side of the matched words."""

REJECTED_SHARE = 4
"""One rejected caption is kept for this many counted ones."""

EVIDENCE_COLUMNS = (
    "concept_id",
    "kind",
    "alias",
    "rank",
    "sample_id",
    "key",
    "start",
    "before",
    "matched",
    "after",
)

_MASK = (1 << 64) - 1
_PRUNE_ROWS = 400_000
"""Rows held while shards are merged before all but the smallest are let go."""

_Row = tuple[int, int, int, str, int, str, str, str]
"""Rank (negative, in a heap), alias, sample, key, start, and the text before, matched and after."""


def limit_of(kind: str, size: int) -> int:
    """Return how many captions of a kind are kept per concept.

    >>> limit_of(COUNTED, 20), limit_of(REJECTED, 20), limit_of(REJECTED, 1), limit_of(REJECTED, 0)
    (20, 5, 1, 0)
    """
    return size if kind == COUNTED else -(-size // REJECTED_SHARE)


def _mixed(value: int) -> int:
    """Scramble 64 bits: the finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ value >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ value >> 27) * 0x94D049BB133111EB) & _MASK
    return value ^ value >> 31


class EvidenceReservoir:
    """Collects the evidence of one shard.

    >>> from conceptaudit.records import Concept
    >>> dog = ConceptVocabulary((Concept(name="dog"),))
    >>> reservoir = EvidenceReservoir(dog, size=1)
    >>> reservoir.add(7, "a.jpg", "a dog barks", Annotated((Mention(0, 2, 5),)))
    >>> reservoir.table()[["sample_id", "before", "matched", "after"]].to_numpy().tolist()
    [[7, 'a ', 'dog', ' barks']]
    """

    def __init__(self, vocabulary: ConceptVocabulary, *, size: int, seed: int = 0) -> None:
        self._size = size
        # of the names, not of their places in the list: another order keeps the same captions
        texts = (f"{seed}\x1f{name}".encode("utf-8", "surrogatepass") for name in vocabulary.names)
        self._bases = [int.from_bytes(sha256(text).digest()[:8], "big") for text in texts]
        self._kept: dict[tuple[int, str], list[_Row]] = {}

    def add(self, sample_id: int, key: str, caption: str, annotated: Annotated) -> None:
        """Offer one caption."""
        if self._size <= 0:
            return
        sample = _mixed(sample_id)
        for kind, mentions in ((COUNTED, annotated.mentions), (REJECTED, annotated.rejected)):
            limit = limit_of(kind, self._size)
            seen: set[int] = set()
            for mention in mentions:
                concept = mention.concept_id
                if concept in seen:
                    continue
                seen.add(concept)
                rank = _mixed(sample ^ self._bases[concept])
                rows = self._kept.setdefault((concept, kind), [])
                if len(rows) < limit or rank < -rows[0][0]:
                    context = _context(caption, mention)
                    # heapq keeps the smallest in front, and the largest rank is to go first
                    row = (-rank, mention.alias, sample_id, key, mention.start, *context)
                    (heapq.heappush if len(rows) < limit else heapq.heappushpop)(rows, row)

    def table(self) -> pd.DataFrame:
        """Lay the evidence out, sorted by concept, kind and rank; columns `EVIDENCE_COLUMNS`."""
        rows = [
            (concept, kind, row[1], -row[0], *row[2:])
            for (concept, kind), rows in self._kept.items()
            for row in rows
        ]
        return _typed(pd.DataFrame(sorted(rows), columns=list(EVIDENCE_COLUMNS)))


def merge_evidence(tables: Iterable[pd.DataFrame], *, size: int) -> pd.DataFrame:
    """Merge the evidence of shards, in any order, in bounded memory."""
    held: list[pd.DataFrame] = []
    n_rows = 0
    for table in tables:
        held.append(table)
        n_rows += len(table)
        if n_rows > _PRUNE_ROWS:
            held = [_smallest(held, size)]
            n_rows = 0
    return _smallest(held, size)


def named_evidence(table: pd.DataFrame, vocabulary: ConceptVocabulary) -> pd.DataFrame:
    """Put names in place of concept ids, and phrases of aliases, for the run folder."""
    names = np.asarray(vocabulary.names, dtype=object)
    named = table.drop(columns=["rank"])
    numbers = zip(named["concept_id"].tolist(), named["alias"].tolist(), strict=True)
    phrases = [vocabulary[concept].phrases[alias] for concept, alias in numbers]
    named["alias"] = pd.Series(phrases, dtype="str")
    named["concept_id"] = pd.Series(names[table["concept_id"].to_numpy()], dtype="str")
    return named.rename(columns={"concept_id": "concept"})


def _smallest(tables: list[pd.DataFrame], size: int) -> pd.DataFrame:
    if not tables:
        return _typed(pd.DataFrame(columns=list(EVIDENCE_COLUMNS)))
    table = pd.concat(tables, ignore_index=True)
    table = table.sort_values(["concept_id", "kind", "rank", "sample_id"], ignore_index=True)
    place = table.groupby(["concept_id", "kind"], sort=False).cumcount()
    counted = (table["kind"] == COUNTED).to_numpy(dtype=bool)
    limits = np.where(counted, limit_of(COUNTED, size), limit_of(REJECTED, size))
    return _typed(table[place.to_numpy() < limits].reset_index(drop=True))


def _typed(table: pd.DataFrame) -> pd.DataFrame:
    kinds = {
        "concept_id": np.int32,
        "alias": np.int32,
        "rank": np.uint64,
        "sample_id": np.int64,
        "start": np.int32,
    }
    texts = dict.fromkeys(("kind", "key", "before", "matched", "after"), "str")
    return table.astype({**kinds, **texts})


def _context(caption: str, mention: Mention) -> tuple[str, str, str]:
    text = caption_text(caption)
    return (
        text[max(0, mention.start - CONTEXT) : mention.start],
        text[mention.start : mention.stop],
        text[mention.stop : mention.stop + CONTEXT],
    )
