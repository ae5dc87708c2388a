"""Plant altered copies of photographs and count those found by kind; see `bench_longtail.py`."""

import argparse
import io
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from conceptaudit.image.decode import decode_image
from conceptaudit.longtail import LongTailOptions
from conceptaudit.longtail.duplicates import remove_duplicates
from conceptaudit.longtail.fingerprints import fingerprint_of
from conceptaudit.longtail.leaks import find_leaks
from conceptaudit.longtail.pretraining import open_pretraining
from conceptaudit.progress import SilentProgress

Altering = Callable[[Image.Image], Image.Image]


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--photos", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--planted", type=int, default=25, help="copies of each kind")
    parser.add_argument("--largest", type=int, default=300, help="photographs used at most")


def encoded(image: Image.Image, quality: int = 85) -> bytes:
    """Encode as JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def scaled(across: float, down: float) -> Altering:
    """Change the size."""
    return lambda image: image.resize((int(image.width * across), int(image.height * down)))


def cropped(left: float, top: float, right: float, bottom: float) -> Altering:
    """Cut a share of the width or height off each side."""
    return lambda image: image.crop(
        (
            int(image.width * left),
            int(image.height * top),
            image.width - int(image.width * right),
            image.height - int(image.height * bottom),
        )
    )


def bar_below(image: Image.Image) -> Image.Image:
    """Add a white bar with a caption below, an eighth of the height."""
    height = image.height // 8
    made = Image.new("RGB", (image.width, image.height + height), "white")
    made.paste(image)
    ImageDraw.Draw(made).text((10, image.height + height // 3), "what is seen here", "black")
    return made


def bar_over(image: Image.Image) -> Image.Image:
    """Write a caption on a black bar over the lowest eighth."""
    made, top = image.copy(), image.height - image.height // 8
    drawn = ImageDraw.Draw(made)
    drawn.rectangle((0, top, image.width, image.height), "black")
    drawn.text((10, top + image.height // 24), "what is seen here", "white")
    return made


def watermarked(image: Image.Image) -> Image.Image:
    """Write across the middle."""
    made = image.copy()
    size = max(image.width // 10, 10)
    place = (image.width // 4, image.height // 2)
    ImageDraw.Draw(made).text(place, "STOCK PHOTO", "white", font_size=size)
    return made


def turned(degrees: float, *, expand: bool = False) -> Altering:
    """Turn; the corners become black."""
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC, expand=expand)


KINDS: dict[str, Altering] = {
    "half size": scaled(0.5, 0.5),
    "double size": scaled(2, 2),
    "stretched by a fifth": scaled(1.2, 1),
    "brighter by 30 %": lambda image: ImageEnhance.Brightness(image).enhance(1.3),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "watermark": watermarked,
    **{
        f"crop, {total} % off each side, half at either end": cropped(*[total / 200] * 4)
        for total in (2, 5, 10, 20)
    },
    **{f"crop, {share} % off every edge": cropped(*[share / 100] * 4) for share in (2, 5, 10, 20)},
    "crop, 10 % off left and top, 5 % off right, 10 % off bottom": cropped(0.1, 0.1, 0.05, 0.1),
    "crop, 20 % off left and top, 10 % off right, 20 % off bottom": cropped(0.2, 0.2, 0.1, 0.2),
    "crop, 20 % off left and bottom": cropped(0.2, 0, 0, 0.2),
    "mirrored": ImageOps.mirror,
    "border, white, a twelfth of the width": lambda image: ImageOps.expand(
        image, image.width // 12, "white"
    ),
    "border, black, a thirtieth": lambda image: ImageOps.expand(image, image.width // 30, "black"),
    "caption bar below": bar_below,
    "caption bar over the image": bar_over,
    "turned by 3°": turned(-3),
    "turned by 5°": turned(5),
    "turned by 7°": turned(7),
    "turned by 5°, canvas grown": turned(5, expand=True),
}
"""How copies are altered."""


def candidates_of(files: list[bytes]) -> pd.DataFrame:
    """Describe files as candidates of one class, named by their position."""
    table = pd.DataFrame([asdict(fingerprint_of(data, decode_image(data))) for data in files])
    table["key"] = [str(i) for i in range(len(files))]
    texts = dict.fromkeys(("url", "reason", "detail", "duplicate_of"), "")
    return table.assign(concept="image", class_id=0, vector=range(len(files)), **texts)


def leaked(pool: list[bytes], trained: list[bytes]) -> set[tuple[int, int]]:
    """Pairs of a position in the pool and the training image that it is said to leak from."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trained.parquet"
        keys = [str(i) for i in range(len(trained))]
        pd.DataFrame({"key": keys, "image": trained}).to_parquet(path)
        source = open_pretraining(path, "")
        candidates = candidates_of(pool)
        vectors = np.zeros((len(pool), 1), dtype=np.float32)
        find_leaks(candidates, vectors, [source], LongTailOptions(), progress=SilentProgress())
    lost = candidates[candidates["reason"] != ""]
    pairs = zip(lost["key"], lost["detail"], strict=True)
    return {(int(key), int(detail.split(" ", 1)[0])) for key, detail in pairs}


def repeated(files: list[bytes]) -> set[tuple[int, int]]:
    """Pairs of positions that the search for duplicates takes for one image."""
    options = LongTailOptions(embedding_similarity=2.0)
    vectors = np.zeros((len(files), 1), dtype=np.float32)
    table = candidates_of(files)
    remove_duplicates(table, vectors, options)
    lost = table[table["reason"] != ""]
    return {(int(of), int(key)) for of, key in zip(lost["duplicate_of"], lost["key"], strict=True)}


def main(args: argparse.Namespace) -> None:
    """Print recall by kind, then false alarms among photographs that are all different."""
    files = [path.read_bytes() for path in sorted(args.photos.rglob("*.jpg"))[: args.largest]]
    planted = files[: args.planted]
    images = [decode_image(data) for data in planted]
    copies = {
        "the same file": planted,
        "JPEG quality 50": [encoded(image, 50) for image in images],
        "JPEG quality 15": [encoded(image, 15) for image in images],
        **{kind: [encoded(alter(image)) for image in images] for kind, alter in KINDS.items()},
    }
    pairs = {(i, i) for i in range(len(planted))}
    among = {(i, i + len(planted)) for i in range(len(planted))}
    rows: list[dict[str, Any]] = [
        {
            "kind": kind,
            "planted": len(planted),
            "leak, copy in the pool": len(leaked(altered, planted) & pairs),
            "leak, copy in the training data": len(leaked(planted, altered) & pairs),
            "duplicate in the pool": len(repeated([*planted, *altered]) & among),
        }
        for kind, altered in copies.items()
    ]
    print(pd.DataFrame(rows).to_string(index=False))
    half = len(files) // 2
    began = time.process_time()
    false_leaks = leaked(files[:half], files[half:])
    spent = time.process_time() - began
    false_copies = repeated(files)
    result = {
        "rows": rows,
        "photographs": len(files),
        "candidates": half,
        "candidates said to leak": len(false_leaks),
        "photographs said to be duplicates": len(false_copies),
        "leak check, processor ms per photograph": round(1000 * spent / len(files), 2),
    }
    print(
        f"\n{half} of {len(files)} photographs against the others: {len(false_leaks)} false leaks"
    )
    print(f"{len(files)} photographs among each other: {len(false_copies)} false duplicates")
    print(json.dumps(result))
