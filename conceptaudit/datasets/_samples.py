"""Turn raw columns into a `SampleBatch`: clean captions, keys as text, faults as drops."""

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conceptaudit.datasets.base import EXTRA, PARTS
from conceptaudit.display import quantity
from conceptaudit.errors import ConfigError
from conceptaudit.records import Drop, Float32Array, Int64Array, SampleBatch, sample_id

# Longer captions are cut and reported: whole pages that were stored as an alt-text.
MAX_CAPTION_CHARS = 10_000

_SHOWN_CHARS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Stands in a raw column for a value that is not there, with the reason."""

    reason: str
    detail: str = ""


def check_parts(parts: frozenset[str], provides: frozenset[str], layout: str) -> None:
    """Refuse to read a part that the dataset does not have."""
    if not parts - {EXTRA} <= provides:
        raise ConfigError(
            f"The 'parts' parameter of read must be among {sorted(provides & PARTS)} for this "
            f"{layout} dataset. Got {sorted(parts)} instead."
        )


def check_rows(shard_rows: int) -> None:
    """Refuse a shard size that cuts nothing."""
    if shard_rows < 1:
        raise ConfigError(
            "The 'shard_rows' parameter of open_dataset must be at least 1. "
            f"Got {shard_rows} instead."
        )


def ids_of(file_index: int, numbers: Sequence[int]) -> Int64Array:
    """Sample ids of rows of one file, shape (n,)."""
    if not len(numbers):
        return np.empty(0, dtype=np.int64)
    return np.asarray(numbers, dtype=np.int64) + sample_id(file_index, 0)


def key_text(value: Any, fallback: int) -> str:
    """Turn a key column's value into text; the row's sample id where there is none."""
    if isinstance(value, str):
        return value or str(fallback)
    if value is None or _is_nan(value):
        return str(fallback)
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _unicode(text: str) -> str:
    """Replace every lone surrogate (bad bytes, broken JSON escapes) by U+FFFD."""
    return text.encode("utf-16", errors="surrogatepass").decode("utf-16", errors="replace")


def clean_captions(
    values: Iterable[Any], ids: Int64Array, keys: Sequence[str], *, max_chars: int | None
) -> tuple[list[str | None], list[Drop]]:
    """Make captions valid Unicode text of bounded length, or None with a drop that says why."""
    longest = sys.maxsize if max_chars is None else max_chars
    captions: list[str | None] = []
    drops: list[Drop] = []
    for row, value in enumerate(values):
        if (
            type(value) is str
            and value.isascii()
            and len(value) <= longest
            and value
            and not value.isspace()
        ):
            captions.append(value)
            continue
        caption, faults = _clean(value, longest)
        captions.append(caption)
        drops += [
            Drop(sample_id=int(ids[row]), key=keys[row], part=part, reason=reason, detail=detail)
            for part, reason, detail in faults
        ]
    return captions, drops


def _clean(value: Any, longest: int) -> tuple[str | None, list[tuple[str, str, str]]]:
    faults: list[tuple[str, str, str]] = []
    if isinstance(value, Missing):
        return None, [("caption", value.reason, value.detail)]
    if value is None or _is_nan(value):
        return None, [("caption", "null_caption", "")]
    if isinstance(value, (bytes, str)):
        text = value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")
        if not _is_unicode(text):
            text = _unicode(text)
            faults.append(("note", "caption_not_utf8", repr(text[:_SHOWN_CHARS])))
    elif isinstance(value, (int, float)):
        text = str(value)
        faults.append(("note", "caption_not_text", f"{type(value).__name__} {text}"))
    else:
        found = f"{type(value).__name__} {str(value)[:_SHOWN_CHARS]}"
        return None, [("caption", "caption_not_text", found)]
    if not text or text.isspace():
        return None, [("caption", "empty_caption", repr(text[:_SHOWN_CHARS]))]
    if len(text) > longest:
        faults.append(("note", "caption_cut", f"{len(text):,} characters"))
        text = text[:longest]
    return text, faults


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def clean_images(
    values: Iterable[Any], ids: Int64Array, keys: Sequence[str]
) -> tuple[list[bytes | None], list[Drop]]:
    """Keep encoded images as bytes, or None with a drop that says why; nothing is decoded."""
    images: list[bytes | None] = []
    drops: list[Drop] = []
    for row, value in enumerate(values):
        content = value
        if isinstance(value, list):  # data-juicer's image_bytes: the first is the sample's image
            content = next((item for item in value if item is not None), None)
            if len(value) > 1:
                drops.append(_extra_images(int(ids[row]), keys[row], len(value)))
        content = content.get("bytes") if isinstance(content, dict) else content
        if isinstance(content, bytes) and content:
            images.append(content)
            continue
        images.append(None)
        reason, detail = "empty_image" if content is not None else "missing_image", ""
        if isinstance(value, Missing):
            reason, detail = value.reason, value.detail
        drops.append(
            Drop(sample_id=int(ids[row]), key=keys[row], part="image", reason=reason, detail=detail)
        )
    return images, drops


def _extra_images(sample: int, key: str, n_images: int) -> Drop:
    detail = f"{quantity(n_images, 'image')}, of which the first is read"
    return Drop(sample_id=sample, key=key, part="note", reason="extra_image", detail=detail)


def clean_embeddings(vectors: Float32Array, ids: Int64Array, keys: Sequence[str]) -> Iterator[Drop]:
    """Zero the rows that have no direction, in place, and say which and why."""
    finite = np.all(np.isfinite(vectors), axis=1)
    usable = finite & np.any(vectors != 0, axis=1)
    for row in np.flatnonzero(~usable).tolist():
        if finite[row]:
            reason = "zero_embedding"
        elif np.isnan(vectors[row]).any():
            reason = "nan_embedding"
        else:
            reason = "infinite_embedding"
        vectors[row] = 0.0
        yield Drop(sample_id=int(ids[row]), key=keys[row], part="image", reason=reason)


def make_batch(
    ids: Int64Array,
    keys: Sequence[str],
    *,
    captions: Sequence[Any] | None = None,
    images: Sequence[Any] | None = None,
    embeddings: Float32Array | None = None,
    languages: Sequence[str] | None = None,
    extra: Mapping[str, Sequence[Any]] | None = None,
    drops: Iterable[Drop] = (),
    left_out: Mapping[int, tuple[str, str]] | None = None,
    max_chars: int | None = MAX_CAPTION_CHARS,
) -> SampleBatch:
    """Build a batch from raw columns of equal length; faults join the drops given.

    Rows of `left_out`, with reason and detail, become drops of whole samples. Captions longer than
    `max_chars` characters are cut; None cuts none.
    """
    if not _is_unicode("".join(keys)):
        keys = [_unicode(key) for key in keys]
    faults = list(drops)
    if left_out:
        faults += [
            Drop(sample_id=int(ids[i]), key=keys[i], part="sample", reason=reason, detail=detail)
            for i, (reason, detail) in sorted(left_out.items())
        ]
        rows = [i for i in range(len(ids)) if i not in left_out]
        ids, keys = ids[rows], [keys[i] for i in rows]
        captions = None if captions is None else [captions[i] for i in rows]
        images = None if images is None else [images[i] for i in rows]
        embeddings = None if embeddings is None else embeddings[rows]
        languages = None if languages is None else [languages[i] for i in rows]
        extra = extra and {name: [values[i] for i in rows] for name, values in extra.items()}
    if embeddings is not None:
        faults += clean_embeddings(embeddings, ids, keys)
    texts = contents = None
    if captions is not None:
        texts, of_captions = clean_captions(captions, ids, keys, max_chars=max_chars)
        faults += of_captions
    if images is not None:
        contents, of_images = clean_images(images, ids, keys)
        faults += of_images
    return SampleBatch(
        sample_ids=ids,
        keys=keys,
        captions=texts,
        images=contents,
        embeddings=embeddings,
        languages=languages,
        extra=extra,
        drops=tuple(map(_writable, faults)),
    )


def _writable(drop: Drop) -> Drop:
    """Make a drop's key and detail valid Unicode: they quote what was found, and are written."""
    if _is_unicode(drop.key + drop.detail):
        return drop
    return replace(drop, key=_unicode(drop.key), detail=_unicode(drop.detail))


def repeated_rows(identities: Callable[[], Iterator[tuple[int, Any]]]) -> frozenset[int]:
    """Rows whose identity occurred in an earlier row.

    Two passes over (row, identity) pairs: hashes first, 8 bytes a row, then only the identities
    whose hash repeats are compared in full, so a file of a million rows needs a few megabytes.
    """
    hashes = np.fromiter((hash(identity) for _, identity in identities()), dtype=np.int64)
    values, counts = np.unique(hashes, return_counts=True)
    suspects = frozenset(values[counts > 1].tolist())
    if not suspects:
        return frozenset()
    seen: set[Any] = set()
    repeated: set[int] = set()
    for row, identity in identities():
        if hash(identity) in suspects:
            if identity in seen:
                repeated.add(row)
            seen.add(identity)
    return frozenset(repeated)
