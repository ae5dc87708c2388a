"""How much time and memory a listing of nouns takes on a corpus that does not fit.

    python scripts/benchmarks/bench_vocab.py run --captions a.parquet b.parquet --rows 1000000
    python scripts/benchmarks/bench_vocab.py merge --shards 100 --entries 200000

`run` lists a corpus of real captions recombined (the beginning of one, the end of another), each
caption `--repeat` times in a row with other image keys, and every image's captions as far apart as
can be, so that each key lies in several shards: the worst case for counting distinct images.
`merge` adds up shards that were made up, most of whose entries no other shard has. Peak memory is
that of a process of its own. Prints a JSON line.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

CAPTIONS_PER_IMAGE = 5


def recombined(files: list[Path], rows: int, repeat: int, seed: int) -> pd.DataFrame:
    """Captions and keys, seeded."""
    from conceptaudit.datasets import CAPTION, open_dataset

    real = [
        caption
        for file in files
        for dataset in [open_dataset(file)]
        for shard in dataset.shards()
        for batch in dataset.read(shard, frozenset({CAPTION}))
        for caption in batch.captions or ()
        if caption is not None
    ]
    dice = np.random.default_rng(seed)
    distinct = -(-rows // repeat)
    first, second = dice.integers(len(real), size=(2, distinct))
    captions = []
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        left, right = real[a].split(), real[b].split()
        captions.append(" ".join([*left[: len(left) // 2 + 1], *right[len(right) // 2 :]])[:300])
    images = max(rows // CAPTIONS_PER_IMAGE, 1)
    return pd.DataFrame(
        {
            "image_id": [f"{i % images:09d}.jpg" for i in range(rows)],
            "caption": np.repeat(np.array(captions, dtype=object), repeat)[:rows],
        }
    )


def measured(code: str) -> tuple[float, float]:
    """Seconds and peak resident megabytes of a fresh interpreter."""
    start = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", f"{code}\n{_TELL}"], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - start, int(told.stdout.split()[-1]) / 1024


_TELL = (
    "import resource\n"
    "own, kids = (resource.getrusage(w).ru_maxrss for w in "
    "(resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))\n"
    "print(max(own, kids))"
)


def run(arguments: argparse.Namespace, folder: Path) -> dict:
    """List a recombined corpus."""
    table = recombined(arguments.captions, arguments.rows, arguments.repeat, arguments.seed)
    table.to_parquet(folder / "corpus.parquet")
    distinct = int(table["caption"].nunique())
    del table
    out = folder / "vocab.parquet"
    seconds, megabytes = measured(
        "from conceptaudit.noun_vocabulary import VocabOptions, list_vocabulary\n"
        f"list_vocabulary({str(folder / 'corpus.parquet')!r}, {str(out)!r}, "
        f"options=VocabOptions(workers={arguments.workers}, keep_parts=True, "
        f"memory_limit={arguments.memory_limit!r}))"
    )
    found = pd.read_parquet(out)
    return {
        "rows": arguments.rows,
        "distinct_captions": distinct,
        "entries": len(found),
        "captions_counted": int(found["n_captions"].sum()),
        "seconds": round(seconds, 1),
        "peak_mb": round(megabytes),
        "parts_mb": round(_size(folder / "vocab.parquet.parts")),
    }


def merge(arguments: argparse.Namespace, folder: Path) -> dict:
    """Add up made-up shards; every tenth entry is common, the others occur in one shard."""
    parts = folder / "nouns"
    parts.mkdir()
    names = [f"{i:07d}" for i in range(arguments.shards)]
    for i, name in enumerate(names):
        numbers = np.arange(arguments.entries)
        own = np.where(numbers % 10 == 0, numbers, numbers + (i + 1) * arguments.entries)
        pd.DataFrame(
            {
                "kind": "phrase",
                "text": [f"noun phrase {n:012d}" for n in own.tolist()],
                "n_captions": 2,
                "n_images": 1,
            }
        ).to_parquet(parts / f"{name}.parquet")
    seconds, megabytes = measured(
        "from pathlib import Path\n"
        "from conceptaudit.noun_vocabulary.merging import merge_counts\n"
        f"merge_counts(Path({str(parts)!r}), {names!r}, Path({str(folder / 'v.parquet')!r}), "
        f"spill=Path({str(folder)!r}), captions_per_image=None, min_count=1, "
        f"min_images=1, memory_limit={arguments.memory_limit!r})"
    )
    import pyarrow.parquet as pq

    return {
        "shard_rows": arguments.shards * arguments.entries,
        "entries": pq.ParquetFile(folder / "v.parquet").metadata.num_rows,
        "seconds": round(seconds, 1),
        "peak_mb": round(megabytes),
    }


def _size(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main() -> None:
    """Measure one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["run", "merge"])
    parser.add_argument("--captions", type=Path, nargs="+", default=[])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument("--memory-limit", default="1GB")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = (run if arguments.what == "run" else merge)(arguments, Path(folder))
    print(
        json.dumps(
            {
                "bench": f"vocab {arguments.what}",
                "memory_limit": arguments.memory_limit,
                **result,
            }
        )
    )


if __name__ == "__main__":
    main()
