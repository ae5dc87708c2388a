"""Evidence of an audit that counted captions fast: from the pairs whose reading was open."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore
from conceptaudit.datasets.base import Shard
from conceptaudit.text.evidence import EvidenceReservoir
from conceptaudit.text.fast import OPEN_PAIRS, FastTextTagger
from conceptaudit.text.tagger import annotator_of

_SPARE = 3
"""Open captions taken per caption of evidence: some are counted, some rejected."""


def open_evidence(
    tagger: FastTextTagger, store: ShardStore, shards: Sequence[Shard], *, size: int
) -> pd.DataFrame:
    """Tag a few of the captions that the fast mode left open, and keep what they show.

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
    kept: list[pd.DataFrame] = []
    for shard in shards:
        path = store.path(shard.name, OPEN_PAIRS)
        if path.exists():
            columns = ["concept_id", "rank", "sample_id"]
            rows = pd.read_parquet(path, columns=columns).assign(shard=shard.name)
            kept = [_lowest([*kept, rows], size)]
    reservoir = EvidenceReservoir(tagger.vocabulary, size=size)
    if kept:
        for name, rows in kept[0].groupby("shard"):
            captions = _captions(store, str(name), rows["sample_id"].unique())
            found = annotator_of(tagger.exact).tag(captions["caption"].tolist())
            for sample, key, caption, annotated in zip(
                captions["sample_id"], captions["key"], captions["caption"], found, strict=True
            ):
                if not isinstance(annotated, str):
                    reservoir.add(int(sample), str(key), str(caption), annotated)
    return reservoir.table()


def _lowest(tables: Sequence[pd.DataFrame], size: int) -> pd.DataFrame:
    table = pd.concat(list(tables), ignore_index=True)
    table = table.sort_values(["concept_id", "rank", "sample_id"], ignore_index=True)
    place = table.groupby("concept_id", sort=False).cumcount().to_numpy()
    return table[place < _SPARE * size].reset_index(drop=True)


def _captions(store: ShardStore, shard: str, samples: np.ndarray) -> pd.DataFrame:
    """Return samples of a shard with their keys and captions, in order."""
    captions = pd.read_parquet(
        store.path(shard, OPEN_PAIRS), columns=["sample_id", "caption"]
    ).drop_duplicates("sample_id")
    keys = pd.read_parquet(
        store.path(shard, ".parquet"), columns=["sample_id", "key"]
    ).drop_duplicates("sample_id")
    table = captions[captions["sample_id"].isin(samples)].merge(keys, on="sample_id")
    return table.sort_values("sample_id", ignore_index=True)
