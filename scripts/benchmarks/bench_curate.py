"""Speed and memory of curation, on a dataset that is counted already.

    python scripts/benchmarks/bench_curate.py --samples 1000000

Writes a table of keys, URLs and scores and the run folder of a text audit of it (tags drawn from a
Zipf law, as the text stage stores them; nothing is tagged), curates it with a condition, a cap and
weights, and prints seconds, processor seconds and the peak memory of the process, as JSON. With
several workers, the processor seconds and the memory are those of the first process alone.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from conceptaudit.artifacts import MANIFEST, read_json, write_json
from conceptaudit.auditing import audit
from conceptaudit.datasets import open_dataset
from conceptaudit.options.audit import AuditOptions

PROGRAM = """
import pathlib, sys
from conceptaudit.cli.main import main
assert main(sys.argv[1:]) == 0
print(pathlib.Path("/proc/self/status").read_text().split("VmHWM:")[1].splitlines()[0])
"""
PER_FILE, N_CONCEPTS, PER_SAMPLE = 500_000, 1_000, 1.5


def write_table(folder: Path, n: int) -> None:
    """Write the dataset as LAION's metadata lies, without captions that anybody reads."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, n, PER_FILE)):
        size = min(PER_FILE, n - start)
        ids = np.arange(start, start + size)
        table = {
            "key": pa.array([f"{i:012d}" for i in ids.tolist()]),
            "URL": pa.array([f"https://example.org/{i}.jpg" for i in ids.tolist()]),
            "TEXT": pa.array(["a photo"] * size),
            "similarity": pa.array(rng.uniform(0.2, 0.4, size)),
            "punsafe": pa.array(rng.random(size)),
        }
        pq.write_table(pa.table(table), folder / f"{number:05d}.parquet")


def write_run(data: Path, run: Path, work: Path) -> None:
    """Audit a few rows, and put tags of all samples in place of theirs."""
    names = [f"concept {i}" for i in range(N_CONCEPTS)]
    few = work / "few.parquet"
    pd.read_parquet(data / "00000.parquet").head(50).to_parquet(few, index=False)
    audit(few, names, run, options=AuditOptions(workers=1, text_mode="exact"))
    shutil.rmtree(run / "text")
    (run / "text").mkdir()
    rng = np.random.default_rng(1)
    law = np.arange(1.0, N_CONCEPTS + 1) ** -1.1
    shards = open_dataset(data).shards()
    total, n_samples = np.zeros(N_CONCEPTS, dtype=np.int64), 0
    for shard in shards:
        size = shard.stop - shard.start
        n_samples += size
        pairs = rng.integers(0, size, int(size * PER_SAMPLE)) * N_CONCEPTS
        pairs = np.unique(pairs + rng.choice(N_CONCEPTS, len(pairs), p=law / law.sum()))
        rows, concepts = np.divmod(pairs, N_CONCEPTS)
        ids = (shard.file_index << 40) + shard.start + rows
        total += np.bincount(concepts, minlength=N_CONCEPTS)
        tags = pa.table({"sample_id": ids, "concept_id": pa.array(concepts, pa.int32())})
        pq.write_table(tags, run / "text" / f"{shard.name}.parquet", compression="zstd")
    table = pd.read_parquet(run / "frequencies.parquet").assign(n_text=total)
    table.to_parquet(run / "frequencies.parquet", index=False)
    manifest = read_json(run / MANIFEST)
    account = {"n_samples": n_samples, "n_used": n_samples, "dropped": {}, "noted": {}}
    changed = {"dataset": str(data), "shards": [s.name for s in shards], "files": {}}
    write_json(run / MANIFEST, manifest | changed | {"account": {"text": account}})
    started = read_json(run / "run.json")
    write_json(run / "run.json", started | {"dataset": str(data)})


def main() -> None:
    """Measure, and print a JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_table(work / "data", arguments.samples)
        write_run(work / "data", work / "run", work)
        command = [
            *(sys.executable, "-c", PROGRAM, "curate", str(work / "run")),
            *("-o", str(work / "out"), "--workers", str(arguments.workers), "--temper", "0.5"),
            *("--keep", "similarity >= 0.28 and punsafe < 0.9"),
            *("--cap", str(arguments.samples / 1000)),
        ]
        start = time.perf_counter()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        seconds = time.perf_counter() - start
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        kept = pq.read_metadata(work / "out" / "kept.parquet").num_rows
        print(
            json.dumps(
                {
                    "bench": "curate",
                    "samples": arguments.samples,
                    "kept": kept,
                    "workers": arguments.workers,
                    "seconds": round(seconds, 1),
                    "processor_seconds": round(children.ru_utime + children.ru_stime, 1),
                    "peak_mb": round(int(done.stdout.split()[-2]) / 1024),
                }
            )
        )


if __name__ == "__main__":
    main()
