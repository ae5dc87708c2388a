"""Captions and small images of an audit's samples, read from its dataset one at a time.

Only samples of the audit are ever looked up.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conceptaudit.datasets import CAPTION, EXTRA, IMAGE
from conceptaudit.datasets.lookup import FoundSample
from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.image.decode import UndecodableImageError, decode_quietly
from conceptaudit.report.pictures import AuditedSamples, webp_thumbnail

if TYPE_CHECKING:
    from conceptaudit.explore.opened import OpenRun

SMALL, LARGE = 208, 640
"""Longest sides of images: of a thumbnail on a dense screen, and of one looked at alone."""

KEPT_BYTES = 48_000_000
"""Thumbnails that are kept in memory, as WebP."""

CAPTIONS = frozenset({CAPTION, EXTRA})


class Media:
    """What a run's dataset holds for its samples.

    `missing` says for a person why captions and images cannot be shown; empty where they can.
    """

    def __init__(self, run: OpenRun, location: str | None) -> None:
        self.run = run
        self.missing = ""
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        try:
            self._samples = AuditedSamples.open(run.record, location)
        except (ConceptAuditError, OSError, ValueError) as error:
            if location is not None:
                raise ConfigError(f"--dataset {location} cannot be shown: {error}") from error
            recorded = run.record.manifest.get("dataset", "")
            self.missing = (
                f"The dataset is not at {recorded} any more; --dataset says where it is now."
            )
            self._samples = AuditedSamples(None)
        if not self.missing and self._samples.own is None and self._samples.embedded is None:
            self.missing = "These captions were audited in memory: there is no dataset to show."

    @property
    def has_images(self) -> bool:
        """Whether the dataset holds images."""
        return self._samples.images is not None

    def look(self, samples: Iterable[int]) -> dict[int, FoundSample]:
        """Read captions, addresses and licences of samples; those that are gone are left out."""
        if self._samples.own is not None:
            return self._samples.own.read(samples, CAPTIONS)
        if self._samples.embedded is None:
            return {}
        return self._samples.by_key(self.run.keys_of(list(samples)), CAPTIONS)

    def ids_of(self, keys: list[str]) -> dict[str, int]:
        """Find the run's samples with some keys, by reading all keys of its dataset once."""
        own = self._samples.own
        return own.ids_of(keys) if keys and own is not None else {}

    def original(self, sample: int) -> bytes | None:
        """Read a sample's image file; None where it is gone."""
        parts = frozenset({IMAGE})
        found: dict[int, FoundSample] = {}
        if self._samples.embedded is not None:
            found = self._samples.by_key(self.run.keys_of([sample]), parts)
        elif self._samples.images is not None:
            found = self._samples.images.read([sample], parts)
        return found[sample].image if sample in found else None

    def picture(self, sample: int, side: int = SMALL) -> bytes | None:
        """Return a sample's image as WebP; None where it is gone or cannot be decoded."""
        with self._lock:
            if (sample, side) in self._kept:
                self._kept.move_to_end((sample, side))
                return self._kept[sample, side]
        data = self.original(sample)
        made = None if data is None else thumbnail(data, side)
        if made is not None:
            with self._lock:
                self._kept[sample, side] = made
                self._size += len(made)
                while self._size > KEPT_BYTES:
                    self._size -= len(self._kept.popitem(last=False)[1])
        return made


def thumbnail(data: bytes, side: int) -> bytes | None:
    """Make a small WebP of an image file; None where it cannot be decoded."""
    try:
        picture = decode_quietly(data)
    except UndecodableImageError:
        return None
    # somebody waits for it: a little less dense than in a file, but sooner there
    return webp_thumbnail(picture, side, quality=78, method=2)
