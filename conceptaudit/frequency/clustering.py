"""Dispersion of counts whose samples come in clusters, such as five captions of one image.

A concept is in nearly all captions of an image or in none: its count then varies as if images had
been drawn, not captions. For clusters drawn at random the variance of a count over its mean is the
mean size of a hit's own cluster, sum(m**2) / sum(m) over clusters with m hits each.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.errors import DataError
from conceptaudit.records import ROW_BITS
from conceptaudit.store.shards import stage_tables

MOST_SHARDS = 64
"""Shards of a run that are read, spread evenly: dispersion is an average and needs no more."""

SHARED_HITS = 20.0
"""Hits at which a concept's own dispersion weighs as much as that of all concepts together."""

FloatArray = npt.NDArray[np.float64]


def count_dispersion(run: Path, sides: tuple[str, ...], n_concepts: int) -> FloatArray:
    """Estimate the variance of each concept's count over its mean, from the tags of a run.

    Returns (n_concepts,) in the order of the run's concepts, at least 1; 1 where every sample has a
    key of its own or the run keeps no tags.
    """
    shards = [path.stem for path in stage_tables(run / sides[0])]
    chosen = np.unique(np.linspace(0, len(shards) - 1, MOST_SHARDS).round().astype(int))
    squares, hits = np.zeros(n_concepts), np.zeros(n_concepts)
    for shard in [shards[i] for i in chosen] if shards else []:
        sizes = _cluster_hits(run, sides, shard)
        concept = sizes["concept_id"].to_numpy(np.intp)
        size = sizes["hits"].to_numpy(np.float64)
        squares += np.bincount(concept, weights=size**2, minlength=n_concepts)
        hits += np.bincount(concept, weights=size, minlength=n_concepts)
    return dispersion_of(squares, hits)


def dispersion_of(squares: FloatArray, hits: FloatArray) -> FloatArray:
    """Divide sums of squared hits per cluster by hits; concepts with few lean on all of them."""
    overall = squares.sum() / hits.sum() if hits.sum() > 0 else 1.0
    return np.asarray((squares + SHARED_HITS * overall) / (hits + SHARED_HITS), dtype=np.float64)


def _cluster_hits(run: Path, sides: tuple[str, ...], shard: str) -> pd.DataFrame:
    """Return the hits of each concept in each cluster: samples of one file that share a key."""
    columns = ["sample_id", "concept_id", "key"]
    tables = []
    for side in sides:
        path = run / side / f"{shard}.parquet"
        try:
            tables.append(pd.read_parquet(path, columns=columns) if path.exists() else None)
        except (OSError, ValueError) as error:
            raise DataError(f"Cannot read the tags {path}: {error}.") from error
    present = [table for table in tables if table is not None]
    if len(present) < len(sides):
        return pd.DataFrame({"concept_id": [], "hits": []})
    tags = present[0]
    for other in present[1:]:
        tags = tags.merge(other[columns[:2]], on=columns[:2])
    # Keys are unique within a file; other files may number their samples alike.
    file = tags["sample_id"].to_numpy(np.int64) >> ROW_BITS
    groups = tags.assign(file=file).groupby(["concept_id", "file", "key"], sort=False)
    return groups.size().rename("hits").reset_index()
