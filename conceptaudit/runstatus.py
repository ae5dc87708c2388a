"""How far a run is: stages, parts, rate, time left, dropped samples, and what it has cost.

Everything is read from the run folder, while others write to it: the names of the shards in
``run.json``, the shards' records, the marks of finished parts and ``log.jsonl``.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from conceptaudit.artifacts import LOG, MANIFEST, STARTED, Json, read_json
from conceptaudit.engine.array_tasks import parts_to_run, read_marks
from conceptaudit.errors import ConfigError, DataError
from conceptaudit.store.layouts import LAYOUTS, LOCK, shard_of

FINISHED, RUNNING, STOPPED = "finished", "running", "stopped"

RECENT_RECORDS = 50  # records over which the rate is taken: the pace of now, and not of last night

# A run that has written nothing for so long is called stopped: shards should take minutes.
QUIET_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StageStatus:
    """One stage of a run."""

    name: str  # its folder
    n_done: int  # shards with a record, and shards of the run
    n_all: int
    # shards per hour at the pace of the last `RECENT_RECORDS`; None where too few are done
    per_hour: float | None

    @property
    def hours_left(self) -> float | None:
        """Hours until this stage is done at its pace; None where that is not known."""
        left = self.n_all - self.n_done
        if left <= 0:
            return 0.0
        return None if not self.per_hour else left / self.per_hour


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStatus:
    """How far a run is."""

    folder: Path
    kind: str  # of run, as ``run.json`` says
    state: str  # `FINISHED`, `RUNNING` or `STOPPED` (nothing written for `QUIET_SECONDS`, or ended)
    ending: str | None  # how the process that ended last has ended, where that was no success
    stages: tuple[StageStatus, ...]  # those that have begun
    n_parts: int | None  # parts of an array job; None where there are none
    parts_done: tuple[int, ...]  # indices
    parts_running: tuple[int, ...]
    missing: str | None  # which parts to run
    # samples read so far, and those that could not be used, of the side with the most
    n_samples: int
    n_dropped: int
    dropped: dict[str, int]  # by reason, so far
    # reserved so far: the time of every process times what it may use of its machine
    core_hours: float
    gpu_hours: float
    partial: Json = None  # of a partial merge: how many shards it has

    @property
    def hours_left(self) -> float | None:
        """Hours until the stages that have begun are done; None where that is not known."""
        if self.state == FINISHED:
            return 0.0
        left = [stage.hours_left for stage in self.stages]
        return None if not left or None in left else sum(one for one in left if one is not None)

    def cost(self, *, price_cpu: float = 0.0, price_gpu: float = 0.0) -> float:
        """Money so far, at prices per core-hour and per GPU-hour."""
        return self.core_hours * price_cpu + self.gpu_hours * price_gpu


@dataclass(slots=True)
class _Process:
    """One process in the log."""

    cores: int = 0
    gpus: int = 0
    first: float = 0.0
    last: float = 0.0
    ended: bool = False
    ending: str | None = None


@dataclass(slots=True)
class _Samples:
    """Accounts of one stage, added up."""

    n_samples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)


def run_status(folder: str | Path) -> RunStatus:
    """Read how far a run is, and touch nothing."""
    folder = Path(folder)
    told = _started(folder)
    kind = told["kind"]
    shards = [str(name) for name in told.get("shards") or ()]
    stages, samples, newest = [], [_Samples()], 0.0
    for stage, records in _stage_records(folder, kind, frozenset(shards)):
        times = sorted(path.stat().st_mtime for path in records)
        newest = max(newest, times[-1])
        stages.append(
            StageStatus(
                name=stage,
                n_done=len(records),
                n_all=max(len(shards), len(records)),
                per_hour=_rate(times),
            )
        )
        samples.append(_account(records))
    most = max(samples, key=lambda one: one.n_samples)
    processes = list(_processes(folder / LOG))
    finished = _finished(folder, told)
    alive = any(not one.ended for one in processes)
    newest = max([newest, *(one.last for one in processes)])
    state = STOPPED if not alive or time.time() - newest > QUIET_SECONDS else RUNNING
    marks = read_marks(folder)
    running = _running(folder)
    count = max([*(part.count for part in marks.parts), *(n for _, n in running)], default=None)
    done = tuple(sorted(part.index for part in marks.parts))
    left = marks.unfinished()
    last = max(processes, key=lambda one: one.last, default=None)
    return RunStatus(
        folder=folder,
        kind=kind,
        state=FINISHED if finished else state,
        ending=None if finished or last is None else last.ending,
        stages=tuple(stages),
        n_parts=None if finished else count,
        parts_done=done,
        parts_running=tuple(sorted(k for k, _ in running if k not in done)),
        missing=parts_to_run(left, marks.parts) if left and not finished else None,
        n_samples=most.n_samples,
        n_dropped=sum(most.dropped.values()),
        dropped=dict(most.dropped.most_common()),
        core_hours=sum((one.last - one.first) * one.cores for one in processes) / 3600,
        gpu_hours=sum((one.last - one.first) * one.gpus for one in processes) / 3600,
        partial=told.get("partial"),
    )


def _started(folder: Path) -> dict[str, Json]:
    if not (folder / STARTED).is_file():
        raise ConfigError(
            f"{folder} holds no run: {STARTED} is missing. Name the folder that -o of the command "
            "named; a run that waits for its first shard has none yet."
        )
    told = read_json(folder / STARTED)
    if not isinstance(told, dict) or told.get("kind") not in LAYOUTS:
        raise DataError(f"{folder / STARTED} is damaged: it does not say what kind of run it is.")
    if not isinstance(told.get("shards"), list | None):
        raise DataError(f"{folder / STARTED} is damaged: it names no shards.")
    return told


def _stage_records(
    folder: Path, kind: str, shards: frozenset[str]
) -> Iterator[tuple[str, list[Path]]]:
    """Yield the stages that have records, with these, in the order in which they began."""
    layout = LAYOUTS[kind]
    found = []
    for pattern in layout.stages:
        for place in sorted(folder.glob(pattern)):
            records = [
                path
                for path in place.glob("*.json")
                if (name := shard_of(path.name)) is not None
                and path.name == f"{name}.json"
                and (name in shards or not shards)
            ]
            if records:
                found.append((place.relative_to(folder).as_posix(), records))
    yield from sorted(found, key=lambda one: min(path.stat().st_mtime for path in one[1]))


def _rate(times: list[float]) -> float | None:
    """Shards per hour over the last records."""
    recent = times[-RECENT_RECORDS:]
    seconds = recent[-1] - recent[0]
    return (len(recent) - 1) / seconds * 3600 if len(recent) > 1 and seconds > 0 else None


def _account(records: list[Path]) -> _Samples:
    """Add up the accounts of a stage's records; one that is just being replaced is passed over."""
    total = _Samples()
    for path in records:
        try:
            result = read_json(path)["result"]
            n_samples, dropped = int(result["n_samples"]), dict(result["dropped"])
            total.dropped.update({str(why): int(n) for why, n in dropped.items()})
            total.n_samples += n_samples
        except (DataError, KeyError, TypeError, ValueError):
            continue
    return total


