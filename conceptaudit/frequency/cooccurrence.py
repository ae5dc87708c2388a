"""Which concepts are named together in captions: pairs of shards, their sums, and top partners.

Pairs are sparse: a caption names few concepts. Merging keeps sorted runs of pairs and writes them
aside when they outgrow a fixed number, so neither the corpus nor the square of the list matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore, digest_of, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.counting import SidePairs
from conceptaudit.frequency.intervals import FloatArray
from conceptaudit.records import ConceptVocabulary, Int64Array
from conceptaudit.store.scratch import ScratchFolder

PAIR_COLUMNS = ("concept_a", "concept_b", "n")

# Pairs held in memory, in both directions: about 0.5 GB while two runs are merged.
MAX_PAIRS = 8_000_000


def count_together(sample_ids: Int64Array, concept_ids: Int64Array) -> pd.DataFrame:
    """Count the pairs of concepts that share a sample.

    Shapes: `sample_ids`, `concept_ids` (n,). Columns `PAIR_COLUMNS`, ``concept_a < concept_b``,
    sorted; ``n`` counts samples.
    """
    lefts: list[Int64Array] = []
    rights: list[Int64Array] = []
    gap = 1
    # a sample of k concepts has k - g pairs whose members are g places apart
    while True:
        together = sample_ids[gap:] == sample_ids[: len(sample_ids) - gap]
        if not together.any():
            break
        first, second = concept_ids[: len(concept_ids) - gap][together], concept_ids[gap:][together]
        lefts.append(np.minimum(first, second))
        rights.append(np.maximum(first, second))
        gap += 1
    none = np.empty(0, dtype=np.int64)
    pairs = np.stack([np.concatenate([none, *lefts]), np.concatenate([none, *rights])], axis=1)
    distinct, counts = np.unique(pairs, axis=0, return_counts=True)
    return pd.DataFrame(
        {"concept_a": distinct[:, 0], "concept_b": distinct[:, 1], "n": counts.astype(np.int64)}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Pairs with their counts, sorted by key; a key is ``concept_a * n_concepts + concept_b``."""

    keys: Int64Array
    counts: Int64Array

    def between(self, low: int, high: int) -> Run:
        """Return the part whose keys lie in [low, high)."""
        start, stop = np.searchsorted(self.keys, [low, high])
        return Run(keys=np.array(self.keys[start:stop]), counts=np.array(self.counts[start:stop]))


def _merged(runs: Iterable[Run]) -> Run:
    parts = list(runs)
    none = np.empty(0, dtype=np.int64)
    keys = np.concatenate([none, *(run.keys for run in parts)])
    counts = np.concatenate([none, *(run.counts for run in parts)])
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else none
    return Run(keys=keys[starts], counts=np.add.reduceat(counts, starts) if len(keys) else counts)


