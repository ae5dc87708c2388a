"""A dataset's pictures as a folder of embeddings, in the layout that clip-retrieval writes.

``img_emb/img_emb_{i}.npy`` holds float16 unit vectors, ``metadata/metadata_{i}.parquet`` a row for
each, ``text_emb/text_emb_{i}.npy`` the captions' vectors where they are wanted. A picture that
cannot be decoded is in none of them; ``dropped/dropped_{i}.parquet`` says why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import (
    Json,
    ShardStore,
    digest_of,
    package_versions,
    write_npy,
    write_parquet,
)
from conceptaudit.datasets.base import CAPTION, IMAGE, SOURCE_COLUMN, Dataset, Shard
from conceptaudit.datasets.changes import check_unchanged, stamps_of
from conceptaudit.engine.accounting import CountedBatches
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.encode_shard import EncodedShard, encode_shard
from conceptaudit.image.thumbnails import THUMBNAILS
from conceptaudit.store.removing import remove
from conceptaudit.tagtable import check_account, drop_table, part_account

RECORDS = "shards"
ARRAY, METADATA, TEXTS, DROPPED = "img_emb", "metadata", "text_emb", "dropped"
PLACES = {ARRAY: ".npy", METADATA: ".parquet", TEXTS: ".npy", DROPPED: ".parquet"}
"""Subfolders of the layout and the ending of their files."""


@dataclass(frozen=True, slots=True)
class FolderStore(ShardStore):
    """Records in ``EMB/shards``, the files that they vouch for in the layout's own subfolders."""

    def located(self, name: str) -> Path:
        """Where a file that a record names lies."""
        place = next(p for p in PLACES if name.startswith(f"{p}_"))
        return self.folder.parent / place / Path(name).name


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedShard:
    """Embeds one shard and writes its files; what an engine sends to a worker.

    Parameters
    ----------
    dataset : Dataset
        Offers images.
    clip : ClipModel
        The model.
    store : FolderStore
        Where records and files go.
    index : mapping of str to int
        The number of each shard's files, by shard name.
    texts : bool
        Whether captions are embedded too.
    skip_unreadable : bool
        Whether a shard that cannot be read is reported instead of raised.
    threads : int or None
        See `encode_shard`.
    """

    dataset: Dataset
    clip: ClipModel
    store: FolderStore
    index: Mapping[str, int]
    texts: bool = False
    skip_unreadable: bool = False
    threads: int | None = None

    def __call__(self, shard: Shard) -> str | None:
        """Embed a shard, write its files and then its record."""
        parts = frozenset({IMAGE, CAPTION}) & self.dataset.provides
        try:
            stamps = stamps_of([shard])
            batches = CountedBatches(self.dataset.read(shard, parts), shard.name)
            encoded = encode_shard(batches, self.clip, threads=self.threads)
            check_unchanged(stamps, shard)
        except DataError as error:
            if self.skip_unreadable:
                return str(error)
            raise
        account = part_account(len(encoded.keys), encoded.drops, part=IMAGE)
        check_account(account, encoded.n_used, f"images of shard {shard.name}")
        batches.check(account)
        files = self._write(encoded, self.index[shard.name], account)
        self.store.write(shard.name, shard.fingerprint, account, files)
        return None

    def _write(self, encoded: EncodedShard, index: int, account: Json) -> dict[str, Path]:
        files: dict[str, Path] = {}
        paths = {
            place: self.store.located(f"{place}_{file_number(index, len(self.index))}{ending}")
            for place, ending in PLACES.items()
        }
        for path in paths.values():
            remove(path.parent, [path.name])
        kept = np.flatnonzero(encoded.usable)
        # no empty arrays: clip-retrieval's reader leaves them out and so shifts every later pair
        if len(kept):
            write_npy(paths[ARRAY], encoded.vectors[kept])
            write_parquet(paths[METADATA], _metadata(encoded, kept))
            files |= {place: paths[place] for place in (ARRAY, METADATA)}
            if self.texts:
                vectors, n_texts = self._texts([encoded.captions[row] for row in kept.tolist()])
                write_npy(paths[TEXTS], vectors)
                files[TEXTS] = paths[TEXTS]
                account["n_texts"] = n_texts
        drops = drop_table(encoded.drops)
        if len(drops):
            write_parquet(paths[DROPPED], drops)
            files[DROPPED] = paths[DROPPED]
        return files

    def _texts(self, captions: Sequence[str | None]) -> tuple[npt.NDArray[np.float16], int]:
        """Embed captions; one that is missing keeps zeros, so that rows stay in step."""
        vectors = np.zeros((len(captions), self.clip.dimension), dtype=np.float16)
        rows = [row for row, caption in enumerate(captions) if caption is not None]
        texts = [caption for caption in captions if caption is not None]
        if texts:
            vectors[rows] = self.clip.encode_texts(texts).astype(np.float16)
        return vectors, len(texts)


def _metadata(encoded: EncodedShard, kept: npt.NDArray[np.int64]) -> pd.DataFrame:
    rows = kept.tolist()
    columns: dict[str, object] = {
        "image_path": pd.Series([encoded.keys[row] for row in rows], dtype="str"),
        "caption": pd.Series([encoded.captions[row] for row in rows], dtype="str"),
        SOURCE_COLUMN: encoded.sample_ids[kept],
        "image_digest": pd.Series([encoded.digests[row] for row in rows], dtype="str"),
        "image_look": pd.Series([encoded.thumbnails[row] for row in rows], dtype="object"),
    }
    if all(caption is None for caption in encoded.captions):
        del columns["caption"]
    return pd.DataFrame(columns)


def file_number(index: int, n_shards: int) -> str:
    """Write a shard's number as clip-retrieval does: as many digits as the last one has.

    Examples
    --------
    >>> file_number(3, 10), file_number(3, 11)
    ('3', '03')
    """
    return str(index).zfill(len(str(max(n_shards - 1, 0))))


def folder_store(folder: Path, dataset: Dataset, clip: ClipModel, *, texts: bool) -> FolderStore:
    """Return the store whose records are valid for this model on this dataset."""
    return FolderStore(
        folder=folder / RECORDS,
        digest=digest_of({"embed": embed_settings(clip, texts=texts), "reading": dataset.settings}),
    )


def embed_settings(clip: ClipModel, *, texts: bool) -> Json:
    """Everything that can change an embedding."""
    return {
        "clip": clip.digest,
        "device": clip.device.split(":")[0],
        "batch": clip.batch,
        "precision": clip.precision,
        "thumbnails": THUMBNAILS,
        "texts": texts,
        "versions": package_versions("open_clip_torch", "torch", "pillow"),
    }


def numbered(shards: Sequence[Shard]) -> tuple[tuple[Shard, ...], dict[str, int]]:
    """Give shards numbers in reading order, which become part of what their records depend on."""
    index = {shard.name: i for i, shard in enumerate(shards)}
    total = len(shards)
    return (
        tuple(
            replace(shard, fingerprint=digest_of([shard.fingerprint, index[shard.name], total]))
            for shard in shards
        ),
        index,
    )
