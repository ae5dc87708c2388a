"""A finished listing read back: its first entries, and the concept list made of it."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from conceptaudit.artifacts import inert_text, whole_file
from conceptaudit.vocabulary import spelling

_ROWS = 50_000


def entries(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """Yield a listing's rows: kind, text, captions, images."""
    import pyarrow.parquet as pq

    if is_csv(path):
        with path.open(encoding="utf-8", newline="") as stream:
            for kind, text, n_captions, n_images in islice(csv.reader(stream), 1, None):
                yield kind, text, int(n_captions), int(n_images)
        return
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def is_csv(path: Path) -> bool:
    """Whether a listing of this name is written as CSV."""
    return path.suffix.lower() == ".csv"


def write_listing_csv(listing: Path, out: Path) -> None:
    """Write a parquet listing as CSV: ``kind, text, n_captions, n_images``.

    Text that a spreadsheet would compute gets an apostrophe in front.
    """
    with whole_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["kind", "text", "n_captions", "n_images"])
        for kind, text, n_captions, n_images in entries(listing):
            writer.writerow([kind, inert_text(text), n_captions, n_images])


def write_concepts(listing: Path, out: Path) -> int:
    """Write a listing as a concept list that an audit reads.

    An entry that is both a word and a phrase is one concept. Entries that do not begin with a
    letter, digit or pictograph are no names and are left out, also because a spreadsheet would
    take some of them for formulas.
    """
    seen: set[str] = set()
    with whole_file(out) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["concept", "kind", "n_captions", "n_images"])
        for kind, text, n_captions, n_images in entries(listing):
            key = spelling(text)
            if key in seen or not _begins_a_name(text):
                continue
            seen.add(key)
            writer.writerow([text, kind, n_captions, n_images])
    return len(seen)


def _begins_a_name(text: str) -> bool:
    category = unicodedata.category(text[0])
    return category[0] in "LN" or category == "So"
