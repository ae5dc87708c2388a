"""Rows of CSV and TSV files, with or without a header, cut at record boundaries by byte."""

import ast
import codecs
import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import IO, Any

from conceptaudit.datasets._columns import LIST, TEXT
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
# Longer lines, and records of several, are no captions, and no documents of a corpus either.
MAX_LINE_BYTES = 1 << 26

# Python's own limit of 128 KiB is less than documents have; ours is the line's, checked below
csv.field_size_limit(MAX_LINE_BYTES)

# In a row: a few packed kilobytes can hold billions, and each takes its time.
MAX_BLANK_LINES = 1_000_000

# A quotation mark that is open for longer opens no field, in CSV; documents have fewer lines.
MAX_RECORD_LINES = 10_000

_AHEAD = 100  # the same in TSV, where most quotation marks that open a field are bare

_SHOWN = 200
SWALLOWED, UNBALANCED, TOO_LONG = "rows_swallowed", "unbalanced_quote", "record_too_long"


def inspect(path: str, named: Sequence[str] = ()) -> Dialect:
    """Find out how a file is written, and its columns: from a header, or from what they hold."""
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
            lines += [text] if isinstance(line, bytes) and (text := _text(line)) else []
            size += _size(line)
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
    return replace(dialect, lists=_printed_lists(dialect, lines, path))


def columns_of(dialect: Dialect) -> dict[str, str]:
    """Each column's name and kind: everything in such a file is text, or a printed list of it."""
    return {name: LIST if name in dialect.lists else TEXT for name in dialect.names}


def _printed_lists(dialect: Dialect, lines: Sequence[str], path: str) -> frozenset[str]:
    """Name the columns of printed lists, such as the captions of Flickr30k's table."""
    if not any("[" in line for line in lines):
        return frozenset()
    head = io.BytesIO("\n".join(lines).encode("utf-8", "surrogateescape"))
    rows = [fields for _, fields, _ in records(head, dialect, path)][int(dialect.header) :]
    rows = [fields for fields in rows if len(fields) == len(dialect.names)]
    values = dict(zip(dialect.names, zip(*rows, strict=True), strict=False))
    return frozenset(
        name
        for name, texts in values.items()
        if any(texts) and all(isinstance(_from_print(text), list) for text in texts if text)
    )


