"""Which images of a pool an index proposes, so that not all of them need to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conceptaudit.artifacts import Json
from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ArtifactMismatchError, ConfigError
from conceptaudit.image.index.source import reading_digest
from conceptaudit.image.index.store import VectorIndex, open_index
from conceptaudit.longtail.pool_counts import PoolCounts
from conceptaudit.records import Float32Array, Int64Array, sample_id

# Neighbours asked for per candidate wanted: copies of one image take places, and scores of a
# quantised index are only about right.
SPARE = 4

QUERIES_AT_ONCE = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Proposals:
    """The nearest images of all selected concepts together."""

    sample_ids: Int64Array  # of the pool
    index: VectorIndex  # what proposed them
    n_dropped: dict[str, int]  # vectors that the index left out when it was built, by reason

    @property
    def identity(self) -> str:
        """Digest of the index."""
        return str(self.index.manifest["digest"])

    @property
    def told(self) -> Json:
        """What the set's manifest says of the index."""
        manifest = self.index.manifest
        return {name: manifest[name] for name in ("digest", "preset", "n_vectors", "recall")}

    @property
    def note(self) -> str:
        """Say what may have been missed."""
        manifest = self.index.manifest
        recall = manifest["recall"]
        return (
            f"The index {self.index.folder.name} ({manifest['preset']}) proposed "
            f"{len(self.sample_ids):,} of {quantity(len(self.index), 'image')}; the others were "
            f"not looked at. Its measured recall@{recall['k']} is {recall['value']:.3f} "
            f"({recall['low']:.3f} to {recall['high']:.3f}), for images as queries: so many of a "
            "concept's best images it finds, and for texts it may be fewer. Scores are exact."
        )

    def shards(self, shards: Sequence[Shard]) -> tuple[Shard, ...]:
        """Keep the shards that hold a proposed image."""
        return tuple(shard for shard in shards if self._holds(shard))

    def _holds(self, shard: Shard) -> bool:
        start = sample_id(shard.file_index, shard.start * shard.ids_per_row)
        stop = sample_id(shard.file_index + 1, 0)
        if shard.stop >= 0:
            stop = sample_id(shard.file_index, shard.stop * shard.ids_per_row)
        first, last = np.searchsorted(self.sample_ids, [start, stop])
        return bool(last > first)

    def count(self, counts: PoolCounts) -> None:
        """Put what the index holds in the counts, whose shards were read in part only."""
        counts.dropped.update(self.n_dropped)
        counts.n_samples = len(self.index) + sum(self.n_dropped.values())
        counts.n_compared = counts.n_samples - counts.dropped.total()


def propose(
    location: str | Path,
    pool: Dataset,
    shards: Sequence[Shard],
    concepts: Float32Array,
    n_candidates: int,
) -> Proposals:
    """Ask an index for the nearest images of every concept.

    Shapes: `concepts` (n_selected, dimension).
    """
    if EMBEDDING not in pool.provides:
        raise ConfigError(
            f"--index is for a pool of embeddings, and {pool.location} ({pool.layout}) has none. "
            "Name the embeddings that the index was built from."
        )
    index = open_index(location)
    if concepts.shape[1] != index.dimension:
        raise ConfigError(
            f"The concepts have vectors of dimension {concepts.shape[1]}, the index in "
            f"{index.folder} {index.dimension}: they come from different models. Name the index's "
            "model with --clip."
        )
    if index.manifest.get("reading") != reading_digest(pool, shards):
        raise ArtifactMismatchError(
            f"The index in {index.folder} was not built from {pool.location} as it is read now: "
            "its sample ids mean other images. Build it again from these embeddings, or leave out "
            "--index."
        )
    found = [
        index.search(concepts[at : at + QUERIES_AT_ONCE], SPARE * n_candidates).sample_ids.ravel()
        for at in range(0, len(concepts), QUERIES_AT_ONCE)
    ]
    ids = np.unique(np.concatenate(found))
    dropped = {str(reason): int(n) for reason, n in (index.manifest.get("dropped") or {}).items()}
    return Proposals(sample_ids=ids[ids >= 0], index=index, n_dropped=dropped)
