"""COCO captions JSON and Karpathy's splits: one sample per caption, images beside the file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import PurePosixPath
from typing import Any

from conceptaudit.datasets._columns import LICENSE, URL
from conceptaudit.datasets._files import (
    File,
    first_readable,
    if_exists,
    is_remote,
    make_shard,
    names_its_file,
    open_file,
    stat_file,
    suffix,
)
from conceptaudit.datasets._json import load
from conceptaudit.datasets._listing import Listing, list_files
from conceptaudit.datasets._rows import WHOLE, even_cuts
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
    Opened,
    Shard,
)
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.records import Drop, SampleBatch, sample_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One caption of one image; `fault` says what is wrong with a record that is none.

    `url` and `license` are the image's, where the file says.
    """

    key: str
    file_name: str = ""
    caption: Any = None
    fault: str = ""
    url: str | None = None
    license: str | None = None


def is_coco(path: str) -> bool:
    """Whether a JSON file is in the shape of COCO or of Karpathy's splits."""
    try:
        content = load(path)
    except DataError:
        return False
    return _is_karpathy(content) or _is_plain(content)


def _is_plain(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("images"), list)
        and isinstance(content.get("annotations"), list)
    )


def _is_karpathy(content: Any) -> bool:
    return (
        isinstance(content, dict)
        and isinstance(content.get("images"), list)
        and any(isinstance(image, dict) and "sentences" in image for image in content["images"][:9])
    )


def annotations(path: str) -> tuple[Annotation, ...]:
    """All captions of a file, in file order; the last file stays in memory for its shards."""
    return _annotations(stat_file(path))


@lru_cache(maxsize=1)
def _annotations(file: File) -> tuple[Annotation, ...]:
    content = load(file.path)
    if _is_karpathy(content):
        return tuple(_karpathy(content))
    if not _is_plain(content):
        raise DataError(
            f"The file {file.path} must have 'images' and 'annotations' (COCO captions), or "
            "'images' with 'sentences' (Karpathy splits). Got "
            f"{list(content)[:8] if isinstance(content, dict) else type(content).__name__} instead."
        )
    records = content["annotations"]
    if records and not any(isinstance(r, dict) and "caption" in r for r in records[:100]):
        found = list(records[0]) if isinstance(records[0], dict) else type(records[0]).__name__
        raise DataError(
            f"The annotations of {file.path} hold no captions but {found}. Name the set's "
            "captions_*.json file instead."
        )
    return tuple(_plain(content))


def _plain(content: Mapping[str, Any]) -> Iterator[Annotation]:
    images = {
        image["id"]: image
        for image in content["images"]
        if isinstance(image, dict) and isinstance(image.get("id"), (int, str))
    }
    licences = _licences(content.get("licenses"))
    for record in content["annotations"]:
        image = record.get("image_id") if isinstance(record, dict) else None
        if not isinstance(image, (int, str)):
            yield Annotation(key="", fault=f"{str(record)[:80]} names no image_id")
        elif image not in images:
            # The caption is still a caption; the image cannot be found.
            yield Annotation(key=str(image), caption=record.get("caption"))
        else:
            found = images[image]
            name = str(found.get("file_name") or image)
            yield Annotation(
                key=name,
                file_name=name,
                caption=record.get("caption"),
                url=_text(found.get("coco_url") or found.get("flickr_url")),
                license=licences.get(str(found.get("license"))),
            )


def _licences(records: Any) -> dict[str, str]:
    """Names of the licences that a file lists, by their ids."""
    listed = records if isinstance(records, list) else []
    return {
        str(one.get("id")): str(one.get("name") or one.get("url") or one.get("id"))
        for one in listed
        if isinstance(one, dict)
    }


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _karpathy(content: Mapping[str, Any]) -> Iterator[Annotation]:
    for image in content["images"]:
        name = image.get("filename") if isinstance(image, dict) else None
        sentences = image.get("sentences") if isinstance(image, dict) else None
        if not isinstance(name, str) or not isinstance(sentences, list):
            yield Annotation(key="", fault=f"{str(image)[:80]} has no filename or no sentences")
            continue
        folder = image.get("filepath")
        path = f"{folder}/{name}" if isinstance(folder, str) and folder else name
        for sentence in sentences:
            raw = sentence.get("raw") if isinstance(sentence, dict) else sentence
            yield Annotation(key=name, file_name=path, caption=raw)


def uncaptioned(path: str) -> int:
    """Count the images of a file that have no caption."""
    named = {row.key for row in annotations(path)}
    images = [image for image in load(path)["images"] if isinstance(image, dict)]
    keys = {
        str(image.get("file_name") or image.get("filename") or image.get("id")) for image in images
    }
    return len(keys - named)


_PROBED_IMAGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoDataset(Opened):
    """Captions JSON files and a folder of images; see `conceptaudit.datasets.open_dataset`."""

    images: str | None = None
    shard_rows: int = DEFAULT_SHARD_ROWS

    def shards(self) -> tuple[Shard, ...]:
        """Ranges of captions of every JSON file."""
        shards: list[Shard] = []
        for index, file in enumerate(coco_files(list_files(self.location))):
            try:
                rows = annotations(file.path)
                pictures = self._pictures(file.path, rows)
                cuts = even_cuts(len(rows), self.shard_rows)
            except (DataError, ConfigError):  # told when the shard is read
                rows, pictures, cuts = (), {}, [WHOLE]
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
    rows, path = first_readable(files, lambda file: (annotations(file.path), file.path), location)
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
