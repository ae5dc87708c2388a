"""WebDataset archives as img2dataset writes them: ``{key}.jpg``, ``{key}.txt``, ``{key}.json``."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from conceptaudit.datasets._columns import Choice
from conceptaudit.datasets._files import (
    File,
    if_exists,
    make_shard,
    names_its_file,
    open_unpacked,
    reading,
)
from conceptaudit.datasets._groups import IMAGE_ENDINGS, Parts, caption_of, group_drop, read_groups
from conceptaudit.datasets._listing import Listing, list_files
from conceptaudit.datasets._rows import SEVERAL_NOTE
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    Missing,
    check_parts,
    ids_of,
    make_batch,
)
from conceptaudit.datasets._table_rows import beside, failed_samples, sidecar_notes
from conceptaudit.datasets._tar import index_samples, read_member, seekable
from conceptaudit.datasets.base import CAPTION, IMAGE, Opened, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import SampleBatch

ENDINGS = (".tar", ".tar.gz", ".tgz")
_PEEK_MEMBERS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class WebDataset(Opened):
    """Tar archives of images and captions; see `conceptaudit.datasets.open_dataset`."""

    chosen: Parts = field(default_factory=Parts)

    def shards(self) -> tuple[Shard, ...]:
        """One shard per archive, with img2dataset's table beside it where there is one."""
        listing = list_with_tables(self.location)
        names = {file.name: file for file in listing.files}
        return tuple(
            make_shard(
                [file, *beside(names, _stem(file.name))],
                file_index=index,
                settings=self.settings,
                ids_per_row=self.chosen.ids_per_row,
            )
            for index, file in enumerate(archives(listing))
        )

    @names_its_file
    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read an archive's samples in the order of their first members."""
        check_parts(parts, self.provides, self.layout)
        path, *tables = shard.files
        with seekable(path) as stream:
            index = index_samples(stream, path, named_endings(self.chosen))
            yield from read_groups(
                index.samples,
                partial(read_member, stream),
                file_index=shard.file_index,
                parts=parts,
                chosen=self.chosen,
            )
        step = self.chosen.ids_per_row
        lost = {"duplicate_key": index.repeated, "key_cut_at_first_dot": index.collapsed}
        drops = [
            group_drop(replace(group, row=group.row * step), shard.file_index, "sample", reason)
            for reason, groups in lost.items()
            for group in groups
        ]
        if drops:
            yield make_batch(ids_of(shard.file_index, []), [], drops=drops)
        n_rows = len(index.samples) + len(index.repeated) + len(index.collapsed)
        for table in tables:
            yield from failed_samples(
                table,
                {group.key.rpartition("/")[2] for group in index.samples},
                file_index=shard.file_index,
                first_row=n_rows * step,
            )


def named_endings(chosen: Parts) -> tuple[str, ...]:
    """List the endings of members that the user named."""
    return tuple(name.lower() for name in (chosen.caption, chosen.image) if name is not None)


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


def open_webdataset(location: str, choice: Choice) -> WebDataset:
    """Open archives, reporting what the first one that can be read holds."""
    listing = list_with_tables(location)
    found = archives(listing)
    if not found:
        raise ConfigError(
            "The 'location' parameter of open_dataset must name .tar archives for layout "
            f"'webdataset'. Got {location!r} instead."
        )
    chosen = Parts(caption=choice.caption, image=choice.image and choice.image.lower())
    provides, chosen, collapsed = _detect(found, chosen)
    names = {file.name: file for file in listing.files}
    notes = [
        (
            f"Layout: webdataset, {quantity(len(found), 'archive')}; "
            f"{' and '.join(sorted(provides))} per sample."
        )
    ]
    if CAPTION not in provides:
        notes.append(
            "No captions were found in the first archive, so only images can be counted. If a "
            "member holds them, name its ending, or a field of the .json, with --caption-column."
        )
    if chosen.several:
        notes.append(SEVERAL_NOTE)
    if collapsed:
        notes.append(
            f"The key of a member ends at the first dot of its name, so that {collapsed!r} and "
            "others fall on one key; they are dropped as key_cut_at_first_dot. Name the files "
            "without dots to have them read."
        )
    notes += sidecar_notes([_stem(file.name) for file in found], set(names))
    return WebDataset(
        location=location,
        provides=provides,
        notes=(*listing.notes, *notes),
        settings={
            "layout": "webdataset",
            "caption_column": choice.caption or "auto",
            "max_caption_chars": str(MAX_CAPTION_CHARS),
            **({"image_column": choice.image} if choice.image else {}),
            **({"captions": "lists"} if chosen.several else {}),
        },
        chosen=chosen,
    )


def _detect(found: Sequence[File], chosen: Parts) -> tuple[frozenset[str], Parts, str]:
    """Parts that the samples at the start of the first non-empty archive have.

    Also whether their captions are lists, and the name of one that shares its key, if any.
    """
    problem: DataError | None = None
    seen: list[str] = []
    for file in found[:20]:
        parts: set[str] = set()
        several = False
        try:
            with reading(file.path, "archive"), open_unpacked(file.path) as stream:
                index = index_samples(stream, file.path, named_endings(chosen), _PEEK_MEMBERS)
                for group in index.samples:
                    text = caption_of(group, partial(read_member, stream), chosen.caption)
                    several = several or isinstance(text, list)
                    if not isinstance(text, Missing):
                        parts.add(CAPTION)
                    if group.first((*IMAGE_ENDINGS, *([chosen.image] if chosen.image else []))):
                        parts.add(IMAGE)
                    seen += group.members
        except DataError as error:
            problem = problem or error
            continue
        if parts:
            collapsed = index.collapsed[0].key if index.collapsed else ""
            return frozenset(parts), replace(chosen, several=several), collapsed
    if problem is not None:
        raise problem
    endings = ", ".join(f".{ending}" for ending in dict.fromkeys(seen[:50])) or "no member"
    raise DataError(
        f"The archives must hold images ({', '.join(IMAGE_ENDINGS[:4])}) or captions (.txt, or a "
        f".json with a caption). Found neither in {found[0].path}, but {endings}. Name the "
        "members' endings with --image-column and --caption-column; a key ends at the first dot."
    )
