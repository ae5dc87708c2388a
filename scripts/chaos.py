"""Kill runs at random moments, run the same command again, and compare every byte.

The moments are numbers of written files, so that they fall all over a run whatever the machine's
speed. Every run is a process of its own (forked from one that has imported the packages) in a
group of its own, and the whole group is killed with SIGKILL.

Examples
--------
python scripts/chaos.py --kills 50 --seed 0
python scripts/chaos.py --kills 5 --only embed --only evaluate
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

CLOCKED = ("log.jsonl",)
"""Endings of files that are not the same from run to run: only logs."""

POLL_SECONDS = 0.001
TRIES = 4
"""Kills that come too late (the run had ended) are tried again so often."""

CONCEPTS = ["dog", "hot dog", "watch", "cat"]


@dataclass(frozen=True)
class Scenario:
    """A command and what it reads.

    Parameters
    ----------
    arguments : callable
        From the folder of the data, the folder to write to and the number of workers.
    workers : tuple of int
        Numbers of workers to choose from.
    """

    arguments: Callable[[Path, Path, int], list[str]]
    workers: tuple[int, ...] = (1, 2)


SCENARIOS: dict[str, Scenario] = {
    "text-exact": Scenario(
        lambda data, out, n: [
            *("audit", f"{data}/captions.jsonl", "-c", f"{data}/concepts.txt", "-o", f"{out}/run"),
            *("--shard-rows", "40", "--workers", str(n), "--cooccurrence"),
        ]
    ),
    "text-fast": Scenario(
        lambda data, out, n: [
            *("audit", f"{data}/captions.jsonl", "-c", f"{data}/concepts.txt", "-o", f"{out}/run"),
            *("--shard-rows", "40", "--workers", str(n), "--text-mode", "fast"),
            *("--text-error", "0.2"),
        ]
    ),
    "images": Scenario(
        lambda data, out, n: [
            *("audit", f"{data}/lab/*.tar", "-c", f"{data}/lab.txt", "--clip", "lab"),
            *("-o", f"{out}/run", "--workers", str(n), "--near-duplicates", "auto"),
        ]
    ),
    "embed": Scenario(
        lambda data, out, n: [
            *("embed", f"{data}/lab/*.tar", "--clip", "lab", "-o", f"{out}/run", "--text"),
            *("--workers", str(n)),
        ]
    ),
    "image-tags": Scenario(
        lambda data, out, n: [
            *("audit", f"{data}/embeddings", "-c", f"{data}/lab.txt", "--clip", "lab"),
            *("-o", f"{out}/run", "--workers", str(n), "--shard-rows", "10"),
        ]
    ),
    "evaluate": Scenario(
        lambda data, out, n: [
            *("evaluate", f"{data}/testset", "--clip", "lab", "-o", f"{out}/run"),
            *("--workers", str(n)),
        ]
    ),
    "longtail": Scenario(
        lambda data, out, _: [
            *("longtail", f"{data}/audited", "--images", f"{data}/testset", "-o", f"{out}/run"),
            *("--k", "8"),
        ],
        workers=(1,),
    ),
    "vocab": Scenario(
        lambda data, out, n: [
            *("vocab", f"{data}/captions.jsonl", "-o", f"{out}/vocab.parquet"),
            *("--shard-rows", "40", "--workers", str(n)),
        ]
    ),
}


@dataclass
class Tally:
    """What happened."""

    kills: int = 0
    too_late: int = 0
    where: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def forked(arguments: list[str], log: Path) -> int:
    """Start the program in a new process group; return the process's id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        with log.open("ab") as stream:
            os.dup2(stream.fileno(), 1)
            os.dup2(stream.fileno(), 2)
        from conceptaudit.cli.main import main

        code = main(arguments)
    except BaseException:  # noqa: BLE001 -- nothing may leave a forked process but its exit code
        traceback.print_exc()
    finally:
        os._exit(code)


def run_to_end(arguments: list[str], log: Path) -> int:
    """Run the program undisturbed; return its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(forked(arguments, log), 0)[1])


def group_is_empty(group: int) -> bool:
    """Whether no process of a group is left; the system may need a moment to bury them."""
    for _ in range(6_000):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def n_files(folder: Path) -> int:
    """Count the files below a folder that may change under our hands."""
    return sum(len(files) for _, _, files in os.walk(folder))


def tree(folder: Path) -> dict[str, str]:
    """Digest of every file below a folder, logs left out."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(CLOCKED)
    }


def kill_once(
    arguments: list[str], out: Path, log: Path, moment: int, delay: float, tally: Tally
) -> bool:
    """Kill a run when it has written `moment` files; False where it ended before."""
    process = forked(arguments, log)
    while n_files(out) < moment:
        if os.waitpid(process, os.WNOHANG)[0]:
            tally.too_late += 1
            return False
        time.sleep(POLL_SECONDS)
    time.sleep(delay)
    try:
        os.killpg(process, signal.SIGKILL)
    except ProcessLookupError:
        tally.too_late += 1
        return False
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != -signal.SIGKILL:
        tally.too_late += 1
        return False
    tally.kills += 1
    if not group_is_empty(process):
        tally.faults.append(f"processes outlive the killed group {process}")
    return True


