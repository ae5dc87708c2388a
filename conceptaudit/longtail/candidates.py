"""The table of candidates that travels from the pool to the set, and the search that fills it.

One row says that an image may serve a class. Each stage fills columns and says, in ``reason``,
``detail`` and ``duplicate_of``, which rows go no further and why; rows without a reason are in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.display import quantity
from conceptaudit.errors import DataError
from conceptaudit.longtail.fingerprints import Fingerprint
from conceptaudit.records import Float32Array, Int64Array

# Endings of a shard's files.
IMAGES, PAIRS, VECTORS = ".parquet", ".pairs.parquet", ".npy"

# Columns that the pool may or may not have; ``digest`` is of the file that was embedded.
TEXTS = ("caption", "url", "license", "digest")

# Of two duplicates the one stays that comes first: by rank, then score, then what is fixed.
PRIORITY = ["rank", "score", "class_id", "key", "sample_id"]

# Copies that are remembered per image; the web has images with millions.
MAX_REPEATS = 1000

# Above the float32 error of a cosine: proposals are decided by their float64 product.
SLACK = 1e-4

# Pairs whose exact score is computed at once: 32 MB at 512 dimensions.
PAIRS_AT_ONCE = 4096

# Pairs held, as a multiple of those wanted, before the surplus is let go.
ROOM = 3

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def remaining(table: pd.DataFrame) -> pd.DataFrame:
    """Rows that no stage has removed."""
    return table[table["reason"] == ""]


def vectors_of(table: pd.DataFrame, vectors: Float32Array) -> Float32Array:
    """Vectors of the rows' images, shape (n_rows, dimension)."""
    own: Float32Array = vectors[table["vector"].to_numpy(dtype=np.int64)]
    return own


def mark(
    table: pd.DataFrame,
    rows: pd.Index | Sequence[int],
    reasons: str | Iterable[str],
    details: Iterable[str] | str = "",
    duplicate_of: Iterable[str] | str = "",
) -> None:
    """Say of some rows, by label, why they go no further."""
    for name, values in (
        ("reason", reasons),
        ("detail", details),
        ("duplicate_of", duplicate_of),
    ):
        table.loc[list(rows), name] = values if isinstance(values, str) else list(values)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShardCandidates:
    """Images, and the concepts that each is a candidate for: what a shard has to offer."""

    # a row per image: sample_id, shard, key, content, `TEXTS` and, where there are images,
    # the fields of `Fingerprint`
    images: pd.DataFrame
    pairs: pd.DataFrame  # row (position in `images`), concept (in the selection), score
    vectors: Float32Array  # shape (n_images, dimension): unit vectors; may be memory-mapped

    def only(self, good: Bools) -> ShardCandidates:
        """Keep some pairs, and the images that they name."""
        pairs = self.pairs[good]
        kept, rows = np.unique(pairs["row"].to_numpy(), return_inverse=True)
        return ShardCandidates(
            images=self.images.iloc[kept].reset_index(drop=True),
            pairs=pairs.assign(row=rows).reset_index(drop=True),
            vectors=np.array(self.vectors[kept], dtype=np.float32),
        )

    @classmethod
    def joined(cls, parts: Sequence[ShardCandidates]) -> ShardCandidates:
        """Put some one after another."""
        starts = np.cumsum([0, *(len(part.images) for part in parts)]).tolist()
        pairs = [
            part.pairs.assign(row=part.pairs["row"] + start)
            for part, start in zip(parts, starts, strict=False)
        ]
        return cls(
            images=pd.concat([part.images for part in parts], ignore_index=True),
            pairs=pd.concat(pairs, ignore_index=True),
            vectors=np.concatenate([part.vectors for part in parts]),
        )

    @classmethod
    def read(cls, paths: dict[str, Path], shard: int) -> ShardCandidates | None:
        """Read what the shard at a position of the pool has to offer; None where it has nothing."""
        if not paths[IMAGES].exists():
            return None
        images, pairs = pd.read_parquet(paths[IMAGES]), pd.read_parquet(paths[PAIRS])
        vectors = np.load(paths[VECTORS], mmap_mode="r", allow_pickle=False)
        if len(vectors) != len(images):
            raise DataError(
                f"{paths[IMAGES]} has {quantity(len(images), 'row')} for "
                f"{quantity(len(vectors), 'vector')}. Remove its folder and run again."
            )
        return cls(images=images.assign(shard=shard), pairs=pairs, vectors=vectors)


