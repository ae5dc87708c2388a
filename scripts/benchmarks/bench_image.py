"""How fast images are tagged and indexed, and how much memory that takes.

    python scripts/benchmarks/bench_image.py tags --concepts 4029 -n 32768
    python scripts/benchmarks/bench_image.py memory -n 2000000 --dtype float16 --folder DIR
    python scripts/benchmarks/bench_image.py index -n 1000000 --folder DIR
    python scripts/benchmarks/bench_image.py index -n 100000 --preset hnsw --folder DIR

Each prints a table and one JSON line. What is compared takes turns in one process, so that a noisy
machine disturbs both; ratios are medians over rounds. Memory is the peak of a process of its own.
Vectors are drawn around random centres, as many images of few things are.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FILE_ROWS = 100_000
CENTRES = 20_000

# not getrusage's maximum, which a process inherits from the one that started it
PEAK = """
status = open("/proc/self/status").read().split("VmHWM:")[1].split()
peak = int(status[0]) / 1024
"""


def alternate(rounds: int, contenders: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
    """Time each contender once per round, in turn; the first round warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in seconds.items()}


def bench_tags(arguments: argparse.Namespace) -> None:
    """Compare the backends with what they are made of, and the whole stage with them."""
    import faiss
    import torch

    from conceptaudit.datasets import open_dataset
    from conceptaudit.image.backends import BLOCK_IMAGES
    from conceptaudit.image.exact import ThresholdSearch
    from conceptaudit.image.stages import ImageTagger
    from conceptaudit.image.vectors import unit_rows

    rng = np.random.default_rng(0)
    shape = (arguments.concepts, arguments.dimension)
    concepts = unit_rows(rng.standard_normal(shape, dtype=np.float32))
    images = unit_rows(rng.standard_normal((arguments.n, shape[1]), dtype=np.float32))
    share = arguments.hits / arguments.concepts
    threshold = float(np.quantile(images[:500] @ concepts.T, 1 - share))
    thresholds = np.full(len(concepts), threshold)
    plain = faiss.IndexFlatIP(shape[1])
    plain.add(concepts)
    columns = np.ascontiguousarray(concepts.T)
    half = torch.from_numpy(concepts).bfloat16().t().contiguous()
    rounded = torch.from_numpy(images).bfloat16()
    room = torch.empty((BLOCK_IMAGES, len(concepts)), dtype=torch.bfloat16)
    products = np.empty(room.shape, dtype=np.float32)
    blocks = range(0, len(images) - BLOCK_IMAGES + 1, BLOCK_IMAGES)

    def search(backend: str) -> Callable[[], object]:
        engine = ThresholdSearch(concepts, thresholds, backend, device="cpu")
        return lambda: [len(engine.find(images[i : i + 8192]).rows) for i in blocks[::8]]

    with tempfile.TemporaryDirectory() as folder:
        write_vectors(Path(folder), [images], "float16")
        dataset = open_dataset(folder)
        stage = ImageTagger(
            concepts=concepts, thresholds=tuple(thresholds), source="bench", device="cpu"
        )

        def whole_stage() -> None:
            for shard in dataset.shards():
                stage(shard, dataset.read(shard, stage.parts))

        seconds = alternate(
            arguments.rounds,
            {
                "float32 product alone (numpy)": lambda: [
                    np.dot(images[i : i + BLOCK_IMAGES], columns, out=products) for i in blocks
                ],
                "bfloat16 product alone (torch)": lambda: [
                    torch.mm(rounded[i : i + BLOCK_IMAGES], half, out=room) for i in blocks
                ],
                "FAISS range_search alone": lambda: [
                    plain.range_search(images[i : i + 8192], threshold) for i in blocks[::8]
                ],
                "search, blas": search("blas"),
                "search, faiss": search("faiss"),
                "search, torch": search("torch"),
                "whole stage from float16 npy": whole_stage,
            },
        )
    found = ThresholdSearch(concepts, thresholds, device="cpu").find(images[:4096])
    per_image = len(found.rows) / 4096
    title = f"{shape[0]:,} concepts x {shape[1]}, {per_image:.1f} tags per image"
    base = "FAISS range_search alone"
    rows: dict[str, dict[str, float]] = {}
    print(f"\n{title}, {torch.get_num_threads()} threads, {arguments.n:,} images")
    for name, times in seconds.items():
        to_faiss = [b / t for b, t in zip(seconds[base], times, strict=True)]
        bare = seconds["bfloat16 product alone (torch)"]
        to_half = [b / t for b, t in zip(bare, times, strict=True)]
        rows[name] = {
            "rate": arguments.n / statistics.median(times),
            "to_faiss": statistics.median(to_faiss),
            "to_bfloat16": statistics.median(to_half),
        }
        print(
            f"  {name:<32}{rows[name]['rate']:>10,.0f} images/s   "
            f"{rows[name]['to_faiss']:.2f} x FAISS ({min(to_faiss):.2f} to {max(to_faiss):.2f})   "
            f"{rows[name]['to_bfloat16']:.2f} x bfloat16 ({min(to_half):.2f} to {max(to_half):.2f})"
        )
    print(json.dumps({"bench": "tags", "title": title, "n": arguments.n, "rows": rows}))


