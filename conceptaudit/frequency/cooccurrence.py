"""Which concepts are named together in captions: pairs of shards, their sums, and top partners.

Pairs are sparse: a caption names few concepts. DuckDB adds the pairs of all shards up, in bounded
memory: neither the corpus nor the square of the list matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import ShardStore, digest_of, write_parquet
from conceptaudit.datasets.base import Shard
from conceptaudit.errors import ConfigError
from conceptaudit.frequency.counting import read_tags
from conceptaudit.frequency.intervals import FloatArray
from conceptaudit.records import ConceptVocabulary, Int64Array
from conceptaudit.store.partials import ScratchFolder

NAME = "pairs"
DEFAULT_TOP = 50
MIN_COUNT = 5  # pairs seen fewer times have no steady PMI and are ranked by count only
MEMORY = "1GB"  # above it DuckDB writes aside
PARTNER_COLUMNS = ("concept_a", "concept_b", "n_a", "n_b", "n", "pmi", "npmi")

# Of equal PMI, as far as rounding tells, the concept that stands first in the list comes first.
_TOP_PAIRS = """
WITH halves AS (SELECT concept_a, concept_b, n FROM read_parquet($paths)),
directed AS (FROM halves UNION ALL SELECT concept_b, concept_a, n FROM halves),
sums AS (SELECT concept_a, concept_b, sum(n)::BIGINT AS n FROM directed GROUP BY ALL),
scored AS (
    SELECT sums.*, CASE WHEN n = $captions THEN 1.0 ELSE
        (log2(n::DOUBLE * $captions) - log2(a.n_text::DOUBLE * b.n_text)) / -log2(n / $captions)
        END AS npmi
    FROM sums JOIN texts a ON a.id = concept_a JOIN texts b ON b.id = concept_b),
ranked AS (
    SELECT *,
        row_number() OVER (PARTITION BY concept_a ORDER BY n DESC, concept_b) AS often,
        row_number() OVER (PARTITION BY concept_a
            ORDER BY n >= $min_count DESC, round(npmi, 12) DESC, concept_b) AS marked
    FROM scored)
SELECT concept_a, concept_b, n FROM ranked
WHERE often <= $top OR (marked <= $top AND n >= $min_count)
ORDER BY concept_a, n DESC, concept_b
"""


def count_together(sample_ids: Int64Array, concept_ids: Int64Array) -> pd.DataFrame:
    """Count the pairs of concepts that share a sample.

    `sample_ids` (n,) are sorted, each pair is there once. Columns ``concept_a, concept_b, n``,
    ``concept_a < concept_b``, sorted; ``n`` counts samples.
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


def top_pairs(
    paths: Sequence[Path],
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
    *,
    top: int = DEFAULT_TOP,
) -> pd.DataFrame:
    """List for every concept those that are most often, and most markedly, named with it.

    `paths` are tables of `count_together`, `n_text` (n_concepts,) captions that name each concept.
    Returns `PARTNER_COLUMNS`, by concept and falling count: ``n_a``, ``n_b`` and ``n`` count
    captions that name a, b and both. ``pmi`` is in bits; ``npmi`` lies in [-1, 1], 0 where the two
    are independent, 1 where neither occurs alone. See Bouma, "Normalized (pointwise) mutual
    information in collocation extraction", 2009.
    """
    import duckdb

    if top < 1:
        raise ConfigError(f"The 'top' parameter must be at least 1. Got {top} instead.")
    if not paths:
        return pd.DataFrame(columns=list(PARTNER_COLUMNS))
    texts = pd.DataFrame({"id": np.arange(len(n_text)), "n_text": n_text})
    values = {"paths": [str(path) for path in paths], "captions": n_captions}
    with ScratchFolder() as scratch, duckdb.connect() as database:
        # one thread, so that nothing depends on how many there are
        database.execute(f"SET threads = 1; SET memory_limit = '{MEMORY}'")
        database.execute("SET temp_directory = $folder", {"folder": str(scratch)})
        database.register("texts", texts)
        pairs = database.execute(_TOP_PAIRS, values | {"top": top, "min_count": MIN_COUNT}).df()
    a, b, n = (pairs[name].to_numpy(np.int64) for name in ("concept_a", "concept_b", "n"))
    pmi, npmi = pointwise_information(n, n_text[a], n_text[b], n_captions)
    names = np.asarray(vocabulary.names, dtype=object)
    counts = {"n_a": n_text[a], "n_b": n_text[b], "n": n, "pmi": pmi, "npmi": npmi}
    both = {
        "concept_a": pd.Series(names[a], dtype="str"),
        "concept_b": pd.Series(names[b], dtype="str"),
    }
    return pd.DataFrame({**both, **counts})


def pointwise_information(
    n_both: Int64Array, n_a: Int64Array, n_b: Int64Array, n_captions: int
) -> tuple[FloatArray, FloatArray]:
    """Return pointwise mutual information in bits, and normalised to [-1, 1]."""
    both = n_both.astype(np.float64)
    pmi = np.log2(both * n_captions) - np.log2(n_a.astype(np.float64) * n_b)
    surprise = -np.log2(both / n_captions)
    # two concepts that every caption names: no surprise, and neither occurs alone
    npmi = np.divide(pmi, surprise, out=np.ones_like(pmi), where=surprise > 0)
    return pmi, np.clip(npmi, -1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CountPairs:
    """Counts the concept pairs of one shard from its stored text tags."""

    text: ShardStore  # the text stage's results
    store: ShardStore  # where the pairs go

    def __call__(self, shard: Shard) -> None:
        """Count a shard and write its record."""
        tags = read_tags(self.text, shard.name)
        table = count_together(tags["sample_id"].to_numpy(), tags["concept_id"].to_numpy())
        target = self.store.path(shard.name, ".parquet")
        write_parquet(target, table, sync=False)
        record = {"n_pairs": len(table)}
        self.store.write(shard.name, shard.fingerprint, record, {".parquet": target})


def pair_store(folder: Path) -> ShardStore:
    """Return the store of a run's pairs."""
    return ShardStore(folder=folder / NAME, digest=digest_of(NAME))


def cooccurrence_table(
    store: ShardStore,
    shards: Sequence[Shard],
    vocabulary: ConceptVocabulary,
    n_text: Int64Array,
    n_captions: int,
) -> pd.DataFrame:
    """Add up the pairs of all shards and list each concept's top partners; see `top_pairs`."""
    paths = [store.path(shard.name, ".parquet") for shard in shards]
    return top_pairs(paths, vocabulary, n_text, n_captions)
