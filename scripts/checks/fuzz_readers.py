"""Damage files and read them: no reader may crash, hang, take all memory or break a promise.

Case i of a reader is the same bytes on every machine. Cases run in a child process, so that a
crash of a C library is found as well; the child is started again after it.

Examples
--------
python scripts/checks/fuzz_readers.py parquet --runs 200000
python scripts/checks/fuzz_readers.py all --runs 2000 --keep found/
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from fuzz_mutations import mutate, sealed_manifest
from fuzz_seeds import Files, Reader
from fuzz_targets import READERS

CASE_SECONDS = 10
"""A case that takes longer hangs."""

CASE_MEMORY_MB = 512
"""A case that makes the process grow by more takes too much: its files have a few kilobytes."""

PARQUET_PAGE_MB = 2_048
"""What a parquet page may ask for besides, by its format: Arrow gives it before it looks on."""

STUCK_SECONDS = 60
"""A child that starts no new case for so long hangs where no signal reaches it."""

SEALED = 0.7
"""Share of the cases whose manifest is made right again after the damage."""

BATCH = 20_000
"""Cases per child."""


class HangError(BaseException):
    """Raised by the alarm."""


def ending_of(name: str) -> str:
    """Return the ending of a file that decides how it is damaged."""
    return ".sealed.json" if name.endswith(".sealed.json") else Path(name).suffix


def case_files(reader: Reader, seeds: list[Files], name: str, seed: int, case: int) -> Files:
    """Make the files of one case."""
    rng = Random(f"{seed}:{name}:{case}")
    files = dict(rng.choice(seeds))
    chosen = rng.choice([one for one in sorted(files) if one not in reader.spared])
    others = tuple(
        data
        for other in seeds
        for one, data in other.items()
        if ending_of(one) == ending_of(chosen)
    )
    files[chosen] = mutate(files[chosen], others, ending_of(chosen), rng)
    forged = reader.manifest and chosen not in (reader.manifest, *reader.trusted)
    if forged and rng.random() < SEALED:
        return sealed_manifest(files, reader.manifest)
    return files


class Workshop:
    """A folder whose files are brought to what a case needs, touching only what differs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._there: Files = {}

    def put(self, files: Files) -> None:
        """Make the folder hold exactly these files."""
        for name in set(self._there) - set(files):
            (self.folder / name).unlink(missing_ok=True)
        if set(self._there) != set(files):
            for path in sorted(self.folder.rglob("*"), reverse=True):
                if path.is_dir() and not any(path.iterdir()):
                    path.rmdir()
        for name, data in files.items():
            if self._there.get(name) is not data:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
        self._there = dict(files)


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raise `HangError` when time is up."""

    def ring(_number: int, _frame: FrameType | None) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_case(reader: Reader, workshop: Workshop, files: Files) -> dict[str, Any] | None:
    """Run one case; say what is wrong, if anything is."""
    from conceptaudit.errors import ConceptAuditError

    workshop.put(files)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with alarm(CASE_SECONDS):
            reader.read(workshop.folder)
    except ConceptAuditError as error:
        if not str(error):
            return {"error": type(error).__name__, "where": "", "message": "says nothing"}
    except (Exception, HangError) as error:  # noqa: BLE001 -- whatever comes out is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if "/conceptaudit/" in f.filename]
        last = (ours or frames)[-1]
        where = f"{Path(last.filename).name}:{last.lineno} {last.name}"
        message = (str(error).splitlines() or [""])[0][:200]
        return {"error": type(error).__name__, "where": where, "message": message}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    pages = any(Path(name).suffix == ".parquet" for name in files)
    if grown > CASE_MEMORY_MB + PARQUET_PAGE_MB * pages:
        return {"error": "Memory", "where": "", "message": f"{grown:,.0f} MB"}
    return None


def smallest(
    fails: Callable[[bytes], bool], data: bytes, *, tries: int = 300, rng: Random | None = None
) -> bytes:
    """Delete pieces of a failing file for as long as it goes on failing."""
    rng = rng or Random(0)
    size = max(len(data) // 2, 1)
    for _ in range(tries):
        start = rng.randrange(max(len(data) - size, 0) + 1)
        shorter = data[:start] + data[start + size :]
        if len(shorter) < len(data) and fails(shorter):
            data = shorter
        else:
            size = max(size * 2 // 3, 1)
    return data


def child(name: str, seed: int, start: int, stop: int, told: Path) -> None:
    """Run cases and print a line for each fault."""
    import pyarrow as pa

    warnings.simplefilter("ignore")
    pa.set_cpu_count(1)  # a file of a few kilobytes takes longer to hand to threads than to read
    pa.set_io_thread_count(1)
    reader = READERS[name]
    seeds = reader.seeds()
    root = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with (
        tempfile.TemporaryDirectory(dir=root) as folder,
        told.open("r+b") as stream,
        mmap.mmap(stream.fileno(), 8) as board,
    ):
        workshop = Workshop(Path(folder))
        for files in seeds:  # a valid file is read without complaint
            fault = run_case(reader, workshop, files)
            if fault is not None:
                raise SystemExit(f"{name}: a valid seed fails: {fault}")
        for case in range(start, stop):
            board[:8] = struct.pack("<q", case)
            fault = run_case(reader, workshop, case_files(reader, seeds, name, seed, case))
            if fault is not None:
                print(json.dumps({"case": case, **fault}), flush=True)


def batches(name: str, seed: int, runs: int) -> Iterator[dict[str, Any]]:
    """Run all cases in children and yield the faults."""
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "case")
        start = 0
        while start < runs:
            stop = min(start + BATCH, runs)
            told.write_bytes(struct.pack("<q", start - 1))
            out = Path(folder, "faults")
            command = [sys.executable, __file__, name, "--seed", str(seed)]
            command += ["--child", str(start), str(stop), str(told)]
            with out.open("wb") as stream, subprocess.Popen(command, stdout=stream) as process:
                code = _watch(process, told)
            yield from map(json.loads, out.read_text().splitlines())
            if code == 0:
                start = stop
                continue
            reached = struct.unpack("<q", told.read_bytes())[0]
            if reached < start:
                raise SystemExit(f"{name}: the reader cannot be tried at all (exit code {code})")
            error = "Hang" if code == -signal.SIGKILL else "Crash"
            yield {"case": reached, "error": error, "where": f"exit code {code}", "message": ""}
            start = reached + 1


def _watch(process: subprocess.Popen[bytes], told: Path) -> int:
    """Wait for a child; end it where it does not get on."""
    last, since = b"", time.monotonic()
    while True:
        try:
            return process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            now = told.read_bytes()
            if now != last:
                last, since = now, time.monotonic()
            elif time.monotonic() - since > STUCK_SECONDS:
                process.kill()


def keep(name: str, seed: int, fault: dict[str, Any], folder: Path) -> None:
    """Write a fault's files, as small as they go on failing, for a test."""
    reader = READERS[name]
    seeds = reader.seeds()
    files = case_files(reader, seeds, name, seed, fault["case"])
    changed = [n for n in files if all(files[n] is not one.get(n) for one in seeds)]
    signature = (fault["error"], fault["where"])
    if changed and fault["error"] not in ("Crash", "Hang", "Memory", "HangError"):
        with tempfile.TemporaryDirectory() as scratch:
            workshop = Workshop(Path(scratch))

            def fails(data: bytes) -> bool:
                found = run_case(reader, workshop, {**files, changed[0]: data})
                return found is not None and (found["error"], found["where"]) == signature

            files[changed[0]] = smallest(fails, files[changed[0]])
    target = folder / name / f"{fault['case']}"
    shutil.rmtree(target, ignore_errors=True)
    for file, data in files.items():
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).write_bytes(data)