def bench_memory(arguments: argparse.Namespace) -> None:
    """Measure the peak memory and the rate of tagging a large folder of embeddings."""
    folder = Path(arguments.folder) / f"vectors-{arguments.n}-{arguments.dtype}"
    make_vectors(folder, arguments.n, arguments.dimension, arguments.dtype)
    code = f"""
import time
import numpy as np
from conceptaudit.datasets import open_dataset
from conceptaudit.image.stages import ImageTagger
from conceptaudit.image.vectors import unit_rows
rng = np.random.default_rng(0)
concepts = unit_rows(rng.standard_normal(({arguments.concepts}, {arguments.dimension}), np.float32))
stage = ImageTagger(concepts=concepts, thresholds=({arguments.threshold},) * len(concepts),
                    source="bench")
dataset = open_dataset({str(folder)!r})
start, rows, tags = time.perf_counter(), 0, 0
for shard in dataset.shards():
    result = stage(shard, dataset.read(shard, stage.parts))
    rows += result.summary["n_used"]
    tags += len(result.tables[".parquet"])
seconds = time.perf_counter() - start
{PEAK}
print(rows, tags / rows, seconds, peak)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True
    )
    rows, tags, seconds, peak = (float(word) for word in done.stdout.split())
    print(
        f"{rows:,.0f} vectors of {arguments.dimension} {arguments.dtype}, {arguments.concepts:,} "
        f"concepts, {tags:.1f} tags each: {rows / seconds:,.0f} images/s, peak {peak:,.0f} MiB"
    )
    print(json.dumps({"bench": "memory", "rows": rows, "peak_mib": peak, "seconds": seconds}))
    if not arguments.keep:
        shutil.rmtree(folder)


def bench_index(arguments: argparse.Namespace) -> None:
    """Build one index in a process of its own: time, peak memory, recall, searches per second."""
    folder = Path(arguments.folder) / f"vectors-{arguments.n}-float16"
    make_vectors(folder, arguments.n, arguments.dimension, "float16")
    for preset in arguments.preset or ["auto"]:
        print(json.dumps({"bench": "index", **_built(arguments, folder, preset)}))
    if not arguments.keep:
        shutil.rmtree(folder)


def _built(arguments: argparse.Namespace, folder: Path, preset: str) -> dict[str, Any]:
    from conceptaudit.image.index import open_index

    out = Path(tempfile.mkdtemp(prefix="built-index-", dir=arguments.folder))
    code = f"""
import resource, sys, time
from conceptaudit.cli.main import main
start = time.perf_counter()
code = main(["index", "build", {str(folder)!r}, "-o", {str(out)!r}, "--preset", {preset!r},
             "--memory", {arguments.memory!r}])