def prepare(data: Path, wanted: set[str]) -> None:
    """Write the data that the scenarios read."""
    from conceptaudit.lab import LabConfig, generate, lab_vocabulary, write_image_folder

    data.mkdir(parents=True, exist_ok=True)
    rng = random.Random(0)
    words = ["a dog", "a cat and a dog", "they watch", "hot dogs", "my watch", "a red bus"]
    lines = (json.dumps({"caption": f"{rng.choice(words)} {i}"}) for i in range(1_200))
    (data / "captions.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (data / "concepts.txt").write_text("\n".join(CONCEPTS) + "\n")
    if wanted <= {"text-exact", "text-fast", "vocab"}:
        return
    config = LabConfig(n_samples=240, shard_size=30, image_size=48, truncated_rate=0.05)
    generate(config, data / "lab")
    (data / "lab.txt").write_text("\n".join(lab_vocabulary(config).names) + "\n")
    if wanted & {"evaluate", "longtail"}:
        write_image_folder(config, data / "testset", per_concept=2)
    commands = []
    if wanted & {"image-tags", "longtail"}:
        commands += [["embed", f"{data}/lab/*.tar", "--clip", "lab", "-o", f"{data}/embeddings"]]
    if "longtail" in wanted:
        listed = ["-c", f"{data}/lab.txt", "--clip", "lab", "-o", f"{data}/audited"]
        commands += [["audit", f"{data}/embeddings", *listed]]
    for command in commands:
        if run_to_end([*command, "--workers", "1"], data / "log"):
            raise SystemExit(f"{' '.join(command)} fails: see {data / 'log'}")


def torment(
    name: str,
    data: Path,
    folder: Path,
    kills: int,
    rng: random.Random,
    tally: Tally,
    workers: int | None,
) -> None:
    """Kill one scenario's run a few times, let it finish, and compare."""
    scenario = SCENARIOS[name]
    workers = rng.choice(scenario.workers) if workers is None else workers
    log = folder / f"{name}.log"
    calm = folder / f"{name}.calm"
    if not calm.exists():
        calm.mkdir(parents=True)
        code = run_to_end(scenario.arguments(data, calm, 1), log)
        if code:
            tally.faults.append(f"{name}: exit code {code} undisturbed, see {log}")
            return
    expected = {path.replace(calm.name, ""): digest for path, digest in tree(calm).items()}
    out = folder / f"{name}.out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    arguments = scenario.arguments(data, out, workers)
    for _ in range(kills):
        for _ in range(TRIES):
            low = min(n_files(out), len(expected) - 1)
            moment = rng.randint(low, len(expected))
            if kill_once(arguments, out, log, moment, rng.random() * 0.03, tally):
                tally.where[f"{name}, {workers} worker{'s' if workers > 1 else ''}"] += 1
                break
            shutil.rmtree(out)
            out.mkdir()
    code = run_to_end(arguments, log)
    if code:
        tally.faults.append(f"{name}: exit code {code} after kills, see {log}")
        return
    found = tree(out)
    for path in sorted(set(found) | set(expected)):
        if found.get(path) != expected.get(path):
            state = "stray" if path not in expected else "missing" if path not in found else "other"
            tally.faults.append(f"{name} with {workers} workers: {path} is {state}")


def chaos(
    kills: int, seed: int, names: list[str], folder: Path, *, each: int, workers: int | None
) -> Tally:
    """Kill so often in all, going round the scenarios."""
    sys.argv[0] = "chaos"  # the command line of the forked processes is not read
    preload()
    prepare(folder / "data", set(names))
    rng, tally = random.Random(seed), Tally()
    turn = 0
    while tally.kills < kills and turn < 20 * kills:
        name = names[turn % len(names)]
        before = len(tally.faults)
        left = min(each, kills - tally.kills)
        torment(name, folder / "data", folder, left, rng, tally, workers)
        print(f"{name}: {tally.kills} kills, {tally.faults[before:] or 'equal'}", file=sys.stderr)
        turn += 1
    return tally


def preload() -> None:
    """Import what the forked processes need; nothing here may start a thread."""
    for name in (
        *("torch", "open_clip", "faiss", "spacy", "duckdb", "pyarrow.parquet", "pandas", "scipy"),
        *("conceptaudit.cli.main", "conceptaudit.auditing", "conceptaudit.image.clip"),
        *("conceptaudit.longtail", "conceptaudit.openvocab", "conceptaudit.zeroshot.evaluate"),
    ):
        importlib.import_module(name)


def main() -> None:
    """Read the command line, print a JSON line, and fail where a byte differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", action="append", choices=list(SCENARIOS))
    parser.add_argument("--each", type=int, default=3, help="Kills of one run before it may end.")
    parser.add_argument("--workers", type=int, help="Always so many, in place of 1 or 2.")
    parser.add_argument("--folder", type=Path, help="Keep everything here.")
    given = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        names = given.only or list(SCENARIOS)
        tally = chaos(
            given.kills, given.seed, names, folder, each=given.each, workers=given.workers
        )
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
    sys.exit(bool(tally.faults) or tally.kills < given.kills)


if __name__ == "__main__":
    main()
