r"""How fast a long-tail set is made of a pool of embeddings; see `bench_longtail.py speed`."""

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import MANIFEST, file_digest, write_json, write_npy, write_parquet
from conceptaudit.frequency.counting import frequency_table
from conceptaudit.image.index import build_index
from conceptaudit.longtail import LongTailOptions, build_long_tail
from conceptaudit.longtail.source import CONCEPTS, FREQUENCIES, VECTORS
from conceptaudit.progress import SilentProgress
from conceptaudit.records import Concept, ConceptVocabulary

FILE_ROWS = 100_000
VOCABULARY = 1_000
NEAR = 0.55
"""Weight of a picture's concept in its vector: cosines with it lie around 0.5."""

COPIES = 50
"""Every fiftieth picture is a copy of another one of its file."""


class Clock(SilentProgress):
    """Notes how long stages of the work take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._stage, self._since = "", 0.0

    def start(self, stage: str, total: int | None, unit: str = "shards") -> None:  # noqa: ARG002 -- as declared
        """Note the time."""
        self._stage, self._since = stage, time.perf_counter()

    def finish(self) -> None:
        """Note the time that it took."""
        self.seconds[self._stage] = time.perf_counter() - self._since


def make_pool(folder: Path, rows: int, dimension: int) -> None:
    """Write clustered float16 unit vectors with captions, and an audit of their concepts."""
    rng = np.random.default_rng(0)
    concepts = rng.normal(size=(VOCABULARY, dimension)).astype(np.float32)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    share = 1.0 / np.arange(1, VOCABULARY + 1)
    counts = np.zeros(VOCABULARY, dtype=np.int64)
    for place in ("img_emb", "metadata"):
        (folder / "emb" / place).mkdir(parents=True, exist_ok=True)
    for part in range(-(-rows // FILE_ROWS)):
        n = min(FILE_ROWS, rows - part * FILE_ROWS)
        shown = rng.choice(VOCABULARY, n, p=share / share.sum())
        shown[::COPIES] = shown[1::COPIES]
        counts += np.bincount(shown, minlength=VOCABULARY)
        noise = rng.normal(size=(n, dimension)).astype(np.float32) / np.sqrt(dimension)
        vectors = NEAR * concepts[shown] + (1 - NEAR**2) ** 0.5 * noise
        vectors[::COPIES] = vectors[1::COPIES]
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        np.save(folder / "emb" / "img_emb" / f"img_emb_{part}.npy", vectors.astype(np.float16))
        table = pd.DataFrame(
            {
                "image_path": [f"{part:05d}{i:05d}" for i in range(n)],
                "caption": [f"a picture of thing {one} in a place" for one in shown],
            }
        )
        table.to_parquet(folder / "emb" / "metadata" / f"metadata_{part}.parquet")
    _write_audit(folder / "run", concepts, counts)


def _write_audit(folder: Path, concepts: np.ndarray, counts: np.ndarray) -> None:
    folder.mkdir(parents=True)
    vocabulary = ConceptVocabulary(tuple(Concept(name=f"thing {i}") for i in range(len(counts))))
    write_parquet(folder / FREQUENCIES, frequency_table(vocabulary, {"image": counts}).table)
    rows = [{"concept": one.name, "aliases": [], "prompts": []} for one in vocabulary]
    write_json(folder / CONCEPTS, rows)
    write_npy(folder / VECTORS, concepts)
    manifest = {
        "kind": "audit",
        "digest": "synthetic",
        "dataset": "synthetic",
        "settings": [{"stage": "image", "source": "file:synthetic"}],
        "files": {name: file_digest(folder / name) for name in (FREQUENCIES, CONCEPTS, VECTORS)},
    }
    write_json(folder / MANIFEST, manifest)


def speed(args: argparse.Namespace) -> dict[str, object]:
    """Make the pool where it is not there, make the set, and say how long that took."""
    if not (args.pool / "run").is_dir():
        make_pool(args.pool, args.rows, args.dimension)
    index = args.pool / "index" if args.index else None
    if index is not None and not index.is_dir():
        build_index(args.pool / "emb", index, preset=args.index)
    out = args.pool / f"set-{time.time_ns()}"
    options = LongTailOptions(k=args.concepts, index=index)
    clock = Clock()
    since = time.perf_counter()
    made = build_long_tail(
        args.pool / "run",
        args.pool / "emb",
        out,
        options=options,
        workers=args.workers,
        progress=clock,
    )
    seconds = time.perf_counter() - since
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(kind).ru_maxrss // 1024 for kind in kinds]
    told = {
        "rows": made.manifest["account"]["n_samples"],
        "concepts": args.concepts,
        "candidates_per_concept": options.n_candidates,
        "workers": args.workers,
        "index": args.index,
        "seconds": round(seconds, 1),
        **{f"seconds_{name}": round(value, 1) for name, value in clock.seconds.items()},
        "peak_mib": peaks[0],
        "largest_worker_mib": peaks[1],
        "n_images": made.manifest["n_images"],
        "removed": made.manifest["removed"],
        "images_of_their_concept": round(_right(made.images), 4),
    }
    print(f"{told['rows']:,} images, {args.concepts} concepts: {seconds:.1f} s")
    return told


def _right(images: pd.DataFrame) -> float:
    """Part of the images whose caption names the concept that they were taken for."""
    return float(
        np.mean(
            [
                f" {row.concept} " in str(row.caption)
                for row in images[["concept", "caption"]].itertuples()
            ]
        )
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``speed``."""
    parser.add_argument("--pool", type=Path, required=True, help="Scratch folder, kept.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--concepts", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--index", help="Preset of an index that proposes images.")


def main(args: argparse.Namespace) -> None:
    """Measure, and end with a JSON line."""
    print(json.dumps(speed(args)))