class PairCounts(AbstractContextManager["PairCounts"]):
    """Adds up the pairs of shards in bounded memory, writing runs aside where it must."""

    def __init__(self, n_concepts: int, *, max_pairs: int = MAX_PAIRS) -> None:
        self._n = n_concepts
        self._max = max_pairs
        self._pending: list[Run] = []
        self._n_pending = 0
        self._written = 0
        self._aside = ScratchFolder()

    def __exit__(self, *_: object) -> None:
        """Remove what was written aside."""
        self._aside.close()

    def add(self, table: pd.DataFrame) -> None:
        """Add the pairs of one shard, as `count_together` gives them."""
        a, b, n = (table[column].to_numpy(dtype=np.int64) for column in PAIR_COLUMNS)
        keys, counts = np.concatenate([a * self._n + b, b * self._n + a]), np.concatenate([n, n])
        self._pending.append(Run(keys=keys, counts=counts))
        self._n_pending += len(keys)
        if self._n_pending > self._max:
            merged = _merged(self._pending)
            self._pending, self._n_pending = [merged], len(merged.keys)
            if self._n_pending > self._max // 2:
                self._put_aside(merged)

    def _put_aside(self, run: Run) -> None:
        for name, array in (("keys", run.keys), ("counts", run.counts)):
            np.save(self._path(self._written, name), array, allow_pickle=False)
        self._written += 1
        self._pending, self._n_pending = [], 0

    def _path(self, number: int, name: str) -> Path:
        return self._aside.path / f"{number:06d}.{name}.npy"

    def blocks(self) -> Iterator[Run]:
        """Yield all pairs, summed, as consecutive runs that end with a whole concept."""
        runs = [
            Run(
                keys=np.load(self._path(i, "keys"), mmap_mode="r", allow_pickle=False),
                counts=np.load(self._path(i, "counts"), mmap_mode="r", allow_pickle=False),
            )
            for i in range(self._written)
        ]
        runs.append(_merged(self._pending))
        edges = np.arange(self._n + 1, dtype=np.int64) * self._n
        before = np.sum([np.searchsorted(run.keys, edges) for run in runs], axis=0)
        first = 0
        while first < self._n:
            # as many whole concepts as fit, and at least one
            fits = int(np.searchsorted(before, before[first] + self._max // 2, side="right")) - 1
            last = min(max(fits, first + 1), self._n)
            block = _merged(run.between(int(edges[first]), int(edges[last])) for run in runs)
            if len(block.keys):
                yield block
            first = last


DEFAULT_TOP = 50
MIN_COUNT = 5  # pairs seen fewer times have no steady PMI and are ranked by count only


def top_pairs(
    pairs: PairCounts,
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
    *,
    top: int = DEFAULT_TOP,
) -> pd.DataFrame:
    """List for every concept those that are most often, and most markedly, named with it.

    Shapes: `n_text` (n_concepts,). ``concept_a, concept_b, n_a, n_b, n, pmi, npmi``, by concept and
    falling count. ``n_a``, ``n_b`` and ``n`` count captions that name a, b and both. ``pmi`` is in
    bits; ``npmi`` lies in [-1, 1], 0 where the two are independent, 1 where neither occurs alone.
    See Bouma, "Normalized (pointwise) mutual information in collocation extraction", 2009.
    """
    if top < 1:
        raise ConfigError(f"The 'top' parameter must be at least 1. Got {top} instead.")
    n = len(vocabulary)
    kept = [_ranked(block, n, n_text, n_captions, top) for block in pairs.blocks()]
    empty = _table(np.empty(0, np.int64), np.empty(0, np.int64), n, n_text, n_captions)
    table = pd.concat([empty, *kept], ignore_index=True) if kept else empty
    names = np.asarray(vocabulary.names, dtype=object)
    for column in ("concept_a", "concept_b"):
        table[column] = pd.Series(names[table[column].to_numpy(dtype=np.int64)], dtype="str")
    return table


def _ranked(block: Run, n: int, n_text: Int64Array, n_captions: int, top: int) -> pd.DataFrame:
    table = _table(block.keys, block.counts, n, n_text, n_captions)
    table = table.sort_values(
        ["concept_a", "n", "concept_b"], ascending=[True, False, True], ignore_index=True
    )
    often = table.groupby("concept_a", sort=False).cumcount() < top
    marked = table[table["n"] >= MIN_COUNT].sort_values(
        ["concept_a", "npmi", "concept_b"], ascending=[True, False, True]
    )
    marked = marked[marked.groupby("concept_a", sort=False).cumcount() < top]
    return table[often | table.index.isin(marked.index)]


def _table(
    keys: Int64Array, counts: Int64Array, n: int, n_text: Int64Array, n_captions: int
) -> pd.DataFrame:
    a, b = np.divmod(keys, n)
    pmi, npmi = pointwise_information(counts, n_text[a], n_text[b], n_captions)
    return pd.DataFrame(
        {"concept_a": a, "concept_b": b, "n_a": n_text[a], "n_b": n_text[b], "n": counts}
        | {"pmi": pmi, "npmi": npmi}
    )


def pointwise_information(
    n_both: Int64Array, n_a: Int64Array, n_b: Int64Array, n_captions: int
) -> tuple[FloatArray, FloatArray]:
    """Return pointwise mutual information in bits, and normalised to [-1, 1].

    Shapes: `n_both`, `n_a`, `n_b` (n,).
    """
    both = n_both.astype(np.float64)
    pmi = np.log2(both * n_captions) - np.log2(n_a.astype(np.float64) * n_b)
    surprise = -np.log2(both / n_captions)
    # two concepts that every caption names: no surprise, and neither occurs alone
    npmi = np.divide(pmi, surprise, out=np.ones_like(pmi), where=surprise > 0)
    return pmi, np.clip(npmi, -1.0, 1.0)


NAME = "pairs"
_SUFFIX = ".parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPairs:
    """Counts the concept pairs of one shard from its stored text tags."""

    text: ShardStore  # the text stage's results
    store: ShardStore  # where the pairs go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        path = self.text.path(shard.name, ".parquet")
        columns = ["sample_id", "concept_id"]
        tags = SidePairs.from_table(
            pd.read_parquet(path, columns=columns) if path.exists() else None
        )
        table = count_together(tags.sample_ids, tags.concept_ids)
        target = self.store.path(shard.name, _SUFFIX)
        write_parquet(target, table, sync=False)
        self.store.write(shard.name, shard.fingerprint, {"n_pairs": len(table)}, {_SUFFIX: target})


def pair_store(folder: Path) -> ShardStore:
    """Return the store of a run's pairs."""
    return ShardStore(folder=folder / NAME, digest=digest_of(NAME))


def cooccurrence_table(
    store: ShardStore,
    shards: Sequence[Shard],
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
    *,
    top: int = DEFAULT_TOP,
) -> pd.DataFrame:
    """Add up the pairs of all shards and list each concept's top partners; see `top_pairs`."""
    with PairCounts(len(vocabulary)) as pairs:
        for shard in shards:
            pairs.add(pd.read_parquet(store.path(shard.name, _SUFFIX)))
        return top_pairs(pairs, vocabulary, n_text, n_captions, top=top)
