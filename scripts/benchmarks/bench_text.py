"""How fast captions are counted, and how well the counts agree, side by side in one run.

    python scripts/benchmarks/bench_text.py --data ../shared/data
    python scripts/benchmarks/bench_text.py --million 5 --names lvis --ways pipe exact fast
    python scripts/benchmarks/bench_text.py --models bundled sm=PATH --ways pipe exact --rounds 3
    python scripts/benchmarks/bench_text.py --sets all --repeat-samples 10
    python scripts/benchmarks/bench_text.py --sets --million 5 --names lvis --workers 1 2

Ways: ``pipe`` is the bare spaCy pipeline (``--models``: the bundled one, others by name or path;
tagger and lemmatizer, nothing done with it), ``paper``
the published algorithm, ``strings`` an Aho-Corasick search for the names as strings, ``exact`` and
``fast`` ours as an audit runs them, from the file to the counts. Each runs in a process of its own,
on one core, timed by that process's processor time without loading models; its peak memory is that
process's. ``pipe`` and ``paper`` are measured on a sample of each set, spread over it. Agreement is
with ``exact``, concept by concept. ``--repeat-samples`` tags every open pair once, repeats the
sampling of ``fast`` with several seeds and says how errors and intervals come out; ``--workers``
measures wall-clock times of ``fast`` with so many processes. Prints a table and one JSON line.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

SETS = {
    "laion": ("laion_alt_text_10k.parquet", "TEXT"),
    "flickr30k": ("flickr30k_en.parquet", "caption"),
    "flickr8k": ("flickr8k.parquet", "caption"),
    "cc3m": ("cc3m_validation.tsv", None),
}
WAYS = ("pipe", "paper", "strings", "exact", "fast")
SAMPLED = ("pipe", "paper")
FEW, MANY = 100, 1_000
"""Matches from which a concept's error is told, and told apart."""

Counts = npt.NDArray[np.int64]


def read_set(data: Path, name: str) -> list[str]:
    """Read one set of real captions."""
    file, column = SETS[name]
    path = data / "captions" / file
    if column is None:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [line.split("\t")[0] for line in lines if line]
    return pd.read_parquet(path)[column].dropna().tolist()


def vocabulary(data: Path, names: str) -> Any:
    """Return the concepts of a list."""
    from conceptaudit.records import Concept, ConceptVocabulary
    from conceptaudit.vocabulary import read_concepts

    if names == "lvis":
        path = data / "clip/detic_text_embeddings/lvis_categories.csv"
        return read_concepts(path).vocabulary
    if names == "imagenet":
        import open_clip

        distinct = dict.fromkeys(open_clip.IMAGENET_CLASSNAMES)
        return ConceptVocabulary(tuple(Concept(name=name) for name in distinct))
    return large_vocabulary(data)


def large_vocabulary(data: Path, n: int = 20_000) -> Any:
    """Make 20,000 concepts with aliases of the noun synsets of Open English WordNet."""
    from conceptaudit.records import Concept, ConceptVocabulary

    table = pd.read_parquet(data / "lexicon/noun_synsets.parquet")
    concepts: dict[str, Concept] = {}
    for members in table["members"]:
        names = members.split("|") if isinstance(members, str) else [str(m) for m in members]
        if names and names[0] not in concepts and len(concepts) < n:
            concepts[names[0]] = Concept(name=names[0], aliases=tuple(names[1:]))
    return ConceptVocabulary(tuple(concepts.values()))


def recombined(captions: list[str], n: int, path: Path) -> None:
    """Write `n` captions: each the first half of one real caption and the second of another."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    halves = [caption.split() for caption in captions]
    left = [" ".join(words[: len(words) // 2]) for words in halves]
    right = [" ".join(words[len(words) // 2 :]) for words in halves]
    schema = pa.schema([("caption", pa.string())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, n, 200_000):
            size = min(200_000, n - start)
            pairs = rng.integers(0, len(captions), (size, 2)).tolist()
            joined = [f"{left[a]} {right[b]}".strip() for a, b in pairs]
            writer.write_table(pa.table({"caption": joined}, schema=schema), row_group_size=20_000)


def count_with_us(
    path: Path, concepts: Any, mode: str, folder: Path, model: str
) -> tuple[Counts, float]:
    """Count as an audit does, on this process's one core; return counts and seconds."""
    from conceptaudit.auditing import AuditOptions, audit
    from conceptaudit.text.pipeline import find_pipeline
    from conceptaudit.text.tagger import TextTagger, annotator_of

    tagger = TextTagger(vocabulary=concepts, pipeline=find_pipeline(model))
    annotator_of(tagger).tag(["a dog"])  # loads and compiles everything
    options = AuditOptions(text_mode=mode, workers=1, spacy_model=model)
    start = time.process_time()
    run = audit(path, concepts, folder / "run", options=options)
    seconds = time.process_time() - start
    return run.table["n_text"].to_numpy(np.int64), seconds


