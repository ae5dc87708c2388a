"""Rows of CSV and TSV files, with or without a header, cut at record boundaries by byte."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import IO

from conceptaudit.datasets._columns import TEXT
from conceptaudit.datasets._files import is_packed, open_unpacked, reading, suffix
from conceptaudit.datasets._rows import Cut, Fault, Rows
from conceptaudit.datasets._sniff import LINES, NUMBERED_KEY, TABS, Dialect, find_dialect
from conceptaudit.errors import DataError

_BOM = b"\xef\xbb\xbf"
_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # which begins as UTF-16's does, and comes first
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_PEEK_ROWS = 200
_PEEK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 28
"""Longer lines are no captions, and no documents of a corpus either."""

MAX_RECORD_LINES = 10_000
"""A quotation mark that is open for longer opens no field, in CSV; documents have fewer lines."""

_AHEAD = 100
"""The same in TSV, where most quotation marks that open a field are bare."""

_SHOWN = 200
SWALLOWED, UNBALANCED = "rows_swallowed", "unbalanced_quote"


def inspect(path: str, named: Sequence[str] = ()) -> Dialect:
    """Find out how a file is written, and its columns: from a header, or from what they hold.

    Parameters
    ----------
    path : str
    named : sequence of str
        Columns that the user named: a first row that holds one of them is a header.
    """
    ending = suffix(path)
    lines: list[str] = []
    with reading(path), open_unpacked(path) as stream:
        head = stream.read(4)
        encoding = next(
            (name for mark, name in _OTHER_MARKS.items() if head.startswith(mark)), None
        )
        if encoding is not None:
            raise DataError(f"The file {path} is {encoding}. Convert it to UTF-8 and try again.")
        if head[: len(_BOM)] == _BOM:
            stream.seek(len(_BOM))
        else:
            stream.seek(0)
        size = 0
        for line in _lines(stream, path):
            lines += [text] if (text := _text(line)) else []
            size += len(line)
            if len(lines) >= _PEEK_ROWS or size >= _PEEK_BYTES:
                break
    if not lines:
        return Dialect(delimiter=TABS if ending in {".tsv", ".tab"} else ",", quoted=False)
    if "\r" in lines[0]:
        raise DataError(f"The file {path} ends its lines with CR alone. Convert them to LF.")
    dialect = find_dialect(lines, ending, named)
    if len(set(dialect.names)) != len(dialect.names):
        raise DataError(
            f"The columns of {path} must have different names. Got {list(dialect.names)} instead."
        )
    return dialect


def columns_of(dialect: Dialect) -> dict[str, str]:
    """Each column's name and kind: everything in such a file is text."""
    return dict.fromkeys(dialect.names, TEXT)


class _Lines:
    """Lines of a stream, of which some may be put back."""

    def __init__(self, stream: IO[bytes], path: str) -> None:
        self._stream = _lines(stream, path)
        self._back: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return self._back.pop() if self._back else next(self._stream)

    def put_back(self, lines: Sequence[bytes]) -> None:
        self._back += reversed(lines)


def records(
    stream: IO[bytes], dialect: Dialect, path: str, *, parse: bool = True
) -> Iterator[tuple[int, list[str], str]]:
    """Each record's first byte (counted from where the stream stands), fields, and a remark.

    Blank lines are no records. Without `parse` the fields are left empty, which is faster.
    Bytes that are not UTF-8 arrive as lone surrogates. The remark is `SWALLOWED` where a quoted
    text holds lines that look like rows, `UNBALANCED` where a mark that opens a field never
    closes it, so that the line was taken as it stands; else empty.
    """
    offset = 0
    if stream.tell() == 0:
        if stream.read(len(_BOM)) == _BOM:
            offset = len(_BOM)
        else:
            stream.seek(0)
    lines = _Lines(stream, path)
    for line in lines:
        size, remark = len(line), ""
        if b'"' in line and dialect.delimiter != LINES:
            fields, taken, remark = _quoted(line, lines, dialect)
            size += taken
        elif not line.strip(b"\r\n"):
            offset += size
            continue
        else:
            fields = _text(line).split(dialect.delimiter) if parse else []
        if dialect.rest and len(fields) > (width := len(dialect.names)):
            fields = [*fields[: width - 1], dialect.delimiter.join(fields[width - 1 :])]
        yield offset, fields, remark
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