used = resource.getrusage(resource.RUSAGE_SELF)
{PEAK}
print(code, time.perf_counter() - start, used.ru_utime + used.ru_stime, peak)
sys.exit(code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, stdout=subprocess.PIPE, text=True
    )
    exit_code, *rest = done.stdout.splitlines()[-1].split()
    seconds, cpu, peak = map(float, rest)
    row: dict[str, Any] = {"preset": preset, "seconds": seconds, "cpu": cpu, "peak_mib": peak}
    if int(exit_code):
        print(f"{preset}: exit code {exit_code} after {seconds:,.0f} s")
        return row
    index = open_index(out)
    first = min((folder / "img_emb").glob("*.npy"))
    queries = np.load(first, mmap_mode="r")[:200].astype(np.float32)
    index.search(queries, 10)
    start = time.perf_counter()
    for query in queries:
        index.search(query[None], 10)
    each = (time.perf_counter() - start) / len(queries)
    recall, search = index.manifest["recall"], index.manifest["search"]
    row |= {"chosen": index.manifest["preset"], "factory": index.manifest["factory"],
            "recall": recall, "search": search, "bytes": index.manifest["bytes"],
            "ms_per_query": 1000 * each}  # fmt: skip
    print(
        f"{index.manifest['preset']} ({index.manifest['factory']}): built in {seconds:,.0f} s "
        f"({cpu:,.0f} s of processors), peak {peak:,.0f} MiB, {index.manifest['bytes']:,} bytes, "
        f"recall@10 {recall['value']:.3f} at {search['setting'] or 'no setting'} "
        f"{search['value']}, {1000 * each:.2f} ms per query"
    )
    shutil.rmtree(out)
    return row


def make_vectors(folder: Path, n: int, dimension: int, dtype: str) -> None:
    """Write clustered unit vectors, unless they are there already."""
    if folder.exists():
        return
    from conceptaudit.image.vectors import unit_rows

    rng = np.random.default_rng(1)
    centres = rng.standard_normal((min(CENTRES, max(n // 50, 1)), dimension), dtype=np.float32)

    def parts() -> Any:
        for start in range(0, n, FILE_ROWS):
            rows = min(FILE_ROWS, n - start)
            noise = rng.standard_normal((rows, dimension), dtype=np.float32)
            yield unit_rows(centres[rng.integers(0, len(centres), rows)] + noise)

    write_vectors(folder, parts(), dtype)


def write_vectors(folder: Path, parts: Any, dtype: str) -> None:
    """Write arrays as a clip-retrieval folder, one file each, with keys."""
    (folder / "img_emb").mkdir(parents=True)
    (folder / "metadata").mkdir()
    done = 0
    for i, vectors in enumerate(parts):
        np.save(folder / f"img_emb/img_emb_{i:04d}.npy", vectors.astype(dtype))
        keys = pd.DataFrame({"image_path": [f"{done + j:010d}" for j in range(len(vectors))]})
        keys.to_parquet(folder / f"metadata/metadata_{i:04d}.parquet")
        done += len(vectors)


def main() -> None:
    """Read the command line and run one benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, n in (("tags", 32_768), ("memory", 2_000_000), ("index", 1_000_000)):
        one = verbs.add_parser(verb)
        one.add_argument("-n", type=int, default=n)
        one.add_argument("--concepts", type=int, default=4_029)
        one.add_argument("--dimension", type=int, default=512)
        one.add_argument("--folder", default=tempfile.gettempdir(), help="scratch, several GB")
        one.add_argument("--keep", action="store_true", help="leave the vectors there")
        one.add_argument("--rounds", type=int, default=4)
        one.add_argument("--hits", type=float, default=8.0, help="tags per image")
        one.add_argument("--threshold", type=float, default=0.13)
        one.add_argument("--dtype", default="float16", choices=["float16", "float32"])
        one.add_argument("--preset", action="append", help="repeat for more")
        one.add_argument("--memory", default="6GB")
    arguments = parser.parse_args()
    {"tags": bench_tags, "memory": bench_memory, "index": bench_index}[arguments.verb](arguments)


if __name__ == "__main__":
    main()
