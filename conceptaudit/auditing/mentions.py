"""Mentions of a concept or of a kind of it: a surfer is a person, though no caption says so."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, ShardStore
from conceptaudit.datasets.base import CAPTION, Shard
from conceptaudit.engine.stage import ShardResult
from conceptaudit.frequency.intervals import poisson_interval
from conceptaudit.records import Concept, ConceptFrequencies, ConceptVocabulary, SampleBatch
from conceptaudit.text.normalize import phrase_text
from conceptaudit.text.tagger import TextTagger
from conceptaudit.text.wordnet import is_mainly, kinds_of

ROLL_UP = "rollup.csv"
KIND_COLUMNS = ("n_text_kinds", "n_text_kinds_low", "n_text_kinds_high")
BROAD_KINDS = (
    "person", "animal", "bird", "fish", "insect", "plant", "food", "fruit", "vegetable",
    "vehicle", "aircraft", "boat", "clothing", "footwear", "furniture", "appliance", "tool",
    "weapon", "container", "musical instrument", "toy", "building",
)  # fmt: skip
"""Kinds under which `ROLL_UP` adds the concepts of a list up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MentionTagger:
    """Tags captions with the concepts that they name or name a kind of."""

    tagger: TextTagger  # for a vocabulary of `mention_vocabulary`
    name: str = field(default="mentions", init=False)
    parts: frozenset[str] = field(default=frozenset({CAPTION}), init=False)

    @property
    def settings(self) -> Json:
        """Everything that can change a tag."""
        return {**self.tagger.settings, "stage": self.name}

    def __call__(self, shard: Shard, batches: Iterator[SampleBatch]) -> ShardResult:
        """Tag one shard."""
        return self.tagger(shard, batches)


def mention_vocabulary(
    vocabulary: ConceptVocabulary, nouns: Sequence[str] = ()
) -> ConceptVocabulary:
    """Return the same concepts with their kinds as aliases, and common nouns after them.

    >>> extended = mention_vocabulary(ConceptVocabulary((Concept(name="dog"),)), ["beach"])
    >>> "terrier" in extended[0].aliases, extended[1].aliases[0]
    (True, 'beach')
    """
    concepts = [
        Concept(
            name=concept.name,
            aliases=tuple(
                dict.fromkeys((*concept.aliases, *kinds_of(concept.name, concept.synset)))
            ),
        )
        for concept in vocabulary
    ]
    # noun k of a background has the id len(vocabulary) + k, so that the list's own ids stay
    for place, noun in enumerate(nouns):
        phrase = phrase_text(noun)
        # a name of its own, which no caption has: the noun may be a concept of the list as well
        concepts.append(
            Concept(name=f"common noun {place:04d}", aliases=(phrase, *kinds_of(phrase)))
        )
    return ConceptVocabulary(tuple(concepts))


def mention_pairs(text: ShardStore | None, mentions: ShardStore | None, shard: str) -> pd.DataFrame:
    """Return the pairs (sample_id, concept_id) of names and kinds in a shard, each once."""
    columns = ["sample_id", "concept_id"]
    tables = [
        pd.read_parquet(store.path(shard, ".parquet"), columns=columns)
        for store in (text, mentions)
        if store is not None and store.path(shard, ".parquet").exists()
    ]
    if not tables:
        return pd.DataFrame({name: np.empty(0, np.int64) for name in columns})
    return pd.concat(tables, ignore_index=True).astype(np.int64).drop_duplicates()


def with_kind_counts(
    frequencies: ConceptFrequencies,
    text: ShardStore | None,
    mentions: ShardStore,
    shards: Sequence[Shard],
    *,
    level: float,
) -> ConceptFrequencies:
    """Add ``n_text_kinds``, the captions that name each concept or a kind of it."""
    counts = np.zeros(len(frequencies.table), dtype=np.int64)
    for shard in shards:
        ids = mention_pairs(text, mentions, shard.name)["concept_id"].to_numpy()
        counts += np.bincount(ids[ids < len(counts)], minlength=len(counts))
    low, high = poisson_interval(counts, level)
    table = frequencies.table.copy()
    table[KIND_COLUMNS[0]] = pd.array(counts, dtype="Int64")
    table[KIND_COLUMNS[1]], table[KIND_COLUMNS[2]] = low, high
    return replace(frequencies, table=table)


def roll_up(
    vocabulary: ConceptVocabulary,
    text: ShardStore,
    image: ShardStore | None,
    shards: Sequence[Shard],
) -> pd.DataFrame:
    """Count samples by broad kind: those that any concept of the kind is named or tagged in.

    Returns ``kind``, ``n_concepts`` of the list, ``n_text``, and ``n_image`` (NA without images);
    kinds without a concept of the list are left out.
    """
    belongs = np.array(
        [[is_mainly(c.name, kind, c.synset) for kind in BROAD_KINDS] for c in vocabulary]
    )
    sides = {"n_text": text, **({} if image is None else {"n_image": image})}
    counts = {side: np.zeros(len(BROAD_KINDS), dtype=np.int64) for side in sides}
    for shard in shards:
        for side, store in sides.items():
            pairs = mention_pairs(store, None, shard.name)
            samples, rows = np.unique(pairs["sample_id"].to_numpy(), return_inverse=True)
            shown = np.zeros((len(samples), len(BROAD_KINDS)), dtype=bool)
            np.logical_or.at(shown, rows, belongs[pairs["concept_id"].to_numpy()])
            counts[side] += shown.sum(axis=0)
    table = pd.DataFrame({"kind": BROAD_KINDS, "n_concepts": belongs.sum(axis=0)})
    for side in ("n_text", "n_image"):
        missing = pd.array([pd.NA] * len(table), dtype="Int64")
        table[side] = pd.array(counts[side], dtype="Int64") if side in counts else missing
    return table[table["n_concepts"] > 0].reset_index(drop=True)
