"""Folders of files: img2dataset's ``files`` output, images with captions, or images alone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conceptaudit.datasets._files import (
    File,
    make_shard,
    names_its_file,
    open_file,
    reading,
    suffix,
)
from conceptaudit.datasets._groups import (
    CAPTION_ENDINGS,
    IMAGE_ENDINGS,
    Group,
    Member,
    Parts,
    caption_of,
    group_drop,
    read_groups,
)
from conceptaudit.datasets._listing import Listing, list_files, list_folder, many_lines, text_files
from conceptaudit.datasets._rows import even_cuts
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    Missing,
    check_parts,
    ids_of,
    make_batch,
)
from conceptaudit.datasets._table_rows import beside, failed_samples, sidecar_notes
from conceptaudit.datasets.base import CAPTION, DEFAULT_SHARD_ROWS, IMAGE, Opened, Shard
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.records import SampleBatch

_ENDINGS = frozenset((*IMAGE_ENDINGS, *CAPTION_ENDINGS, "json"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesDataset(Opened):
    """Folders of images and captions; see `conceptaudit.datasets.open_dataset`.

    A folder takes the place of a file in shards and sample ids; a sample's row is the rank of its
    name in the folder.
    """

    root: str
    numbered: bool
    caption_field: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS

    def shards(self) -> tuple[Shard, ...]:
        """Ranges of sample names of every folder, in the order of the sorted folder names."""
        listing = list_files(self.location)
        names = {file.name: file for file in listing.files}
        shards: list[Shard] = []
        folders = set(media_folders(listing, self.provides))
        # A shard whose downloads all failed has a table but no files.
        tables_of = {
            stem
            for name in names
            if suffix(name) == ".parquet" and (stem := _stem(name)).rpartition("/")[2].isdigit()
        }
        for index, folder in enumerate(sorted(folders | tables_of)):
            files = self._grouped(_path(listing.root, folder)) if folder in folders else []
            cuts = even_cuts(len(files), self.shard_rows)
            for cut in cuts:
                tables = beside(names, folder) if cut is cuts[-1] and folder else []
                place = File(path=_path(listing.root, folder), name=folder, size=0, stamp="")
                shards.append(
                    make_shard(
                        [place, *tables],
                        file_index=index,
                        settings=self.settings,
                        start=cut.start,
                        stop=cut.stop,
                        stamped=[f for _, found in files[cut.start : cut.stop] for f in found],
                    )
                )
        return tuple(shards)

    def _grouped(self, folder: str) -> list[tuple[str, list[File]]]:
        groups: dict[str, list[File]] = {}
        for file in list_folder(folder, self.root):
            if suffix(file.name)[1:] in _ENDINGS and not file.name.endswith("_stats.json"):
                groups.setdefault(_stem(file.name), []).append(file)
        return [
            (stem, sorted(files, key=lambda file: file.name))
            for stem, files in sorted(groups.items())
        ]

    @names_its_file
    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read a range of a folder's samples, in the order of their names."""
        check_parts(parts, self.provides, self.layout)
        folder, *tables = shard.files
        grouped = self._grouped(folder) if shard.stop else []
        inside = folder.removeprefix(self.root.rstrip("/")).strip("/")
        prefix = "" if self.numbered or not inside else f"{inside}/"
        stop = len(grouped) if shard.stop < 0 else shard.stop
        samples = [
            Group(row=row, key=prefix + grouped[row][0], members=_members(grouped[row][1]))
            for row in range(shard.start, min(stop, len(grouped)))
        ]
        if IMAGE in self.provides and not self.numbered:
            # A README.txt among photographs is no caption.
            stray = [group for group in samples if group.first(IMAGE_ENDINGS) is None]
            samples = [group for group in samples if group.first(IMAGE_ENDINGS) is not None]
            if stray:
                drops = [group_drop(g, shard.file_index, "sample", "no_image") for g in stray]
                yield make_batch(ids_of(0, []), [], drops=drops)
        yield from read_groups(
            samples,
            _fetch,
            file_index=shard.file_index,
            parts=parts,
            chosen=Parts(caption=self.caption_field),
        )
        for table in tables:
            yield from failed_samples(
                table,
                {stem for stem, _ in grouped},
                file_index=shard.file_index,
                first_row=len(grouped),
            )