def count_strings(captions: list[str], concepts: Any) -> tuple[Counts, float]:
    """Count the captions that hold a name as a string, between word boundaries."""
    import ahocorasick  # type: ignore[import-not-found]

    from conceptaudit.text.normalize import phrase_text

    automaton = ahocorasick.Automaton()
    for i, concept in enumerate(concepts):
        for phrase in concept.phrases:
            word = f" {phrase_text(phrase).lower()} "
            automaton.add_word(word, (*automaton.get(word, ()), i))
    automaton.make_automaton()
    counts = np.zeros(len(concepts), dtype=np.int64)
    start = time.process_time()
    for caption in captions:
        held = {i for _, ids in automaton.iter(f" {caption.lower()} ") for i in ids}
        for i in held:
            counts[i] += 1
    return counts, time.process_time() - start


def count_as_published(captions: list[str], concepts: Any) -> tuple[Counts, float]:
    """Index every caption's terms and search them, as the paper's script does."""
    from conceptaudit.text.paper import PaperQueries, TermsHeld, search
    from conceptaudit.text.pipeline import find_pipeline, load_pipeline

    nlp = load_pipeline("bundled")
    queries = PaperQueries.build(concepts, find_pipeline())
    held = TermsHeld(nlp, queries.terms)
    start = time.process_time()
    samples: list[int] = []
    terms: list[int] = []
    for i, doc in enumerate(nlp.pipe(captions, batch_size=256)):
        found = held(doc)
        samples += [i] * len(found)
        terms += found
    ids = np.array(terms, dtype=np.int64)
    _, named = search(
        np.array(samples, dtype=np.int64), ids, queries.of_concept, frozenset(ids.tolist())
    )
    seconds = time.process_time() - start
    return np.bincount(named, minlength=len(concepts)).astype(np.int64), seconds


def run_pipe(captions: list[str], model: str) -> float:
    """Run the bare pipeline and do nothing with it."""
    from conceptaudit.text.pipeline import load_pipeline

    nlp = load_pipeline(model)
    list(nlp.pipe(captions[:64]))
    start = time.process_time()
    for doc in nlp.pipe(captions, batch_size=256):
        len(doc)
    return time.process_time() - start


