"""Thumbnails of decoded images: cheap, and better than any embedding at recognising copies.

An embedding says what an image shows; two photographs of the same thing may be nearer to each
other than a photograph and its crop. A thumbnail is taken of the whole image, before a model's
preprocessing cuts its sides off.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from conceptaudit.image.vectors import unit_rows
from conceptaudit.records import Float32Array, Int64Array

if TYPE_CHECKING:
    from PIL import Image

THUMBNAILS = 2
"""Version of the layout that `thumbnail_of` returns: part of what embeddings depend on."""

COLOUR_SIDE = 8  # cells per side of the colour thumbnail

COLOUR_BYTES = 3 * COLOUR_SIDE * COLOUR_SIDE

GREY_SIDE = 24
"""Cells per side of a grey thumbnail: a crop of 60 % still has the 8 lowest frequencies."""

VIEW_BYTES = COLOUR_BYTES + GREY_SIDE * GREY_SIDE

SAME_COLOURS = 0.94
"""Correlation of colour thumbnails from which two images look the same; see
docs/benchmarks-image.md."""

SHRUNK_SIDE = 120
"""Cells per side from which thumbnails are averaged and frames are measured: a multiple of both
sides."""

SMALLEST_SIDE = 64
"""Below this many pixels an image has no grey thumbnail: altered versions of images of 32 × 32
pixels look like each other by chance."""

FRAME_TOLERANCE = 12
"""Levels of grey by which a frame's pixels may differ from its median: JPEG noise."""

FRAME_SHARE, BAR_SHARE, CONTENT_SHARE = 0.9, 0.6, 0.35
"""Share of pixels of the frame's colour: at least, in its outermost line; at least, in every
further one (a caption's letters cover up to two fifths of a line); at most, in the first lines of
the image inside. A drawing on plain ground begins little by little, and has no frame."""

BORDER_LINES = 3  # lines of the image that are looked at
WIDEST_FRAME = 0.3  # larger uniform margins are part of the image: a sky, a studio's background


def thumbnail_of(image: Image.Image) -> bytes:
    """Shrink a decoded image.

    >>> from PIL import Image
    >>> len(thumbnail_of(Image.new("RGB", (40, 40)))), len(thumbnail_of(Image.new("RGB", (90, 64))))
    (192, 768)
    """
    from PIL.Image import Resampling

    if min(image.size) < SMALLEST_SIDE:
        return _colours(image)
    # a whole number of pixels first, which takes two thirds of the time
    small = image.resize((SHRUNK_SIDE, SHRUNK_SIDE), Resampling.BOX, reducing_gap=1.0)
    grey = small.convert("L")
    side = (GREY_SIDE, GREY_SIDE)
    parts = [_colours(small), grey.resize(side, Resampling.BOX).tobytes()]
    inner = without_frame(np.asarray(grey))
    if inner is not None:
        parts += [_colours(small.crop(inner)), grey.resize(side, Resampling.BOX, inner).tobytes()]
    return b"".join(parts)


def _colours(image: Image.Image) -> bytes:
    from PIL.Image import Resampling

    small = image.resize((COLOUR_SIDE, COLOUR_SIDE), Resampling.BOX)
    return np.asarray(small, dtype=np.uint8).transpose(2, 0, 1).tobytes()


def without_frame(grey: npt.NDArray[np.uint8]) -> tuple[int, int, int, int] | None:
    """Measure a uniform frame, or a bar with a caption: the box of what is inside it.

    >>> grey = np.arange(100, dtype=np.uint8).reshape(10, 10) * 2
    >>> grey[-2:] = 255
    >>> without_frame(grey)
    (0, 0, 10, 7)
    """
    side = len(grey)
    levels = grey.astype(np.int16)
    edges = [0, 0, side, side]
    for _ in range(2):  # the sides of a frame below a caption are uniform once that is cut off
        for edge in (1, 3, 0, 2):
            left, upper, right, lower = edges
            inside = levels[upper:lower, left:right]
            lines = inside if edge % 2 else inside.T
            width = _frame_width(lines[::-1] if edge > 1 else lines)
            edges[edge] += -width if edge > 1 else width
    left, upper, right, lower = edges
    inner = left, upper, right, lower
    return None if inner == (0, 0, side, side) else inner


