"""What is removed after screening, for reasons that need more than one shard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from conceptaudit.artifacts import MANIFEST, read_json
from conceptaudit.auditing.duplicates import CAPTION_OF, KEPT, look_for_duplicates, read_pictures
from conceptaudit.curate.audited import AuditedData
from conceptaudit.curate.drawing import LeftSamples
from conceptaudit.curate.vectors import EmbeddedSamples, matching_rows
from conceptaudit.datasets import EMBEDDING, EXTRA, IMAGE, open_dataset
from conceptaudit.datasets.identities import is_url, plain_url
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array


@dataclass(slots=True)
class Removed:
    """Samples removed so far, and why.

    Parameters
    ----------
    ids : numpy.ndarray of int64, shape (n,)
        Sorted, each once.
    account : dict of str to int
        Samples by reason, in order; each sample has the first reason that removed it.
    """

    ids: Int64Array = field(default_factory=lambda: np.empty(0, np.int64))
    account: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, ids: Int64Array) -> None:
        """Remove more samples for one reason."""
        new = np.setdiff1d(ids, self.ids)
        self.account[reason] = self.account.get(reason, 0) + len(new)
        self.ids = np.union1d(self.ids, new)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationImages:
    """What identifies the images of evaluation sets.

    Parameters
    ----------
    urls : frozenset of str
        As `plain_url` gives them.
    vectors : numpy.ndarray of float32, shape (n, dimension), or None
        Unit vectors.
    """

    urls: frozenset[str] = frozenset()
    vectors: Float32Array | None = None


def read_excluded(sets: Sequence[str], data: AuditedData) -> EvaluationImages:
    """Read evaluation sets: embeddings, images (embedded by the audit's model), or addresses.

    Raises
    ------
    ConfigError, DataError
        A set offers nothing to compare, or its vectors are of another model.
    """
    urls: set[str] = set()
    vectors: list[Float32Array] = []
    for location in sets:
        opened = open_dataset(location)
        parts = {EXTRA} | ({EMBEDDING} & opened.provides)
        images = EMBEDDING not in parts and IMAGE in opened.provides
        before = len(urls) + len(vectors)
        for shard in opened.shards():
            for batch in opened.read(shard, frozenset(parts | ({IMAGE} if images else set()))):
                named = [*((batch.extra or {}).get("url") or []), *filter(is_url, batch.keys)]
                urls.update(plain_url(str(one)) for one in named if one)
                if batch.embeddings is not None:
                    vectors.append(unit_rows(batch.embeddings[batch.embeddings.any(axis=1)]))
                if images and batch.images is not None:
                    vectors.append(_encoded([one for one in batch.images if one], data))
        if len(urls) + len(vectors) == before:
            raise ConfigError(
                f"--exclude {location} has neither embeddings nor images nor addresses: nothing "
                "by which its images could be recognised."
            )
    joined = np.concatenate(vectors) if vectors else None
    return EvaluationImages(urls=frozenset(urls), vectors=joined)


def _encoded(images: Sequence[bytes], data: AuditedData) -> Float32Array:
    """Embed images by the model of the audit."""
    from conceptaudit.image.clip import find_clip
    from conceptaudit.image.decode import decode_image

    name = read_json(data.folder / MANIFEST).get("clip")
    if not name:
        raise ConfigError(
            f"--exclude names images, and {data.folder} was audited without --clip: name a folder "
            "of embeddings by the model of the audit's own embeddings ('conceptaudit embed')."
        )
    vectors = find_clip(str(name)).encode_images([decode_image(one) for one in images])
    return unit_rows(np.asarray(vectors, dtype=np.float32))


def leaked_ids(samples: EmbeddedSamples, others: Float32Array, similarity: float) -> Int64Array:
    """Find the samples whose image is in an evaluation set.

    Raises
    ------
    DataError
        The vectors have another dimension.
    """
    leaks: list[Int64Array] = []
    for shard in samples.shards:
        ids, _ = samples.left.ids(shard.name)
        for place, vectors in samples.blocks(shard):
            if vectors.shape[1] != others.shape[1]:
                raise DataError(
                    f"The embeddings of --exclude have {others.shape[1]} dimensions, those of the "
                    f"audit {vectors.shape[1]}: they are of different models."
                )
            leaks.append(ids[place[matching_rows(vectors, others, similarity)]])
    return np.concatenate([np.empty(0, np.int64), *leaks])


def duplicates_of(data: AuditedData) -> pd.DataFrame:
    """Read which samples share an image, or look for them where the audit did not."""
    known = data.duplicates()
    if known is not None:
        return known
    source, shards = data.embedded()
    return look_for_duplicates(read_pictures(source, shards), "auto").table


def repeated_ids(table: pd.DataFrame) -> Int64Array:
    """Name the samples that an audit's table of duplicates calls repeats of another image."""
    own = table["kind"].isin([KEPT])
    stays = table.loc[own].set_index("group")["key"]
    same = table["key"].to_numpy() == table["group"].map(stays).to_numpy()
    repeats = ~own & ~((table["kind"] == CAPTION_OF) & same)
    return np.sort(table.loc[repeats, "sample_id"].to_numpy(np.int64))


def copied_ids(table: pd.DataFrame, left: npt.NDArray[np.bool_]) -> Int64Array:
    """Choose the copies to drop: of every group one image stays, with all its captions.

    The audit's representative stays where it is left, else the first of those that are.

    Parameters
    ----------
    table : pandas.DataFrame
        ``sample_id, key, group, kind``, see `docs/columns.md`.
    left : numpy.ndarray of bool, shape (n_rows,)
        Rows that nothing else has removed.
    """
    rows = table[left].assign(second=table["kind"] != KEPT)
    rows = rows.sort_values(["group", "second", "sample_id"], kind="stable")
    stays = rows.drop_duplicates("group").set_index("group")["key"]
    copies = rows["key"].to_numpy() != rows["group"].map(stays).to_numpy()
    # a key alone joins nothing: the sample that stays, and further captions of it
    return np.sort(rows.loc[copies, "sample_id"].to_numpy(np.int64))


def ids_left(left: LeftSamples, shards: Sequence[str], ids: Int64Array) -> npt.NDArray[np.bool_]:
    """Tell which of some samples are left."""
    inside: list[Any] = []
    for shard in shards:
        own, kept = left.ids(shard)
        inside.append(own[kept])
    known = np.concatenate([np.empty(0, np.int64), *inside])
    return np.asarray(np.isin(ids, known))
