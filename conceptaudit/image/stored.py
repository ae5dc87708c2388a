"""Embeddings that an earlier stage of the run computed, read as a dataset."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import file_digest
from conceptaudit.datasets.base import DEFAULT_BATCH_ROWS, EMBEDDING, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.records import Drop, SampleBatch


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEmbeddings:
    """The results of an `ImageEncoder` as a dataset with embeddings.

    Parameters
    ----------
    folder : Path
        ``RUN/embeddings``.
    source : tuple of Shard
        The shards that were embedded; ours carry their names.
    """

    folder: Path
    source: tuple[Shard, ...]
    layout: str = "stored embeddings"
    provides: frozenset[str] = frozenset({EMBEDDING})
    notes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """The folder."""
        return str(self.folder)

    @property
    def settings(self) -> dict[str, str]:
        """The layout alone: contents are part of each shard's fingerprint."""
        return {"layout": self.layout}

    def shards(self) -> tuple[Shard, ...]:
        """Return the embedded shards that exist, identified by their contents."""
        return tuple(
            replace(
                shard,
                files=(str(self.folder / f"{shard.name}.npy"),),
                fingerprint=file_digest(self.folder / f"{shard.name}.json"),
            )
            for shard in self.source
            if (self.folder / f"{shard.name}.json").exists()
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read a shard in blocks of rows.

        Raises
        ------
        DataError
            Vectors and sample table disagree.
        """
        stem = self.folder / shard.name
        vectors = np.load(stem.with_name(f"{shard.name}.npy"), mmap_mode="r", allow_pickle=False)
        drops = _read_drops(stem.with_name(f"{shard.name}.drops.parquet"))
        table_path = stem.with_name(f"{shard.name}.parquet")
        if not table_path.exists():
            yield SampleBatch(
                sample_ids=np.empty(0, dtype=np.int64),
                keys=[],
                embeddings=np.empty((0, vectors.shape[1]), dtype=np.float32),
                drops=tuple(drops),
            )
            return
        table = pd.read_parquet(table_path)
        if len(table) != len(vectors):
            raise DataError(
                f"{table_path} has {quantity(len(table), 'row')} for "
                f"{quantity(len(vectors), 'vector')}. Run again with --resume to redo the shard."
            )
        ids = table["sample_id"].to_numpy(dtype=np.int64)
        keys = table["key"].tolist()
        by_id = {int(i): row for row, i in enumerate(ids)}
        for start in range(0, len(table), DEFAULT_BATCH_ROWS):
            stop = min(start + DEFAULT_BATCH_ROWS, len(table))
            here = [drop for drop in drops if start <= by_id.get(drop.sample_id, 0) < stop]
            yield SampleBatch(
                sample_ids=ids[start:stop],
                keys=keys[start:stop],
                embeddings=np.asarray(vectors[start:stop], dtype=np.float32)
                if EMBEDDING in parts
                else None,
                drops=tuple(here),
            )


def _read_drops(path: Path) -> list[Drop]:
    if not path.exists():
        return []
    columns = ("sample_id", "key", "part", "reason", "detail")
    rows = pd.read_parquet(path)[list(columns)].itertuples(index=False, name=None)
    return [
        Drop(sample_id=int(i), key=key, part=part, reason=reason, detail=detail)
        for i, key, part, reason, detail in rows
    ]
