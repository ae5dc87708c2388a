"""How engines compare, and what the first process of a run takes for many shards.

    python scripts/benchmarks/bench_engines.py shards --shards 10000 --concepts 20000
    python scripts/benchmarks/bench_engines.py engines --captions CAPTIONS --concepts CONCEPTS

`shards` makes a dataset of many small files and the results that a worker would have left for
each, and times the rest: listing, checking what is there, adding up, writing. Nothing is tagged or
counted. `engines` times the same text audit with one process, two, and two workers of a Ray
cluster, whole programs with their start; with --work, calls add up. Both print a table and one
JSON line.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from bench_audit import join_halves, read_captions

VARIETY = 50
"""Different sets of counts among the made-up shards."""


def bench_shards(arguments: argparse.Namespace) -> None:
    """Time a merge of made-up records, in a process of its own whose memory is told."""
    with tempfile.TemporaryDirectory(dir=arguments.work) as name:
        folder = Path(name)
        since = time.monotonic()
        make_run(folder, arguments.shards, arguments.concepts, arguments.found)
        size = sum(path.stat().st_size for path in (folder / "run").rglob("*") if path.is_file())
        print(f"  made {arguments.shards:,} shards in {time.monotonic() - since:.0f} s")
        command = [sys.executable, __file__, "merge", str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        told = json.loads(done.stdout.splitlines()[-1])
    told |= {"bench": "shards", "shards": arguments.shards, "concepts": arguments.concepts}
    told |= {"found": arguments.found, "run_gb": round(size / 1e9, 2)}
    for name, seconds in told["seconds"].items():
        print(f"  {name:<24} {seconds:8.1f} s")
    print(f"  peak memory {told['peak_mib']:,.0f} MiB; the run is {told['run_gb']:,} GB")
    print(json.dumps(told))


def make_run(folder: Path, n_shards: int, n_concepts: int, n_found: int) -> None:
    """Write many small files of captions, and what parts of an audit leave for them.

    Written plainly, without the care for power failures that `artifacts` takes.
    """
    from conceptaudit import artifacts
    from conceptaudit.artifacts import canonical_json, digest_of, write_json
    from conceptaudit.auditing.plan import plan_audit
    from conceptaudit.engine.stage import stage_store
    from conceptaudit.frequency.counting import COUNTS, count_store, packed, shards_to_count

    (folder / "data").mkdir()
    first = folder / "data/0.parquet"
    pd.DataFrame({"TEXT": ["a dog"] * 2, "key": ["0", "1"]}).to_parquet(first)
    caption_file = first.read_bytes()
    for number in range(n_shards):
        (folder / f"data/{number:06d}.parquet").write_bytes(caption_file)
    first.unlink()
    names = "\n".join(f"thing{number:05d}" for number in range(n_concepts))
    (folder / "concepts.txt").write_text(names + "\n", encoding="utf-8")
    plan = plan_audit(folder / "data", folder / "concepts.txt", options())
    run = folder / "run"
    write_json(run / artifacts.STARTED, plan.started)
    assert plan.text is not None
    text = stage_store(run, plan.dataset, plan.text)
    counts = count_store(run)
    for store in (text, counts):
        store.folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    tags = folder / "tags.parquet"
    table = pd.DataFrame({"sample_id": np.arange(n_found), "concept_id": np.arange(n_found)})
    artifacts.write_parquet(tags, table)
    tag_bytes = tags.read_bytes()
    tag_digest = hashlib.sha256(tag_bytes).hexdigest()

    def record(store: artifacts.ShardStore, name: str, fingerprint: str, body: dict) -> None:
        body = {"digest": store.expected(fingerprint), "shard": name, **body}
        whole = canonical_json({**body, "sha256": digest_of(body)}) + "\n"
        store.path(name, ".json").write_text(whole, encoding="utf-8")

    drawn = [
        (
            np.sort(rng.choice(n_concepts, n_found, replace=False)).tolist(),
            rng.integers(1, 2_000, n_found).tolist(),
        )
        for _ in range(VARIETY)
    ]
    for number, shard in enumerate(plan.shards):
        ids, numbers = drawn[number % VARIETY]
        text.path(shard.name, ".parquet").write_bytes(tag_bytes)
        account = {"n_samples": 2, "n_used": 2, "dropped": {}, "noted": {}}
        sums = {"accepted": [ids, numbers], "rejected": [ids[::10], numbers[::10]]}
        files = {f"{shard.name}.parquet": tag_digest}
        result = {**account, "look_alikes": sums}
        record(text, shard.name, shard.fingerprint, {"files": files, "result": result})
        (counted,) = shards_to_count([shard], [text])
        path = counts.path(shard.name, COUNTS)
        np.save(path, packed({"text": (ids, numbers)}), allow_pickle=False)
        files = {path.name: artifacts.file_digest(path)}
        result = {"agreement": {"n_text_tagged": 2}, "sides": ["text"]}
        record(counts, shard.name, counted.fingerprint, {"files": files, "result": result})


def options():
    """Return the options of the run that is made up and merged."""
    from conceptaudit.auditing import AuditOptions

    return AuditOptions(evidence=0, text_mode="exact", engine="serial", workers=None)


def merge(arguments: argparse.Namespace) -> None:
    """Merge a made-up run and tell how long each step took."""
    from conceptaudit.auditing import audit
    from conceptaudit.frequency.counting import add_shards, count_store, read_counts

    folder = Path(arguments.folder)
    steps = Steps()
    run = audit(
        folder / "data",
        folder / "concepts.txt",
        folder / "run",
        options=options(),
        progress=steps,
    )
    assert not any(told["redone"] for told in run.redone.values()), run.redone
    seconds = {"all": time.monotonic() - steps.begun, **steps.seconds}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    since = time.monotonic()
    store = count_store(folder / "run")
    names = sorted(path.stem for path in store.folder.glob("*.json"))
    add_shards((read_counts(store, name) for name in names), len(run.table))
    seconds["adding counts alone"] = time.monotonic() - since
    print(json.dumps({"seconds": seconds, "peak_mib": peak}))


class Steps:
    """A `Progress` that notes how long checking each stage took."""

    def __init__(self) -> None:
        self.begun = self.since = time.monotonic()
        self.seconds: dict[str, float] = {}
        self.stage = ""

    def start(self, stage: str, *_: object) -> None:
        """Note what begins; what was before the first stage is listing."""
        if not self.seconds:
            self.seconds["listing and planning"] = time.monotonic() - self.begun
        self.stage, self.since = stage, time.monotonic()

    def advance(self, *_: object) -> None:
        """Ignore."""

    def finish(self) -> None:
        """Note how long it took."""
        self.seconds[f"checking {self.stage}"] = time.monotonic() - self.since


def bench_engines(arguments: argparse.Namespace) -> None:
    """Time an audit of captions with each engine, and compare all that the folder has seen."""
    folder = Path(arguments.work or tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    corpus = folder / f"corpus{arguments.n}.parquet"
    times = folder / f"times{arguments.n}{arguments.mode}.jsonl"
    if not corpus.exists():
        captions = read_captions(arguments.captions)
        write_corpus(captions, arguments.n, corpus, np.random.default_rng(0))
    for _ in range(arguments.rounds):
        for engine in arguments.engines:
            with tempfile.TemporaryDirectory(dir=folder) as out:
                run = Path(out) / "run"
                told = text_seconds(corpus, arguments.concepts, run, engine, arguments.mode)
                row = {"engine": engine, "mode": arguments.mode, **told, **stage_seconds(run)}
                row["digest"] = digest_of_run(run)
            with times.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(row) + "\n")
            print(f"  {row}", flush=True)
    rows = pd.read_json(times, lines=True)
    parts = ["program", "path_cpu", "stage", "second_half"]
    medians = rows.groupby("engine")[parts].median()
    if "serial" in medians.index:
        print(f"  times as fast as serial:\n{(medians.loc['serial'] / medians).round(2)}")
    told = {"bench": "engines", "captions": arguments.n, "rows": rows.to_dict("records")}
    print(json.dumps({**told, "same_bytes": len(set(rows["digest"])) == 1}))


def write_corpus(captions: list[str], n: int, path: Path, rng: np.random.Generator) -> None:
    """Write n captions: the first half of one joined to the second half of another."""
    left, right = (rng.integers(0, len(captions), n).tolist() for _ in range(2))
    joined = [join_halves(captions[a], captions[b]) for a, b in zip(left, right, strict=True)]
    pd.DataFrame({"caption": joined}).to_parquet(path)


WORKERS = {"serial": 1, "processes": 2, "ray": 2}

SAMPLE_SECONDS = 0.25
"""Between two looks at what processor time the processes have used."""


def text_seconds(
    corpus: Path, concepts: str, out: Path, engine: str, mode: str
) -> dict[str, float]:
    """Run an audit of captions in a process of its own, and return how long all of it took.

    Beside the seconds of the ``program`` it tells the processor seconds of all its processes
    (``cpu``), and those of the first and of the busiest other together (``path_cpu``): how long it
    would take were no other program on the machine, and nothing done side by side but shards.
    """
    command = [
        *(sys.executable, "-m", "conceptaudit", "audit", str(corpus), "-c", concepts),
        *("-o", str(out), "--engine", engine, "--workers", str(WORKERS[engine])),
        *("--text-mode", mode, "--evidence", "20" if mode == "fast" else "0"),
        *("--shard-rows", "20000" if mode == "fast" else "5000", "--json"),
    ]
    # as one worker of several has it: numpy's threads do not help this stage
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    since = time.monotonic()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    used: dict[int, float] = {}
    with psutil.Popen(command, env=environment, **quiet) as first:
        while first.poll() is None:
            time.sleep(SAMPLE_SECONDS)
            with suppress(psutil.Error):
                for process in (first, *first.children(recursive=True)):
                    cpu = process.cpu_times()
                    used[process.pid] = cpu.user + cpu.system
    if first.returncode:
        raise SystemExit(f"{' '.join(command)} failed")
    own = used.pop(first.pid)
    return {
        "program": time.monotonic() - since,
        "cpu": own + sum(used.values()),
        "path_cpu": own + max(used.values(), default=0.0),
    }


def stage_seconds(run: Path) -> dict[str, float]:
    """Read from a run's log how long its text stage took, and the second half of its shards.

    The stage starts its workers, each of which meets every word for the first time; its second
    half is what a longer run would go on with.
    """
    lines = (run / "log.jsonl").read_text(encoding="utf-8").splitlines()
    events = [event for line in lines if (event := json.loads(line)).get("stage") == "text"]
    told = [(event["done"], event["seconds"]) for event in events if "done" in event]
    n, end = told[-1]
    done, since = next((done, at) for done, at in told if done >= n / 2)
    return {"stage": end, "second_half": (end - since) * (n / 2) / max(n - done, 1)}


def digest_of_run(run: Path) -> str:
    """Digest of everything that a run wrote except its log."""
    digests = {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.rglob("*"))
        if path.is_file() and path.name not in ("log.jsonl", ".lock")
    }
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def main() -> None:
    """Run the benchmark that is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    shards = commands.add_parser("shards")
    shards.add_argument("--shards", type=int, default=10_000)
    shards.add_argument("--concepts", type=int, default=20_000)
    shards.add_argument("--found", type=int, default=5_000, help="concepts found per shard")
    shards.add_argument("--work", help="folder for the made-up run")
    shards.set_defaults(run=bench_shards)
    merging = commands.add_parser("merge")
    merging.add_argument("folder")
    merging.set_defaults(run=merge)
    engines = commands.add_parser("engines")
    engines.add_argument("--captions", required=True)
    engines.add_argument("--concepts", required=True)
    engines.add_argument("--n", type=int, default=300_000)
    engines.add_argument("--mode", choices=("exact", "fast"), default="exact")
    engines.add_argument("--rounds", type=int, default=1)
    engines.add_argument("--engines", nargs="*", choices=WORKERS, default=list(WORKERS))
    engines.add_argument(
        "--work", help="folder that keeps the corpus and the times of earlier calls"
    )
    engines.set_defaults(run=bench_engines)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
