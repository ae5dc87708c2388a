"""Run and index folders to be damaged, and what reads them; for `fuzz_targets.py`."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from fuzz_mutations import sealed_manifest
from fuzz_seeds import (
    BrokenPromiseError,
    Files,
    Reader,
    json_lines_of,
    parquet_of,
    some_captions,
    some_vectors,
)

RUN, SHARD = "run.json", "0000000-0000000000000.sealed"


def files_of(folder: Path) -> Files:
    """Read all files below a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_all(folder: Path, *reads: Callable[[Path], object]) -> None:
    """Read a folder in several ways; each may end in an error of ours, or in a result."""
    from conceptaudit.errors import ConceptAuditError

    for read in reads:
        with suppress(ConceptAuditError):
            read(folder)


@cache
def run_files() -> Files:
    """Files of a small audit."""
    from conceptaudit.auditing import AuditOptions, audit

    with TemporaryDirectory() as folder:
        table = Path(folder, "set.jsonl")
        table.write_bytes(json_lines_of(some_captions()))
        run = Path(folder, "run")
        audit(table, ["dog", "hot dog", "watch"], run, options=AuditOptions(workers=1))
        return {name: data for name, data in files_of(run).items() if name != "log.jsonl"}


def _manifest_seeds() -> list[Files]:
    """Make a run whose table of counts is small, because it is read for every case."""
    files = run_files()
    counts = pd.DataFrame({"concept": ["dog", "hot dog", "watch"], "n_text": [1, 1, 1]})
    told = {name: files[name] for name in ("manifest.json", "alignment.json", "concepts.json")}
    slim = sealed_manifest({**told, "frequencies.parquet": parquet_of(counts)})
    images = json.loads(slim["manifest.json"]) | {"clip": "ViT-B-32"}
    images["settings"] = [{"stage": "embeddings", "clip": "m"}, {"stage": "image", "source": "m"}]
    agreement = json.loads(slim["alignment.json"]) | {
        "n_both_tagged": 4, "n_agreeing": 3, "n_misaligned": 1, "level": 0.9,
        "misalignment_degree": 0.125, "misaligned_among_tagged": 0.25,
        "misaligned_among_tagged_low": 0.1, "misaligned_among_tagged_high": 0.5,
        "corrected": {f"nothing_named_is_shown{end}": 0.1 for end in ("", "_low", "_high")},
    }  # fmt: skip
    both = {"manifest.json": images, "alignment.json": agreement}
    return [slim, sealed_manifest({**slim, **{n: json.dumps(v).encode() for n, v in both.items()}})]


def _read_manifest(folder: Path) -> None:
    """Read a run as report, long-tail set, index and leak search do."""
    from conceptaudit.image.index.source import open_source
    from conceptaudit.longtail.pretraining import open_pretraining
    from conceptaudit.longtail.source import read_audit
    from conceptaudit.store.files import exists

    def against(run: Path) -> None:
        dataset = json.loads((run / "manifest.json").read_bytes()).get("dataset")
        if isinstance(dataset, str) and ("://" in dataset or exists(Path(dataset))):
            return  # what lies there on this machine is no part of the case
        open_pretraining(run, "m")

    with suppress(ValueError, AttributeError, RecursionError):  # no JSON, or no manifest
        read_all(folder, against)
    read_all(folder, _reported, read_audit, open_source)


def _reported(folder: Path) -> None:
    """Draw the parts of a report that say what the run's small files say."""
    from conceptaudit.report.inputs import ReportInputs, read_run
    from conceptaudit.report.samples import Choice
    from conceptaudit.report.sections.method import method_section
    from conceptaudit.report.sections.overview import headline, overview
    from conceptaudit.report.sections.samples import pairs_section

    run = read_run(folder)
    drawn = (
        headline(run, titled=True),
        overview(run).body,
        method_section(ReportInputs(run=run)).body,
        pairs_section(run, Choice(), {}).body,
    )
    "".join(map(str, drawn)).encode()


