"""Where `chaos.py` runs something, what it expects there, and what it has seen."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from chaos_processes import forked, is_buried, kill_session
from chaos_scenarios import SCENARIOS, Command, aside

CLOCKED = ("log.jsonl",)
"""Endings of files that are not the same from run to run: only logs."""


@dataclass
class Tally:
    """What happened."""

    kills: int = 0
    too_late: int = 0
    where: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    orphaned: list[int] = field(default_factory=list)

    def bury(self) -> None:
        """Wait until nothing is left of the runs whose first process was killed."""
        for session in self.orphaned:
            if not is_buried(session):
                self.faults.append(f"processes outlive the killed process {session}")
                kill_session(session)
        self.orphaned.clear()


@dataclass(frozen=True)
class Site:
    """Where one run happens, and with what.

    Parameters
    ----------
    name : str
        Of the scenario.
    data, out, log : Path
    place : Path
        For temporary files: empty when the run has ended well.
    workers : int
    """

    name: str
    data: Path
    out: Path
    log: Path
    place: Path
    workers: int

    def plan(self) -> list[list[Command]]:
        """Return the steps of the scenario."""
        return SCENARIOS[self.name].plan(self.data, self.out, self.workers)

    def clear(self) -> None:
        """Begin anew."""
        for folder in (self.out, aside(self.out)):
            shutil.rmtree(folder, ignore_errors=True)
        self.out.mkdir(parents=True)

    def n_files(self) -> int:
        """Count the files, which may change under our hands."""
        folders = (self.out, aside(self.out))
        return sum(len(files) for folder in folders for _, _, files in os.walk(folder))

    def start(self, command: Command) -> int:
        """Start a command."""
        return forked(command, self.log, self.place)

    def finish(self) -> int:
        """Run all steps to their end; return the first exit code that is not 0."""
        for step in self.plan():
            processes = [self.start(command) for command in step]
            for process in processes:
                code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                if code:
                    return code
        return 0


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, logs left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(CLOCKED)
    }


def differences(site: Site, expected: dict[str, str]) -> list[str]:
    """Say what is not as it was undisturbed, and what is left over."""
    found = tree(site.out)
    faults = []
    for path in sorted(set(found) | set(expected)):
        if found.get(path) != expected.get(path):
            state = "stray" if path not in expected else "missing" if path not in found else "other"
            faults.append(f"{path} is {state}")
    left = [path.name for path in aside(site.out).rglob("*.partial")]
    left += [path.name for path in site.place.iterdir()]
    return [*faults, *(f"{name} is left over" for name in left)]
