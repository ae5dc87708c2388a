"""Everything the command line prints: results to standard output, progress to standard error."""

from __future__ import annotations

import json
import math
import re
import sys
import threading
import time
import unicodedata
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conceptaudit.cli.notices import NOTICES, with_warnings
from conceptaudit.progress import Progress

if TYPE_CHECKING:
    import pandas as pd
    from rich.progress import Progress as RichProgress
    from rich.progress import Task, TaskID

    from conceptaudit.runlog import RunLog


# Rates are taken over the last minute, or over the last so many units that take longer.
PACE_MARKS = 60

PACE_SETTLES = 2.0  # seconds at the start of a stage that no rate is taken from


class Pace:
    """How fast units have been done lately, and so how long the rest will take.

    What is done within the first seconds are mostly results of an earlier run that are kept, and
    says nothing of the rest.

    Examples
    --------
    >>> clock = iter([0.0, 1.0, 2.0, 12.0])
    >>> pace = Pace(lambda: next(clock))
    >>> for done in (900, 900, 905):
    ...     pace.add(done)
    >>> pace.rate, pace.seconds_left(1_000)
    (0.5, 190.0)
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._marks: deque[tuple[float, int]] = deque([(self._started, 0)], maxlen=PACE_MARKS)
        self._now = (self._started, 0)

    def add(self, done: int) -> None:
        """Note how many units are done now."""
        self._now = (self._clock(), done)
        if self._now[0] - self._started <= PACE_SETTLES:
            self._marks[0] = self._now
        elif self._now[0] - self._marks[-1][0] >= 1.0:
            self._marks.append(self._now)

    @property
    def rate(self) -> float | None:
        """Units per second; None before anything can be said."""
        (then, before), (now, done) = self._marks[0], self._now
        return (done - before) / (now - then) if now > then and done > before else None

    def seconds_left(self, total: int | None) -> float | None:
        """Seconds until `total` units are done; None where that cannot be said."""
        rate, left = self.rate, (total or 0) - self._now[1]
        return left / rate if rate and left > 0 else None


def duration(seconds: float) -> str:
    """Write a time as people say it.

    Examples
    --------
    >>> duration(4.2), duration(130), duration(90_000)
    ('4 s', '2 min', '25 h 0 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


LINE_SECONDS = 60.0  # where standard error is no terminal, progress is one line a minute

# The first line of anything comes earlier: silence looks like a program that hangs.
FIRST_SECONDS = 1.0

_BEFORE, _BETWEEN = "preparing", "working"


# What JSON leaves as it is and a terminal obeys: it is written as an escape, the same value.
_HIDDEN = re.compile("[\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")


def printable(text: str) -> str:
    """Make text from a dataset safe for a terminal: control and bidi characters become U+FFFD.

    Examples
    --------
    >>> printable("red" + chr(27) + "[31m")
    'red\ufffd[31m'
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cf", "Cs") and character not in "\n\t\u200d"
        else character
        for character in text
    )


def say(text: str = "") -> None:
    """Print a line for a person."""
    sys.stdout.write(printable(text) + "\n")


def complain(text: str) -> None:
    """Print a line about a fault to standard error."""
    sys.stderr.write(printable(text) + "\n")


def emit_json(value: Any) -> None:
    """Print a value for a machine; NaN and infinity, which JSON lacks, become null."""
    text = json.dumps(_finite(with_warnings(value)), ensure_ascii=False, indent=1, default=str)
    text = text.encode("utf-8", "replace").decode()
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:  # escapes of JSON's own, which its readers understand
        text = json.dumps(json.loads(text), indent=1)
    sys.stdout.write(_HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def say_notes(notes: Iterable[str]) -> None:
    """Print what a run has to remark, a line each."""
    for note in notes:
        say(f"note: {note}")


def say_reasons(counts: Mapping[str, int], what: str) -> None:
    """Print how many samples were dropped or noted for each reason."""
    for reason, n in counts.items():
        say(f"  {n:,} {what}: {reason}")


def say_frame(table: pd.DataFrame, columns: Mapping[str, str] | Sequence[tuple[str, str]]) -> None:
    """Print a table's rows under heads, each a column's values or, with braces, a format of a row.

    Examples
    --------
    >>> import pandas as pd
    >>> say_frame(pd.DataFrame({"n": [3], "low": [1.0]}), {"": "n", "from": "{low:.2f}"})
       from
    -  ----
    3  1.00
    """
    pairs = list(columns.items() if isinstance(columns, Mapping) else columns)
    cells = [
        [text.format_map(row) if "{" in text else row[text] for _, text in pairs]
        for row in table.to_dict("records")
    ]
    say_table([head for head, _ in pairs], cells)


def say_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table: text left, numbers right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [
        max(_width(text) for text in column) for column in zip(list(headers), *cells, strict=True)
    ]
    numeric = [
        bool(rows) and all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(headers))
    ]
    for line in (list(headers), ["-" * width for width in widths], *cells):
        say(
            "  ".join(
                _pad(text, w, right) for text, w, right in zip(line, widths, numeric, strict=True)
            ).rstrip()
        )


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if 1000 <= abs(value) < math.inf else f"{value:,.3g}"
    return printable(str(value)).replace("\n", " ")


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int, right: bool) -> str:
    fill = " " * (width - _width(text))
    return fill + text if right else text + fill


class _BarProgress:
    """A bar with rate and time left."""

    def __init__(self, bars: RichProgress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._waiting: TaskID | None = None
        self.announce(_BEFORE)

    def announce(self, what: str) -> None:
        self._forget()
        self._waiting = self._bars.add_task(what, total=None)

    def _forget(self) -> None:
        if self._waiting is not None:
            self._bars.remove_task(self._waiting)
        self._waiting = None

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:
        self._forget()
        self._task = self._bars.add_task(f"{stage} ({unit})", total=total)

    def advance(self, units: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, units)

    def finish(self) -> None:
        self._task = None


class _LineProgress:
    """One line a minute, whether or not anything is done in it, and one at the end of a stage.

    The first line comes after a second, of a stage as of what is done before it.
    """

    def __init__(self) -> None:
        self._stage, self._unit, self._what = "", "", _BEFORE
        self._lines = 0
        self._total: int | None = None
        self._done = 0
        self._started = self._told = time.monotonic()
        self._pace = Pace()
        self._ended = threading.Event()
        threading.Thread(target=self._tick, daemon=True).start()

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:
        self._total, self._unit, self._done = total, unit, 0
        self._started = self._told = time.monotonic()
        self._pace = Pace()
        self._lines = 0
        self._stage = stage

    def announce(self, what: str) -> None:
        self._stage, self._what, self._lines = "", what, 0
        self._started = self._told = time.monotonic()

    def advance(self, units: int = 1) -> None:
        self._done += units
        self._pace.add(self._done)

    def finish(self) -> None:
        if self._stage:
            self._tell()
        self.announce(_BETWEEN)

    def close(self) -> None:
        """Say nothing more."""
        self._ended.set()

    def _tick(self) -> None:
        while not self._ended.wait(FIRST_SECONDS / 4):
            wait = LINE_SECONDS if self._lines else min(FIRST_SECONDS, LINE_SECONDS)
            if time.monotonic() - self._told >= wait:
                self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._lines += 1
        if not self._stage:
            since = "" if self._lines == 1 else f" ({duration(self._told - self._started)})"
            complain(f"{self._what} …{since}")
            return
        of = f"/{self._total:,}" if self._total is not None else ""
        rate, left = self._pace.rate, self._pace.seconds_left(self._total)
        told = [f"{self._stage}: {self._done:,}{of} {self._unit}"]
        told[0] += f" in {self._told - self._started:,.1f} s"
        if rate is not None:
            told.append(f"{rate:,.3g} per second")
        if left is not None:
            told.append(f"about {duration(left)} left")
        complain(", ".join(told))


@contextmanager
def logged_progress(folder: Path, kind: str, *, beside: Path | None = None) -> Iterator[RunLog]:
    """Yield the progress of a run that is also logged; see `conceptaudit.runlog.run_log`."""
    from conceptaudit.runlog import run_log

    with (
        progress_bar() as progress,
        run_log(folder, progress, kind=kind, beside=beside) as log,
        NOTICES.logged_in(log),
    ):
        yield log


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Yield a `Progress` that draws bars on a terminal and prints lines elsewhere."""
    if not sys.stderr.isatty():
        lines = _LineProgress()
        try:
            yield lines
        finally:
            lines.close()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units per second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text(f"{speed:,.3g}/s" if speed else "")

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with RichProgress(*columns, console=Console(stderr=True)) as bars:
        yield _BarProgress(bars)
