"""The (image, caption) pairs in COCO captions JSON and in Karpathy's splits."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from conceptaudit.datasets._files import File, stat_file
from conceptaudit.datasets._json import load
from conceptaudit.errors import DataError


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
