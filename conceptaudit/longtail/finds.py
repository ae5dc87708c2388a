"""What one shard of a pool has to offer, as columns: small to send, and written as tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.longtail.records import Picture
from conceptaudit.records import Float32Array, Int64Array

IMAGES, PAIRS, VECTORS = ".parquet", ".pairs.parquet", ".npy"
"""Endings of a shard's files."""

TEXTS = ("caption", "url", "license", "digest")
"""Columns that the pool may or may not have."""

_PICTURE = tuple(field.name for field in fields(Picture))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finds:
    """Images, and for which concepts each is a candidate."""

    # shape (n,): the images, and the positions of their shards in the pool
    sample_ids: Int64Array
    shards: Int64Array
    # length n: external keys; SHA-256 of the file (of the vector where there is no image)
    keys: Sequence[str]
    contents: Sequence[str]
    texts: dict[str, list[str | None]]  # length n: one column for each of `TEXTS`
    pictures: Sequence[Picture | None]  # length n: none throughout where the pool has vectors only
    vectors: Float32Array  # shape (n, dimension): unit vectors; may be memory-mapped
    # shape (m,): pairs of an image (by position) and a concept (by position in the selection)
    rows: Int64Array
    concepts: Int64Array
    scores: npt.NDArray[np.float64]  # shape (m,): cosine similarity of each pair

    def __len__(self) -> int:
        return len(self.sample_ids)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Lay out images and pairs as tables, by file ending."""
        images: dict[str, object] = {
            "sample_id": self.sample_ids,
            "key": pd.Series(list(self.keys), dtype="str"),
            "content": pd.Series(list(self.contents), dtype="str"),
        }
        for name in TEXTS:
            images[name] = pd.Series(self.texts[name], dtype="str")
        known = [picture for picture in self.pictures if picture is not None]
        if known and len(known) == len(self):
            for name in _PICTURE:
                values = [getattr(picture, name) for picture in known]
                kinds: dict[type, str] = {str: "str", bytes: "object"}
                kind = kinds.get(type(values[0]), "uint64")
                images[f"picture_{name}"] = pd.Series(values, dtype=kind)
        pairs = {"row": self.rows, "concept": self.concepts, "score": self.scores}
        return {IMAGES: pd.DataFrame(images), PAIRS: pd.DataFrame(pairs)}


def read_finds(paths: dict[str, Path], shard: int) -> Finds | None:
    """Read what a shard has to offer; None where it has nothing."""
    if not paths[IMAGES].exists():
        return None
    images, pairs = pd.read_parquet(paths[IMAGES]), pd.read_parquet(paths[PAIRS])
    vectors = np.load(paths[VECTORS], mmap_mode="r", allow_pickle=False)
    if len(vectors) != len(images):
        raise DataError(
            f"{paths[IMAGES]} has {quantity(len(images), 'row')} for "
            f"{quantity(len(vectors), 'vector')}. Remove its folder and run again."
        )
    return Finds(
        sample_ids=images["sample_id"].to_numpy(dtype=np.int64),
        shards=np.full(len(images), shard, dtype=np.int64),
        keys=images["key"].tolist(),
        contents=images["content"].tolist(),
        texts={name: _texts(images[name]) for name in TEXTS},
        pictures=_pictures(images),
        vectors=vectors,
        rows=pairs["row"].to_numpy(dtype=np.int64),
        concepts=pairs["concept"].to_numpy(dtype=np.int64),
        scores=pairs["score"].to_numpy(dtype=np.float64),
    )


def _texts(column: pd.Series[Any]) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in column.tolist()]


def _pictures(images: pd.DataFrame) -> list[Picture | None]:
    columns = [f"picture_{name}" for name in _PICTURE]
    if columns[0] not in images:
        return [None] * len(images)
    rows = zip(*(images[name].tolist() for name in columns), strict=True)
    return [Picture(**dict(zip(_PICTURE, row, strict=True))) for row in rows]


def only_pairs(finds: Finds, good: npt.NDArray[np.bool_]) -> Finds:
    """Keep some pairs, and the images that they name."""
    kept = np.unique(finds.rows[good])
    places = kept.tolist()
    return Finds(
        sample_ids=finds.sample_ids[kept],
        shards=finds.shards[kept],
        keys=[finds.keys[i] for i in places],
        contents=[finds.contents[i] for i in places],
        texts={name: [finds.texts[name][i] for i in places] for name in TEXTS},
        pictures=[finds.pictures[i] for i in places],
        vectors=np.array(finds.vectors[kept], dtype=np.float32),
        rows=np.searchsorted(kept, finds.rows[good]),
        concepts=finds.concepts[good],
        scores=finds.scores[good],
    )


def joined_finds(parts: Sequence[Finds], dimension: int) -> Finds:
    """Put finds one after another."""
    starts = np.cumsum([0, *(len(part) for part in parts)])
    whole = np.empty(0, dtype=np.int64)
    return Finds(
        sample_ids=np.concatenate([whole, *(part.sample_ids for part in parts)]),
        shards=np.concatenate([whole, *(part.shards for part in parts)]),
        keys=[key for part in parts for key in part.keys],
        contents=[content for part in parts for content in part.contents],
        texts={name: [text for part in parts for text in part.texts[name]] for name in TEXTS},
        pictures=[picture for part in parts for picture in part.pictures],
        vectors=np.concatenate(
            [np.empty((0, dimension), dtype=np.float32), *(part.vectors for part in parts)]
        ),
        rows=np.concatenate(
            [whole, *(part.rows + start for part, start in zip(parts, starts, strict=False))]
        ),
        concepts=np.concatenate([whole, *(part.concepts for part in parts)]),
        scores=np.concatenate([np.empty(0), *(part.scores for part in parts)]),
    )
