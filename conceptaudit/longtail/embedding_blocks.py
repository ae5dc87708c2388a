"""Images that can be compared, taken from the batches of a pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conceptaudit.image.decode import UndecodableImageError, decode_image
from conceptaudit.longtail.finder import PoolBlock
from conceptaudit.longtail.picture import describe_picture
from conceptaudit.longtail.records import TOO_LONG, TOO_SMALL, Picture
from conceptaudit.options.longtail import LongTailOptions
from conceptaudit.records import Float32Array, SampleBatch

if TYPE_CHECKING:
    from PIL import Image


def usable_image(data: bytes, options: LongTailOptions) -> tuple[Image.Image | None, str, str]:
    """Decode an image that a set may hold."""
    try:
        image = decode_image(data)
    except UndecodableImageError as error:
        return None, error.reason, error.detail
    short, long = sorted(image.size)
    shape = f"{image.width} x {image.height} pixels"
    if short < options.min_side:
        return None, TOO_SMALL, shape
    if long > options.max_aspect * short:
        return None, TOO_LONG, shape
    return image, "", ""


def block_of(
    batch: SampleBatch,
    rows: Sequence[int],
    contents: Sequence[str],
    vectors: Float32Array,
    pictures: Sequence[tuple[bytes, Image.Image] | None],
) -> PoolBlock:
    """Take some rows of a batch as a block that can be compared with concepts.

    Shapes: `rows` (n,), `pictures` (n,).
    """
    extra = batch.extra or {}
    nothing: list[Any] = [None] * len(batch)
    captions = batch.captions if batch.captions is not None else nothing

    described: dict[str, Picture] = {}

    def describe(row: int) -> Picture | None:
        given, content = pictures[row], contents[row]
        if given is not None and content not in described:
            described[content] = describe_picture(*given)
        return described.get(content)

    return PoolBlock(
        shard=0,
        sample_ids=batch.sample_ids[list(rows)],
        keys=[batch.keys[row] for row in rows],
        contents=contents,
        texts={
            "caption": [captions[row] for row in rows],
            "url": [text_of(extra.get("url", nothing)[row]) for row in rows],
            "license": [text_of(extra.get("license", nothing)[row]) for row in rows],
            "digest": [text_of(extra.get("digest", nothing)[row]) for row in rows],
        },
        vectors=vectors,
        describe=describe,
    )


def text_of(value: Any) -> str | None:
    """Read a value of a column as text; None where it is empty."""
    if value is None or value == "" or (isinstance(value, float) and np.isnan(value)):
        return None
    return str(value)