def fuzz(name: str, seed: int, runs: int, kept: Path | None) -> dict[str, Any]:
    """Run one reader's cases and sum up the faults by kind and place."""
    started = time.monotonic()
    kinds: dict[tuple[str, str], dict[str, Any]] = {}
    for fault in batches(name, seed, runs):
        kind = kinds.setdefault((fault["error"], fault["where"]), {**fault, "n": 0})
        kind["n"] += 1
        if kind["n"] == 1 and kept is not None:
            keep(name, seed, fault, kept)
    seconds = time.monotonic() - started
    return {
        "reader": name,
        "runs": runs,
        "seed": seed,
        "seconds": round(seconds, 1),
        "runs_per_second": round(runs / seconds, 1),
        "faults": list(kinds.values()),
    }


def main() -> None:
    """Read the command line and print one JSON line per reader."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reader", choices=[*READERS, "all"])
    parser.add_argument("--runs", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="Folder for the files of each kind of fault.")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        start, stop, told = given.child
        child(given.reader, given.seed, int(start), int(stop), Path(told))
        return
    bad = False
    for name in READERS if given.reader == "all" else [given.reader]:
        found = fuzz(name, given.seed, given.runs, given.keep)
        print(json.dumps(found), flush=True)
        bad |= bool(found["faults"])
    sys.exit(int(bad))


if __name__ == "__main__":
    main()
