"""The images behind a pool of embeddings, found by key: only candidates are opened."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from conceptaudit.artifacts import digest_of
from conceptaudit.datasets import open_dataset
from conceptaudit.datasets.base import IMAGE, Dataset, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.encode import image_digest
from conceptaudit.longtail.embedding_blocks import usable_image
from conceptaudit.longtail.picture import describe_picture
from conceptaudit.longtail.records import EXAMPLE, NO_PICTURE, Entry, Picture, Removal
from conceptaudit.longtail.topk import CandidateLists
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.progress import Progress

Place = tuple[int, int]
"""Position of a shard, and a sample id in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureSet:
    """A dataset that holds images."""

    dataset: Dataset  # offers images
    shards: tuple[Shard, ...]  # all of them

    @property
    def identity(self) -> str:
        """Digest of what is read."""
        shards = [[shard.name, shard.fingerprint] for shard in self.shards]
        return digest_of([self.dataset.settings, shards])


@dataclass(slots=True, kw_only=True)
class Joined:
    """What became of the candidates whose images were looked for."""

    # where each candidate's image lies, by the candidate's content
    places: dict[str, Place] = field(default_factory=dict)
    # candidates without an image that can be used
    removals: list[Removal] = field(default_factory=list)


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
    found: CandidateLists,
    pictures: PictureSet,
    options: LongTailOptions,
    *,
    examples: frozenset[str] = frozenset(),
    progress: Progress,
) -> Joined:
    """Open the candidates' images, describe them, and drop candidates that have none.

    A key may name several images, because tars may number their members alike. Where the
    embeddings say which file they were made from, that file is taken; else such a key is refused.
    """
    wanted: dict[str, dict[str, Entry]] = defaultdict(dict)
    for top in found.lists:
        for entry in top.entries:
            wanted[entry.key].setdefault(entry.content, entry)
    looks: dict[str, _Look] = defaultdict(_Look)
    n_found = 0
    for place, key, data in _files(pictures, frozenset(wanted), progress):
        n_found += 1
        for content, entry in wanted[key].items():
            if not entry.digest or image_digest(data) == entry.digest:
                looks[content].take(place, data, options, examples)
    joined = Joined()
    entries = {content: entry for one in wanted.values() for content, entry in one.items()}
    for content, entry in entries.items():
        look = looks[content]
        if look.picture is not None and len(look.files) == 1:
            joined.places[content], found.pictures[content] = look.place, look.picture
        else:
            joined.removals.append(_removal(entry, *look.fault(entry)))
    if wanted and not n_found:
        raise DataError(
            f"None of the {quantity(len(wanted), 'candidate')} is an image of "
            f"{pictures.dataset.location}: no key of the embeddings, such as "
            f"{next(iter(wanted))!r}, is one of its. Name the dataset that was embedded with "
            "--pictures, in the layout that it had then."
        )
    found.drop(frozenset(entries) - frozenset(joined.places))
    return joined


@dataclass(slots=True)
class _Look:
    """What is found under one candidate's key."""

    files: set[str] = field(default_factory=set)
    place: Place = (-1, -1)
    picture: Picture | None = None
    reason: tuple[str, str] = (NO_PICTURE, "")

    def take(
        self, place: Place, data: bytes, options: LongTailOptions, examples: frozenset[str]
    ) -> None:
        """Note a file; the first one is described."""
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
        self.picture = None if image is None else describe_picture(data, image)

    def fault(self, entry: Entry) -> tuple[str, str]:
        """Say why the candidate has no image that can be used."""
        if not self.files:
            changed = "; or the file has changed since it was embedded" if entry.digest else ""
            return NO_PICTURE, f"not among the images{changed}"
        if len(self.files) > 1:
            return NO_PICTURE, f"{len(self.files)} different images have this key"
        return self.reason


def _files(
    pictures: PictureSet, wanted: frozenset[str], progress: Progress
) -> Iterator[tuple[Place, str, bytes]]:
    """Read the files that have one of the keys; shards without any are not read."""
    progress.start("pictures", len(pictures.shards))
    for number, shard in enumerate(pictures.shards):
        keys = pictures.dataset.read(shard, frozenset())
        if any(not wanted.isdisjoint(batch.keys) for batch in keys):
            for batch in pictures.dataset.read(shard, frozenset({IMAGE})):
                rows = zip(batch.sample_ids.tolist(), batch.keys, batch.images or (), strict=True)
                for sample, key, data in rows:
                    if key in wanted and data is not None:
                        yield (number, sample), key, data
        progress.advance()
    progress.finish()


def _removal(entry: Entry, reason: str, detail: str) -> Removal:
    return Removal(key=entry.key, source=entry.source, concept="", reason=reason, detail=detail)
