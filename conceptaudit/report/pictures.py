"""Captions and small pictures of chosen samples, fetched from the audited dataset.

Pictures are decoded and encoded anew: nothing of a stranger's file but its pixels enters the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from conceptaudit.datasets import CAPTION, IMAGE, Dataset, Shard, open_dataset
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.progress import Progress
from conceptaudit.records import ROW_BITS
from conceptaudit.report.inputs import RunRecord
from conceptaudit.report.samples import Shown

EMBEDDING_LAYOUT = "embeddings"

SIDE = 208
"""Longest side of a thumbnail in pixels: sharp at 104 CSS pixels on a dense screen."""

QUALITY = 72

MAX_BYTES = 6_000_000
"""Room for all pictures of a page, as base64 text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the dataset holds for a sample.

    Parameters
    ----------
    caption : str or None
    picture : str or None
        A ``data:`` URI; None where there is no picture, or none that can be shown.
    """

    caption: str | None
    picture: str | None


class PictureBudget:
    """Makes thumbnails until the room for pictures is used up.

    Parameters
    ----------
    limit : int
        Characters of all data URIs together.
    """

    def __init__(self, limit: int = MAX_BYTES) -> None:
        self._left = limit
        self.n_refused = 0

    def thumbnail(self, data: bytes) -> str | None:
        """Turn an image file into a data URI; None where it is broken or there is no room."""
        try:
            picture = decode_image(data)
        except UndecodableImageError:
            return None
        picture.thumbnail((SIDE, SIDE))
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=QUALITY, method=4)
        uri = f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
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


def fetch_samples(
    run: RunRecord,
    location: str,
    samples: Iterable[Shown],
    *,
    budget: PictureBudget,
    progress: Progress,
) -> dict[int, Seen]:
    """Read the chosen samples' captions and pictures.

    An audit of embeddings may be shown with the images that were embedded: those are found by
    key, and a sample whose image is gone is left out.

    Returns
    -------
    dict of int to Seen
        By sample id.

    Raises
    ------
    DataError
        The dataset is not the one that was audited: a sample has another key, or is gone.
    """
    wanted = {one.sample_id: one.key for one in samples}
    if run.manifest["reading"].get("layout") == EMBEDDING_LAYOUT:
        images = open_dataset(location)
        if IMAGE in images.provides:
            return _fetch_by_key(run, images, wanted, budget, progress)
    dataset = _open_as_audited(run, location)
    parts = frozenset({CAPTION, IMAGE}) & dataset.provides
    by_shard = list(_by_shard(dataset.shards(), wanted))
    found: dict[int, Seen] = {}
    progress.start("fetch samples", len(by_shard))
    for shard, keys in by_shard:
        found.update(_read(dataset, shard, keys, parts, budget))
        progress.advance()
    progress.finish()
    lost = [key for sample, key in wanted.items() if sample not in found]
    if lost:
        raise _another_dataset(run, location, f"the sample {lost[0]!r} is not there")
    return found


def _fetch_by_key(
    run: RunRecord,
    dataset: Dataset,
    wanted: Mapping[int, str],
    budget: PictureBudget,
    progress: Progress,
) -> dict[int, Seen]:
    """Find samples of embeddings in the dataset that was embedded; its own sample ids differ."""
    keys = frozenset(wanted.values())
    parts = frozenset({CAPTION, IMAGE}) & dataset.provides
    captions: dict[str, list[str]] = {}
    pictures: dict[str, str | None] = {}
    shards = dataset.shards()
    progress.start("fetch samples", len(shards))
    for shard in shards:
        # keys alone are cheap: only shards that hold one of them are read
        if any(not keys.isdisjoint(batch.keys) for batch in dataset.read(shard, frozenset())):
            for batch in dataset.read(shard, parts):
                for position, key in enumerate(batch.keys):
                    if key not in keys:
                        continue
                    caption = batch.captions[position] if batch.captions is not None else None
                    captions.setdefault(key, []).extend([caption] if caption else [])
                    data = batch.images[position] if batch.images is not None else None
                    if data is not None and pictures.get(key) is None:
                        pictures[key] = budget.thumbnail(data)
        progress.advance()
    progress.finish()
    if keys and not pictures:
        raise _another_dataset(
            run, dataset.location, f"none of the audit's keys, such as {min(keys)!r}, is found"
        )
    return {
        sample: Seen(
            caption=" / ".join(dict.fromkeys(captions[key])) or None, picture=pictures[key]
        )
        for sample, key in wanted.items()
        if key in pictures
    }


def _open_as_audited(run: RunRecord, location: str) -> Dataset:
    """Open the dataset with the columns that the audit read, so that sample ids agree."""
    reading = run.manifest["reading"]
    columns = {
        name: reading[name]
        for name in ("caption_column", "key_column", "url_column")
        if not str(reading.get(name) or "auto").startswith("auto")
    }
    layout = reading.get("layout", "auto")
    try:
        return open_dataset(location, layout=layout, **columns)
    except ConfigError as error:
        if layout == "auto" or not Path(location).exists():
            raise
        why = f"nothing of its layout ({layout}) lies"
        raise _another_dataset(run, location, why) from error


def _by_shard(
    shards: tuple[Shard, ...], wanted: Mapping[int, str]
) -> Iterator[tuple[Shard, dict[int, str]]]:
    rows: dict[int, list[int]] = {}
    for sample in wanted:
        rows.setdefault(sample >> ROW_BITS, []).append(sample)
    for shard in shards:
        mine = {
            sample: wanted[sample]
            for sample in rows.get(shard.file_index, ())
            if shard.holds(sample)
        }
        if mine:
            yield shard, mine


def _read(
    dataset: Dataset,
    shard: Shard,
    keys: Mapping[int, str],
    parts: frozenset[str],
    budget: PictureBudget,
) -> Iterator[tuple[int, Seen]]:
    left = dict(keys)
    for batch in dataset.read(shard, parts):
        for position, sample in enumerate(batch.sample_ids.tolist()):
            if sample not in left:
                continue
            if left.pop(sample) != batch.keys[position]:
                raise DataError(
                    f"{dataset.location} must be the dataset that was audited. Sample {sample} "
                    f"has the key {batch.keys[position]!r}; the audit saw {keys[sample]!r}."
                )
            data = batch.images[position] if batch.images is not None else None
            yield (
                sample,
                Seen(
                    caption=batch.captions[position] if batch.captions is not None else None,
                    picture=None if data is None else budget.thumbnail(data),
                ),
            )
        if not left:
            return


def _another_dataset(run: RunRecord, location: str, why: str) -> DataError:
    return DataError(
        f"--dataset must be the dataset that {run.folder} audited, as it was then, or the images "
        f"of its embeddings. Got {location} instead, where {why}."
    )