def _from_print(text: str) -> Any:
    """Read a list of texts as JSON or Python prints it; any other text stays as it is."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    for parse in (json.loads, ast.literal_eval):
        try:
            items = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(items, list) and items and all(isinstance(item, str) for item in items):
            return items
    return text


class _Lines:
    """Lines of a stream, of which some may be put back."""

    def __init__(self, stream: IO[bytes], path: str) -> None:
        self._stream = _lines(stream, path)
        self._back: list[bytes | int] = []

    def __iter__(self) -> Iterator[bytes | int]:
        return self

    def __next__(self) -> bytes | int:
        return self._back.pop() if self._back else next(self._stream)

    def put_back(self, lines: Sequence[bytes | int]) -> None:
        self._back += reversed(lines)


def records(
    stream: IO[bytes], dialect: Dialect, path: str, *, parse: bool = True
) -> Iterator[tuple[int, list[str], str]]:
    """Each record's first byte (counted from where the stream stands), fields, and a remark.

    Blank lines are no records. Without `parse` the fields are left empty, which is faster.
    Bytes that are not UTF-8 arrive as lone surrogates. The remark is `SWALLOWED` where a quoted
    text holds lines that look like rows, `UNBALANCED` where a mark that opens a field never
    closes it, so that the line was taken as it stands, `TOO_LONG` where a line was not read
    because of its length; else empty.
    """
    offset = 0
    if stream.tell() == 0:
        if stream.read(len(_BOM)) == _BOM:
            offset = len(_BOM)
        else:
            stream.seek(0)
    lines = _Lines(stream, path)
    for line in lines:
        size, remark = _size(line), ""
        fields: list[str] = []
        if isinstance(line, int):
            remark = TOO_LONG
        elif b'"' in line and dialect.delimiter != LINES:
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


def _lines(stream: IO[bytes], path: str) -> Iterator[bytes | int]:
    """Yield lines; of one so long that it takes all memory, its size and not its bytes."""
    n_blank = 0
    for line in iter(partial(stream.readline, MAX_LINE_BYTES), b""):
        n_blank = n_blank + 1 if len(line) <= 2 and not line.strip(b"\r\n") else 0
        if n_blank > MAX_BLANK_LINES:
            raise DataError(
                f"The file {path} holds more than {MAX_BLANK_LINES:,} blank lines in a row: it is "
                "damaged, or made to take time. Fetch or write it again."
            )
        yield line if len(line) < MAX_LINE_BYTES else len(line) + _skip_line(stream, line)


def _skip_line(stream: IO[bytes], line: bytes) -> int:
    """Read the rest of a line and forget it; return its size."""
    size = 0
    while line and not line.endswith(b"\n"):
        line = stream.readline(_PEEK_BYTES)
        size += len(line)
    return size


def _size(line: bytes | int) -> int:
    return line if isinstance(line, int) else len(line)


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
    taken: list[bytes | int] = []
    texts = [_quotable(line)]
    most = MAX_RECORD_LINES if dialect.quoted else _AHEAD
    is_over = False
    size = len(line)

    def record() -> Iterator[str]:
        """Yield the record's lines; the csv module asks for another while a field is open."""
        nonlocal is_over, size
        yield texts[0]
        while len(taken) < most and size <= MAX_LINE_BYTES:
            if len(texts) > 1 and not dialect.quoted and dialect.is_record(texts[-1][:-1]):
                return  # a row by itself
            extra = next(lines, None)
            is_over = extra is None
            if extra is None:
                return
            taken.append(extra)
            size += _size(extra)
            if isinstance(extra, int):
                return
            texts.append(_quotable(extra))
            yield texts[-1]

    fields = _parsed(record(), dialect.delimiter)
    if fields is not None and (dialect.quoted or len(fields) == width):
        # the line that closes a field holds the delimiter of the next, and half a pair of marks
        whole = [text for text in texts[1:] if text.count('"') % 2 == 0]
        alike = [text for text in whole if dialect.is_record(text.strip("\n"))]
        return fields, size - len(line), SWALLOWED if alike else ""
    if size > MAX_LINE_BYTES and fields is None:
        return [], size - len(line) + _skip_record(lines, most - len(taken)), TOO_LONG
    lines.put_back(taken)
    if not taken and not is_over:  # bare marks, as the csv module takes them
        return (_lenient(texts, dialect.delimiter) if dialect.quoted else plain), 0, ""
    return plain, 0, UNBALANCED if dialect.quoted else ""


def _skip_record(lines: _Lines, most: int) -> int:
    """Pass over the lines of an open record up to the one that closes it; return their size."""
    size = 0
    for line in islice(lines, most):
        size += _size(line)
        if isinstance(line, bytes) and line.count(b'"') % 2:
            break
    return size


def _opens(fields: Sequence[str], width: int) -> bool:
    """Whether a line of an unquoted file may need its marks read: one is open, or a field is."""
    last = fields[-1]
    is_open = last.startswith('"') and last.count('"') % 2 == 1
    return is_open or (len(fields) != width and any(field.startswith('"') for field in fields))


def _parsed(texts: Iterator[str], delimiter: str) -> list[str] | None:
    """Parse one record by CSV's rules; None where it is none, or is not whole."""
    try:
        return next(csv.reader(texts, delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _lenient(texts: Sequence[str], delimiter: str) -> list[str]:
    try:
        return next(csv.reader(texts, delimiter=delimiter))
    except csv.Error:  # longer than the csv module takes
        return texts[0].rstrip("\n").split(delimiter)


def cuts(dialect: Dialect, path: str, shard_rows: int) -> list[Cut]:
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
    dialect: Dialect, path: str, cut: Cut, columns: Sequence[str], batch_rows: int
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
        if remark == TOO_LONG:
            detail = f"more than {MAX_LINE_BYTES >> 20} MB"
            yield Fault(row=first + i, reason=TOO_LONG, detail=detail)
        elif len(fields) != width:
            detail = f"{len(fields)} fields instead of {width}"
            yield Fault(row=first + i, reason="wrong_field_count", detail=detail)
        elif remark:
            detail = next((field for field in fields if "\n" in field or '"' in field), "")
            yield Fault(row=first + i, reason=remark, detail=detail[:_SHOWN], part="note")


def _column(values: list[str], name: str, dialect: Dialect) -> list[Any]:
    """Read printed lists, and take the caption's number off the keys of Flickr's token files."""
    if name in dialect.lists:
        return [_from_print(value) for value in values]
    if name != "key" or dialect.header:
        return values
    return [match[1] if (match := NUMBERED_KEY.fullmatch(value)) else value for value in values]
