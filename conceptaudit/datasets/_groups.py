"""Samples whose parts are separate members or files of one name: ``{key}.jpg``, ``{key}.txt``."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from conceptaudit.datasets._columns import CAPTION_ALIASES, extra_of_records
from conceptaudit.datasets._json import parse_json
from conceptaudit.datasets._rows import CAPTIONS_PER_ROW, captions_of
from conceptaudit.datasets._samples import Missing, ids_of, key_text, make_batch
from conceptaudit.datasets.base import (
    CAPTION,
    DEFAULT_BATCH_ROWS,
    EXTRA,
    IMAGE,
    IMAGE_BATCH_ROWS,
)
from conceptaudit.records import Drop, SampleBatch, sample_id

IMAGE_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "jxl")
CAPTION_ENDINGS = ("txt", "text", "caption")
MAX_MEMBER_BYTES = 1 << 28  # larger members are not read: no caption or training photograph is


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Where one part of a sample lies; `fault` says why it cannot be read."""

    size: int
    place: Any = None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One sample: its row, its key and its members by lower-case ending."""

    row: int
    key: str
    members: dict[str, Member] = field(default_factory=dict)

    def first(self, endings: Iterable[str]) -> Member | None:
        """Return the first member that has one of the endings, in the endings' order."""
        return next((self.members[end] for end in endings if end in self.members), None)


Fetch = Callable[[Member], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Which members of a sample are read."""

    # ending of the caption member, or field of the ``.json`` member, instead of ``.txt``
    caption: str | None = None
    image: str | None = None  # ending of the image member
    several: bool = False  # whether a caption may be a list of them

    @property
    def ids_per_row(self) -> int:
        """How many sample ids a row takes up."""
        return CAPTIONS_PER_ROW if self.several else 1


def read_groups(
    groups: Iterable[Group],
    fetch: Fetch,
    *,
    file_index: int,
    parts: frozenset[str],
    chosen: Parts,
) -> Iterator[SampleBatch]:
    """Read the parts asked for of every sample."""
    size = IMAGE_BATCH_ROWS if IMAGE in parts else DEFAULT_BATCH_ROWS
    todo = iter(groups)
    while block := list(islice(todo, size)):
        samples, drops = [], []
        for group in block:
            images = [end for end in group.members if end in IMAGE_ENDINGS]
            named = [end for end in (chosen.caption, chosen.image) if end in group.members]
            known = images or named or group.first((*CAPTION_ENDINGS, "json"))
            if not known:
                drops.append(group_drop(group, file_index, "sample", "no_image_or_caption"))
                continue
            if len(images) > 1 and chosen.image is None:
                drops.append(group_drop(group, file_index, "note", "extra_image"))
            samples.append(group)
        rows = [group.row * chosen.ids_per_row for group in samples]
        captions = None
        if chosen.several or CAPTION in parts:
            captions = [caption_of(group, fetch, chosen.caption) for group in samples]
        if chosen.several and captions is not None:
            lists = [captions_of(caption)[:CAPTIONS_PER_ROW] or [None] for caption in captions]
            rows = [
                row + i for row, found in zip(rows, lists, strict=True) for i in range(len(found))
            ]
            samples = [g for g, found in zip(samples, lists, strict=True) for _ in found]
            captions = [caption for found in lists for caption in found]
        yield make_batch(
            ids_of(file_index, rows),
            [key_text(group.key, group.row) for group in samples],
            captions=captions if CAPTION in parts else None,
            images=_images(samples, fetch, chosen) if IMAGE in parts else None,
            extra=extra_of_records([_record(group, fetch) for group in samples])
            if EXTRA in parts
            else None,
            drops=drops,
        )


def _images(groups: Sequence[Group], fetch: Fetch, chosen: Parts) -> list[bytes | Missing]:
    """Read each sample's image once, however many captions of it follow each other."""
    images: list[bytes | Missing] = []
    for i, group in enumerate(groups):
        again = i > 0 and groups[i - 1] is group
        images.append(images[-1] if again else _image(group, fetch, chosen))
    return images


def group_drop(group: Group, file_index: int, part: str, reason: str) -> Drop:
    """Build the drop of a sample, with the endings of its members as detail."""
    return Drop(
        sample_id=sample_id(file_index, group.row),
        key=key_text(group.key, group.row),
        part=part,
        reason=reason,
        detail=", ".join(sorted(group.members)),
    )


def _fetch(member: Member, fetch: Fetch) -> bytes | Missing:
    if member.fault:
        return Missing(reason=member.fault)
    if member.size > MAX_MEMBER_BYTES:
        return Missing(reason="member_too_large", detail=f"{member.size:,} bytes")
    return fetch(member)


def _image(group: Group, fetch: Fetch, chosen: Parts) -> bytes | Missing:
    named = group.members.get(chosen.image) if chosen.image is not None else None
    images = [member for end, member in group.members.items() if end in IMAGE_ENDINGS]
    images = [named] if named is not None else images
    return _fetch(images[0], fetch) if images else Missing(reason="missing_image")


def caption_of(group: Group, fetch: Fetch, caption_field: str | None) -> Any:
    """Caption of a sample: its text member, else a field of its JSON member.

    A field that is the ending of a member (``cls``) names that member.
    """
    named = caption_field.lower() if caption_field is not None else ""
    text = group.members.get(named) if named else group.first(CAPTION_ENDINGS)
    if text is not None and named != "json":
        content = _fetch(text, fetch)
        return content.rstrip(b"\r\n") if isinstance(content, bytes) else content
    if "json" not in group.members:
        return Missing(reason="missing_caption")
    record = _record(group, fetch)
    if isinstance(record, Missing):
        return record
    name = caption_name(record, caption_field)
    return record[name] if name is not None else Missing(reason="missing_caption")


def _record(group: Group, fetch: Fetch) -> Any:
    """Read the JSON member of a sample, or say why there is none."""
    if "json" not in group.members:
        return Missing(reason="missing_json")
    content = _fetch(group.members["json"], fetch)
    if isinstance(content, Missing):
        return content
    try:
        return parse_json(content.decode("utf-8", "surrogateescape"))
    except ValueError:
        return Missing(reason="invalid_json", detail=repr(content[:80]))


def caption_name(record: Any, caption_field: str | None) -> str | None:
    """Name of the field of a sample's JSON that holds the caption."""
    if not isinstance(record, Mapping):
        return None
    wanted = (caption_field,) if caption_field is not None else CAPTION_ALIASES
    lower = {str(name).lower(): str(name) for name in reversed(list(record))}
    return next((lower[name.lower()] for name in wanted if name.lower() in lower), None)