def _quoted(line: bytes, lines: _Lines, dialect: Dialect) -> tuple[list[str], int, str]:
    """Parse a record that holds quotation marks, taking more lines while a quote is open.

    Returns the fields, the number of bytes of the further lines, and a remark. What does not come
    out as a record by CSV's rules is one line, whose marks are text.
    """
    plain = _text(line).split(dialect.delimiter)
    width = len(dialect.names)
    if not dialect.quoted and not _opens(plain, width):
        return plain, 0, ""
    taken: list[bytes] = []
    extra: bytes | None = line
    texts = [_quotable(line)]
    most = MAX_RECORD_LINES if dialect.quoted else _AHEAD
    while extra is not None:
        # a line without a mark closes nothing
        fields = _parsed(texts, dialect.delimiter) if b'"' in extra else None
        if fields is not None and (dialect.quoted or len(fields) == width):
            alike = [text for text in texts[1:] if dialect.is_record(text.strip("\n"))]
            return fields, sum(map(len, taken)), SWALLOWED if alike else ""
        row_by_itself = len(texts) > 1 and not dialect.quoted and dialect.is_record(texts[-1][:-1])
        broken = b'"' in extra and _is_broken(texts, dialect.delimiter)
        if broken or row_by_itself or len(taken) == most or fields is not None:
            break
        extra = next(lines, None)
        if extra is not None:
            taken.append(extra)
            texts.append(_quotable(extra))
    lines.put_back(taken)
    if len(texts) == 1 and extra is not None:  # bare marks, as the csv module takes them
        return (_lenient(texts, dialect.delimiter) if dialect.quoted else plain), 0, ""
    return plain, 0, UNBALANCED if dialect.quoted else ""


def _opens(fields: Sequence[str], width: int) -> bool:
    """Whether a line of an unquoted file may need its marks read: one is open, or a field is."""
    last = fields[-1]
    is_open = last.startswith('"') and last.count('"') % 2 == 1
    return is_open or (len(fields) != width and any(field.startswith('"') for field in fields))


def _parsed(texts: Sequence[str], delimiter: str) -> list[str] | None:
    """Parse lines as one record by CSV's rules; None where they are none, or not whole."""
    try:
        rows = list(csv.reader(texts, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _is_broken(texts: Sequence[str], delimiter: str) -> bool:
    """Whether no further line can make a record of these: a quoted field goes on after its end."""
    try:
        list(csv.reader(texts, delimiter=delimiter, strict=True))
    except csv.Error as error:
        return "unexpected end" not in str(error)
    return True


def _lenient(texts: Sequence[str], delimiter: str) -> list[str]:
    try:
        return next(csv.reader(texts, delimiter=delimiter))
    except csv.Error:  # longer than the csv module takes
        return texts[0].rstrip("\n").split(delimiter)


def cuts(path: str, dialect: Dialect, shard_rows: int) -> list[Cut]:
    """Cut at every `shard_rows`-th record, remembering the byte where each range begins.

    Compressed files cannot be entered in the middle and stay whole.
    """
    if is_packed(path):
        return [Cut(start=0, stop=-1)]
    offsets: list[int] = []
    count = 0
    with reading(path), open_unpacked(path) as stream:
        found = records(stream, dialect, path, parse=False)
        for offset, _, _ in islice(found, int(dialect.header), None):
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
        found = records(stream, dialect, path)
        if dialect.header and not cut.offset:
            next(found, None)
        row = cut.start
        limit = cut.stop - cut.start if cut.stop >= 0 else None
        found = islice(found, limit)
        while block := list(islice(found, batch_rows)):
            good = [i for i, (_, fields, _) in enumerate(block) if len(fields) == width]
            yield Rows(
                numbers=[row + i for i in good],
                columns={
                    name: _column([block[i][1][place] for i in good], name, dialect)
                    for name, place in zip(columns, places, strict=True)
                },
                faults=tuple(_faults(block, row, width)),
            )
            row += len(block)


def _faults(block: Sequence[tuple[int, list[str], str]], first: int, width: int) -> Iterator[Fault]:
    for i, (_, fields, remark) in enumerate(block):
        if len(fields) != width:
            detail = f"{len(fields)} fields instead of {width}"
            yield Fault(row=first + i, reason="wrong_field_count", detail=detail)
        elif remark:
            detail = next((field for field in fields if "\n" in field or '"' in field), "")
            yield Fault(row=first + i, reason=remark, detail=detail[:_SHOWN], part="note")


def _column(values: list[str], name: str, dialect: Dialect) -> list[str]:
    """Take the caption's number off the keys of Flickr's token files."""
    if name != "key" or dialect.header:
        return values
    return [match[1] if (match := NUMBERED_KEY.fullmatch(value)) else value for value in values]
