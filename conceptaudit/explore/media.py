"""Captions and small pictures of an audit's samples, read from its dataset one at a time.

Only samples of the audit are ever looked up, and a picture is decoded and encoded anew: nothing of
a stranger's file but its pixels leaves the server.
"""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from conceptaudit.artifacts import STARTED, read_json
from conceptaudit.datasets import CAPTION, EXTRA, IMAGE, open_dataset
from conceptaudit.datasets.lookup import FoundSample, SampleLookup
from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.image.decode import UndecodableImageError, decode_quietly
from conceptaudit.report.pictures import EMBEDDING_LAYOUT

if TYPE_CHECKING:
    from conceptaudit.datasets import Dataset
    from conceptaudit.explore.opened import OpenRun

SMALL, LARGE = 208, 640
"""Longest sides of pictures: of a thumbnail on a dense screen, and of one looked at alone."""

KEPT_BYTES = 48_000_000
"""Pictures that are kept in memory, as WebP."""

CAPTIONS = frozenset({CAPTION, EXTRA})


class Media:
    """What a run's dataset holds for its samples.

    Parameters
    ----------
    run : OpenRun
    location : str or None
        Where the dataset is now; None for where the audit found it.

    Attributes
    ----------
    missing : str
        Why captions and pictures cannot be shown, for a person; empty where they can.
    """

    def __init__(self, run: OpenRun, location: str | None) -> None:
        self.run = run
        self.missing = ""
        self._kept: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._own: SampleLookup | None = None
        self._other: SampleLookup | None = None
        """The dataset whose images were embedded: found by key."""
        recorded = str(run.record.manifest.get("dataset", ""))
        try:
            self._open(location, recorded)
        except (ConceptAuditError, OSError, ValueError) as error:
            if location is not None:
                raise ConfigError(f"--dataset {location} cannot be shown: {error}") from error
            self.missing = (
                f"The dataset is not at {recorded} any more; --dataset says where it is now."
            )
        if not self.missing and self._own is None and self._other is None:
            self.missing = "These captions were audited in memory: there is no dataset to show."

    def _open(self, location: str | None, recorded: str) -> None:
        from conceptaudit.auditing.sources import open_source
        from conceptaudit.options.audit import AuditOptions

        layout = self.run.record.manifest["reading"].get("layout")
        if location is None and layout == "memory":
            return
        started = read_json(self.run.folder / STARTED)
        options = AuditOptions.restored(started.get("options", {}))
        if location is not None and layout == EMBEDDING_LAYOUT:
            other = open_dataset(location)
            if IMAGE in other.provides:
                self._other = SampleLookup(other)
                location = None
        try:
            own: Dataset = open_source(location or recorded, options)
        except (ConceptAuditError, OSError):
            if self._other is None:
                raise
            return
        # a part of a dataset that was drawn has the ids of the whole
        self._own = SampleLookup(getattr(own, "whole", own))
        self._own.shards()

    @property
    def has_images(self) -> bool:
        """Whether the dataset holds pictures."""
        return self._images() is not None

    def _images(self) -> SampleLookup | None:
        if self._other is not None:
            return self._other
        own = self._own
        return own if own is not None and IMAGE in own.dataset.provides else None

    def look(self, samples: Iterable[int]) -> dict[int, FoundSample]:
        """Read captions, addresses and licences of samples; those that are gone are left out."""
        wanted = list(samples)
        if self._own is not None:
            return self._own.read(wanted, CAPTIONS)
        return self._by_key(wanted, CAPTIONS)

    def ids_of(self, keys: list[str]) -> dict[str, int]:
        """Find the run's samples with some keys, by reading all keys of its dataset once."""
        return self._own.ids_of(keys) if keys and self._own is not None else {}

    def _by_key(self, samples: list[int], parts: frozenset[str]) -> dict[int, FoundSample]:
        if self._other is None:
            return {}
        keys = self.run.keys_of(samples)
        places = self._other.ids_of(keys.values())
        found = self._other.read(places.values(), parts)
        return {
            sample: found[places[key]]
            for sample, key in keys.items()
            if key in places and places[key] in found
        }

    def original(self, sample: int) -> bytes | None:
        """Read a sample's image file; None where it is gone."""
        parts = frozenset({IMAGE})
        if self._other is not None:
            found = self._by_key([sample], parts)
        elif self._own is not None and IMAGE in self._own.dataset.provides:
            found = self._own.read([sample], parts)
        else:
            return None
        return found[sample].image if sample in found else None

    def picture(self, sample: int, side: int = SMALL) -> bytes | None:
        """Return a sample's picture as WebP; None where it is gone or cannot be decoded."""
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
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=78, method=2)
    return stream.getvalue()
