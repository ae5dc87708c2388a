"""Which column of a table holds the caption, the key, the URL, the image: found through aliases.

The schemas of published sets were never written down and vary between releases, so names are
matched without regard to case, in the order of preference below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conceptaudit.errors import ConfigError, DataError

CAPTION_ALIASES = (
    "caption", "top_caption", "text", "txt", "alt_text", "alt", "captions", "caption_text",
    "raw_caption", "title", "description", "sentence", "raw",
)  # fmt: skip
"""LAION-COCO carries TEXT beside the better top_caption, hence the order of the first three."""

KEY_ALIASES = (
    "key", "__key__", "uid", "sample_id", "image_path", "image_id", "imageid", "photoid", "id",
    "file_name", "filename", "filepath", "image_name", "image", "img_id", "cocoid", "hash",
)  # fmt: skip
URL_ALIASES = ("url", "image_url", "img_url", "image_urls", "coco_url", "flickr_url", "link")
LANGUAGE_ALIASES = ("language", "lang", "language_code", "lang_code", "lid")
IMAGE_ALIASES = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes")

TEXT, NUMBER, BINARY, IMAGE_STRUCT, OTHER = "text", "number", "binary", "image", "other"
"""Kinds of column that a table format reports; an `IMAGE_STRUCT` is {bytes, path}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Columns named by the user; None is "find one"."""

    caption: str | None = None
    key: str | None = None
    url: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of one table that matter, each None where the table lacks it.

    `extra` pairs our names of `_extra.EXTRA_ALIASES` with the table's.
    """

    caption: str | None = None
    key: str | None = None
    url: str | None = None
    image: str | None = None
    status: str | None = None
    error: str | None = None
    language: str | None = None
    extra: tuple[tuple[str, str], ...] = ()

    @property
    def identity(self) -> str | None:
        """The column that keys are taken from."""
        return self.key or self.url


def resolve(
    found: Mapping[str, str], choice: Choice, path: str, *, required: bool = True
) -> Columns:
    """Choose the columns of a table.

    Parameters
    ----------
    found : mapping of column name to kind
        The table's columns, in order.
    choice : Choice
        What the user named; it must exist.
    path : str
        The table, for the error message.
    required : bool
        Whether a table without captions and images is an error.
    """
    texts = [name for name, kind in found.items() if kind == TEXT]
    scalars = [name for name, kind in found.items() if kind in (TEXT, NUMBER)]
    pictures = [name for name, kind in found.items() if kind in (BINARY, IMAGE_STRUCT)]
    caption = _named(choice.caption, found, "caption_column", path) or first_column(
        CAPTION_ALIASES, texts
    )
    # A binary column called "caption" holds text; a numeric one is better than none.
    caption = caption or first_column(
        CAPTION_ALIASES, [n for n, k in found.items() if k in (BINARY, NUMBER)]
    )
    image = first_column(IMAGE_ALIASES, [name for name in pictures if name != caption])
    structs = [name for name in pictures if found[name] == IMAGE_STRUCT and name != caption]
    image = image or (structs[0] if structs else None)
    if required and caption is None and image is None:
        nested = first_column(CAPTION_ALIASES, [n for n, k in found.items() if k == OTHER])
        hint = f" {nested!r} holds lists or records, which are not read." if nested else ""
        raise DataError(
            f"No caption column found in {path}. Its columns are {list(found)};{hint} "
            "name the one that holds the captions with caption_column (--caption-column)."
        )
    usable = [name for name in scalars if name != caption]
    key = _named(choice.key, found, "key_column", path) or first_column(KEY_ALIASES, usable)
    url = _named(choice.url, found, "url_column", path) or first_column(URL_ALIASES, usable)
    if key is None and image is not None and found[image] == IMAGE_STRUCT:
        key = f"{image}.path"
    status, error = first_column(("status",), texts), first_column(("error_message",), list(found))
    if status is None or error is None:  # some other tool's "status" says nothing of a download
        status = error = None
    language = _named(choice.language, found, "language_column", path) or first_column(
        LANGUAGE_ALIASES, [name for name in texts if name != caption]
    )
    return Columns(
        caption=caption,
        key=key,
        url=url,
        image=image,
        status=status,
        error=error,
        language=language,
    )


def first_column(aliases: Sequence[str], names: Sequence[str]) -> str | None:
    """Find the first alias that is a column, in any case; the column's own spelling."""
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.strip().lower(), name)
    return next((lower[alias] for alias in aliases if alias in lower), None)


def _named(name: str | None, found: Mapping[str, str], parameter: str, path: str) -> str | None:
    if name is None:
        return None
    match = name if name in found else first_column((name.strip().lower(),), list(found))
    if match is None:
        raise ConfigError(
            f"The '{parameter}' parameter of open_dataset must be one of the columns "
            f"{list(found)} of {path}. Got {name!r} instead."
        )
    if found[match] in (OTHER, IMAGE_STRUCT):
        raise ConfigError(
            f"The '{parameter}' parameter of open_dataset must be a column of plain values. "
            f"Got {name!r} instead, which holds lists or records in {path}."
        )
    return match
