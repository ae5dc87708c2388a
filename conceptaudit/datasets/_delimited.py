"""Rows of CSV and TSV files, with or without a header, cut at record boundaries by byte."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import IO

from conceptaudit.datasets._columns import TEXT
from conceptaudit.datasets._files import open_unpacked, reading, suffix
from conceptaudit.datasets._rows import Cut, Fault, Rows
from conceptaudit.errors import DataError

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PEEK_ROWS = 100
MAX_LINE_BYTES = 1 << 28
"""Longer lines are no captions, and no documents of a corpus either."""

_URL_STARTS = ("http://", "https://", "//", "s3://", "ftp://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one file is written.

    TSV files are read without quoting: published ones hold bare quotation marks in captions.
    """

    delimiter: str
    quoted: bool
    names: tuple[str, ...] = ()
    header: bool = True


def inspect(path: str, named: Sequence[str] = ()) -> Dialect:
    """Find the column names, from a header or, for the headerless sets, from where the URLs are.

    Parameters
    ----------
    path : str
    named : sequence of str
        Columns that the user named: a first row that holds one of them is a header.
    """
    tabs = suffix(path) in {".tsv", ".tab"}
    dialect = Dialect(delimiter="\t" if tabs else ",", quoted=not tabs)
    with reading(path), open_unpacked(path) as stream:
        head = stream.read(2)
        if head in _UTF16:
            raise DataError(f"The file {path} is UTF-16. Convert it to UTF-8 and try again.")
        stream.seek(0)
        rows = [fields for _, fields in islice(records(stream, dialect, path), _PEEK_ROWS)]
    if not rows:
        return dialect
    if any("\r" in field for field in rows[0]):
        raise DataError(f"The file {path} ends its lines with CR alone. Convert them to LF.")
    first = [field.strip() for field in rows[0]]
    addresses = [field.lower().startswith(_URL_STARTS) for field in first]
    told = {name.lower() for name in first} & {name.lower() for name in named}
    if told or not any(addresses):  # no column is called by a URL
        names, header = first, True
    else:
        names, header = _headerless(rows, addresses), False
    if len(set(names)) != len(names):
        raise DataError(f"The columns of {path} must have different names. Got {names} instead.")
    return Dialect(
        delimiter=dialect.delimiter, quoted=dialect.quoted, names=tuple(names), header=header
    )


def _headerless(rows: Sequence[Sequence[str]], addresses: Sequence[bool]) -> list[str]:
    """CC3M is caption, URL; CC12M and YFCC15M are URL, caption: the URL column decides."""
    names = [f"column_{index}" for index in range(len(addresses))]
    url = max(
        (index for index, is_url in enumerate(addresses) if is_url),
        key=lambda index: sum(
            row[index].lower().startswith(_URL_STARTS) for row in rows if len(row) > index
        ),
    )
    names[url] = "url"
    others = [index for index in range(len(names)) if index != url]
    if len(others) == 1:
        names[others[0]] = "caption"
    return names


def columns_of(dialect: Dialect) -> dict[str, str]:
    """Each column's name and kind: everything in such a file is text."""
    return dict.fromkeys(dialect.names, TEXT)