def _few_counts() -> Files:
    counts = pd.read_parquet(io.BytesIO(run_files()["frequencies.parquet"]))
    few = counts[["concept", "n_text", "n_text_low", "n_text_high"]]
    return {"frequencies.parquet": parquet_of(few)}


def _table_seeds() -> list[Files]:
    files = run_files()
    told = {name: files[name] for name in ("manifest.json", "alignment.json", "concepts.json")}
    return [sealed_manifest({**told, **_few_counts()})]


def _read_tables(folder: Path) -> None:
    from conceptaudit.longtail.source import read_audit

    read_all(folder, _reported, read_audit)


def _evidence_seeds() -> list[Files]:
    return [{name: run_files()[name] for name in ("concepts.json", "evidence.parquet")}]


def _read_evidence(folder: Path) -> object:
    from conceptaudit.auditing.outputs import read_run_table

    return read_run_table(folder, "evidence", "dog")


def _option_seeds() -> list[Files]:
    from conceptaudit.auditing import AuditOptions

    asked = AuditOptions(
        threshold=0.3, evidence=5, caption_column="text", templates=("a {}",), nested=True,
        near_duplicates="auto", languages=("en",),
    ).asked()  # fmt: skip
    told = {"kind": "audit", "dataset": "x", "concepts": ["dog"], "digest": "d", "options": asked}
    return [{RUN: json.dumps(told).encode()}]


def _read_options(folder: Path) -> object:
    """Read the options of a run that is to be merged, and write them again."""
    from conceptaudit.artifacts import read_json
    from conceptaudit.auditing import AuditOptions

    told = read_json(folder / RUN)
    options = AuditOptions.restored(told.get("options") if isinstance(told, dict) else None)
    if AuditOptions.restored(options.asked()) != options:
        raise BrokenPromiseError("options that are not themselves when read again")
    return options


def _check_seeds() -> list[Files]:
    left_out = ("evidence", "drops", "csv", "counts/")
    kept = {n: data for n, data in run_files().items() if not any(part in n for part in left_out)}
    return [sealed_manifest({**kept, **_few_counts()})]


def _read_checked(folder: Path) -> object:
    from conceptaudit.validation import validate

    return validate(folder).faults


def _record_seeds() -> list[Files]:
    """Make a record that is valid here, one of another run, and the file that begins a run."""
    from conceptaudit.artifacts import ShardStore

    files = run_files()
    name = next(name for name in files if name.startswith("text/") and name.endswith(".json"))
    with TemporaryDirectory() as folder:
        store = ShardStore(folder=Path(folder, "text"), digest="d")
        beside = store.path(SHARD.split(".", maxsplit=1)[0], ".parquet")
        beside.parent.mkdir()
        beside.write_bytes(b"a table")
        store.write(SHARD, "f", {"n_samples": 2, "n_used": 2, "dropped": {}}, {"tags": beside})
        own = files_of(Path(folder))
    return [
        {**own, RUN: files[RUN]},
        {f"text/{SHARD}.json": files[name], RUN: files[RUN]},
    ]


def _read_record(folder: Path) -> object:
    """Decide whether a shard record is valid, and whether the folder may be resumed."""
    from conceptaudit.artifacts import ShardStore
    from conceptaudit.errors import ConceptAuditError
    from conceptaudit.store.run_folder import RunFolder

    store = ShardStore(folder=folder / "text", digest="d")
    found = store.fault(SHARD, "f")
    if found is None:
        record = json.loads(store.path(SHARD, ".json").read_bytes())
        if record["digest"] != store.expected("f"):
            raise BrokenPromiseError("a record of another run is valid")
        if not all((folder / "text" / name).is_file() for name in record["files"]):
            raise BrokenPromiseError("a record is valid without its files")
    with suppress(ConceptAuditError):
        store.read(SHARD)
    return RunFolder.at(folder, kind="audit", digest="d" * 64).check()


