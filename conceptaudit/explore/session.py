"""What one server shows: runs and their data, a curve, a long-tail set, an index, questions."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from conceptaudit.curves import Curve
from conceptaudit.errors import ConceptAuditError, ConfigError
from conceptaudit.explore.media import Media
from conceptaudit.explore.opened import GoneError, OpenRun
from conceptaudit.explore.queues import Queue
from conceptaudit.explore.selection import Selection

if TYPE_CHECKING:
    from conceptaudit.longtail import LongTailSet

MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreOptions:
    """What is shown.

    Parameters
    ----------
    runs : tuple of Path
        Run folders of finished audits, at least one.
    dataset : str or None
        Where the dataset of the first run is now, or the images of its embeddings.
    curve : str or None
        Folder of a fit, or its ``curve.json``.
    longtail : str or None
        Folder of a long-tail set.
    tail_results : tuple of str
        Results of `evaluate` on it.
    index, clip : str or None
        An index over the first run's images, and its model where the index does not name it.
    judge : tuple of Path
        Tables of `conceptaudit judge`, or review files of a long-tail set, to be answered here.
    """

    runs: tuple[Path, ...]
    dataset: str | None = None
    curve: str | None = None
    longtail: str | None = None
    tail_results: tuple[str, ...] = ()
    index: str | None = None
    clip: str | None = None
    judge: tuple[Path, ...] = ()


@dataclass(slots=True)
class Opened:
    """A run with its data, as they were when it was opened."""

    run: OpenRun
    media: Media
    stamp: tuple[int, int]
    lock: threading.Lock = field(default_factory=threading.Lock)


class Session:
    """Everything that a server shows; opened at once, so that a wrong path is said at once."""

    def __init__(self, options: ExploreOptions) -> None:
        if not options.runs:
            raise ConfigError("Name the run folder of a finished audit.")
        self.options = options
        self._lock = threading.Lock()
        self._opened: dict[str, Opened] = {}
        self._predicting = threading.Lock()
        self._predicted: dict[str, pd.DataFrame | None] = {}
        self.slugs = _slugs(options.runs)
        for slug, folder in zip(self.slugs, options.runs, strict=True):
            self._opened[slug] = self._open(slug, folder)
        self.longtail = None if options.longtail is None else _long_tail(options.longtail)
        self.queues = [Queue(path, self.runs, self.longtail) for path in options.judge]
        self.selection = Selection()
        self.search = options.index is not None
        self.curve = None if options.curve is None else Curve.load(options.curve)

    def _open(self, slug: str, folder: Path) -> Opened:
        location = self.options.dataset if folder == self.options.runs[0] else None
        run = OpenRun(folder, slug)
        return Opened(run=run, media=Media(run, location), stamp=_stamp(folder))

    def opened(self, slug: str) -> Opened | None:
        """Return a run by its name in addresses; opened anew where its audit was made again."""
        one = self._opened.get(slug)
        if one is None:
            return None
        folder = one.run.folder
        try:
            stamp = _stamp(folder)
        except OSError as error:
            raise GoneError(
                f"{folder} is not there any more, or its audit is being made again."
            ) from error
        if stamp != one.stamp:
            one.run.close()
            one = self._open(slug, folder)
            with self._lock:
                self._opened[slug] = one
        return one

    def predictions(self, run: OpenRun) -> pd.DataFrame | None:
        """Predict all concepts of a run, once; None where it lacks the curve's count."""
        from conceptaudit.curves import predict

        if self.curve is None or self.curve.count not in run.table:
            return None
        with self._predicting:
            if run.slug not in self._predicted:
                try:
                    self._predicted[run.slug] = predict(
                        self.curve, run.record.frequencies, level=self.curve.level
                    )
                except ConceptAuditError:
                    self._predicted[run.slug] = None
            return self._predicted[run.slug]

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Addresses and names of the parts beside runs, those that are there."""
        parts = [("search", "Search")] if self.search else []
        parts.append(("compare", "Compare"))
        if self.longtail is not None:
            parts.append(("set", "Long-tail set"))
        parts.append(("judge", "Judge"))
        return [*parts, ("selection", f"Selection ({len(self.selection)})")]

    @property
    def runs(self) -> list[OpenRun]:
        """All runs, in the order in which they were named."""
        return [self._opened[slug].run for slug in self.slugs]

    def close(self) -> None:
        """Let go of everything."""
        for one in self._opened.values():
            one.run.close()


def _long_tail(folder: str) -> LongTailSet:
    from conceptaudit.longtail import read_long_tail

    return read_long_tail(folder)


def _stamp(folder: Path) -> tuple[int, int]:
    state = (folder / MANIFEST).stat()
    return state.st_mtime_ns, state.st_ino


def _slugs(folders: Sequence[Path]) -> list[str]:
    """Short names that can stand in an address, all different."""
    slugs: list[str] = []
    for folder in folders:
        name = "".join(
            c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in folder.name
        )
        name = name.strip(".-") or "run"
        number = 2
        slug = name
        while slug in slugs:
            slug = f"{name}-{number}"
            number += 1
        slugs.append(slug)
    return slugs
