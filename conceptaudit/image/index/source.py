"""Where an index takes its vectors from: a folder of embeddings, or the ones an audit made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from conceptaudit.artifacts import MANIFEST, Json, digest_of, read_json
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import EMBEDDING, IMAGE, Dataset, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.index.records import VectorBlock
from conceptaudit.image.prefetch import prefetch
from conceptaudit.image.stored import StoredEmbeddings
from conceptaudit.image.vectors import unit_rows

BLOCK_ROWS = 16_384
"""Vectors handed over at once; fixed, because what FAISS builds may depend on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorSource:
    """Unit vectors of images, in one fixed order however the source is cut into shards.

    Parameters
    ----------
    dataset : Dataset
        Offers embeddings.
    location : str
        What the user named.
    clip, model : str or None
        Name and digest of the model that made the vectors, where the folder says.
    images : str or None
        The dataset whose pictures were embedded, where the folder says.
    part : tuple of int
        (1, 4) for the first of four parts, cut by shards; (1, 1) for all.
    dropped : collections.Counter
        Vectors that cannot be used, by reason, after `blocks` has run to its end.
    """

    dataset: Dataset
    location: str
    clip: str | None = None
    model: str | None = None
    images: str | None = None
    part: tuple[int, int] = (1, 1)
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
        """Yield all usable vectors in blocks of `BLOCK_ROWS`, the last one smaller.

        Raises
        ------
        DataError
            A file is damaged, or files disagree in dimension.
        """
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
    """Open the vectors that a user named.

    Parameters
    ----------
    location : str or Path
        A folder or file of embeddings in any layout that offers them, or the run folder of an
        audit that embedded its images (or the ``embeddings`` folder in it).

    Raises
    ------
    ConfigError
        It holds no embeddings.
    DataError
        It cannot be read.
    """
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