class TopKSearch:
    """Keeps the best candidates of every concept while blocks of a pool stream by.

    Each concept keeps its best images, as many *different* ones as are asked for, with all that tie
    with the last of them and copies of each. What is kept depends on the images alone, so shards
    can be searched apart and their candidates put together. Memory is bounded by about `ROOM` times
    ``n_concepts * size`` vectors and fingerprints.

    `concepts` has shape (n_concepts, dimension); lower scores than `min_score` are never kept.
    """

    def __init__(self, concepts: Float32Array, size: int, min_score: float | None = None) -> None:
        self._concepts = np.ascontiguousarray(concepts, dtype=np.float32)
        self._size = size
        floor = -np.inf if min_score is None else min_score
        self._floors: Floats = np.full(len(concepts), floor, dtype=np.float64)
        self._held: list[ShardCandidates] = []
        self._n_pairs = 0
        self._room = ROOM * len(concepts) * size

    def add(
        self,
        images: pd.DataFrame,
        vectors: Float32Array,
        describe: Callable[[int], Fingerprint] | None = None,
        named: Bools | None = None,
    ) -> None:
        """Compare a block of images with the concepts.

        `describe` gives the fingerprint of the image in a row and is called for candidates only;
        `named`, shape (n_rows, n_concepts), says which pairs may be candidates, None for all.
        """
        if not len(images):
            return
        scores = vectors @ self._concepts.T
        if named is not None:
            scores[~named] = -np.inf
        limits = np.maximum(self._floors, self._block_floors(scores, images["content"]))
        proposed = scores >= (limits - SLACK).astype(np.float32)
        if named is not None:
            proposed &= named
        rows, concepts = np.nonzero(proposed)
        exact = self._exact(vectors, rows, concepts)
        pairs = pd.DataFrame({"row": rows, "concept": concepts, "score": exact})
        whole = ShardCandidates(images=images, pairs=pairs, vectors=vectors)
        kept = np.unique(rows[exact >= limits[concepts]])
        if not len(kept):
            return
        part = whole.only(exact >= limits[concepts])
        if describe is not None:
            described = pd.DataFrame([asdict(describe(row)) for row in kept.tolist()])
            # any 64 bits: half of all hashes do not fit a signed integer
            described["phash"] = described["phash"].astype("uint64")
            part = ShardCandidates(
                images=pd.concat([part.images, described], axis=1),
                pairs=part.pairs,
                vectors=part.vectors,
            )
        self._hold(part)

    def _block_floors(self, scores: Float32Array, contents: pd.Series[str]) -> Floats:
        """Score of the last of the `size` best different images of this block, per concept."""
        first = ~contents.duplicated().to_numpy()
        n_different = int(first.sum())
        if n_different <= self._size:
            return np.full(len(self._concepts), -np.inf)
        last = n_different - self._size
        by_concept = np.ascontiguousarray(scores[first].T)
        floors = np.partition(by_concept, last, axis=1)[:, last].astype(np.float64)
        return floors - SLACK  # float32 may have put the wrong one last

    def _exact(self, vectors: Float32Array, rows: Int64Array, concepts: Int64Array) -> Floats:
        exact = np.empty(len(rows), dtype=np.float64)
        for start in range(0, len(rows), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            left = vectors[rows[part]].astype(np.float64)
            right = self._concepts[concepts[part]].astype(np.float64)
            exact[part] = np.einsum("ij,ij->i", left, right)
        return exact

    def merge(self, part: ShardCandidates) -> None:
        """Take in what another search has kept."""
        good = part.pairs["score"].to_numpy() >= self._floors[part.pairs["concept"].to_numpy()]
        if good.any():
            self._hold(part.only(good))

    def _hold(self, part: ShardCandidates) -> None:
        self._held.append(part)
        self._n_pairs += len(part.pairs)
        if self._n_pairs > self._room:
            self._compact()

    def kept(self) -> ShardCandidates | None:
        """All that is kept, without surplus; None where nothing is."""
        if self._held:
            self._compact()
        return self._held[0] if self._held else None

    def _compact(self) -> None:
        held = ShardCandidates.joined(self._held)
        rows, concepts = held.pairs["row"].to_numpy(), held.pairs["concept"].to_numpy()
        scores = held.pairs["score"].to_numpy()
        contents, _ = pd.factorize(held.images["content"])
        best = held.pairs.assign(content=contents[rows]).sort_values(
            ["concept", "score"], ascending=[True, False], kind="stable"
        )
        best = best.drop_duplicates(["concept", "content"])  # of copies one counts
        last = best[best.groupby("concept").cumcount() == self._size - 1]
        self._floors[last["concept"].to_numpy()] = last["score"].to_numpy()
        by_name = held.images[["key", "sample_id"]].assign(content=contents)
        # the same copies are let go whatever the pool's order
        copies = by_name.sort_values(["key", "sample_id"]).groupby("content").cumcount()
        n_before = copies.sort_index().to_numpy()
        good = (scores >= self._floors[concepts]) & (n_before[rows] <= MAX_REPEATS)
        self._held = [held.only(good)]
        self._n_pairs = int(good.sum())

    def table(self, source: Callable[[int, int], str]) -> tuple[pd.DataFrame, Float32Array]:
        """Lay out the candidates: by class the best images first, each content once, and copies.

        `source` names the file and row of an image, by its shard's position and its sample id.
        Returns the table, whose column ``vector`` points into the vectors beside it.
        """
        held = self.kept()
        if held is None:
            columns = [*PRIORITY, *TEXTS, "content", "source", "shard", "vector", "copy"]
            empty = pd.DataFrame(columns=columns)
            return _with_stages(empty), np.empty((0, self._concepts.shape[1]), dtype=np.float32)
        table = held.images.iloc[held.pairs["row"]].reset_index(drop=True)
        table["class_id"], table["score"] = held.pairs["concept"], held.pairs["score"]
        table["vector"] = held.pairs["row"]
        table = table.sort_values(
            ["class_id", "score", "key", "sample_id"],
            ascending=[True, False, True, True],
            ignore_index=True,
        )
        table["copy"] = table.duplicated(["class_id", "content"])
        number = (~table["copy"]).groupby(table["class_id"]).cumsum()
        # a copy belongs to the image before it, which scores the same or better
        first = number.where(~table["copy"]).groupby([table["class_id"], table["content"]])
        table = table[first.transform("first") <= self._size].reset_index(drop=True)
        for name in TEXTS:
            table[name] = table[name].fillna("")
        places = zip(table["shard"].tolist(), table["sample_id"].tolist(), strict=True)
        table["source"] = [source(shard, sample) for shard, sample in places]
        return ranked(_with_stages(table)), held.vectors


def _with_stages(table: pd.DataFrame) -> pd.DataFrame:
    """Add the columns that later stages fill."""
    texts = dict.fromkeys(("concept", "runner_up", "suspect", "reason", "detail"), "")
    return table.assign(**texts, duplicate_of="", margin=np.inf)


def ranked(table: pd.DataFrame) -> pd.DataFrame:
    """Fill ``rank``: number the different images of each class from 1, in the table's order."""
    number = (~table["copy"].astype(bool)).groupby(table["class_id"]).cumsum()
    return table.assign(rank=number.astype("int64"))
