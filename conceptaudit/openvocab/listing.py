"""A finished listing read back: its first entries, and the concept list made of it."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from conceptaudit.artifacts import whole_file
from conceptaudit.vocabulary import spelling

_ROWS = 50_000


def entries(path: Path) -> Iterator[tuple[str, str, int, int]]:
    """Yield a listing's rows: kind, text, captions, images."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(_ROWS):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def write_concepts(listing: Path, out: Path) -> int:
    """Write a listing as a concept list that an audit reads.

    An entry that is both a word and a phrase is one concept. Entries that do not begin with a
    letter, digit or pictograph are no names and are left out, also because a spreadsheet would
    take some of them for formulas.

    Parameters
    ----------
    listing : Path
        What `list_vocabulary` wrote.
    out : Path
        The CSV to write: ``concept, kind, n_captions, n_images``.

    Returns
    -------
    int
        Concepts written.
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
