"""A contact sheet: a few images of every class with their names, to be looked at."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from conceptaudit.artifacts import whole_file
from conceptaudit.image.decode import decode_image
from conceptaudit.longtail.safe_filenames import plain_text

if TYPE_CHECKING:
    from PIL import Image, ImageFont

# Images per class.
SHOWN = 6

SIDE = 96
GAP = 6
LINE = 20
# Classes beside each other.
STRIPS = 2

# Classes below each other; further ones go to further pages, which viewers can still open.
ROWS = 30

FONT_SIZE = 13
MAX_TITLE = 90
# A strip is wide enough for most names even where it has few images.
MIN_WIDTH = 320

STRIP_HEIGHT = LINE + SIDE + 2 * GAP

PAPER = (255, 255, 255)
INK = (30, 30, 30)
EMPTY = (232, 232, 232)


class ContactSheet:
    """Collects small images while a set is written, and draws them.

    `titles`: one per class; control characters are replaced. `shown`: images per class: those
    with ranks 1 to `shown`.
    """

    def __init__(self, titles: Sequence[str], shown: int = SHOWN) -> None:
        self._titles = [plain_text(title) for title in titles]
        self._shown = shown
        self._width = max(shown * (SIDE + GAP) + GAP, MIN_WIDTH)
        self._small: dict[tuple[int, int], Image.Image] = {}

    def add(self, class_index: int, rank: int, data: bytes) -> None:
        """Take the image with this rank, from 1, if the sheet has room for it."""
        if rank > self._shown:
            return
        picture = decode_image(data)
        picture.thumbnail((SIDE, SIDE))
        self._small[class_index, rank] = picture

    def save(self, folder: Path) -> list[Path]:
        """Draw ``contact_sheet.png`` (and ``contact_sheet_2.png`` …) in the folder."""
        per_page = STRIPS * ROWS
        pages = [
            range(start, min(start + per_page, len(self._titles)))
            for start in range(0, len(self._titles), per_page)
        ]
        paths = []
        for number, page in enumerate(pages, start=1):
            name = "contact_sheet.png" if number == 1 else f"contact_sheet_{number}.png"
            with whole_file(folder / name) as partial:
                self._draw(page).save(partial, format="PNG", optimize=False)
            paths.append(folder / name)
        return paths

    def _draw(self, page: range) -> Image.Image:
        from PIL import ImageDraw
        from PIL.Image import new

        n_rows = -(-len(page) // STRIPS)
        strips = min(STRIPS, len(page))
        sheet = new("RGB", (strips * self._width + GAP, n_rows * STRIP_HEIGHT + GAP), PAPER)
        pen = ImageDraw.Draw(sheet)
        font = _font()
        for place, class_index in enumerate(page):
            column, row = divmod(place, n_rows)
            left, top = column * self._width + GAP, row * STRIP_HEIGHT + GAP
            title = _fitting(self._titles[class_index], font, self._width - 2 * GAP)
            pen.text((left, top), title, fill=INK, font=font)
            for rank in range(1, self._shown + 1):
                x, y = left + (rank - 1) * (SIDE + GAP), top + LINE
                picture = self._small.get((class_index, rank))
                if picture is None:
                    pen.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill=EMPTY)
                else:
                    offset = ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2)
                    sheet.paste(picture, (x + offset[0], y + offset[1]))
        return sheet


def _font() -> ImageFont.FreeTypeFont:
    """DejaVu Sans from matplotlib: Pillow's own font has Latin letters only."""
    import matplotlib as mpl
    from PIL import ImageFont

    return ImageFont.truetype(
        str(Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), FONT_SIZE
    )


def _fitting(title: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    title = title if len(title) <= MAX_TITLE else f"{title[: MAX_TITLE - 1]}…"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while len(title) > 1 and font.getlength(title) > width:
            title = f"{title[:-2]}…"
    return title
