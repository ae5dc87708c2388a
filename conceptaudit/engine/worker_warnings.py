"""What worker processes warn of, handed to the process that started them.

A worker that wrote to standard error itself would say the same as every other one, in the middle
of the progress line. It collects instead, and its answers carry what came up since the last one.
"""

from __future__ import annotations

import logging
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerWarning:
    """A warning, or a log record of level WARNING or above."""

    message: str
    category: type[Warning] | None  # none for a log record
    path: str  # where it came up
    line: int
    logger: str = ""  # of a log record
    level: int = logging.WARNING


_collected: list[WorkerWarning] = []
_shown: dict[Any, Any] = {}
"""Warnings that this process has shown, as `warnings` notes them per module."""


class _Collector(logging.Handler):
    """Collects log records."""

    def emit(self, record: logging.LogRecord) -> None:
        _collected.append(
            WorkerWarning(
                message=record.getMessage(), category=None, path=record.pathname,
                line=record.lineno, logger=record.name, level=record.levelno,
            )
        )  # fmt: skip


def _collect(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,  # noqa: ARG001 -- the signature of warnings.showwarning
    line: str | None = None,  # noqa: ARG001
) -> None:
    _collected.append(
        WorkerWarning(message=str(message), category=category, path=filename, line=lineno)
    )


def collect_warnings() -> None:
    """Collect from here on, in a worker process; once is enough."""
    if warnings.showwarning is _collect:  # inherited from the process that it was forked from
        return
    warnings.showwarning = _collect
    logging.getLogger().addHandler(_Collector(logging.WARNING))


def take_warnings() -> list[WorkerWarning]:
    """Return what was collected since the last call."""
    taken = list(_collected)
    _collected.clear()
    return taken


def repeat_warnings(taken: list[WorkerWarning]) -> None:
    """Warn in this process of what came up in a worker, each distinct warning once."""
    for one in taken:
        if one.category is not None:
            with suppress(one.category):  # a filter that makes errors of them is the worker's
                warnings.warn_explicit(
                    one.message, one.category, one.path, one.line, registry=_shown
                )
            continue
        record = logging.LogRecord(
            one.logger, one.level, one.path, one.line, one.message, None, None
        )
        logging.getLogger(one.logger).handle(record)
