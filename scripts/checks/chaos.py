"""Kill runs at random moments, run the same command again, and compare every byte.

The moments are numbers of written files, so that they fall all over a run whatever the machine's
speed. Every run is a process of its own (forked from one that has imported the packages) in a
session of its own. A kill (SIGKILL) meets the whole session, its first process alone, or one
worker, which the run has to replace. Parts of array jobs run side by side and are killed one at a
time or together; so is their merge. The result has to be that of one undisturbed process.

Examples
--------
python scripts/checks/chaos.py --kills 50 --seed 0
python scripts/checks/chaos.py --kills 5 --only embed-parts --only text-exact-ray
python scripts/checks/chaos.py --every --only vocab --captions 120
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from chaos_processes import ended, forked, is_idle, kill_session, workers
from chaos_scenarios import ALL, SCENARIOS, TEXT_ALONE, WORKER, Command, calm, prepare
from chaos_site import Site, Tally, differences, tree

POLL_SECONDS = 0.001
TRIES = 4
"""Kills that come too late (the run had ended) are tried again so often."""


def kill_once(site: Site, moment: int, victim: str, rng: random.Random, tally: Tally) -> int | None:
    """Kill a plan when it has written `moment` files.

    Returns
    -------
    int or None
        None where all ended before; else the number of runs that were killed, 0 where it was a
        worker and the run has ended by itself.
    """
    for step in site.plan():
        running = {site.start(command) for command in step}
        killed: set[int] = set()
        hit = False
        while running:
            for process in sorted(running):
                code = ended(process)
                if code is not None:
                    running.discard(process)
                    if process in killed and code != -signal.SIGKILL:
                        killed.discard(process)
                    elif process not in killed and code:
                        tally.faults.append(f"{site.name}: exit code {code}, see {site.log}")
            if running and not hit and site.n_files() >= moment:
                time.sleep(rng.random() * 0.03)
                many = rng.randint(1, len(running))
                hit, killed = strike(rng.sample(sorted(running), many), victim, rng, tally)
            time.sleep(POLL_SECONDS)
        if hit:
            return len(killed)
        if tally.faults:
            return 0
    return None


def strike(
    processes: list[int], victim: str, rng: random.Random, tally: Tally
) -> tuple[bool, set[int]]:
    """Kill some of what belongs to runs; say whether anything was, and which runs end by it."""
    if victim == WORKER:
        found = [pid for process in processes for pid in workers(process)]
        if not found:
            return False, set()
        with suppress(ProcessLookupError):
            os.kill(rng.choice(found), signal.SIGKILL)
        return True, set()
    for process in processes:
        if victim == ALL:
            kill_session(process)
        else:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitid(os.P_PID, process, os.WEXITED | os.WNOWAIT)
            tally.orphaned.append(process)
            if not is_idle(process):
                tally.faults.append(f"workers outlive the killed process {process}")
    return True, set(processes)


def torment(
    site: Site, expected: dict[str, str], kills: int, rng: random.Random, tally: Tally
) -> None:
    """Kill one scenario's runs a few times, let them finish, and compare."""
    site.clear()
    scenario = SCENARIOS[site.name]
    by_itself = False
    for _ in range(kills):
        victims = scenario.victims if site.workers > 1 else (ALL,)
        victim = rng.choice(victims)
        for _ in range(TRIES):
            moment = rng.randint(min(site.n_files(), len(expected) - 1), len(expected))
            ends = kill_once(site, moment, victim, rng, tally)
            if ends is not None:
                tally.kills += max(ends, 1)
                count = f"{site.workers} worker{'s' if site.workers > 1 else ''}"
                tally.where[f"{site.name}, {count}: {victim}"] += max(ends, 1)
                by_itself = victim == WORKER
                break
            tally.too_late += 1
            site.clear()
        if by_itself or tally.faults:
            break
    code = 0 if by_itself and len(site.plan()) == 1 else site.finish()
    if code:
        tally.faults.append(f"{site.name}: exit code {code} after kills, see {site.log}")
    tally.bury()
    if code:
        return
    tally.faults += [f"{site.name}: {fault}" for fault in differences(site, expected)]


def torment_everywhere(site: Site, expected: dict[str, str], step: int, tally: Tally) -> None:
    """Kill a run of one process before it renames its n-th file, for every `step`-th n."""
    number = (step + 1) // 2
    while True:
        site.clear()
        command = site.plan()[0][0]
        process = forked(command, site.log, site.place, die_at=number)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        if code != -signal.SIGKILL:
            tally.faults += [f"{site.name}: exit code {code}, see {site.log}"] if code else []
            return
        tally.kills += 1
        tally.where[f"{site.name}: before a file is renamed"] += 1
        code = site.finish()
        faults = [f"exit code {code}, see {site.log}"] if code else differences(site, expected)
        tally.faults += [f"{site.name}, killed at file {number}: {fault}" for fault in faults]
        number += step


