"""Time the removal of duplicates among many candidates; see `bench_longtail.py duplicates`."""

import argparse
import json
import time
from collections import Counter

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil

from conceptaudit.image.vectors import unit_rows
from conceptaudit.longtail.duplicates import remove_duplicates
from conceptaudit.options.longtail import LongTailOptions

CLASSES = 300
COPIES = 20
"""One candidate in so many is planted as a copy by hash, and one by embedding."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("--candidates", type=int, default=30_000)
    parser.add_argument("--dimension", type=int, default=512)


def main(args: argparse.Namespace) -> None:
    """Make candidates, clean them, and print a JSON line."""
    n, rng = args.candidates, np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, args.dimension)).astype(np.float32)
    noise = rng.standard_normal((n, args.dimension)).astype(np.float32)
    vectors = unit_rows(centres[np.arange(n) % CLASSES] + noise)
    hashes = rng.integers(0, 2**63, n, dtype=np.uint64)
    copies = rng.choice(n, n // COPIES, replace=False)
    of = rng.integers(0, n, len(copies))
    little = 0.003 * rng.standard_normal((len(copies), args.dimension)).astype(np.float32)
    vectors[copies] = unit_rows(vectors[of] + little)
    copies = rng.choice(n, n // COPIES, replace=False)
    hashes[copies] = hashes[rng.integers(0, n, len(copies))] ^ np.uint64(5)
    table = _candidates(hashes)
    began, used = time.perf_counter(), time.process_time()
    remove_duplicates(table, vectors, LongTailOptions())
    result = {
        "candidates": n,
        "seconds": round(time.perf_counter() - began, 2),
        "processor_seconds": round(time.process_time() - used, 2),
        "removed": dict(Counter(reason for reason in table["reason"] if reason)),
        "peak_rss_gib": round(psutil.Process().memory_info().rss / 2**30, 2),
    }
    print(json.dumps(result))


def _candidates(hashes: npt.NDArray[np.uint64]) -> pd.DataFrame:
    keys = [str(i) for i in range(len(hashes))]
    table = pd.DataFrame({"key": keys, "pixels": keys, "phash": hashes, "vector": range(len(keys))})
    table["concept"] = [str(i % CLASSES) for i in range(len(keys))]
    table["thumbnail"] = pd.Series([b""] * len(keys), dtype=object)
    return table.assign(width=9, height=9, reason="", detail="", duplicate_of="")
