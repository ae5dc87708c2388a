"""The images behind a pool of embeddings, found by key: only candidates are opened."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

import pandas as pd

from conceptaudit.artifacts import digest_of
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.encode import image_digest
from conceptaudit.longtail.candidates import mark, ranked
from conceptaudit.longtail.collect import usable_image
from conceptaudit.longtail.fingerprints import Fingerprint, fingerprint_of
from conceptaudit.longtail.records import EXAMPLE, NO_PICTURE
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """A dataset that holds images."""

    dataset: Dataset
    shards: tuple[Shard, ...]  # all of them

    @property
    def identity(self) -> str:
        """Digest of what is read."""
        shards = [[shard.name, shard.fingerprint] for shard in self.shards]
        return digest_of([self.dataset.settings, shards])


def open_pictures(location: str) -> PictureSet:
    """Open the dataset whose images were embedded."""
    dataset = open_dataset(location)
    if IMAGE not in dataset.provides:
        raise ConfigError(
            f"{location} ({dataset.layout}) holds no images, only "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}. Name the dataset whose images "
            "were embedded with --pictures."
        )
    return PictureSet(dataset=dataset, shards=dataset.shards())


def join_pictures(
    table: pd.DataFrame,
    pictures: PictureSet,
    options: LongTailOptions,
    *,
    examples: frozenset[str] = frozenset(),
    progress: Progress,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Open the candidates' images and describe them in the table.

    A key may name several images, because tars may number their members alike. Where the
    embeddings say which file they were made from, that file is taken; else such a key is refused.

    Returns the candidates that have an image, and one row for each image that cannot be used.
    """
    images = table[~table["copy"].astype(bool)].drop_duplicates("content")
    entries = images[["key", "content", "digest"]].itertuples(index=False, name=None)
    by_key: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, content, digest in entries:
        by_key[key].append((content, digest))
    opened: dict[str, _Opened] = defaultdict(_Opened)
    any_found = False
    for place, key, data in _files(pictures, frozenset(by_key), progress):
        any_found = True
        for content, digest in by_key[key]:
            if not digest or image_digest(data) == digest:
                opened[content].take(place, data, options, examples)
    if by_key and not any_found:
        raise DataError(
            f"None of the {quantity(len(by_key), 'candidate')} is an image of "
            f"{pictures.dataset.location}: no key of the embeddings, such as "
            f"{next(iter(by_key))!r}, is one of its. Name the dataset that was embedded with "
            "--pictures, in the layout that it had then."
        )
    lost = images[[opened[content].is_unusable for content in images["content"]]].copy()
    faults = [
        opened[content].fault(digest)
        for content, digest in zip(lost["content"], lost["digest"], strict=True)
    ]
    mark(lost, lost.index, [reason for reason, _ in faults], [detail for _, detail in faults])
    found = table[~table["content"].isin(lost["content"])]
    described = pd.DataFrame(
        [
            {**asdict(one.fingerprint), "image_shard": one.place[0], "image_id": one.place[1]}
            for one in (opened[content] for content in found["content"])
            if one.fingerprint is not None
        ],
        index=found.index,
    )
    described["phash"] = described["phash"].astype("uint64") if len(described) else []
    # ranks are among the images that can be used
    return ranked(found.join(described).reset_index(drop=True)), lost


@dataclass(slots=True)
class _Opened:
    """The files under one candidate's key, the first of them described."""

    files: set[str] = field(default_factory=set)
    place: tuple[int, int] = (-1, -1)  # position of the shard, and sample id in it
    fingerprint: Fingerprint | None = None
    reason: tuple[str, str] = (NO_PICTURE, "")

    @property
    def is_unusable(self) -> bool:
        return self.fingerprint is None or len(self.files) != 1

    def take(
        self,
        place: tuple[int, int],
        data: bytes,
        options: LongTailOptions,
        examples: frozenset[str],
    ) -> None:
        identity = hashlib.sha256(data).hexdigest()
        first = not self.files
        self.files.add(identity)
        if not first:
            return
        if identity in examples:
            self.reason = (EXAMPLE, "")
            return
        image, reason, detail = usable_image(data, options)
        self.place, self.reason = place, (reason, detail)
        self.fingerprint = None if image is None else fingerprint_of(data, image)

    def fault(self, digest: str) -> tuple[str, str]:
        """Reason and detail of a candidate without an image that can be used."""
        if not self.files:
            changed = "; or the file has changed since it was embedded" if digest else ""
            return NO_PICTURE, f"not among the images{changed}"
        if len(self.files) > 1:
            return NO_PICTURE, f"{len(self.files)} different images have this key"
        return self.reason


def _files(
    pictures: PictureSet, keys: frozenset[str], progress: Progress
) -> Iterator[tuple[tuple[int, int], str, bytes]]:
    """Read the files that have one of the keys; shards without any are not read."""
    progress.start("pictures", len(pictures.shards))
    for number, shard in enumerate(pictures.shards):
        batches = pictures.dataset.read(shard, frozenset())
        if any(not keys.isdisjoint(batch.keys) for batch in batches):
            for batch in pictures.dataset.read(shard, frozenset({IMAGE})):
                rows = zip(batch.sample_ids.tolist(), batch.keys, batch.images or (), strict=True)
                for sample, key, data in rows:
                    if key in keys and data is not None:
                        yield (number, sample), key, data
        progress.advance()
    progress.finish()
