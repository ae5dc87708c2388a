"""The log of a run: one JSON line per event, appended as it happens.

A manifest must be the same from run to run, so clocks, speeds and memory stand only here, in
``log.jsonl``, which no manifest names and `validate` leaves out. Every line is written at once and
whole: what a killed run logged is there, and the run that goes on appends to it.
"""

from __future__ import annotations

import json
import os
import platform
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from conceptaudit.artifacts import LOG, STARTED, package_versions, read_json
from conceptaudit.errors import DataError
from conceptaudit.progress import Progress, SilentProgress, announce

# Progress within a stage is logged at most once in so many seconds, and at its end.
TELL_SECONDS = 1.0

PACKAGES = ("torch", "open_clip_torch", "spacy", "faiss-cpu", "faiss-gpu", "numpy", "pyarrow")


class RunLog:
    """A `Progress` that hands everything on to another one and keeps a log of it.

    Nothing is written before the first stage starts: by then the run has been let into its
    folder, and a folder that it is refused stays as it was.
    """

    def __init__(self, path: Path, inner: Progress, *, kind: str, started: Path) -> None:
        self.path = path
        self._inner = inner
        self._kind = kind
        self._started = started
        self._begun = False
        self._stage, self._unit, self._done = "", "", 0
        self._since = self._told = self._born = time.monotonic()
        self._seconds: dict[str, float] = {}
        self._id = secrets.token_hex(4)

    @property
    def begun(self) -> bool:
        """Whether events are written: from the first stage on."""
        return self._begun

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:
        """Log the start of a stage, and before the first that of the run."""
        if not self._begun:
            self._begin()
        self._inner.start(stage, total, unit)
        self._stage, self._unit, self._done = stage, unit, 0
        self._since = self._told = time.monotonic()
        self.write("stage_start", stage=stage, total=total, unit=unit)

    def announce(self, what: str) -> None:
        """Pass on what is under way; it is not logged, for the folder may not be ours yet."""
        announce(self._inner, what)

    def advance(self, units: int = 1) -> None:
        """Log progress, at most once a second."""
        self._inner.advance(units)
        self._done += units
        now = time.monotonic()
        if now - self._told >= TELL_SECONDS:
            self._told = now
            seconds = round(now - self._since, 3)
            self.write("progress", stage=self._stage, done=self._done, seconds=seconds)

    def finish(self) -> None:
        """Log the end of a stage: how long it took, how fast it was, and memory."""
        self._inner.finish()
        seconds = time.monotonic() - self._since
        self._seconds[self._stage] = self._seconds.get(self._stage, 0.0) + seconds
        self.write(
            "stage_end",
            stage=self._stage,
            done=self._done,
            unit=self._unit,
            seconds=round(seconds, 3),
            per_second=_rate(self._done, seconds),
            **peak_memory(),
        )

    def account(self, account: Any, redone: Mapping[str, Any] | None = None) -> None:
        """Log what became of the samples, and how many per second each stage has done.

        With `redone`, by stage ``{"kept": …, "redone": {why: …}}`` in shards, speeds count only
        what was computed now, taking shards to be of equal size.
        """
        n_samples = max((part["n_samples"] for part in _accounts(account)), default=0)
        speeds = {}
        for stage, work in (redone or {}).items():
            n_done = sum(work["redone"].values())
            share = n_done / max(n_done + work["kept"], 1)
            if n_done and stage in self._seconds:
                speeds[stage] = _rate(n_samples * share, self._seconds[stage])
        self.write("account", account=account, redone=redone, samples_per_second=speeds)

    def write(self, event: str, **told: Any) -> None:
        """Append one event; a log that cannot be written stops no run."""
        if not self._begun:
            return
        clock = datetime.now(UTC).isoformat(timespec="milliseconds")
        entry = {"time": clock, "event": event, "process": self._id, **told}
        line = json.dumps(entry, default=str) + "\n"
        with suppress(OSError):
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            handle = os.open(self.path, flags, 0o644)
            try:
                os.write(handle, line.encode("utf-8", "replace"))
            finally:
                os.close(handle)

    def _begin(self) -> None:
        self._begun = True
        digest = None
        with suppress(DataError, AttributeError):
            digest = read_json(self._started).get("digest")
        self.write(
            "start",
            kind=self._kind,
            digest=digest,
            versions=package_versions(*PACKAGES),
            python=platform.python_version(),
            machine=machine_facts(),
        )

    def end(self, failure: BaseException | None) -> None:
        """Log how the run ended."""
        seconds = round(time.monotonic() - self._born, 3)
        if failure is None:
            self.write("end", seconds=seconds, **peak_memory())
        elif isinstance(failure, KeyboardInterrupt):
            self.write("interrupted", seconds=seconds)
        else:
            kind = type(failure).__name__
            self.write("failed", seconds=seconds, error=kind, message=str(failure))


@contextmanager
def run_log(
    folder: Path, progress: Progress | None, *, kind: str, beside: Path | None = None
) -> Iterator[RunLog]:
    """Log what happens within, and how it ends.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with run_log(folder, None, kind="audit") as log:
    ...     log.start("text", 1)
    ...     log.advance()
    ...     log.finish()
    >>> [json.loads(line)["event"] for line in (folder / LOG).read_text().splitlines()]
    ['start', 'stage_start', 'stage_end', 'end']
    """
    path = folder / LOG if beside is None else beside.with_name(f"{beside.name}.{LOG}")
    log = RunLog(path, progress or SilentProgress(), kind=kind, started=folder / STARTED)
    try:
        yield log
    except BaseException as error:
        log.end(error)
        raise
    log.end(None)


def machine_facts() -> dict[str, Any]:
    """Describe the machine without naming it."""
    facts: dict[str, Any] = {
        "system": platform.system(),
        "processor": platform.machine(),
        "n_processors": os.cpu_count(),
        "n_usable": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "n_gpus": visible_gpus(),
    }
    with suppress(ValueError, OSError, AttributeError):
        facts["memory_bytes"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return facts


def visible_gpus() -> int:
    """Count the NVIDIA GPUs that this process may use, without loading PyTorch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return len([one for one in named.split(",") if one.strip() not in ("", "-1")])
    with suppress(OSError):
        return len(list(Path("/proc/driver/nvidia/gpus").iterdir()))
    return 0


def peak_memory() -> dict[str, int]:
    """Return the largest resident sizes so far: of this process, and of any ended worker."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "peak_bytes_of_workers": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }


def _rate(n: float, seconds: float) -> float:
    return float(f"{n / max(seconds, 1e-9):.4g}")


def _accounts(value: Any) -> Iterator[Mapping[str, Any]]:
    """Find every account in an account of sides, of models, or of a whole run."""
    if isinstance(value, Mapping) and "n_samples" in value:
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _accounts(part)