def _part_seeds() -> list[Files]:
    [own, _] = _record_seeds()
    part = {f"part/{name}": data for name, data in own.items()}
    return [{**part, f"whole/{RUN}": own[RUN]}]


def _read_parts(folder: Path) -> None:
    """Bring the part of a run into the run's own folder."""
    from conceptaudit.artifacts import digest_of
    from conceptaudit.auditing.array_jobs import collect_parts
    from conceptaudit.errors import DataError
    from conceptaudit.store.checking import identify
    from conceptaudit.store.run_folder import RunFolder

    held = identify(folder / "whole")
    if held is None:
        raise DataError("the run's own record is damaged")
    run = RunFolder.at(folder / "whole", kind="audit", digest=held.digest)
    try:
        collect_parts([folder / "part"], run)
        for path in sorted((folder / "whole").glob("*/*.json")):
            record = json.loads(path.read_bytes())
            if digest_of({k: v for k, v in record.items() if k != "sha256"}) != record["sha256"]:
                raise BrokenPromiseError("a damaged record was taken over")
    finally:
        shutil.rmtree(folder / "whole" / "text", ignore_errors=True)


def _mark_seeds() -> list[Files]:
    asked = ["embed", "data", "--clip", "lab", "-o", "out"]
    marks = {
        f".part-{index}-of-2.json": json.dumps(
            {"part": [index, 2], "n_shards": 7, "asked": asked}
        ).encode()
        for index in range(2)
    }
    return [marks, {".part-0-of-2.json": marks[".part-0-of-2.json"]}]


def _read_marks(folder: Path) -> None:
    """Say what is missing, and which command finishes the rest."""
    from conceptaudit.cli.parts import checked_command
    from conceptaudit.engine.array_tasks import parts_to_run, read_marks

    marks = read_marks(folder)
    parts_to_run(marks.unfinished(), marks.parts).encode()
    checked_command(marks.asked(), Path("out"))


@cache
def index_files() -> Files:
    """Files of a small index."""
    from conceptaudit.image.index import build_index

    with TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        np.save(data / "image_embeddings.npy", some_vectors(64))
        build_index(data, Path(folder, "index"))
        return {name: data for name, data in files_of(Path(folder, "index")).items() if name != RUN}


def _read_index(folder: Path) -> object:
    """Open an index, search it, and look for damage; FAISS must never see a damaged file."""
    from conceptaudit.image.index import open_index

    index = open_index(folder)
    if (folder / "index.faiss").read_bytes() != index_files()["index.faiss"]:
        raise BrokenPromiseError("FAISS has read a damaged file")
    found = index.search(_queries(), k=3)
    return index.keys(found.sample_ids[0].tolist()), index.damage()


@cache
def _queries() -> Any:
    return some_vectors(1)


FOLDERS: dict[str, Reader] = {
    "records": Reader(seeds=_record_seeds, read=_read_record),
    "parts": Reader(seeds=_part_seeds, read=_read_parts),
    "marks": Reader(seeds=_mark_seeds, read=_read_marks),
    "run-manifest": Reader(
        seeds=_manifest_seeds,
        read=_read_manifest,
        spared=("frequencies.parquet",),
        manifest="manifest.json",
    ),
    "run-tables": Reader(
        seeds=_table_seeds,
        read=_read_tables,
        spared=("manifest.json", "alignment.json"),
        manifest="manifest.json",
    ),
    "run-evidence": Reader(seeds=_evidence_seeds, read=_read_evidence),
    "run-options": Reader(seeds=_option_seeds, read=_read_options),
    "run-check": Reader(seeds=_check_seeds, read=_read_checked, manifest="manifest.json"),
    "index": Reader(
        seeds=lambda: [dict(index_files())],
        read=_read_index,
        manifest="manifest.json",
        trusted=("index.faiss",),
    ),
}
