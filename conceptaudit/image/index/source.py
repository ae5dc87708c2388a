"""Where an index takes its vectors from: a folder of embeddings, or the ones an audit made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conceptaudit.artifacts import MANIFEST, Json, digest_of, read_json
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.decode_pool import prefetch
from conceptaudit.image.index.store import VectorBlock
from conceptaudit.image.stages import StoredEmbeddings
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

BLOCK_ROWS = 16_384
"""Vectors handed over at once; fixed, because what FAISS builds may depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSource:
    """Unit vectors of images, in one fixed order however the source is cut into shards."""

    dataset: Dataset
    location: str
    # name and digest of the model that made the vectors, where the folder says
    clip: str | None = None
    model: str | None = None
    images: str | None = None  # the dataset whose images were embedded, where the folder says
    # (1, 4) for the first of four parts, cut by shards; (1, 1) for all
    part: tuple[int, int] = (1, 1)
    # vectors that cannot be used, by reason, after `blocks` has run to its end
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def fingerprint(self) -> Json:
        """What the vectors depend on."""
        return [self.dataset.settings, [[s.name, s.fingerprint] for s in self.shards()]]

    def shards(self) -> tuple[Shard, ...]:
        """Return the shards of this part."""
        number, of = self.part
        return self.dataset.shards()[number - 1 :: of]

    def blocks(self) -> Iterator[VectorBlock]:
        """Yield all usable vectors in blocks of `BLOCK_ROWS`, the last one smaller."""
        yield from prefetch(_recut(self._batches()))

    def _batches(self) -> Iterator[VectorBlock]:
        self.dropped.clear()
        dimension: int | None = None
        for shard in self.shards():
            for batch in self.dataset.read(shard, frozenset({EMBEDDING})):
                if batch.embeddings is None or not len(batch):
                    continue
                dimension = dimension or batch.embeddings.shape[1]
                if batch.embeddings.shape[1] != dimension:
                    raise DataError(
                        f"{shard.files[0]} holds vectors of dimension {batch.embeddings.shape[1]}, "
                        f"the files before it {dimension}: they come from different models. "
                        "Index them apart."
                    )
                self.dropped.update(d.reason for d in batch.drops if d.part in ("sample", IMAGE))
                bad = [d.sample_id for d in batch.drops if d.part == IMAGE]
                kept = np.flatnonzero(~np.isin(batch.sample_ids, bad))
                yield VectorBlock(
                    sample_ids=batch.sample_ids[kept],
                    keys=[batch.keys[row] for row in kept.tolist()],
                    vectors=unit_rows(batch.embeddings[kept]),
                )


def _recut(batches: Iterator[VectorBlock]) -> Iterator[VectorBlock]:
    """Cut blocks anew, so that their sizes do not depend on shards or batches."""
    held: list[VectorBlock] = []
    n_held = 0
    for batch in batches:
        held.append(batch)
        n_held += len(batch)
        if n_held >= BLOCK_ROWS:
            whole = _joined(held)
            done = n_held - n_held % BLOCK_ROWS
            for start in range(0, done, BLOCK_ROWS):
                yield _rows(whole, start, start + BLOCK_ROWS)
            held, n_held = [_rows(whole, done, n_held)], n_held - done
    if n_held:
        yield _joined(held)


def _joined(parts: list[VectorBlock]) -> VectorBlock:
    return VectorBlock(
        sample_ids=np.concatenate([part.sample_ids for part in parts]),
        keys=[key for part in parts for key in part.keys],
        vectors=np.concatenate([part.vectors for part in parts]),
    )


def _rows(block: VectorBlock, start: int, stop: int) -> VectorBlock:
    return VectorBlock(
        sample_ids=block.sample_ids[start:stop],
        keys=block.keys[start:stop],
        vectors=block.vectors[start:stop],
    )


def open_source(location: str | Path) -> VectorSource:
    """Open the vectors that a user named."""
    path = Path(location)
    run = path.parent if path.name == "embeddings" else path
    manifest = _manifest(run)
    if manifest.get("kind") == "audit":
        return _audit_source(run, manifest, str(location))
    dataset = open_dataset(location)
    if EMBEDDING not in dataset.provides:
        raise ConfigError(
            f"{location} ({dataset.layout}) holds no image embeddings, only "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Make them with "
            "'conceptaudit embed' and name the folder that it writes."
        )
    ours = _manifest(path)
    return VectorSource(
        dataset=dataset,
        location=str(location),
        clip=ours.get("clip"),
        model=ours.get("model"),
        images=ours.get("dataset"),
    )


