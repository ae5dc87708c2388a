"""How a text file of captions is written: what parts its fields, and whether row 1 is data."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conceptaudit.datasets._columns import (
    CAPTION_ALIASES,
    IMAGE_ALIASES,
    KEY_ALIASES,
    LANGUAGE_ALIASES,
    URL_ALIASES,
)

TABS, COMMAS, LINES = "\t", ",", "\n"
_DELIMITERS = (TABS, COMMAS, ";", "|")

_KNOWN = frozenset(
    (*CAPTION_ALIASES, *KEY_ALIASES, *URL_ALIASES, *LANGUAGE_ALIASES, *IMAGE_ALIASES)
)
_URL = re.compile(r"(?:https?:|s3:|ftp:)?//\S+", re.IGNORECASE)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_FILE = re.compile(
    r"[^\t]*\.(?:jpe?g|png|webp|gif|bmp|tiff?|avif)(?P<number>#[a-z]*\d+[a-z]*)?", re.IGNORECASE
)
# Flickr's token files: `name.jpg#0` is the first caption of `name.jpg`.
NUMBERED_KEY = re.compile(r"(?i)(.*\.(?:jpe?g|png|webp|gif|bmp|tiff?))#[a-z]*\d+[a-z]*")

_MOST = 0.9  # share of the rows that a habit must cover: real files have a few bad ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one file is written."""

    delimiter: str  # what parts fields; a line break where every line is one field
    # whether fields may stand in quotation marks everywhere. Published TSV files hold bare ones in
    # captions, so that there they count only where a record cannot be read without
    quoted: bool
    names: tuple[str, ...] = ()  # the columns
    header: bool = True  # whether the first row is the columns' names
    # whether the last column takes the rest of a line: captions that hold the delimiter
    rest: bool = False
    # what each column's values look like: ``"url"``, ``"file"``, ``"number"`` or ``""``
    shapes: tuple[str, ...] = ()
    # columns whose every value is a list of texts as JSON or Python prints it
    lists: frozenset[str] = frozenset()

    def is_record(self, line: str) -> bool:
        """Whether a line, taken alone, looks like a row of this file."""
        fields = line.split(self.delimiter)
        return len(fields) == len(self.names) > 1 and all(
            shape in ("", shape_of(field)) for field, shape in zip(fields, self.shapes, strict=True)
        )


def shape_of(field: str) -> str:
    """Say what a field looks like.

    Examples
    --------
    >>> [shape_of(field) for field in ("http://a/1.jpg", "1.jpg#0", "17", "a dog")]
    ['url', 'file', 'number', '']
    """
    text = field.strip().strip('"')
    if _URL.match(text):
        return "url"
    if _NUMBER.fullmatch(text):
        return "number"
    return "file" if _FILE.fullmatch(text) else ""


def find_dialect(lines: Sequence[str], ending: str, named: Sequence[str]) -> Dialect:
    """Find out how a file is written from its first lines."""
    usual = {".tsv": TABS, ".tab": TABS, ".csv": COMMAS}.get(ending)
    known = _KNOWN | {name.strip().lower() for name in named}
    order = dict.fromkeys(([usual] if usual else []) + list(_DELIMITERS))
    for strict in (False, True):
        for delimiter in order:
            rows = _split(lines, delimiter)
            if strict:
                dialect = _pairs(rows, delimiter, certain=delimiter == usual)
            else:
                dialect = _headed(rows, delimiter, known)
            if dialect is not None:
                return dialect
    return _lines(lines, usual, known)


def _split(lines: Sequence[str], delimiter: str) -> list[list[str]]:
    if delimiter == TABS:
        return [line.split(TABS) for line in _whole(lines)]
    try:
        return [
            row for row in csv.reader((f"{line}\n" for line in lines), delimiter=delimiter) if row
        ]
    except csv.Error:
        return [line.split(delimiter) for line in lines]


def _whole(lines: Sequence[str]) -> Iterator[str]:
    """Join the lines of a quoted text of a TSV file: those up to its mark that hold no tab.

    Bare marks are common there, so that a line with a tab is taken for a row of its own.
    """
    at = 0
    while at < len(lines):
        line, end = lines[at], at + 1
        last = line.rpartition(TABS)[2]
        if last.startswith('"') and last.count('"') % 2:
            while end < len(lines) and TABS not in lines[end] and lines[end].count('"') % 2 == 0:
                end += 1
            if end < len(lines) and lines[end].partition(TABS)[0].endswith('"'):
                yield "\n".join(lines[at : end + 1])
                at = end + 1
                continue
        yield line
        at += 1


def _headed(rows: Sequence[Sequence[str]], delimiter: str, known: frozenset[str]) -> Dialect | None:
    """Take a first row for a header that names a column that is known, and holds no data."""
    first = [_bare(field) for field in rows[0]]
    if len(first) < 2 or not {name.lower() for name in first} & known or _is_data(rows):
        return None
    quoted = delimiter != TABS or all(field.startswith('"') for field in rows[0])
    shapes = _shapes(rows[1:], len(first))
    return Dialect(delimiter=delimiter, quoted=quoted, names=tuple(first), shapes=shapes)