def _frame_width(lines: npt.NDArray[np.int16]) -> int:
    """Count the uniform lines from the first on, and the blended one after them."""
    outer = lines[0]
    colour = np.partition(outer, len(outer) // 2)[len(outer) // 2]
    if np.count_nonzero(np.abs(outer - colour) <= FRAME_TOLERANCE) < FRAME_SHARE * len(outer):
        return 0  # as most images: the other lines need no look
    uniform = np.mean(np.abs(lines - colour) <= FRAME_TOLERANCE, axis=1)
    width = int(np.argmin(np.append(uniform >= BAR_SHARE, False)))
    if width < 2 or width >= WIDEST_FRAME * len(lines):
        return 0
    inside = uniform[width + 1 : width + 1 + BORDER_LINES]
    return width + 1 if inside.mean() <= CONTENT_SHARE else 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thumbnails:
    """Thumbnails of n images."""

    colours: npt.NDArray[np.uint8]  # shape (n, 192): zeros where unknown
    known: npt.NDArray[np.bool_]  # shape (n,): whether an image has a thumbnail at all
    # shape (m, 768): None, one or two per image: colours and greys, of the whole and without its
    # frame
    views: npt.NDArray[np.uint8]
    owners: Int64Array  # shape (m,): position of a view's image, rising

    @classmethod
    def of(cls, thumbnails: Sequence[bytes]) -> Thumbnails:
        """Unpack what `thumbnail_of` returned, or wrote to a table; empty where there is none."""
        n = len(thumbnails)
        known = np.array([len(data) >= COLOUR_BYTES for data in thumbnails], dtype=bool)
        colours = np.zeros((n, COLOUR_BYTES), dtype=np.uint8)
        packed = b"".join(data[:COLOUR_BYTES] for data in thumbnails if len(data) >= COLOUR_BYTES)
        colours[known] = np.frombuffer(packed, dtype=np.uint8).reshape(-1, COLOUR_BYTES)
        counts = [len(data) // VIEW_BYTES for data in thumbnails]
        packed = b"".join(data for data in thumbnails if len(data) >= VIEW_BYTES)
        return cls(
            colours=colours,
            known=known,
            views=np.frombuffer(packed, dtype=np.uint8).reshape(-1, VIEW_BYTES),
            owners=np.repeat(np.arange(n, dtype=np.int64), counts),
        )

    def __len__(self) -> int:
        return len(self.colours)

    def __getitem__(self, rows: Int64Array) -> Thumbnails:
        first, stop = (np.searchsorted(self.owners, rows, side=s) for s in ("left", "right"))
        counts = stop - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return Thumbnails(
            colours=self.colours[rows],
            known=self.known[rows],
            views=self.views[np.repeat(first, counts) + offsets],
            owners=np.repeat(np.arange(len(rows), dtype=np.int64), counts),
        )


def colour_vectors(colours: npt.NDArray[np.uint8]) -> Float32Array:
    """Turn colour thumbnails into unit vectors whose inner product is their correlation.

    Each colour channel's mean is taken off, so that brightness and tint do not count. An image
    of one colour has no direction and becomes zeros: it resembles nothing. Shape (n, 192).

    >>> stripes = np.tile(np.arange(8, dtype=np.uint8), 24)[None]
    >>> dim, flat = stripes // 2 + 9, np.full_like(stripes, 7)
    >>> a, b, c = (colour_vectors(colours) for colours in (stripes, dim, flat))
    >>> bool((a @ b.T > 0.95).all()), float((a @ c.T)[0, 0])
    (True, 0.0)
    """
    channels = colours.reshape(len(colours), 3, -1).astype(np.float32)
    centred = channels - channels.mean(axis=2, keepdims=True)
    return unit_rows(centred.reshape(len(colours), -1))
