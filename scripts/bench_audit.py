"""How fast an audit is, and how much memory it takes, side by side with what it is made of.

    python scripts/bench_audit.py text  --captions captions.parquet --concepts concepts.csv
    python scripts/bench_audit.py image --concepts 1203 --dimension 512
    python scripts/bench_audit.py memory --captions captions.parquet --concepts concepts.csv

Each prints a table and one JSON line. Rounds of the things compared alternate in one process, so
that a noisy machine disturbs both; ratios are medians over rounds. Text runs on one thread and is
timed by that thread's processor time, images by the clock on the wall.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd


def alternate(
    rounds: int, clock: Callable[[], float], **contenders: Callable[[], object]
) -> dict[str, list[float]]:
    """Time each contender once per round, in turn; the first round warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: times[1:] for name, times in seconds.items()}


def report(title: str, n: int, unit: str, seconds: dict[str, list[float]], base: str) -> None:
    """Print rates and ratios to the base, and the same as a JSON line."""
    print(f"\n{title}: {n:,} {unit}")
    rows = {}
    for name, times in seconds.items():
        ratios = [b / t for b, t in zip(seconds[base], times, strict=True)]
        rows[name] = {
            "rate": n / statistics.median(times),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
        print(
            f"  {name:<28}{rows[name]['rate']:>12,.0f} {unit}/s   "
            f"{rows[name]['ratio']:.2f} x {base} ({min(ratios):.2f} to {max(ratios):.2f})"
        )
    print(json.dumps({"bench": title, "n": n, "unit": unit, "base": base, "rows": rows}))


def bench_text(arguments: argparse.Namespace) -> None:
    """Compare tagging captions with running the same pipeline and doing nothing with it."""
    from conceptaudit.text.pipeline import load_pipeline
    from conceptaudit.text.tagger import SPACY_BATCH, CaptionAnnotator
    from conceptaudit.vocabulary import read_concepts

    captions = read_captions(arguments.captions)[: arguments.n]
    nlp = load_pipeline(arguments.spacy_model)
    vocabulary = read_concepts(arguments.concepts).vocabulary
    annotator = CaptionAnnotator(nlp, vocabulary, any_pos=False, nested=False)
    seconds = alternate(
        arguments.rounds,
        time.process_time,
        **{
            "nlp.pipe": lambda: sum(len(doc) for doc in nlp.pipe(captions, batch_size=SPACY_BATCH)),
            "conceptaudit": lambda: annotator.tag(captions),
        },
    )
    report(f"text, {len(vocabulary):,} concepts", len(captions), "captions", seconds, "nlp.pipe")


def bench_image(arguments: argparse.Namespace) -> None:
    """Compare tagging embeddings on disk with a plain matrix product and threshold."""
    from conceptaudit.datasets import open_dataset
    from conceptaudit.image.exact import ThresholdSearch
    from conceptaudit.image.stages import ImageTagger
    from conceptaudit.image.vectors import unit_rows

    rng = np.random.default_rng(0)
    concepts = unit_rows(rng.standard_normal((arguments.concepts, arguments.dimension), np.float32))
    images = unit_rows(rng.standard_normal((arguments.n, arguments.dimension), np.float32))
    threshold = 3.0 / np.sqrt(arguments.dimension)
    thresholds = np.full(len(concepts), threshold)

    def plain() -> int:
        found = 0
        for start in range(0, len(images), 8192):
            scores = images[start : start + 8192] @ concepts.T
            found += len(np.nonzero(scores >= threshold)[0])
        return found

    def search(backend: str) -> Callable[[], object]:
        engine = ThresholdSearch(concepts, thresholds, backend)
        return lambda: [
            engine.find(images[start : start + 8192]) for start in range(0, len(images), 8192)
        ]

    with tempfile.TemporaryDirectory() as folder:
        for part in ("img_emb", "metadata"):
            (Path(folder) / part).mkdir()
        np.save(Path(folder) / "img_emb/img_emb_0.npy", images.astype(np.float16))
        keys = pd.DataFrame({"image_path": [f"{i:09d}" for i in range(len(images))]})
        keys.to_parquet(Path(folder) / "metadata/metadata_0.parquet")
        dataset = open_dataset(folder)
        stage = ImageTagger(concepts=concepts, thresholds=tuple(thresholds), source="bench")

        def whole_stage() -> None:
            for shard in dataset.shards():
                stage(shard, dataset.read(shard, stage.parts))

        def plain_from_file() -> int:
            stored = np.load(Path(folder) / "img_emb/img_emb_0.npy", mmap_mode="r")
            found = 0
            for start in range(0, len(stored), 8192):
                block = unit_rows(stored[start : start + 8192])
                found += len(np.nonzero(block @ concepts.T >= threshold)[0])
            return found

        seconds = alternate(
            arguments.rounds,
            time.perf_counter,
            **{
                "numpy": plain,
                "numpy from float16 npy": plain_from_file,
                "search, blas": search("blas"),
                "search, faiss": search("faiss"),
                "whole stage from float16 npy": whole_stage,
            },
        )
    title = f"image tags, {arguments.concepts:,} concepts x {arguments.dimension}"
    report(title, len(images), "images", seconds, "numpy")


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
    parser.add_argument("--rounds", type=int, default=5)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("text", "memory"):
        of_text = verbs.add_parser(verb)
        of_text.add_argument("--captions", required=True)
        of_text.add_argument("--concepts", required=True)
        of_text.add_argument("--spacy-model", default="bundled")
        of_text.add_argument("-n", type=int, default=10_000 if verb == "text" else None)
        of_text.add_argument("--times", type=int, default=10)
    image = verbs.add_parser("image")
    image.add_argument("--concepts", type=int, default=1_203)
    image.add_argument("--dimension", type=int, default=512)
    image.add_argument("-n", type=int, default=100_000)
    arguments = parser.parse_args()
    {"text": bench_text, "image": bench_image, "memory": bench_memory}[arguments.verb](arguments)


if __name__ == "__main__":
    main()
