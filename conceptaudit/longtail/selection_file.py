"""A selection that a person has edited."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from conceptaudit.counts import choose_count
from conceptaudit.errors import DataError
from conceptaudit.longtail.safe_filenames import csv_text
from conceptaudit.longtail.select import Selection, close_name, selection_table
from conceptaudit.options.shared import AUTO
from conceptaudit.records import ConceptFrequencies


def read_selection(
    path: str | Path, frequencies: ConceptFrequencies, *, count: str = AUTO
) -> Selection:
    """Read a selection that a person may have edited.

    Only the column ``concept`` is needed; ``stratum`` and ``why`` are kept where they are there,
    and the counts are taken from the audit; `count` says whose error is told, as
    `LongTailOptions.count` does.

    Raises
    ------
    DataError
        The file cannot be read, has no ``concept`` column or no row, or names a concept that the
        audit does not know.
    """
    rows = _read_rows(Path(path))
    names = frequencies.table["concept"].tolist()
    known = {name: row for row, name in enumerate(names)}
    known |= {csv_text(name): row for row, name in enumerate(names)}
    order: dict[int, tuple[int | None, str]] = {}
    notes = []
    for line, row in rows:
        name = row["concept"]
        found = known.get(name, known.get(name.strip()))
        if found is None:
            raise DataError(
                f"Line {line} of {path} names {name!r}, which is not a concept of the audit"
                f"{close_name(name, names)}."
            )
        if found in order:
            notes.append(f"{name!r} stands in {path} more than once (line {line}).")
            continue
        stratum = row.get("stratum") or ""
        order[found] = (
            int(stratum) if stratum.isascii() and stratum.isdigit() and len(stratum) < 10 else None,
            row.get("why") or "in the selection file",
        )
    return Selection(
        table=selection_table(
            frequencies, list(order), list(order.values()), choose_count(frequencies, count).column
        ),
        notes=tuple(notes),
    )


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")  # spreadsheets add a byte order mark
        header = text.split("\n", 1)[0]
        # and write semicolons where the comma is the decimal mark
        mark = ";" if "," not in header and ";" in header else ","
        reader = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=mark, restval="", strict=True
        )
        fields = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = fields
        rows = [(reader.line_num, row) for row in reader]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"Cannot read the selection {path}: {error}.") from error
    if "concept" not in fields:
        raise DataError(f"{path} must have a column 'concept'. Got {fields} instead.")
    rows = [(line, row) for line, row in rows if row["concept"].strip()]
    if not rows:
        raise DataError(f"{path} names no concept.")
    return rows
