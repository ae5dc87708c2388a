"""How much memory an audit takes, and that it does not grow with the corpus.

    python scripts/benchmarks/bench_audit.py memory --captions CAPTIONS --concepts CONCEPTS

Prints a table and one JSON line. Text is timed by bench_text.py, images by bench_image.py.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np


def bench_memory(arguments: argparse.Namespace) -> None:
    """Measure the peak memory of a text audit of a corpus, and of one ten times as large."""
    captions = read_captions(arguments.captions)[: arguments.n]
    rng = np.random.default_rng(0)
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for times in (1, arguments.times):
            corpus = Path(folder) / f"{times}.parquet"
            write_recombined(captions, times, corpus, rng)
            command = [
                *(sys.executable, "-m", "conceptaudit", "audit", str(corpus)),
                *("-c", arguments.concepts, "-o", str(Path(folder) / f"run{times}")),
                *("--workers", "1", "--json"),
            ]
            peaks[times * len(captions)] = peak_mib(command)
            print(
                f"  {times * len(captions):>12,} captions: {peaks[times * len(captions)]:,.0f} MiB"
            )
    small, large = peaks.values()
    print(f"  ratio {large / small:.3f}")
    print(json.dumps({"bench": "memory", "peak_mib": peaks, "ratio": large / small}))


def write_recombined(captions: list[str], times: int, path: Path, rng: np.random.Generator) -> None:
    """Write `times` as many captions: the first half of one joined to the second of another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("caption", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for repeat in range(times):
            order = rng.permutation(len(captions)) if repeat else np.arange(len(captions))
            joined = [join_halves(a, captions[i]) for a, i in zip(captions, order, strict=True)]
            writer.write_table(pa.table({"caption": joined}, schema=schema))


def join_halves(first: str, second: str) -> str:
    """Join the first half of one caption's words to the second half of another's."""
    left, right = first.split(), second.split()
    return " ".join([*left[: len(left) // 2], *right[len(right) // 2 :]])


def peak_mib(command: list[str]) -> float:
    """Run a command and return the peak resident memory of its largest process, in MiB."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], check=True, stdout=subprocess.PIPE, text=True
    )
    return float(done.stdout)


def read_captions(path: str) -> list[str]:
    """Read the captions of any dataset that an audit reads."""
    from conceptaudit.datasets import CAPTION, open_dataset

    dataset = open_dataset(path)
    return [
        caption
        for shard in dataset.shards()
        for batch in dataset.read(shard, frozenset({CAPTION}))
        for caption in batch.captions or ()
        if caption is not None
    ]


def main() -> None:
    """Read the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    memory = verbs.add_parser("memory")
    memory.add_argument("--captions", required=True)
    memory.add_argument("--concepts", required=True)
    memory.add_argument("-n", type=int, default=None)
    memory.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    bench_memory(arguments)


if __name__ == "__main__":
    main()
