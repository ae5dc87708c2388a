"""Captions and small images of an audit's samples, looked up in its dataset.

Images are decoded and encoded anew: nothing of a stranger's file but its pixels enters a page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import STARTED, read_json
from conceptaudit.datasets import CAPTION, IMAGE, open_dataset
from conceptaudit.datasets.lookup import FoundSample, SampleLookup
from conceptaudit.errors import ConceptAuditError, ConfigError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.progress import Progress
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.samples import Shown

EMBEDDING_LAYOUT = "embeddings"

SIDE = 208
"""Longest side of a thumbnail in pixels: sharp at 104 CSS pixels on a dense screen."""

QUALITY = 72

MAX_BYTES = 6_000_000
"""Room for all images of a page, as base64 text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a page shows of a sample: its caption, and its image as a ``data:`` URI."""

    caption: str | None
    picture: str | None


class PictureBudget:
    """Makes thumbnails until the characters of all data URIs together reach a limit."""

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._left = limit
        self.n_refused = 0

    def thumbnail(self, data: bytes) -> str | None:
        """Turn an image file into a data URI; None where it is broken or there is no room."""
        try:
            picture = decode_image(data)
        except UndecodableImageError:
            return None
        encoded = webp_thumbnail(picture, SIDE, quality=QUALITY, method=4)
        uri = f"data:image/webp;base64,{base64.b64encode(encoded).decode('ascii')}"
        if len(uri) > self._left:
            self.n_refused += 1
            return None
        self._left -= len(uri)
        return uri

    def thumbnail_of(self, path: Path) -> str | None:
        """Turn a file into a data URI; None also where it is gone."""
        try:
            return self.thumbnail(path.read_bytes())
        except OSError:
            return None


def webp_thumbnail(picture: Any, side: int, *, quality: int, method: int) -> bytes:
    """Shrink a Pillow image to a longest side and encode it."""
    picture.thumbnail((side, side))
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=quality, method=method)
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class AuditedSamples:
    """The samples of an audit, looked up in its dataset.

    `own` is what was audited; `embedded` the images of audited embeddings, which have sample ids
    of their own and are found by key.
    """

    own: SampleLookup | None
    embedded: SampleLookup | None = None

    @classmethod
    def open(cls, record: RunRecord, location: str | None) -> AuditedSamples:
        """Open the dataset with the options of the audit, so that sample ids agree."""
        # looking at a dataset needs what reading it for an audit needs, and only then
        from conceptaudit.auditing.sources import open_source
        from conceptaudit.options.audit import AuditOptions

        embedded = None
        layout = record.manifest["reading"].get("layout")
        if layout == "memory" and location is None:
            return cls(None)
        if layout == EMBEDDING_LAYOUT and location is not None:
            images = open_dataset(location)
            if IMAGE in images.provides:
                embedded, location = SampleLookup(images), None
        options = AuditOptions.restored(read_json(record.folder / STARTED).get("options", {}))
        # of another layout it would open too, and give every sample another id
        options = replace(options, layout=layout or options.layout)
        try:
            dataset = open_source(location or str(record.manifest.get("dataset", "")), options)
        except (ConceptAuditError, OSError):
            if embedded is None:
                raise
            return cls(None, embedded)
        # a part of a dataset that was drawn has the ids of the whole
        own = SampleLookup(getattr(dataset, "whole", dataset))
        own.shards()
        return cls(own, embedded)

    @property
    def images(self) -> SampleLookup | None:
        """What holds images; None where nothing does."""
        if self.embedded is not None:
            return self.embedded
        has_images = self.own is not None and IMAGE in self.own.dataset.provides
        return self.own if has_images else None

    def by_key(self, keys: Mapping[int, str], parts: frozenset[str]) -> dict[int, FoundSample]:
        """Look samples up, by their ids here, in the images of the embeddings."""
        if self.embedded is None:
            return {}
        places = self.embedded.ids_of(keys.values())
        found = self.embedded.read(places.values(), parts)
        return {
            sample: found[places[key]]
            for sample, key in keys.items()
            if key in places and places[key] in found
        }


def fetch_samples(
    run: RunRecord,
    location: str,
    samples: Iterable[Shown],
    *,
    budget: PictureBudget,
    progress: Progress,
) -> dict[int, Seen]:
    """Read the chosen samples' captions and images, by sample id.

    An audit of embeddings may be shown with the images that were embedded; a sample whose image
    is gone is then left out.
    """
    keys = {one.sample_id: one.key for one in samples}
    parts = frozenset({CAPTION, IMAGE})
    progress.start("fetch samples", 1, "datasets")
    try:
        audited = AuditedSamples.open(run, location)
    except ConfigError as error:
        layout = run.manifest["reading"].get("layout", "auto")
        if layout == "auto" or not Path(location).exists():
            raise
        why = f"nothing of its layout ({layout}) lies"
        raise _another_dataset(run, location, why) from error
    if audited.embedded is not None:
        found = audited.by_key(keys, parts)
        if keys and not found:
            why = f"none of the audit's keys, such as {min(keys.values())!r}, is found"
            raise _another_dataset(run, location, why)
    else:
        found = {} if audited.own is None else audited.own.read(keys, parts)
        _check_keys(run, location, keys, found)
    progress.advance()
    progress.finish()
    return {
        sample: Seen(
            caption=found[sample].caption,
            picture=None if (data := found[sample].image) is None else budget.thumbnail(data),
        )
        for sample in sorted(found)
    }


def _check_keys(
    run: RunRecord, location: str, keys: Mapping[int, str], found: Mapping[int, FoundSample]
) -> None:
    for sample, key in keys.items():
        if sample not in found:
            raise _another_dataset(run, location, f"the sample {key!r} is not there")
        if found[sample].key != key:
            raise DataError(
                f"{location} must be the dataset that was audited. Sample {sample} has the key "
                f"{found[sample].key!r}; the audit saw {key!r}."
            )


def _another_dataset(run: RunRecord, location: str, why: str) -> DataError:
    return DataError(
        f"--dataset must be the dataset that {run.folder} audited, as it was then, or the images "
        f"of its embeddings. Got {location} instead, where {why}."
    )
