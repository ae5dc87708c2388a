"""Which column of a table holds the caption, the key, the URL, the image, and what else is said.

The schemas of published sets were never written down and vary between releases, so names are
matched without regard to case, in the order of preference below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from conceptaudit.errors import ConfigError, DataError

# LAION-COCO carries TEXT beside the better top_caption, hence the order of the first three.
#
# LLaVA's captions are answers in `conversations`; Flickr30k's table calls them `comment`.
CAPTION_ALIASES = (
    "caption", "top_caption", "text", "txt", "alt_text", "alt", "captions", "caption_text",
    "raw_caption", "title", "description", "sentence", "raw", "sentences", "comment",
    "all_captions", "blip_caption", "caption_str", "reference_strs", "conversations",
    "conversation", "messages", "texts", "regions",
)  # fmt: skip

KEY_ALIASES = (
    "key", "__key__", "uid", "sample_id", "image_path", "image_id", "imageid", "photoid", "id",
    "file_name", "filename", "filepath", "image_name", "image", "img_id", "cocoid", "hash",
    "img", "img_path", "path",
)  # fmt: skip
URL_ALIASES = ("url", "image_url", "img_url", "image_urls", "coco_url", "flickr_url", "link")
LANGUAGE_ALIASES = ("language", "lang", "language_code", "lang_code", "lid")
IMAGE_ALIASES = (
    "image", "jpg", "jpeg", "png", "webp", "img", "image_bytes", "bytes", "images",
)  # fmt: skip

TEXT, NUMBER, BINARY, IMAGE_STRUCT, OTHER = "text", "number", "binary", "image", "other"
# Kinds of column that a table format reports.
#
# An `IMAGE_STRUCT` is {bytes, path}; a `LIST` holds texts or records with a text, an `IMAGE_LIST`
# images; a column that is `UNKNOWN` holds nothing but nulls.
LIST, IMAGE_LIST, UNKNOWN = "list", "images", "null"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Columns named by the user; None is "find one". `extra` are read beside the usual ones."""

    caption: str | None = None
    key: str | None = None
    url: str | None = None
    language: str | None = None
    image: str | None = None
    extra: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of one table that matter, each None where the table lacks it.

    `extra` pairs our names of `_extra.EXTRA_ALIASES` with the table's; `several` says that the
    caption column holds lists.
    """

    caption: str | None = None
    key: str | None = None
    url: str | None = None
    image: str | None = None
    status: str | None = None
    error: str | None = None
    language: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    several: bool = False

    @property
    def identity(self) -> str | None:
        """The column that keys are taken from."""
        return self.key or self.url


def resolve(
    found: Mapping[str, str],
    choice: Choice,
    path: str,
    *,
    usual: Choice | None = None,
    required: bool = True,
) -> Columns:
    """Choose the columns of a table.

    `usual` are names in other tables of the dataset: taken where this one has them, so that a part
    whose captions are all null is not read from another column.
    """
    usual = usual or Choice()
    plain = [name for name, kind in found.items() if kind in (TEXT, NUMBER)]
    pictures = [n for n, k in found.items() if k in (BINARY, IMAGE_STRUCT, IMAGE_LIST)]
    caption = _named(choice.caption, found, "caption_column", path) or _caption(found, usual)
    image = _named(choice.image, found, "image_column", path) or first_column(
        IMAGE_ALIASES, [name for name in pictures if name != caption]
    )
    structs = [name for name in pictures if found[name] == IMAGE_STRUCT and name != caption]
    image = image or (structs[0] if structs else None)
    if required and caption is None and image is None:
        nested = first_column(CAPTION_ALIASES, [n for n, k in found.items() if k == OTHER])
        hint = (
            f" {nested!r} holds lists or records without texts; write its captions to a column of "
            "text, or"
            if nested
            else ""
        )
        raise DataError(
            f"No caption column found in {path}. Its columns are {list(found)};{hint} "
            "name the one that holds the captions with caption_column (--caption-column)."
        )
    usable = [name for name in plain if name not in (caption, image)]
    empty = [name for name, kind in found.items() if kind == UNKNOWN and name != caption]
    key = _named(choice.key, found, "key_column", path) or _preferred(
        usual.key, KEY_ALIASES, usable, empty
    )
    url = _named(choice.url, found, "url_column", path) or _preferred(
        usual.url, URL_ALIASES, usable, empty
    )
    if key is None and image is not None and found[image] == IMAGE_STRUCT:
        key = f"{image}.path"
    texts = [name for name, kind in found.items() if kind == TEXT]
    status, error = first_column(("status",), texts), first_column(("error_message",), list(found))
    if status is None or error is None:  # some other tool's "status" says nothing of a download
        status = error = None
    language = _named(choice.language, found, "language_column", path) or _preferred(
        usual.language, LANGUAGE_ALIASES, [name for name in texts if name != caption], empty
    )
    return Columns(
        caption=caption,
        key=key,
        url=url,
        image=image,
        status=status,
        error=error,
        language=language,
        several=caption is not None and found[caption] == LIST,
    )


def _caption(found: Mapping[str, str], usual: Choice) -> str | None:
    """Find the captions: texts and lists of them, then what else may hold them."""
    # A binary column called "caption" holds text; a numeric one is better than none.
    for kinds in ((TEXT, LIST), (BINARY, NUMBER), (UNKNOWN,)):
        names = [name for name, kind in found.items() if kind in kinds]
        known = [name for name, kind in found.items() if kind in (TEXT, LIST, BINARY, UNKNOWN)]
        caption = _preferred(usual.caption, CAPTION_ALIASES, names, known)
        if caption is not None:
            return caption
    return None


def _preferred(
    usual: str | None, aliases: Sequence[str], names: Sequence[str], empty: Sequence[str]
) -> str | None:
    """Find the column that other tables use, even without values, or the first alias."""
    before = first_column((usual.lower(),), [*names, *empty]) if usual is not None else None
    return before or first_column(aliases, names)


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
    if found[match] == OTHER or (
        parameter not in ("caption_column", "image_column")
        and found[match] in (IMAGE_STRUCT, IMAGE_LIST, LIST)
    ):
        raise ConfigError(
            f"The '{parameter}' parameter of open_dataset must be a column of plain values. "
            f"Got {name!r} instead, which holds lists or records in {path}."
        )
    return match


URL, LICENSE, NSFW, UNSAFE_SCORE, WATERMARK_SCORE = "url", "license", "nsfw", "unsafe", "watermark"
DIGEST, SIMILARITY, AESTHETIC, WIDTH, HEIGHT = (
    "digest", "similarity", "aesthetic", "width", "height",
)  # fmt: skip

# LAION-400M has NSFW (a word) and LICENSE, LAION-5B punsafe and pwatermark, COYO the scores; our
# own embedding folders have the digest of the file that was embedded.
EXTRA_ALIASES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        URL: URL_ALIASES,
        LICENSE: ("license", "licence", "license_name", "license_url", "rights"),
        NSFW: ("nsfw",),
        UNSAFE_SCORE: (
            "punsafe", "p_unsafe", "nsfw_score_opennsfw2", "nsfw_score_gantman", "nsfw_score",
        ),
        DIGEST: ("image_digest",),
        WATERMARK_SCORE: ("pwatermark", "p_watermark", "watermark_score"),
        SIMILARITY: (
            "similarity", "clip_l14_similarity_score", "clip_b32_similarity_score",
            "clip_similarity_vitl14", "clip_similarity_vitb32",
        ),
        AESTHETIC: ("aesthetic", "aesthetic_score", "aesthetic_score_laion_v2"),
        WIDTH: ("original_width", "width"),
        HEIGHT: ("original_height", "height"),
    }
)  # fmt: skip


def extra_columns(names: Sequence[str]) -> dict[str, str]:
    """Find the columns of a table (or the fields of a record) that say more of an image.

    Examples
    --------
    >>> extra_columns(["SAMPLE_ID", "URL", "LICENSE", "NSFW"])
    {'url': 'URL', 'license': 'LICENSE', 'nsfw': 'NSFW'}
    """
    found = {name: first_column(aliases, names) for name, aliases in EXTRA_ALIASES.items()}
    return {name: column for name, column in found.items() if column is not None}


def extra_of_records(records: Sequence[Any]) -> dict[str, list[Any]]:
    """Lay out what the JSON records of samples say, as columns of equal length.

    Examples
    --------
    >>> extra_of_records([{"punsafe": 0.9}, None])
    {'unsafe': [0.9, None]}
    """
    columns: dict[str, list[Any]] = {}
    for i, record in enumerate(records):
        if not isinstance(record, Mapping):
            continue
        for name, field in extra_columns([str(key) for key in record]).items():
            columns.setdefault(name, [None] * len(records))[i] = record.get(field)
    return columns
