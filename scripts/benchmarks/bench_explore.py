"""How fast the explorer answers on a large run, and in how much memory.

    python scripts/benchmarks/bench_explore.py --samples 1000000 --concepts 20000 --work /tmp/big

The run is recombined: tables of tags as an audit writes them, with concepts drawn from Zipf's law,
around a small audit that was really made. No image is there. Prints the time of each page, the
median and the worst of several, over HTTP from another process, and the server's peak memory.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import psutil

from conceptaudit.artifacts import file_digest, read_json, write_csv, write_json, write_parquet
from conceptaudit.auditing import audit
from conceptaudit.frequency.intervals import poisson_interval

PER_SHARD = 20_000
TAGS_PER_SAMPLE = 4
AGREE = 0.6
"""Share of a caption's concepts that its image is tagged with."""

ASKED = {"first page": 1.0, "concepts, filtered": 0.3, "a concept": 0.5}
MEMORY_MIB = 600


def recombine(folder: Path, n_samples: int, n_concepts: int, seed: int = 0) -> Path:
    """Write a run of any size, and return its folder."""
    rng = np.random.default_rng(seed)
    names = [f"concept {i:05d}" for i in range(n_concepts)]
    run = folder / "run"
    if (run / "manifest.json").is_file() and (folder / "done").is_file():
        return run
    audit(["a dog"], names, run)
    weights = 1.0 / np.arange(1, n_concepts + 1)
    weights /= weights.sum()
    counts = {side: np.zeros(n_concepts, dtype=np.int64) for side in ("text", "image", "joint")}
    shards = []
    for start in range(0, n_samples, PER_SHARD):
        shards.append(f"{0:07d}-{start:013d}")
        n = min(PER_SHARD, n_samples - start)
        pairs = {"text": _pairs(rng, n, weights, start)}
        kept = pairs["text"][rng.random(len(pairs["text"])) < AGREE]
        others = _pairs(rng, n, weights, start)
        pairs["image"] = np.unique(np.concatenate([kept, others[: len(others) // 3]]), axis=0)
        both = {tuple(row) for row in kept}
        for side, rows in pairs.items():
            counts[side] += np.bincount(rows[:, 1], minlength=n_concepts)
            scores = np.ones(len(rows)) if side == "text" else rng.normal(0.28, 0.03, len(rows))
            table = pd.DataFrame(
                {
                    "sample_id": rows[:, 0],
                    "key": [f"https://images{i % 997}.example/{i:012d}.jpg" for i in rows[:, 0]],
                    "concept_id": rows[:, 1].astype(np.int32),
                    "score": scores.astype(np.float32),
                }
            )
            (run / side).mkdir(exist_ok=True)
            write_parquet(run / side / f"{shards[-1]}.parquet", table)
        joint = np.array([c for _, c in both], dtype=np.int64)
        counts["joint"] += np.bincount(joint, minlength=n_concepts)
    table = pd.DataFrame({"concept": names})
    for side, count in counts.items():
        low, high = poisson_interval(count, 0.9)
        table[f"n_{side}"] = pd.array(count, dtype="Int64")
        table[f"n_{side}_low"], table[f"n_{side}_high"] = low, high
    write_parquet(run / "frequencies.parquet", table)
    write_csv(run / "frequencies.csv", table)
    manifest = read_json(run / "manifest.json")
    manifest["shards"] = shards
    account = manifest["account"]["text"] | {"n_samples": n_samples, "n_used": n_samples}
    manifest["account"] = {"text": account, "image": account}
    for name in ("frequencies.parquet", "frequencies.csv"):
        manifest["files"][name] = file_digest(run / name)
    write_json(run / "manifest.json", manifest)
    (folder / "done").touch()
    return run


def _pairs(rng: np.random.Generator, n: int, weights: np.ndarray, start: int) -> np.ndarray:
    sizes = rng.poisson(TAGS_PER_SAMPLE, n)
    samples = np.repeat(np.arange(start, start + n), sizes)
    concepts = np.searchsorted(np.cumsum(weights), rng.random(len(samples)))
    concepts = np.minimum(concepts, len(weights) - 1)
    return np.unique(np.stack([samples, concepts], axis=1), axis=0)


def timed(address: str) -> float:
    """Ask for a page, and return how long it took."""
    begin = time.perf_counter()
    with urllib.request.urlopen(address, timeout=120) as answer:
        answer.read()
    return time.perf_counter() - begin


def measure(run: Path) -> dict[str, object]:
    """Start the server on a run and ask for its pages."""
    program = [sys.executable, "-m", "conceptaudit", "explore", str(run)]
    begin = time.perf_counter()
    server = subprocess.Popen(program, stdout=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline() if server.stdout else ""
        found = re.search(r"http://\S+", line)
        if found is None:
            raise SystemExit(f"The server did not start: {line!r}")
        address, started = found[0], time.perf_counter() - begin
        pages = {"first page": [timed(f"{address}r/run/")]}
        filters = (
            "q=0012",
            "min=100&max=1000",
            "tier=tail",
            "sort=agree",
            "q=7&sort=n_text&page=3",
        )
        pages["concepts, filtered"] = [timed(f"{address}r/run/concepts?{f}") for f in filters]
        ids = (0, 1, 10, 100, 1_000, 15_000)
        pages["a concept"] = [timed(f"{address}r/run/concept/{i}") for i in ids]
        pages["what it occurs with"] = [timed(f"{address}r/run/concept/{i}/together") for i in ids]
        memory = psutil.Process(server.pid).memory_info()
        peak = getattr(memory, "peak_wset", 0) or _peak(server.pid)
    finally:
        server.terminate()
        server.wait(20)
    return {"start": started, "pages": pages, "peak_mib": peak / 2**20}


def _peak(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) * 1024
    return 0


def main() -> None:
    """Print what was measured, and a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--concepts", type=int, default=20_000)
    parser.add_argument("--work", type=Path, required=True)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    found = measure(recombine(asked.work, asked.samples, asked.concepts))
    print(
        f"{asked.samples:,} samples, {asked.concepts:,} concepts; started in {found['start']:.1f} s"
    )
    for name, times in found["pages"].items():
        limit = f", asked {ASKED[name]} s" if name in ASKED else ""
        print(f"{name:22} median {statistics.median(times):.2f} s, worst {max(times):.2f} s{limit}")
    print(f"peak memory            {found['peak_mib']:.0f} MiB, asked {MEMORY_MIB}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