class Chaos:
    """Goes round the scenarios.

    Parameters
    ----------
    given : argparse.Namespace
        The options.
    folder : Path
        For data and results.
    place : Path
        For the temporary files of the runs; its path is short, for Ray's sockets.
    """

    def __init__(self, given: argparse.Namespace, folder: Path, place: Path) -> None:
        self._given, self._folder, self._place = given, folder, place
        self._names = given.only or list(SCENARIOS)
        self._expected: dict[str, dict[str, str]] = {}
        self.tally = Tally()
        sys.argv[0] = "chaos"  # the command line of the forked processes is not read
        preload({SCENARIOS[name].base for name in self._names})
        prepare(folder / "data", set(self._names), given.captions, self._run_to_end)

    def _run_to_end(self, command: Command) -> int:
        process = forked(command, self._folder / "log", self._place)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])

    def expected(self, base: str) -> dict[str, str] | None:
        """Digests of what an undisturbed process writes; None where it fails."""
        if base not in self._expected:
            out = self._folder / f"{base}.calm"
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir(parents=True)
            code = self._run_to_end(calm(base, self._folder / "data", out))
            if code:
                self.tally.faults.append(f"{base}: exit code {code} undisturbed")
                return None
            self._expected[base] = {
                path.replace(out.name, ""): digest for path, digest in tree(out).items()
            }
        return self._expected[base]

    def run(self) -> None:
        """Kill as often as was asked for, or at every file; stop at the first fault."""
        rng, given, turn = random.Random(self._given.seed), self._given, 0
        while turn < len(self._names) or (self.tally.kills < given.kills and not given.every):
            if turn > 20 * given.kills or self.tally.faults:
                return
            name = self._names[turn % len(self._names)]
            turn += 1
            expected = self.expected(SCENARIOS[name].base)
            if expected is None:
                return
            counts = SCENARIOS[name].workers
            count = rng.choice(counts if given.workers is None else [given.workers])
            site = Site(
                name, self._folder / "data", self._folder / f"{name}.out",
                self._folder / f"{name}.log", self._place, 1 if given.every else count,
            )  # fmt: skip
            started = time.monotonic()
            if given.every:
                torment_everywhere(site, expected, given.step, self.tally)
            else:
                left = max(min(given.each, given.kills - self.tally.kills), 1)
                torment(site, expected, left, rng, self.tally)
            state = self.tally.faults or f"equal, {time.monotonic() - started:.0f} s"
            print(f"{name}: {self.tally.kills} kills, {state}", file=sys.stderr)


def preload(bases: set[str]) -> None:
    """Import what the forked processes need; nothing here may start a thread."""
    names = ["spacy", "duckdb", "pyarrow.parquet", "pandas", "scipy", "conceptaudit.cli.main"]
    names += ["conceptaudit.auditing", "conceptaudit.noun_vocabulary"]
    if not bases <= set(TEXT_ALONE):
        names += ["torch", "open_clip", "faiss", "conceptaudit.image.clip"]
        names += ["conceptaudit.longtail", "conceptaudit.zeroshot.evaluate"]
    for name in names:
        importlib.import_module(name)


def main() -> None:
    """Read the command line, print a JSON line, and fail where a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--kills", type=int, default=50, help="At least so many, and one of each scenario."
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS))
    parser.add_argument("--each", type=int, default=3, help="Kills of one run before it may end.")
    parser.add_argument("--workers", type=int, help="Always so many, in place of 1 or 2.")
    parser.add_argument("--captions", type=int, default=1_200, help="Size of the data.")
    parser.add_argument(
        "--every", action="store_true", help="Kill one process before every file that it renames."
    )
    parser.add_argument("--step", type=int, default=1, help="With --every: every so many files.")
    parser.add_argument("--folder", type=Path, help="Keep everything here.")
    given = parser.parse_args()
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as scratch,
        tempfile.TemporaryDirectory(prefix="c", dir="/tmp") as place,
    ):
        chaos = Chaos(given, given.folder or Path(scratch), Path(place))
        chaos.run()
    tally = chaos.tally
    print(
        json.dumps(
            {
                "kills": tally.kills,
                "too_late": tally.too_late,
                "where": dict(sorted(tally.where.items())),
                "faults": tally.faults,
                "seconds": round(time.monotonic() - started, 1),
            }
        )
    )
    sys.exit(bool(tally.faults) or (tally.kills < given.kills and not given.every))


if __name__ == "__main__":
    main()
