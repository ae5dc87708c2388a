"""Evidence of an audit that counted captions fast: from the pairs whose reading was open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.auditing.open_sample import captions_of, open_pairs
from conceptaudit.datasets.base import Shard
from conceptaudit.frequency.adaptive import places
from conceptaudit.text.evidence import EvidenceReservoir
from conceptaudit.text.fast import FastTextTagger
from conceptaudit.text.normalize import caption_texts
from conceptaudit.text.tagger import annotator_of

_SPARE = 3
"""Open captions taken per caption of evidence: some are counted, some rejected."""

_PRUNE_ROWS = 400_000
"""Pairs collected before those of high rank are let go."""


def open_evidence(
    tagger: FastTextTagger, store: ShardStore, shards: Sequence[Shard], *, size: int
) -> pd.DataFrame:
    """Tag a few of the pairs that the fast mode left open, and keep what they show.

    A concept whose words can only be nouns has none: nothing about it was open.

    Parameters
    ----------
    tagger : FastTextTagger
        The fast text stage.
    store : ShardStore
        Its results.
    shards : sequence of Shard
    size : int
        As for `EvidenceReservoir`.

    Returns
    -------
    pandas.DataFrame
        As `EvidenceReservoir.table` gives it.
    """
    reservoir = EvidenceReservoir(tagger.vocabulary, size=size)
    annotator = annotator_of(tagger.exact)
    chosen = _lowest(tagger, store, shards, most=_SPARE * size)
    captions: list[str] = []
    samples: list[int] = []
    keys: list[str] = []
    wanted = [np.zeros(0, dtype=np.int64)]
    for number, pairs in chosen.groupby("shard"):
        shard = shards[int(str(number))].name
        distinct, at = np.unique(pairs["sample_id"].to_numpy(), return_inverse=True)
        wanted.append((len(samples) + at) * len(tagger.vocabulary) + pairs["concept_id"].to_numpy())
        captions += captions_of(store, shard, distinct)
        keys += _keys(store, shard, distinct)
        samples += distinct.tolist()
    found = annotator.find_pairs(caption_texts(captions), np.concatenate(wanted), placed=True)
    for caption, annotated in found.by_caption():
        reservoir.add(samples[caption], keys[caption], captions[caption], annotated)
    return reservoir.table()


def _lowest(
    tagger: FastTextTagger, store: ShardStore, shards: Sequence[Shard], *, most: int
) -> pd.DataFrame:
    """Choose the open pairs of lowest rank of each concept."""
    bound = np.full(len(tagger.vocabulary), np.iinfo(np.int64).max)
    kept: list[pd.DataFrame] = []
    n_rows = 0
    for pairs in open_pairs(store, shards, seed=tagger.seed):
        kept.append(pairs[pairs["rank"].to_numpy() <= bound[pairs["concept_id"].to_numpy()]])
        n_rows += len(kept[-1])
        if n_rows > _PRUNE_ROWS:
            kept = [_placed(kept, most)]
            last = kept[0][kept[0]["place"] == most - 1]
            bound[last["concept_id"]] = last["rank"]
            n_rows = 0
    if not kept:
        return pd.DataFrame({"shard": []})
    return _placed(kept, most)


def _placed(tables: Sequence[pd.DataFrame], most: int) -> pd.DataFrame:
    pairs = pd.concat(tables, ignore_index=True)
    pairs = pairs.assign(place=places(pairs, "concept_id"))
    return pd.DataFrame(pairs[pairs["place"] < most])


def _keys(store: ShardStore, shard: str, samples: np.ndarray) -> list[str]:
    keys = pd.read_parquet(store.path(shard, ".parquet"), columns=["sample_id", "key"])
    rows = np.searchsorted(keys["sample_id"].to_numpy(), samples)
    return [str(key) for key in keys["key"].iloc[rows]]