def _bare(field: str) -> str:
    text = field.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text


def _is_data(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the first row holds a URL, a file or a number, as the rows below it do.

    No column is called by a URL. Columns without names are numbered 0, 1, … by some writers.
    """
    first = [shape_of(field) for field in rows[0]]
    below = _shapes(rows[1:], len(first))
    if [field.strip() for field in rows[0]] == [str(i) for i in range(len(first))]:
        return False
    return any(
        shape in ("url", "file") or (shape == "number" and under == "number")
        for shape, under in zip(first, below, strict=True)
    )


def _shapes(rows: Sequence[Sequence[str]], width: int) -> tuple[str, ...]:
    """Say what most values of each column look like."""
    fitting = [row for row in rows if len(row) >= width]
    found = []
    for place in range(width):
        shapes = [shape_of(row[place]) for row in fitting]
        most = max(set(shapes), key=shapes.count, default="")
        found.append(most if shapes.count(most) >= _MOST * len(shapes) else "")
    return tuple(found)


def _pairs(rows: Sequence[Sequence[str]], delimiter: str, *, certain: bool) -> Dialect | None:
    """Take rows for a table without a known header: every row alike, or a key before each text."""
    width = len(rows[0])
    widths = [len(row) for row in rows]
    if width < 2:
        return None
    even = widths.count(width) >= _MOST * len(widths)
    keyed = [shape_of(row[0]) for row in rows]
    has_keys = sum(bool(shape) for shape in keyed) >= _MOST * len(rows) and min(widths) > 1
    urls = "url" in _shapes(rows, min(widths))
    if not (certain and even) and not (has_keys or urls or (even and delimiter == TABS)):
        return None
    if not certain and not even and not has_keys:
        return None
    rest = has_keys and not even
    width = min(widths) if rest else width
    header = not rest and not _is_data(rows) and _reads_as_header(rows)
    names = [_bare(field) for field in rows[0]] if header else _names(rows, width)
    return Dialect(
        delimiter=delimiter,
        quoted=delimiter != TABS,
        names=tuple(names),
        header=header,
        rest=rest or (not header and delimiter == TABS and width == 2 and names[1] == "caption"),
        shapes=_shapes(rows[int(header) :], width),
    )


def _words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts) if texts else 0.0


def _reads_as_header(rows: Sequence[Sequence[str]]) -> bool:
    """Whether unknown words in the first row are names: short, and unlike what is below them."""
    if any(len(field.split()) > 3 for field in rows[0]):
        return False
    columns = zip(*(row for row in rows[1:] if len(row) == len(rows[0])), strict=True)
    pairs = list(zip(rows[0], columns, strict=False))
    if not pairs:
        return True
    unlike = any(
        shape_of(name) != shape and shape
        for name, shape in zip(rows[0], _shapes(rows[1:], len(rows[0])), strict=True)
    ) or any(len(name.split()) == 1 and _words(values) >= 3 for name, values in pairs)
    return unlike or all(_words(values) <= 1.5 for _, values in pairs)


def _names(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Name columns by what they hold: CC3M is caption, URL; CC12M and YFCC15M are URL, caption."""
    fitting = [row for row in rows if len(row) >= width]
    columns = [[row[place] for row in fitting] for place in range(width)]
    names = [f"column_{place}" for place in range(width)]
    shapes = [
        {
            shape: sum(shape_of(value) == shape for value in values)
            for shape in ("url", "file", "number")
        }
        for values in columns
    ]
    free = list(range(width))
    for name, kinds in (("url", ("url",)), ("key", ("file", "number"))):
        scores = {place: sum(shapes[place][kind] for kind in kinds) for place in free}
        best = max(free, key=lambda place: scores[place], default=-1)
        if best >= 0 and 2 * scores[best] > len(fitting) and len(free) > 1:
            names[best] = name
            free.remove(best)
    texts = [place for place in free if 2 * sum(shapes[place].values()) <= len(fitting)] or free
    names[max(texts, key=lambda place: (_words(columns[place]), -place))] = "caption"
    return names


def _lines(lines: Sequence[str], usual: str | None, known: frozenset[str]) -> Dialect:
    """Take a file for one caption a line; its first line may be a header."""
    first = _bare(lines[0])
    others = lines[1:]
    word = len(first.split()) == 1 and len(first) <= 30 and not shape_of(first)
    header = first.lower() in known or (
        usual is not None and word and bool(others) and _words(others) >= 2
    )
    delimiter = usual if usual == COMMAS and header else LINES
    name = first if header and first.lower() in known else "caption"
    quoted = delimiter == COMMAS
    return Dialect(delimiter=delimiter, quoted=quoted, names=(name,), header=header, shapes=("",))
