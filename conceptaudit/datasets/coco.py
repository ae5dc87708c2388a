"""COCO captions JSON and Karpathy's splits: one sample per caption, images beside the file."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from conceptaudit.datasets._coco_json import Annotation, annotations, is_coco, uncaptioned
from conceptaudit.datasets._extra import LICENSE, URL
from conceptaudit.datasets._files import (
    File,
    if_exists,
    is_remote,
    make_shard,
    names_its_file,
    open_file,
    suffix,
)
from conceptaudit.datasets._listing import Listing, list_files
from conceptaudit.datasets._rows import Cut, even_cuts
from conceptaudit.datasets._samples import (
    MAX_CAPTION_CHARS,
    Missing,
    check_parts,
    ids_of,
    make_batch,
)
from conceptaudit.datasets.base import (
    CAPTION,
    DEFAULT_BATCH_ROWS,
    DEFAULT_SHARD_ROWS,
    EXTRA,
    IMAGE,
    IMAGE_BATCH_ROWS,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Drop, SampleBatch, sample_id

_PROBED_IMAGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoDataset:
    """Captions JSON files and a folder of images; see `conceptaudit.datasets.open_dataset`."""

    location: str
    provides: frozenset[str]
    notes: tuple[str, ...]
    settings: dict[str, str]
    images: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS

    @property
    def layout(self) -> str:
        """``"coco"``."""
        return "coco"

    def shards(self) -> tuple[Shard, ...]:
        """Ranges of captions of every JSON file."""
        shards: list[Shard] = []
        for index, file in enumerate(coco_files(list_files(self.location))):
            try:
                rows = annotations(file.path)
                pictures = self._pictures(file.path, rows)
                cuts = even_cuts(len(rows), self.shard_rows)
            except (DataError, ConfigError):  # told when the shard is read
                rows, pictures, cuts = (), {}, [Cut(start=0, stop=-1)]
            for cut in cuts:
                named = sorted({row.file_name for row in rows[cut.start : cut.stop]})
                shards.append(
                    make_shard(
                        [file],
                        file_index=index,
                        settings=self.settings,
                        start=cut.start,
                        stop=cut.stop,
                        stamped=[pictures[name] for name in named if name in pictures],
                    )
                )
        return tuple(shards)

    def _pictures(self, path: str, rows: Sequence[Annotation]) -> dict[str, File]:
        folder = find_images(path, rows, self.images) if IMAGE in self.provides else None
        return {file.name: file for file in list_files(folder).files} if folder else {}

    @names_its_file
    def read(self, shard: Shard, parts: frozenset[str]) -> Iterator[SampleBatch]:
        """Read a range of captions, each with its image; several captions share an image."""
        check_parts(parts, self.provides, self.layout)
        [path] = shard.files
        rows = annotations(path)
        folder = find_images(path, rows, self.images) if IMAGE in parts else None
        stop = len(rows) if shard.stop < 0 else shard.stop
        size = IMAGE_BATCH_ROWS if IMAGE in parts else DEFAULT_BATCH_ROWS
        for first in range(shard.start, stop, size):
            numbers = range(first, min(first + size, stop))
            kept = [n for n in numbers if not rows[n].fault]
            yield make_batch(
                ids_of(shard.file_index, kept),
                [rows[n].key for n in kept],
                captions=[rows[n].caption for n in kept] if CAPTION in parts else None,
                images=_images([rows[n] for n in kept], folder) if IMAGE in parts else None,
                extra=_extra([rows[n] for n in kept]) if EXTRA in parts else None,
                drops=[_malformed(rows[n], shard, n) for n in numbers if rows[n].fault],
            )


def _malformed(row: Annotation, shard: Shard, number: int) -> Drop:
    return Drop(
        sample_id=sample_id(shard.file_index, number),
        key=row.key or str(sample_id(shard.file_index, number)),
        part="sample",
        reason="malformed_annotation",
        detail=row.fault,
    )


def _extra(rows: Sequence[Annotation]) -> dict[str, list[str | None]]:
    """Lay out what the file says of the images; what it says of none is left out."""
    columns = {URL: [row.url for row in rows], LICENSE: [row.license for row in rows]}
    return {name: values for name, values in columns.items() if any(values)}


def _images(rows: Sequence[Annotation], folder: str | None) -> list[bytes | Missing]:
    """Read each image once, however many captions of it follow each other."""
    found: dict[str, bytes | Missing] = {}
    for row in rows:
        if row.file_name not in found:
            found[row.file_name] = _image(row, folder)
    return [found[row.file_name] for row in rows]


def _image(row: Annotation, folder: str | None) -> bytes | Missing:
    if not row.file_name or folder is None:
        return Missing(reason="missing_image", detail=row.file_name)
    name = PurePosixPath(row.file_name)
    if name.is_absolute() or ".." in name.parts or "://" in row.file_name:
        # The name comes from the data; it must not choose files outside the image folder.
        return Missing(reason="unsafe_file_name", detail=row.file_name)
    return _fetch(_join(folder, row.file_name))


def _fetch(path: str) -> bytes | Missing:
    try:
        with open_file(path) as stream:
            return stream.read()
    except OSError as error:
        reason = "missing_image" if isinstance(error, FileNotFoundError) else "unreadable_image"
        return Missing(reason=reason, detail=path.rpartition("/")[2])


def _join(folder: str, name: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name


def find_images(path: str, rows: Sequence[Annotation], images: str | None) -> str | None:
    """Find the folder that the file names of a captions file are relative to.

    Tried are the folder that the user named, or those beside the file, each with the split in
    the file's name (``captions_train2017.json`` → ``train2017``) below it.
    """
    here = path.rpartition("/")[0] or ("." if not is_remote(path) else path)
    above = here.rpartition("/")[0] or ("/" if here.startswith("/") else "..")
    split = re.sub(r"^[^_]*_", "", suffix_free(path))
    bases = [images] if images else [above, here, *(_join(b, "images") for b in (above, here))]
    names = list(dict.fromkeys(row.file_name for row in rows if row.file_name))[:_PROBED_IMAGES]
    for base in bases:
        for folder in (_join(base, split), base):
            if any(if_exists(_join(folder, name), name) for name in names):
                return folder
    if images is not None:
        raise ConfigError(
            f"The 'images' parameter of open_dataset must be the folder of the images that {path} "
            f"names ({', '.join(names[:3])}). Got {images!r} instead, which holds none of them."
        )
    return None


def suffix_free(path: str) -> str:
    """Strip folder and ending from a path."""
    return path.rpartition("/")[2].rpartition(".")[0]


_NAMED = re.compile(r"(?:.*/)?(?:captions_[^/]*|dataset_[^/]*|[^/]*karpathy[^/]*)\.json")


def coco_files(listing: Listing, *, named_so: bool = False) -> list[File]:
    """Pick the caption files of a listing; ``instances_*.json`` beside them hold no captions.

    With `named_so` only those that a folder's files are known by are picked.
    """
    files = [file for file in listing.files if suffix(file.name) == ".json"]
    if listing.is_file:
        return files
    if named_so:
        return [file for file in files if _NAMED.fullmatch(file.name)]
    if not listing.whole:
        return files
    captions = [f for f in files if suffix_free(f.path).startswith(("captions_", "dataset"))]
    return captions or [file for file in files if is_coco(file.path)]


def open_coco(listing: Listing, location: str, images: str | None, shard_rows: int) -> CocoDataset:
    """Open COCO captions, reporting how many captions and images the first file has."""
    files = coco_files(listing)
    if not files:
        raise ConfigError(
            "The 'location' parameter of open_dataset must name a COCO captions JSON file, or a "
            f"folder of them, for layout 'coco'. Got {location!r} instead."
        )
    rows, path, problem = None, "", None
    for file in files:
        try:
            rows, path = annotations(file.path), file.path
            break
        except DataError as error:
            problem = problem or error
    if rows is None:
        raise problem or DataError(f"No captions can be read from {location}.")
    folder = find_images(path, rows, images)
    notes = [
        (
            f"Layout: coco, {quantity(len(files), 'file')}; "
            f"{quantity(len(rows), 'caption')} in the first one, keys are file names."
        )
    ]
    keys = [row.key for row in rows if not row.fault]
    pictures = len(set(keys))
    if pictures < len(keys):
        notes.append(
            f"These are captions of {quantity(pictures, 'image')}: each caption is a sample, and "
            "an image counts once per caption. Intervals of counts take samples as independent "
            "and are too narrow here; --near-duplicates exact adds counts of images."
        )
    bare = uncaptioned(path)
    if bare:
        notes.append(
            f"Without a caption, and not counted: {quantity(bare, 'image')} of the first file."
        )
    if folder is None:
        notes.append("No folder of images was found beside it, so only captions can be counted.")
    settings: dict[str, Any] = {
        "layout": "coco",
        "images": "none" if folder is None else folder.rpartition("/")[2],
        "max_caption_chars": str(MAX_CAPTION_CHARS),
    }
    return CocoDataset(
        location=location,
        provides=frozenset({CAPTION} if folder is None else {CAPTION, IMAGE}),
        notes=(*listing.notes, *notes),
        settings=settings,
        images=images,
        shard_rows=shard_rows,
    )