def records(
    stream: IO[bytes], dialect: Dialect, path: str, *, parse: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """Each record's first byte (counted from where the stream stands) and its fields.

    Blank lines are no records. Without `parse` the fields are left empty, which is faster.
    Bytes that are not UTF-8 arrive as lone surrogates.
    """
    offset = 0
    if stream.tell() == 0:
        if stream.read(len(_BOM)) == _BOM:
            offset = len(_BOM)
        else:
            stream.seek(0)
    lines = _lines(stream, path)
    for line in lines:
        size = len(line)
        if dialect.quoted and b'"' in line:
            fields, size = _quoted(line, lines, dialect.delimiter, path)
        elif not line.strip(b"\r\n"):
            offset += size
            continue
        else:
            fields = _text(line).split(dialect.delimiter) if parse else []
        yield offset, fields
        offset += size


def _lines(stream: IO[bytes], path: str) -> Iterator[bytes]:
    """Yield lines, none so long that it takes all memory: a few packed kilobytes can hold one."""
    for line in iter(partial(stream.readline, MAX_LINE_BYTES), b""):
        if len(line) == MAX_LINE_BYTES:
            raise DataError(
                f"A line of {path} is longer than {MAX_LINE_BYTES >> 20} MB; it begins "
                f"{_text(line[:60])!r}. Cut it, or remove it."
            )
        yield line


def _text(line: bytes) -> str:
    return line.rstrip(b"\r\n").decode("utf-8", "surrogateescape")


def _quotable(line: bytes) -> str:
    """Write a line for the csv module, for which a bare CR would end the record."""
    content = line.removesuffix(b"\n").removesuffix(b"\r")
    return content.decode("utf-8", "surrogateescape").replace("\r", " ") + "\n"


def _quoted(line: bytes, rest: Iterator[bytes], delimiter: str, path: str) -> tuple[list[str], int]:
    """Parse a record that holds quotation marks, taking more lines while a quote is open."""
    size = len(line)

    def more() -> Iterator[str]:
        nonlocal size
        yield _quotable(line)
        for extra in rest:
            size += len(extra)
            yield _quotable(extra)
        raise DataError(
            f"A quotation mark opened in {path} is never closed; the record begins "
            f"{_text(line)[:60]!r}. Close it, or save the file as TSV."
        )

    try:
        return next(csv.reader(more(), delimiter=delimiter)), size
    except csv.Error as error:
        raise DataError(
            f"A record of {path} cannot be parsed ({error}); it begins {_text(line)[:60]!r}. "
            "A quotation mark before it may be unbalanced."
        ) from error


def cuts(path: str, dialect: Dialect, shard_rows: int) -> list[Cut]:
    """Cut at every `shard_rows`-th record, remembering the byte where each range begins.

    Compressed files cannot be entered in the middle and stay whole.
    """
    if path.lower().endswith((".gz", ".zst")):
        return [Cut(start=0, stop=-1)]
    offsets: list[int] = []
    count = 0
    with reading(path), open_unpacked(path) as stream:
        found = records(stream, dialect, path, parse=False)
        for offset, _ in islice(found, int(dialect.header), None):
            if count % shard_rows == 0:
                offsets.append(offset)
            count += 1
    return [
        Cut(start=i * shard_rows, stop=min((i + 1) * shard_rows, count), offset=offset)
        for i, offset in enumerate(offsets)
    ] or [Cut(start=0, stop=0)]


def rows(
    path: str, dialect: Dialect, cut: Cut, columns: Sequence[str], batch_rows: int
) -> Iterator[Rows]:
    """Read the rows of one cut; a row with another number of fields than the rest is a fault."""
    width = len(dialect.names)
    places = [dialect.names.index(name) for name in columns]
    with reading(path), open_unpacked(path) as stream:
        if cut.offset:
            stream.seek(cut.offset)
        found: Iterator[list[str]] = (fields for _, fields in records(stream, dialect, path))
        if dialect.header and not cut.offset:
            next(found, None)
        row = cut.start
        limit = cut.stop - cut.start if cut.stop >= 0 else None
        found = islice(found, limit)
        while block := list(islice(found, batch_rows)):
            good = [i for i, fields in enumerate(block) if len(fields) == width]
            faults: tuple[Fault, ...] = ()
            if len(good) < len(block):
                faults = tuple(
                    Fault(
                        row=row + i,
                        reason="wrong_field_count",
                        detail=f"{len(fields)} fields instead of {width}",
                    )
                    for i, fields in enumerate(block)
                    if len(fields) != width
                )
            yield Rows(
                numbers=[row + i for i in good],
                columns={
                    name: [block[i][place] for i in good]
                    for name, place in zip(columns, places, strict=True)
                },
                faults=faults,
            )
            row += len(block)