def _finished(folder: Path, told: dict[str, Json]) -> bool:
    """Whether the manifest is there, and of this run."""
    if not (folder / MANIFEST).is_file():
        return False
    try:
        manifest = read_json(folder / MANIFEST)
    except DataError:
        return False
    return isinstance(manifest, dict) and manifest.get("digest") == told.get("digest")


def _running(folder: Path) -> list[tuple[int, int]]:
    """Return the parts that have begun and not ended: each holds a lock of its name."""
    parts = []
    for path in folder.glob(f"{LOCK}-*-of-*"):
        index, _, count = path.name.removeprefix(f"{LOCK}-").partition("-of-")
        if index.isdigit() and count.isdigit():
            parts.append((int(index), int(count)))
    return parts


def _processes(log: Path) -> Iterator[_Process]:
    """Yield what each process has logged of its time, and of what it may use."""
    if not log.is_file():
        return
    found: dict[str, _Process] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
                moment = datetime.fromisoformat(entry["time"]).timestamp()
                event, name = str(entry["event"]), str(entry.get("process", ""))
            except (ValueError, KeyError, TypeError):
                continue  # a line that a full disk has cut
            if event == "start" or name not in found:
                machine = entry.get("machine")
                machine = machine if isinstance(machine, dict) else {}
                if name in found:  # logs of 0.2.0 do not tell processes apart
                    yield found.pop(name)
                found[name] = _Process(
                    cores=_number(machine.get("n_usable")) or _number(machine.get("n_processors")),
                    gpus=_number(machine.get("n_gpus")),
                    first=moment,
                )
            process = found[name]
            process.last = moment
            if event in ("end", "failed", "interrupted"):
                process.ended = True
                process.ending = _ending(event, entry)
    yield from found.values()


def _number(value: Json) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _ending(event: str, entry: dict[str, Json]) -> str | None:
    if event == "end":
        return None
    return event if event == "interrupted" else f"failed: {entry.get('message', '')}"
