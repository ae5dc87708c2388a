"""What a shard costs beyond its samples: the same samples in many small archives and in a few.

    python scripts/benchmarks/bench_shards.py --shards 300 --samples 3

Runs a text audit of the same captions twice, one process each, and divides the difference in
processor time by the difference in shards; processor time, because other programs on the machine
change it little. Waiting for the disk is in the wall-clock time.
Prints a table and one JSON line.
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

NOUNS = ["dog", "cat", "car", "tree", "house", "boat", "bird", "horse", "lamp", "chair"]
CONCEPTS = NOUNS[:5]
FEW = 3
"""Archives that the samples are compared in."""


def caption(number: int) -> bytes:
    """Return one of a hundred captions."""
    first, second = NOUNS[number % 10], NOUNS[number // 10 % 10]
    return f"a photo of a {first} near the {second}".encode()


def make_archives(folder: Path, n_shards: int, n_samples: int) -> None:
    """Write captions as archives of about equally many samples."""
    folder.mkdir()
    for shard in range(n_shards):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as archive:
            for number in range(shard, n_samples, n_shards):
                content = caption(number)
                info = tarfile.TarInfo(f"{number:09d}.txt")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))


def audit(data: Path, concepts: Path, out: Path, mode: str) -> tuple[float, float]:
    """Run an audit in one process; return its processor and its wall-clock seconds."""
    command = [sys.executable, "-m", "conceptaudit", "audit", str(data), "-c", str(concepts)]
    command += ["-o", str(out), "--workers", "1", "--text-mode", mode]
    before, since = os.times(), time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    used = after.children_user + after.children_system
    return used - before.children_user - before.children_system, time.monotonic() - since


def main() -> None:
    """Measure, and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=300)
    parser.add_argument("--samples", type=int, default=3, help="samples per shard")
    parser.add_argument("--mode", default="fast", choices=["fast", "exact"])
    parser.add_argument("--work", help="folder for the data and the runs")
    arguments = parser.parse_args()
    n_samples = arguments.shards * arguments.samples
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        (folder / "concepts.txt").write_text("\n".join(CONCEPTS) + "\n", encoding="utf-8")
        seconds = {}
        for n_shards in (FEW, arguments.shards):
            data = folder / f"data-{n_shards}"
            make_archives(data, n_shards, n_samples)
            run = folder / f"run-{n_shards}"
            seconds[n_shards] = audit(data, folder / "concepts.txt", run, arguments.mode)
            used, wall = seconds[n_shards]
            print(f"  {n_shards:>6,} archives: {used:7.1f} s of processor time, {wall:7.1f} s")
    (few, few_wall), (many, many_wall) = seconds[FEW], seconds[arguments.shards]
    per_shard = 1000 / (arguments.shards - FEW)
    result = {
        "bench": "many_shards",
        "shards": arguments.shards,
        "samples_per_shard": arguments.samples,
        "mode": arguments.mode,
        "cpu_ms_per_shard": round((many - few) * per_shard, 2),
        "wall_ms_per_shard": round((many_wall - few_wall) * per_shard, 2),
    }
    print(f"  a shard costs {result['cpu_ms_per_shard']} ms of processor time beyond its samples")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
