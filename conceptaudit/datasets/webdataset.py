"""WebDataset archives as img2dataset writes them: ``{key}.jpg``, ``{key}.txt``, ``{key}.json``."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from conceptaudit.datasets._files import File, if_exists, make_shard, open_unpacked, reading
from conceptaudit.datasets._groups import IMAGE_ENDINGS, Group, caption_of, group_drop, read_groups
from conceptaudit.datasets._listing import Listing, list_files
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    Missing,
    check_parts,
    ids_of,
    make_batch,
)
from conceptaudit.datasets._sidecar import beside, failed_samples, sidecar_notes
from conceptaudit.datasets._tar import index_samples, peek_samples, read_member, seekable
from conceptaudit.datasets.base import CAPTION, IMAGE, Shard
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import SampleBatch

ENDINGS = (".tar", ".tar.gz", ".tgz")
_PEEK_MEMBERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDataset:
    """Tar archives of images and captions; see `conceptaudit.datasets.open_dataset`."""

    location: str
    provides: frozenset[str]
    notes: tuple[str, ...]
    settings: dict[str, str]
    caption_field: str | None = None

    @property
    def layout(self) -> str:
        """``"webdataset"``."""
        return "webdataset"

    def shards(self) -> tuple[Shard, ...]:
        """One shard per archive, with img2dataset's table beside it where there is one."""
        listing = list_with_tables(self.location)
        names = {file.name: file for file in listing.files}
        return tuple(
            make_shard(
                [file, *beside(names, _stem(file.name))], file_index=index, settings=self.settings
            )
            for index, file in enumerate(archives(listing))
        )

    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read an archive's samples in the order of their first members."""
        check_parts(parts, self.provides, self.layout)
        path, *tables = shard.files
        with seekable(path) as stream:
            samples, repeated = index_samples(stream, path)
            yield from read_groups(
                samples,
                partial(read_member, stream),
                file_index=shard.file_index,
                parts=parts,
                caption_field=self.caption_field,
            )
        if repeated:
            yield _duplicates(repeated, shard.file_index)
        for table in tables:
            yield from failed_samples(
                table,
                {group.key.rpartition("/")[2] for group in samples},
                file_index=shard.file_index,
                first_row=len(samples) + len(repeated),
            )


def _duplicates(repeated: list[Group], file_index: int) -> SampleBatch:
    drops = [group_drop(group, file_index, "sample", "duplicate_key") for group in repeated]
    return make_batch(ids_of(file_index, []), [], drops=drops)


def _stem(name: str) -> str:
    return re.sub(r"(?i)(\.tar\.gz|\.tgz|\.tar)$", "", name)


def archives(listing: Listing) -> list[File]:
    """Pick the archives of a listing."""
    if listing.is_file:
        return list(listing.files)
    return [file for file in listing.files if file.name.lower().endswith(ENDINGS)]


def list_with_tables(location: str) -> Listing:
    """List a location; for one archive or a pattern, also the tables beside the archives."""
    listing = list_files(location)
    if listing.whole:
        return listing
    known = {file.name for file in listing.files}
    extra = [
        file
        for archive in archives(listing)
        for ending in (".parquet", "_stats.json")
        if (name := _stem(archive.name) + ending) not in known
        for file in if_exists(_stem(archive.path) + ending, name)
    ]
    files = tuple(sorted((*listing.files, *extra), key=lambda file: file.name))
    return Listing(root=listing.root, files=files, notes=listing.notes)


def open_webdataset(location: str, caption_field: str | None) -> WebDataset:
    """Open archives, reporting what the first one that can be read holds."""
    listing = list_with_tables(location)
    found = archives(listing)
    if not found:
        raise ConfigError(
            "The 'location' parameter of open_dataset must name .tar archives for layout "
            f"'webdataset'. Got {location!r} instead."
        )
    provides = _detect(found, caption_field)
    names = {file.name for file in listing.files}
    notes = [
        (
            f"Layout: webdataset, {len(found):,} archive{'s' if len(found) > 1 else ''}; "
            f"{' and '.join(sorted(provides))} per sample."
        )
    ]
    if CAPTION not in provides:
        notes.append("No captions were found in the first archive, so only images can be counted.")
    notes += sidecar_notes([_stem(file.name) for file in found], names)
    return WebDataset(
        location=location,
        provides=provides,
        notes=(*listing.notes, *notes),
        settings={
            "layout": "webdataset",
            "caption_column": caption_field or "auto",
            "max_caption_chars": str(MAX_CAPTION_CHARS),
        },
        caption_field=caption_field,
    )


def _detect(found: Sequence[File], caption_field: str | None) -> frozenset[str]:
    """Parts that the samples at the start of the first non-empty archive have."""
    problem: DataError | None = None
    for file in found[:20]:
        parts: set[str] = set()
        try:
            with reading(file.path, "archive"), open_unpacked(file.path) as stream:
                for group in peek_samples(stream, file.path, _PEEK_MEMBERS):
                    text = caption_of(group, partial(read_member, stream), caption_field)
                    if not isinstance(text, Missing):
                        parts.add(CAPTION)
                    if group.first(IMAGE_ENDINGS) is not None:
                        parts.add(IMAGE)
        except DataError as error:
            problem = problem or error
            continue
        if parts:
            return frozenset(parts)
    if problem is not None:
        raise problem
    raise DataError(
        f"The archives must hold images ({', '.join(IMAGE_ENDINGS[:4])}) or captions (.txt, or a "
        f".json with a caption). Found neither in {found[0].path}."
    )
