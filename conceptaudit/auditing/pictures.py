"""The images in which an audit looks for duplicates: ids, keys, vectors, digests, thumbnails."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.datasets.base import EMBEDDING, Dataset, Shard
from conceptaudit.errors import DataError
from conceptaudit.image.thumbnails import Thumbnails
from conceptaudit.records import Int64Array, sample_id

_EXTRAS = ("image_digest", "image_look")
"""Columns that our own encoder writes beside its vectors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """The usable images of an audit, as columns of equal length, in order of sample id."""

    sample_ids: Int64Array
    keys: list[str]
    vectors: npt.NDArray[np.float16]  # shape (n, dimension)
    digests: list[str] | None  # of the files; None where no file was opened
    thumbnails: Thumbnails | None  # none where not every image has one


def read_pictures(dataset: Dataset, shards: Sequence[Shard]) -> Pictures:
    """Read all usable embeddings: about 1.3 kB per image at 512 dimensions."""
    ids: list[Int64Array] = []
    keys: list[str] = []
    vectors: list[npt.NDArray[np.float16]] = []
    extras: list[pd.DataFrame] = []
    for shard in shards:
        table = _extras(shard)
        for batch in dataset.read(shard, frozenset({EMBEDDING})):
            if batch.embeddings is None:
                continue
            usable = np.flatnonzero(batch.embeddings.any(axis=1))
            ids.append(batch.sample_ids[usable])
            keys += [batch.keys[row] for row in usable.tolist()]
            vectors.append(_half(batch.embeddings[usable]))
            if table is not None:
                extras.append(table.loc[batch.sample_ids[usable]])
    if not ids:
        raise DataError(f"{dataset.location} holds no embeddings in which to find duplicates.")
    known = pd.concat(extras) if extras else None
    complete = known is not None and len(known) == len(keys)
    return Pictures(
        sample_ids=np.concatenate(ids),
        keys=keys,
        vectors=np.concatenate(vectors),
        digests=known["image_digest"].tolist() if known is not None and complete else None,
        thumbnails=_thumbnails(known["image_look"]) if known is not None and complete else None,
    )


def _half(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Keep directions in half precision, which cannot hold very long or short vectors."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.asarray(np.where(largest > 0, vectors / largest, 0.0), dtype=np.float16)


def _thumbnails(column: pd.Series[bytes]) -> Thumbnails | None:
    thumbnails = Thumbnails.of(column.tolist())
    return thumbnails if thumbnails.known.all() else None


def _extras(shard: Shard) -> pd.DataFrame | None:
    """Read what our own encoder wrote beside a shard's vectors, by sample id."""
    import pyarrow.parquet as pq

    paths = [Path(shard.files[0]).with_suffix(".parquet"), *map(Path, shard.files[1:])]
    for path in paths:
        if not path.is_file() or not {*_EXTRAS} <= {*pq.read_schema(path).names}:
            continue
        table = pd.read_parquet(path)
        if path == paths[0]:
            return table.set_index("sample_id")[list(_EXTRAS)]
        stop = len(table) if shard.stop < 0 else shard.stop
        first = sample_id(shard.file_index, 0)
        part = table.iloc[shard.start : stop][list(_EXTRAS)]
        return part.set_axis(np.arange(first + shard.start, first + stop), axis=0)
    return None
