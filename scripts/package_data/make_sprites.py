"""Draw the lab's sprite sheet from the Noto Color Emoji font.

Reads the ``sprite`` column of the concept table, draws each emoji from the font's colour bitmaps,
trims it, fits it into a square cell and writes one lossless WebP sheet and its JSON index. Run it
again whenever a concept is added:

    apt-get install fonts-noto-color-emoji
    python scripts/package_data/make_sprites.py
"""

import argparse
import hashlib
import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, features

from conceptaudit.lab.concepts import DATA, load_concepts

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
BITMAP_SIZE = 109
"""The only strike that the font has; FreeType refuses any other size."""
MARGIN = 1
COLUMNS = 25
MAX_BYTES = 3_000_000


def draw(emoji: str, font: ImageFont.FreeTypeFont, cell: int) -> Image.Image:
    """Draw one emoji, trimmed and centred in a transparent square of `cell` pixels."""
    canvas = Image.new("RGBA", (320, 200))
    ImageDraw.Draw(canvas).text((20, 20), emoji, font=font, embedded_color=True)
    box = canvas.getchannel("A").getbbox()
    if box is None or box[2] - box[0] > 150:
        # A sequence that the font cannot join is drawn as two pictures side by side.
        raise SystemExit(f"The font has no single picture for {emoji!r}.")
    picture = canvas.crop(box)
    scale = (cell - 2 * MARGIN) / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    square = Image.new("RGBA", (cell, cell))
    offset = ((cell - size[0]) // 2, (cell - size[1]) // 2)
    square.paste(picture.resize(size, Image.Resampling.LANCZOS), offset)
    return square


def main() -> None:
    """Write ``sprites.webp`` and ``sprites.json`` into the lab's data folder."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--font", type=Path, default=FONT)
    parser.add_argument("--font-version", default="2.042")
    parser.add_argument("--cell", type=int, default=80, help="pixels per side of a sprite")
    parser.add_argument("--out", type=Path, default=DATA)
    arguments = parser.parse_args()
    if not features.check("raqm"):
        raise SystemExit("Pillow was built without Raqm, which joins emoji sequences.")

    font = ImageFont.truetype(arguments.font, BITMAP_SIZE)
    cell = arguments.cell
    concepts = load_concepts()
    rows = -(-len(concepts) // COLUMNS)
    sheet = Image.new("RGBA", (COLUMNS * cell, rows * cell))
    cells: dict[str, list[int]] = {}
    for position, concept in enumerate(concepts):
        column, row = position % COLUMNS, position // COLUMNS
        sheet.paste(draw(concept.sprite, font, cell), (column * cell, row * cell))
        cells[concept.name] = [column, row]

    target = arguments.out / "sprites.webp"
    sheet.save(target, lossless=True, quality=100, method=6)
    content = target.read_bytes()
    if len(content) > MAX_BYTES:
        raise SystemExit(
            f"The sheet has {len(content):,} bytes; at most {MAX_BYTES:,} are allowed."
        )
    index = {
        "font": "Noto Color Emoji",
        "font_version": arguments.font_version,
        "font_sha256": hashlib.sha256(arguments.font.read_bytes()).hexdigest(),
        "licence": "SIL Open Font License 1.1, see sprites.LICENSE.txt",
        "sheet_sha256": hashlib.sha256(content).hexdigest(),
        "cell": cell,
        "cells": cells,
    }
    text = json.dumps(index, ensure_ascii=False, indent=0) + "\n"
    (arguments.out / "sprites.json").write_text(text, encoding="utf-8")
    print(f"{len(concepts)} sprites, {len(content):,} bytes")


if __name__ == "__main__":
    main()
