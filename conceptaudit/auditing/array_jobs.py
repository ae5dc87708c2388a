"""An audit as an array of jobs: each does its share, a merge gathers and finishes."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import (
    MARK,
    STARTED,
    Json,
    RunFolder,
    ShardStore,
    digest_of,
    file_digest,
    read_json,
    whole_file,
)
from conceptaudit.auditing.plan import KIND, AuditPlan, plan_audit
from conceptaudit.auditing.results import AuditRun
from conceptaudit.auditing.run import run_audit, run_audit_part
from conceptaudit.display import quantity
from conceptaudit.engine.array_tasks import (
    Part,
    PartRun,
    mark_finished,
    parts_to_run,
    read_marks,
    uncovered,
)
from conceptaudit.errors import ArtifactMismatchError, ConfigError, DataError
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.files import is_there
from conceptaudit.store.layouts import shard_of


def collect_parts(parts: Sequence[Path], run: RunFolder) -> int:
    """Copy the valid shard records of parts, and the files that they vouch for.

    A record is copied after its files, and only where both match their digests: a damaged one
    is left out, and its shard counts as missing.
    """
    folder = run.path
    for part in parts:
        _check_same_run(part, run.digest, folder)
    copied = 0
    for part in parts:
        if part.resolve() == folder.resolve():
            continue
        for record in sorted(part.glob("*/*.json")):
            if run.layout.is_stage(record.parent.name):
                copied += _copy_record(record, folder / record.parent.name)
        for marker in part.glob(f"{MARK}*.json"):
            _copy(marker, folder / marker.name)
    return copied


def collect_shards(source: Path, run: RunFolder, shards: frozenset[str]) -> None:
    """Copy the valid records of some shards of a run that may still go on, and their files."""
    for record in sorted(source.glob("*/*.json")):
        name = shard_of(record.name)
        if name in shards and run.layout.is_stage(record.parent.name):
            _copy_record(record, run.path / record.parent.name)


def _check_same_run(part: Path, wanted: str, folder: Path) -> None:
    if not (part / STARTED).is_file():
        raise ConfigError(f"{part} holds no run, and so no part of one.")
    told = read_json(part / STARTED)
    if not isinstance(told, dict) or told.get("digest") != wanted:
        raise ArtifactMismatchError(
            f"{part} is no part of the run in {folder}: data, concepts or settings differ. Merge "
            "parts of one audit only; files that were copied need their times of change, too "
            "(rsync -a, cp -p)."
        )


def _copy_record(source: Path, target: Path) -> int:
    record = _valid_record(source)
    if record is None:
        return 0
    there = target / source.name
    if there.exists():
        if file_digest(there) == file_digest(source):
            return 0
        if _valid_record(there) is not None:
            raise ArtifactMismatchError(
                f"{source} and {there} hold different results for one shard of one run: one was "
                "made with other packages or on other hardware. Remove the one that is wrong."
            )
    # files first: a record that is there vouches for them
    for name in record["files"]:
        _copy(source.parent / Path(name).name, target / Path(name).name)
    _copy(source, there)
    return 1


def _valid_record(path: Path) -> Json:
    """Read a record if it and its files match their digests, else return None."""
    try:
        record = read_json(path)
    except DataError:
        return None
    if not isinstance(record, dict) or not {"digest", "files", "result", "sha256"} <= record.keys():
        return None
    if not isinstance(record["files"], dict):
        return None
    body = {key: value for key, value in record.items() if key != "sha256"}
    files = {path.parent / Path(name).name: digest for name, digest in record["files"].items()}
    whole = record["sha256"] == digest_of(body) and all(
        is_there(file) and file_digest(file) == digest for file, digest in files.items()
    )
    return record if whole else None


def _copy(source: Path, target: Path) -> None:
    with whole_file(target) as partial:
        shutil.copyfile(source, partial)


SHOWN = 5


def audit_part(
    dataset: str | Path,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    out: str | Path,
    part: Part,
    *,
    options: AuditOptions | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> PartRun:
    """Do one part of an audit: all that needs no other part's results.

    Captions are tagged, images embedded and, where thresholds are given or were calibrated
    before, tagged and counted. Parts may run side by side, be killed and run again. When all are
    finished, `merge_audit`, or the same audit without a part, does the rest.
    """
    plan = plan_audit(dataset, concepts, options or AuditOptions(), progress)
    folder = plan.folder(out)
    with folder.hold_part(str(part), resume=resume):
        reports = run_audit_part(plan, folder.path, progress or SilentProgress(), part)
        mark_finished(folder.path, part, len(plan.shards))
    return PartRun.of(folder.path, part, len(plan.shards), reports)


def merge_audit(
    out: str | Path,
    parts: Sequence[str | Path] = (),
    *,
    options: AuditOptions | None = None,
    compute_missing: bool = False,
    progress: Progress | None = None,
) -> AuditRun:
    """Finish an audit whose parts are done."""
    plan = _restored(Path(parts[0]) if parts else Path(out), options or AuditOptions())
    folder = plan.folder(out)
    with folder.hold():
        if parts:
            collect_parts([Path(part) for part in parts], folder)
        if not compute_missing:
            _check_complete(plan, folder)
        return run_audit(plan, folder, progress or SilentProgress())


def merge_partial(
    run: str | Path,
    out: str | Path,
    *,
    options: AuditOptions | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AuditRun:
    """Count the shards of an unfinished audit that are done, in a folder of their own.

    The run itself is read and left as it is; its parts may go on meanwhile. The result says that it
    is partial in its manifest, in its first note, in a column of the frequencies and on the report.
    Counts are taken as those of a sample, which they are if shards hold samples in random order.
    """
    source = Path(run)
    whole = _restored(source, options or AuditOptions())
    missing = set(_without_results(whole, source, range(len(whole.shards))))
    shards = tuple(one for k, one in enumerate(whole.shards) if k not in missing)
    if not shards:
        raise ConfigError(f"No shard of {source} is done: there is nothing to count yet.")
    if not missing:
        raise ConfigError(
            f"Nothing is missing of the {quantity(len(shards), 'shard')} of {source}: run "
            f"'conceptaudit merge {source}', without --partial."
        )
    partial = {"n_shards": len(shards), "n_all": len(whole.shards), "run": whole.identity}
    chosen = whole.options
    # unless the whole is a sample already, the shards that are done are one
    if not chosen.is_sample:
        chosen = replace(chosen, share=len(shards) / len(whole.shards))
    remark = (
        f"Partial: {len(shards):,} of {quantity(len(whole.shards), 'shard')} are counted, those "
        "that were done when this was written."
    )
    plan = replace(
        whole,
        shards=shards,
        options=chosen,
        notes=(remark, *whole.notes),
        inputs=(*whole.inputs, source),
        about={**whole.about, "partial": partial},
        partial=partial,
    )
    folder = plan.folder(out)
    with folder.hold(overwrite=overwrite):
        collect_shards(source, folder, frozenset(shard.name for shard in shards))
        return run_audit(plan, folder, progress or SilentProgress())


def _restored(folder: Path, by: AuditOptions) -> AuditPlan:
    """Prepare the audit that a run folder's first file describes."""
    if not (folder / STARTED).is_file():
        raise ConfigError(f"{folder} holds no run, and so nothing to merge.")
    told = read_json(folder / STARTED)
    if not isinstance(told, dict) or told.get("kind") != KIND:
        kind = told.get("kind") if isinstance(told, dict) else None
        raise ConfigError(
            f"{folder} holds a run of kind {kind!r}. Audits are merged; anything else is finished "
            "by its own command, without --shard."
        )
    if not {"dataset", "options"} <= told.keys() or told.get("concepts") is None:
        raise ConfigError(
            f"{folder / STARTED} does not name the concepts or the taggers. Run the audit of the "
            "parts again, without a part: it finishes what they began."
        )
    if not isinstance(told["dataset"], str) or not isinstance(told["concepts"], list | str):
        raise DataError(f"{folder / STARTED} is damaged: it names no data set or no concepts.")
    options = AuditOptions.restored(
        told["options"],
        workers=by.workers,
        engine=by.engine,
        ray_address=by.ray_address,
        backend=by.backend,
    )
    plan = plan_audit(told["dataset"], told["concepts"], options)
    # files may have changed since, which their digests tell
    if plan.identity != told.get("digest"):
        raise ArtifactMismatchError(
            f"Data, concepts or models are not those that {folder} was made from. Bring them back, "
            "or run the audit again with --resume, which redoes what has changed."
        )
    return plan


def _check_complete(plan: AuditPlan, run: RunFolder) -> None:
    """Name the shards that belong to no finished part and have no results."""
    folder = run.path
    parts = read_marks(folder).parts
    missing = _without_results(plan, folder, uncovered(len(plan.shards), parts))
    if not missing:
        return
    shown = ", ".join(plan.shards[k].name for k in missing[:SHOWN])
    raise DataError(
        f"{len(missing):,} of {quantity(len(plan.shards), 'shard')} have no results in {folder} "
        f"({shown}{', …' if len(missing) > SHOWN else ''})."
        f" {parts_to_run(missing, parts)}, or add --compute-missing to compute them here."
    )


def _without_results(plan: AuditPlan, folder: Path, shards: Iterable[int]) -> list[int]:
    """Return those of some shards that lack a record of a stage which looks at one shard alone."""
    stages = [
        s.name for s in (plan.text, plan.mentions, plan.languages, plan.encoder) if s is not None
    ]
    if plan.image is not None and not plan.calibrates:
        stages.append(plan.image.name)
    stores = [ShardStore(folder=folder / stage, digest="") for stage in stages]
    return [
        k
        for k in shards
        if not all(store.path(plan.shards[k].name, ".json").exists() for store in stores)
    ]