def reading_digest(dataset: Dataset, shards: Sequence[Shard]) -> str:
    """Digest of what decides which sample has which id: files and their rows, not their cuts."""
    rows: dict[int, int] = {}
    names: dict[int, str] = {}
    for shard in shards:
        rows[shard.file_index] = max(shard.stop, rows.get(shard.file_index, -1))
        names[shard.file_index] = Path(shard.files[0]).name if shard.files else shard.name
    return digest_of([dataset.layout, sorted(rows.items()), sorted(names.items())])


def _manifest(folder: Path) -> dict[str, Json]:
    if not (folder / MANIFEST).is_file():
        return {}
    manifest = read_json(folder / MANIFEST)
    return manifest if isinstance(manifest, dict) else {}


def _audit_source(run: Path, manifest: dict[str, Json], location: str) -> VectorSource:
    settings, names = manifest.get("settings"), manifest.get("shards")
    if not isinstance(settings, list) or not isinstance(names, list):
        raise DataError(
            f"{run / MANIFEST} is damaged: it lacks a proper list of settings or shards."
        )
    odd = [name for name in names if not isinstance(name, str) or Path(name).name != name]
    if odd:  # they become names of files
        raise DataError(f"{run / MANIFEST} is damaged: {odd[0]!r} is no name of a shard.")
    stages = [stage for stage in settings if isinstance(stage, dict)]
    encoder = next((stage for stage in stages if stage.get("stage") == "embeddings"), None)
    if encoder is None:
        raise ConfigError(
            f"The audit in {run} embedded no images. Index the embeddings that it read "
            f"({manifest.get('dataset')}), or embed its images with 'conceptaudit embed'."
        )
    shards = tuple(Shard(name=name, files=(), file_index=0) for name in names)
    return VectorSource(
        dataset=StoredEmbeddings(folder=run / "embeddings", source=shards),
        location=location,
        clip=manifest.get("clip"),
        model=encoder.get("clip"),
        images=manifest.get("dataset"),
    )


SPARE = 1.1  # more than wanted is kept at first, because hashes do not spread evenly

UInt64Array = npt.NDArray[np.uint64]


def hashed(sample_ids: Int64Array, seed: int) -> UInt64Array:
    """Mix ids and a seed to numbers that look drawn at random (splitmix64, Steele et al. 2014)."""
    step = np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) & 0xFFFFFFFFFFFFFFFF)
    mixed = sample_ids.astype(np.uint64) + step
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Vectors drawn from a source."""

    n_rows: int  # usable vectors of the source
    dimension: int  # of each of them; 0 for an empty source
    query_ids: Int64Array  # shape (n_queries,): ids of the held-out vectors
    queries: Float32Array  # shape (n_queries, dimension): held out: not in `training`
    # shape (n_training, dimension): in an order that depends on ids and seed alone
    training: Float32Array


def draw(
    blocks: Iterable[VectorBlock], *, expected: int, n_queries: int, n_training: int, seed: int
) -> Sample:
    """Draw queries and, apart from them, training vectors in one pass."""
    n_queries = min(n_queries, max(expected // 10, 1))
    wanted = n_queries + n_training
    limit = min(SPARE * wanted / max(expected, 1) + 64 / max(expected, 1), 1.0) * 2.0**64
    ids: list[Int64Array] = []
    hashes: list[UInt64Array] = []
    vectors: list[Float32Array] = []
    n_rows = dimension = 0
    for block in blocks:
        n_rows += len(block)
        dimension = block.vectors.shape[1]
        drawn = hashed(block.sample_ids, seed)
        kept = np.flatnonzero(drawn.astype(np.float64) < limit)
        ids.append(block.sample_ids[kept])
        hashes.append(drawn[kept])
        vectors.append(block.vectors[kept])
    if not ids:
        empty = np.empty((0, 0), dtype=np.float32)
        none = np.empty(0, dtype=np.int64)
        return Sample(n_rows=0, dimension=0, query_ids=none, queries=empty, training=empty)
    all_ids = np.concatenate(ids)
    order = np.lexsort((all_ids, np.concatenate(hashes)))[:wanted]
    pool = np.concatenate(vectors)
    return Sample(
        n_rows=n_rows,
        dimension=dimension,
        query_ids=all_ids[order[:n_queries]],
        queries=pool[order[:n_queries]],
        training=pool[order[n_queries:]],
    )
