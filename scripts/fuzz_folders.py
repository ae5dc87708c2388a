"""Run and index folders to be damaged, and what reads them; for `fuzz_targets.py`."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from fuzz_seeds import BrokenPromiseError, Files, json_lines_of, some_captions, some_vectors


@cache
def run_files() -> Files:
    """Files of a small audit."""
    from conceptaudit.auditing import AuditOptions, audit

    with TemporaryDirectory() as folder:
        table = Path(folder, "set.jsonl")
        table.write_bytes(json_lines_of(some_captions()))
        run = Path(folder, "run")
        audit(table, ["dog", "hot dog", "watch"], run, options=AuditOptions(workers=1))
        return {
            path.relative_to(run).as_posix(): path.read_bytes()
            for path in sorted(run.rglob("*"))
            if path.is_file()
        }


def read_run(folder: Path) -> object:
    """Read a run as report, long-tail set and evidence do, and check it."""
    from conceptaudit.auditing.text_side import read_run_table
    from conceptaudit.errors import ConceptAuditError
    from conceptaudit.longtail.source import read_audit
    from conceptaudit.report.inputs import read_run
    from conceptaudit.validation import validate

    for read in (read_run, read_audit, lambda run: read_run_table(run, "evidence", "dog")):
        try:
            read(folder)
        except ConceptAuditError:
            continue
    return validate(folder).faults


def record_seeds() -> list[Files]:
    """Return a shard record and the file that says which run it belongs to."""
    files = run_files()
    name = next(name for name in files if name.startswith("text/") and name.endswith(".json"))
    return [{"text/0000000-0000000000000.sealed.json": files[name], "run.json": files["run.json"]}]


def read_record(folder: Path) -> object:
    """Decide whether a shard record is valid, and whether the folder may be resumed."""
    from conceptaudit.artifacts import ShardStore, claim
    from conceptaudit.errors import ConceptAuditError

    store = ShardStore(folder=folder / "text", digest="d")
    name = "0000000-0000000000000.sealed"
    found = store.fault(name, "f")
    if found is None:
        raise BrokenPromiseError("a record of another run is valid")
    with suppress(ConceptAuditError):
        store.read(name)
    return claim(folder, "d", resume=False, overwrite=False)


@cache
def index_files() -> Files:
    """Files of a small index."""
    from conceptaudit.image.index import build_index

    with TemporaryDirectory() as folder:
        data = Path(folder, "data")
        data.mkdir()
        np.save(data / "image_embeddings.npy", some_vectors(64))
        build_index(data, Path(folder, "index"))
        made = Path(folder, "index")
        return {path.name: path.read_bytes() for path in sorted(made.iterdir()) if path.is_file()}


def read_index(folder: Path) -> object:
    """Open an index, search it, and look for damage."""
    from conceptaudit.image.index import open_index

    index = open_index(folder)
    found = index.search(some_vectors(1), k=3)
    return index.keys(found.sample_ids[0].tolist()), index.damage()
