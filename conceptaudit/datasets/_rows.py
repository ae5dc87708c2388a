"""What every table format yields: blocks of rows, and places to cut a file at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Rows [start, stop) of a file (stop -1: to the end), beginning at byte `offset`."""

    start: int
    stop: int
    offset: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A row that could not be parsed; part ``"note"`` says one that could, with a remark."""

    row: int
    reason: str
    detail: str
    part: str = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Some rows of a table: their numbers in the file and the columns asked for."""

    numbers: Sequence[int]  # row numbers within the file; rows that could not be parsed are missing
    columns: Mapping[str, list[Any]]
    faults: tuple[Fault, ...] = ()  # the rows that could not be parsed


def even_cuts(n_rows: int, shard_rows: int) -> list[Cut]:
    """Ranges of `shard_rows` rows; an empty file is one empty range.

    Examples
    --------
    >>> [(cut.start, cut.stop) for cut in even_cuts(5, 2)]
    [(0, 2), (2, 4), (4, 5)]
    """
    starts = range(0, max(n_rows, 1), shard_rows)
    return [Cut(start=start, stop=min(start + shard_rows, n_rows)) for start in starts]