def measure(arguments: argparse.Namespace) -> None:
    """Measure one way on one corpus; what a child process does."""
    path, way = Path(arguments.corpus), arguments.one
    data = Path(arguments.data)
    concepts = vocabulary(data, arguments.names[0])
    captions = pd.read_parquet(path)["caption"].tolist() if way not in ("exact", "fast") else []
    if way in SAMPLED:
        step = max(len(captions) // arguments.sample, 1)
        captions = captions[::step][: arguments.sample]
    counts: Counts | None = None
    with tempfile.TemporaryDirectory() as folder:
        if way == "pipe":
            seconds, n = run_pipe(captions, arguments.models[0]), len(captions)
        elif way == "paper":
            (_, seconds), n = count_as_published(captions, concepts), len(captions)
        elif way == "strings":
            (counts, seconds), n = count_strings(captions, concepts), len(captions)
        else:
            counts, seconds = count_with_us(path, concepts, way, Path(folder), arguments.models[0])
            import pyarrow.parquet as pq

            n = pq.ParquetFile(path).metadata.num_rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = None if counts is None else counts.tolist()
    print(json.dumps({"rate": n / seconds, "n": n, "peak_mib": peak, "counts": found}))


def wall_clock(corpus: Path, names: str, workers: int, arguments: argparse.Namespace) -> float:
    """Return the seconds that ``conceptaudit audit`` takes from start to end, with its start."""
    from conceptaudit.artifacts import write_text

    with tempfile.TemporaryDirectory() as folder:
        concepts = Path(folder) / "concepts.json"
        listed = [
            {"concept": concept.name, "aliases": list(concept.aliases)}
            for concept in vocabulary(Path(arguments.data), names)
        ]
        write_text(concepts, json.dumps(listed))
        command = [
            *(sys.executable, "-m", "conceptaudit", "audit", str(corpus), "-c", str(concepts)),
            *("-o", str(Path(folder) / "run"), "--text-mode", "fast", "--workers", str(workers)),
        ]
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return time.perf_counter() - start


def compare_workers(
    title: str, corpus: Path, names: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Measure the fast mode with several numbers of processes, and print a line for each."""
    seconds = {n: wall_clock(corpus, names, n, arguments) for n in arguments.workers}
    first = seconds[arguments.workers[0]]
    for n, taken in seconds.items():
        print(f"{title}, {names}: {n} workers {taken:.1f} s, {first / taken:.2f} x", flush=True)
    return {"corpus": title, "names": names, "seconds": seconds}


def compare_samples(
    title: str, corpus: Path, names: str, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Repeat the sampling of the fast mode, and print how its estimates come out."""
    from text_samples import repeat_samples

    captions = pd.read_parquet(corpus)["caption"].tolist()
    concepts = vocabulary(Path(arguments.data), names)
    row = repeat_samples(captions, concepts, repeats=arguments.repeat_samples, error=0.005)
    print(f"\n{title}, {names}: {arguments.repeat_samples} samples")
    print(
        f"  {row['tagged']:,.0f} of {row['pairs']:,} open pairs tagged; median error "
        f"{row['median_error']:.2%}; of {row['concepts_many']} concepts with {MANY:,} matches "
        f"95th percentile {row['p95_error_many']:.2%}, within 1 % "
        f"{row['within_1_percent_many']:.1%}; inside the 90 % interval {row['inside']:.1%} "
        f"of {row['unsure']:.0f}, with a standard "
        f"error above 5 captions {row['inside_clear']:.1%} of {row['clear']:.0f}",
        flush=True,
    )
    return {"corpus": title, "names": names, "samples": row}


def child(
    way: str, corpus: Path, names: str, arguments: argparse.Namespace, model: str
) -> dict[str, Any]:
    """Measure one way in a process of its own, on one thread."""
    command = [
        *(sys.executable, __file__, "--one", way, "--corpus", str(corpus), "--names", names),
        *("--data", arguments.data, "--sample", str(arguments.sample), "--models", model),
    ]
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(threads, "1")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def agreement(counts: list[int], truth: list[int]) -> dict[str, float]:
    """Compare counts with exact ones, over concepts with enough matches."""
    a, b = np.array(counts, dtype=float), np.array(truth, dtype=float)
    some, many = b >= FEW, b >= MANY
    off = np.abs(a - b) / np.maximum(b, 1)
    return {
        "concepts": int(some.sum()),
        "median_error": float(np.median(off[some])) if some.any() else float("nan"),
        "within_1_percent": float((off[some] <= 0.01).mean()) if some.any() else float("nan"),
        "many_within_1_percent": float((off[many] <= 0.01).mean()) if many.any() else float("nan"),
        "worst": float(off[some].max()) if some.any() else float("nan"),
    }


def compare(title: str, corpus: Path, names: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all ways on one corpus with every pipeline."""
    return {
        "corpus": title,
        "names": names,
        "models": [
            compare_ways(title, corpus, names, arguments, model) for model in arguments.models
        ],
    }


def compare_ways(
    title: str, corpus: Path, names: str, arguments: argparse.Namespace, model: str
) -> dict[str, Any]:
    """Measure all ways on one corpus, rounds alternating, and print a table."""
    label, _, path = model.rpartition("=")
    rounds = [
        {way: child(way, corpus, names, arguments, path) for way in arguments.ways}
        for _ in range(arguments.rounds)
    ]
    rows: dict[str, Any] = {}
    for way in arguments.ways:
        tries = [measured[way] for measured in rounds]
        row = {
            "rate": float(np.median([found["rate"] for found in tries])),
            "n": tries[0]["n"],
            "peak_mib": max(found["peak_mib"] for found in tries),
        }
        if "pipe" in arguments.ways:
            ratios = [m[way]["rate"] / m["pipe"]["rate"] for m in rounds]
            row["ratio"] = float(np.median(ratios))
        exact = rounds[0].get("exact")
        if exact is not None and tries[0]["counts"] is not None:
            row |= agreement(tries[0]["counts"], exact["counts"])
        rows[way] = row
    print(f"\n{title}, {names}, {label or path}")
    for way, row in rows.items():
        print(
            f"  {way:<8}{row['rate']:>10,.0f} captions/s {row.get('ratio', float('nan')):>7.1f} x "
            f"{row['peak_mib']:>7,.0f} MiB   median {row.get('median_error', float('nan')):.2%} "
            f"within 1 % {row.get('within_1_percent', float('nan')):.1%} (of large "
            f"{row.get('many_within_1_percent', float('nan')):.1%}) "
            f"worst {row.get('worst', float('nan')):.1%}",
            flush=True,
        )
    return {"model": label or path, "rows": rows}


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=os.environ.get("CONCEPTAUDIT_REALDATA", "../shared/data"))
    parser.add_argument("--names", nargs="+", default=["lvis", "imagenet"])
    parser.add_argument("--sets", nargs="*", default=[*SETS, "all"])
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--million", type=float, default=0.0, help="recombined captions")
    parser.add_argument("--sample", type=int, default=3_000, help="captions for pipe and paper")
    parser.add_argument("--models", nargs="+", default=["bundled"], metavar="[NAME=]PIPELINE")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--repeat-samples", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, nargs="+", default=[], metavar="N")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--corpus", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments)
        return
    found = []
    with tempfile.TemporaryDirectory() as folder:
        real = {name: read_set(Path(arguments.data), name) for name in SETS}
        everything = [caption for captions in real.values() for caption in captions]
        corpora: dict[str, Path] = {}
        for name in arguments.sets:
            corpora[name] = Path(folder) / f"{name}.parquet"
            captions = everything if name == "all" else real[name]
            pd.DataFrame({"caption": captions}).to_parquet(corpora[name])
        if arguments.million:
            name = f"{arguments.million:g} million recombined"
            corpora[name] = Path(folder) / "recombined.parquet"
            recombined(everything, int(arguments.million * 1e6), corpora[name])
        for names in arguments.names:
            for title, corpus in corpora.items():
                measured = compare
                if arguments.workers:
                    measured = compare_workers
                elif arguments.repeat_samples:
                    measured = compare_samples
                found.append(measured(title, corpus, names, arguments))
    print(json.dumps({"bench": "text", "found": found}))


if __name__ == "__main__":
    main()
