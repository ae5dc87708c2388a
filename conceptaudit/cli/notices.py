"""What other packages warn of: each distinct warning once, with its origin, none swallowed.

Warnings and log records of level WARNING and above become notes on standard error, events in the
run's log, and ``warnings`` in JSON.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from conceptaudit.runlog import RunLog

# Beginnings of warnings that are not shown, and why; --debug shows them.
HARMLESS = (
    (
        "QuickGELU mismatch",
        "the tag has no entry, so the configuration stands; where it has one, that is forced",
    ),
    ("No pretrained weights loaded for model", "MODEL/untrained was asked for, and a note says so"),
    ("Failed to download weights", "the error that follows says what to do"),
)

# Kinds that Python itself does not show to users by default.
FOR_DEVELOPERS = (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning)

LONGEST = 400  # characters of a warning that are shown

_PACKAGE = re.compile(r"[/\\](?:site|dist)-packages[/\\]([A-Za-z0-9_]+)")
_OURS = "conceptaudit"


Show = Callable[[str], None]


def _ignore(text: str) -> None:
    """Show nothing."""


class Notices:
    """Distinct warnings so far."""

    def __init__(self) -> None:
        self._log: RunLog | None = None
        self._show: Show = _ignore
        self.clear()

    def clear(self, show: Show = _ignore) -> None:
        """Forget all, since a process may run several verbs, and show what comes with `show`."""
        self._show = show
        self.texts: list[str] = []
        self.debug = False
        self._n_logged = 0

    def add(self, origin: str, message: str) -> None:
        """Show a warning, unless it is known or was shown before."""
        plain = " ".join(message.split())
        harmless = any(plain.startswith(beginning) for beginning, _ in HARMLESS)
        plain = plain if len(plain) <= LONGEST else f"{plain[:LONGEST]} …"
        text = plain if origin == _OURS else f"{origin} warns: {plain}"
        if text in self.texts or (harmless and not self.debug):
            return
        self.texts.append(text)
        self._show(f"note: {text}")
        self.write()

    def write(self) -> None:
        """Write to the run's log what is not there yet."""
        if self._log is None or not self._log.begun:
            return
        for text in self.texts[self._n_logged :]:
            self._log.write("warning", message=text)
        self._n_logged = len(self.texts)

    @contextmanager
    def logged_in(self, log: RunLog) -> Iterator[None]:
        """Write warnings to a run's log, also those that came before it began."""
        self._log = log
        try:
            yield
        finally:
            self.write()
            self._log = None


NOTICES = Notices()  # of this process


class _Handler(logging.Handler):
    """Hands log records on."""

    def emit(self, record: logging.LogRecord) -> None:
        package = record.name.partition(".")[0]
        origin = _package_of(record.pathname) if package == "root" else package
        NOTICES.add(origin, record.getMessage())


def _package_of(path: str) -> str:
    """Name the package that a source file belongs to."""
    match = _PACKAGE.search(path)
    return match[1] if match else Path(path).stem


@contextmanager
def gathered_warnings(show_line: Show) -> Iterator[None]:
    """Gather what is warned of while a verb runs, and show it line by line."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,  # noqa: ARG001 -- the signature of warnings.showwarning
        line: str | None = None,  # noqa: ARG001
    ) -> None:
        origin = _package_of(filename)
        where = f" ({category.__name__}, {filename}:{lineno})" if NOTICES.debug else ""
        NOTICES.add("Python" if origin == _OURS else origin, f"{message}{where}")

    NOTICES.clear(show_line)
    handler = _Handler(logging.WARNING)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("default")
                for category in FOR_DEVELOPERS:
                    warnings.simplefilter("ignore", category)
            warnings.showwarning = show
            yield
    finally:
        root.removeHandler(handler)


def with_warnings(value: Any) -> Any:
    """Add the warnings so far to a JSON object; other values stay as they are."""
    if isinstance(value, dict) and NOTICES.texts:
        return {**value, "warnings": list(NOTICES.texts)}
    return value
