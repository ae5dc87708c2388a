"""Evidence of an audit that counted captions fast: from the pairs whose reading was open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.ambiguous_sample import (
    Part,
    Place,
    captions_of,
    open_pairs,
    parts_of,
    places_of,
)
from conceptaudit.datasets.base import Shard
from conceptaudit.engine import Engine
from conceptaudit.frequency.adaptive import places
from conceptaudit.text.evidence import EvidenceReservoir, merge_evidence
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.normalize import caption_texts
from conceptaudit.text.tagger import annotator_of

_SPARE = 3
"""Open captions taken per caption of evidence: some are counted, some rejected."""

_PRUNE_ROWS = 400_000
"""Pairs collected before those of high rank are let go."""


def open_evidence(
    tagger: FastTextTagger,
    store: ShardStore,
    shards: Sequence[Shard],
    *,
    size: int,
    engine: Engine,
) -> pd.DataFrame:
    """Tag a few of the pairs that the fast mode left open, and keep what they show.

    A concept whose words can only be nouns has none: nothing about it was open.
    """
    most = _SPARE * size
    task = _LowestPairs(tagger=tagger, store=store, most=most)
    found = dict(engine.run(task, places_of(shards)))
    chosen = _lowest((found[item] for item in sorted(found)), len(tagger.vocabulary), most)
    chosen = chosen.sort_values("shard", kind="stable", ignore_index=True)
    items = [parts for _, parts in parts_of(chosen, shards)]
    show = _ShowPairs(tagger=tagger, store=store, size=size)
    return merge_evidence((table for _, table in engine.run(show, items)), size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LowestPairs:
    """Chooses the open pairs of lowest rank of each concept in some shards."""

    tagger: FastTextTagger
    store: ShardStore
    most: int

    def __call__(self, places: tuple[Place, ...]) -> pd.DataFrame:
        pairs = open_pairs(self.store, places, seed=self.tagger.seed)
        return _lowest(pairs, len(self.tagger.vocabulary), self.most)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ShowPairs:
    """Tags chosen open pairs of some shards, and keeps what they show."""

    tagger: FastTextTagger
    store: ShardStore
    size: int

    def __call__(self, parts: Sequence[Part]) -> pd.DataFrame:
        n = len(self.tagger.vocabulary)
        reservoir = EvidenceReservoir(self.tagger.vocabulary, size=self.size)
        captions: list[str] = []
        samples: list[int] = []
        keys: list[str] = []
        wanted = []
        for part in parts:
            distinct, at = np.unique(part.sample_ids, return_inverse=True)
            wanted.append((len(samples) + at) * n + part.concept_ids)
            captions += captions_of(self.store, part.shard, distinct)
            keys += _keys(self.store, part.shard, distinct)
            samples += distinct.tolist()
        annotator = annotator_of(self.tagger.exact)
        texts = caption_texts(captions)
        found = annotator.find(texts, np.concatenate(wanted))
        for caption, annotated in found.by_caption():
            reservoir.add(samples[caption], keys[caption], captions[caption], annotated)
        return reservoir.table()


def _lowest(tables: Iterable[pd.DataFrame], n_concepts: int, most: int) -> pd.DataFrame:
    """Choose the pairs of lowest rank of each concept."""
    bound = np.full(n_concepts, np.iinfo(np.int64).max)
    kept: list[pd.DataFrame] = []
    n_rows = 0
    for pairs in tables:
        if not len(pairs):
            continue
        kept.append(pairs[pairs["rank"].to_numpy() <= bound[pairs["concept_id"].to_numpy()]])
        n_rows += len(kept[-1])
        if n_rows > _PRUNE_ROWS:
            kept = [_placed(kept, most)]
            last = kept[0][kept[0]["place"] == most - 1]
            bound[last["concept_id"]] = last["rank"]
            n_rows = 0
    if not kept:
        return pd.DataFrame({name: np.zeros(0, dtype=np.int64) for name in _NO_PAIRS})
    return _placed(kept, most)


_NO_PAIRS = ("sample_id", "concept_id", "rank", "shard", "place")


def _placed(tables: Sequence[pd.DataFrame], most: int) -> pd.DataFrame:
    pairs = pd.concat(tables, ignore_index=True)
    pairs = pairs.assign(place=places(pairs, "concept_id"))
    return pd.DataFrame(pairs[pairs["place"] < most])


def _keys(store: ShardStore, shard: str, samples: np.ndarray) -> list[str]:
    keys = pd.read_parquet(store.path(shard, ".parquet"), columns=["sample_id", "key"])
    rows = np.searchsorted(keys["sample_id"].to_numpy(), samples)
    return [str(key) for key in keys["key"].iloc[rows]]