def _fetch(member: Member) -> bytes:
    with reading(member.place), open_file(member.place) as stream:
        return stream.read()


def _members(files: Sequence[File]) -> dict[str, Member]:
    return {suffix(file.name)[1:]: Member(size=file.size, place=file.path) for file in files}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _path(root: str, folder: str) -> str:
    return f"{root.rstrip('/')}/{folder}" if folder else root


def media_folders(listing: Listing, provides: frozenset[str]) -> list[str]:
    """List the folders that hold samples, relative to the dataset; sorted.

    Where the dataset has images, a folder without any holds notes and licences, no samples.
    """
    endings = set(IMAGE_ENDINGS) if IMAGE in provides else _ENDINGS
    return sorted(
        {
            file.name.rpartition("/")[0]
            for file in listing.files
            if suffix(file.name)[1:] in endings and not file.name.endswith("_stats.json")
        }
    )


def open_files(
    listing: Listing, location: str, caption_field: str | None, shard_rows: int
) -> FilesDataset:
    """Open folders of files, reporting what the first ones hold."""
    if not listing.whole:
        raise ConfigError(
            "The 'location' parameter of open_dataset must be a folder for layout 'files'. "
            f"Got {location!r} instead."
        )
    provides = _detect(listing, caption_field)
    if not provides:
        raise ConfigError(
            "The 'location' parameter of open_dataset must hold images or captions "
            f"(.jpg, .png, .webp, .txt, .json) for layout 'files'. Got {location!r} instead."
        )
    folders = media_folders(listing, provides)
    numbered = any(suffix(f.name) == ".parquet" or f.name.endswith("_stats.json")
                   for f in listing.files)  # fmt: skip
    notes = [
        (
            f"Layout: files, {quantity(len(folders), 'folder')}; "
            f"{' and '.join(sorted(provides))} per sample."
        )
    ]
    if CAPTION not in provides:
        notes.append("No captions were found beside the images, so only images can be counted.")
    if IMAGE not in provides:
        notes.append("No images were found, so only captions can be counted.")
    lists = _lists_beside(listing) if IMAGE in provides else []
    if lists:
        notes.append(
            f"{lists[0].name} is not beside an image of its name and was not read; if it holds the "
            "captions, name it itself to count them."
        )
    notes += sidecar_notes([f for f in folders if f], {file.name for file in listing.files})
    return FilesDataset(
        location=location,
        root=listing.root,
        provides=provides,
        notes=(*listing.notes, *notes),
        settings={
            "layout": "files",
            "caption_column": caption_field or "auto",
            "keys": "file names" if numbered else "paths",
            "max_caption_chars": str(MAX_CAPTION_CHARS),
        },
        numbered=numbered,
        caption_field=caption_field,
        shard_rows=shard_rows,
    )


def _lists_beside(listing: Listing) -> list[File]:
    """Find text files that may hold the captions of a whole folder of images."""
    images = {_stem(file.name) for file in listing.files if suffix(file.name)[1:] in IMAGE_ENDINGS}
    media = {*IMAGE_ENDINGS, "json", "parquet"}
    texts = [f for f in text_files(listing) if suffix(f.name)[1:] not in media]
    strays = [file for file in texts if _stem(file.name) not in images]
    return [file for file in strays[:5] if many_lines([file])]


def _detect(listing: Listing, caption_field: str | None) -> frozenset[str]:
    parts: set[str] = set()
    images: set[str] = set()
    texts: list[File] = []
    for file in listing.files:
        ending = suffix(file.name)[1:]
        if ending in IMAGE_ENDINGS:
            images.add(_stem(file.name))
        elif ending in (*CAPTION_ENDINGS, "json") and not file.name.endswith("_stats.json"):
            texts.append(file)
    if images:
        parts.add(IMAGE)
    beside_images = [file for file in texts if not images or _stem(file.name) in images]
    for file in beside_images[:100]:
        group = Group(row=0, key=file.name, members=_members([file]))
        if not isinstance(caption_of(group, _fetch, caption_field), Missing):
            parts.add(CAPTION)
            break
    return frozenset(parts)
