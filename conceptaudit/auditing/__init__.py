"""The audit: a dataset and a concept list to frequencies, alignment and tags in a run folder."""

from collections.abc import Sequence
from pathlib import Path

from conceptaudit.artifacts import STARTED, claim, clear, digest_of, exclusive, write_json
from conceptaudit.auditing.approximate import index_settings
from conceptaudit.auditing.calibration_run import calibrate
from conceptaudit.auditing.options import AuditOptions
from conceptaudit.auditing.plan import open_source, plan_audit, read_vocabulary
from conceptaudit.auditing.run import AuditRun, RunningAudit
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary

__all__ = ["AuditOptions", "AuditRun", "audit", "calibrate"]


def audit(
    dataset: str | Path,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    out: str | Path,
    *,
    options: AuditOptions | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AuditRun:
    """Count how often each concept occurs in a dataset's captions, images, and both.

    Parameters
    ----------
    dataset : str or Path
        A file, folder, glob or fsspec URL in any layout of docs/formats.md.
    concepts : str, Path, sequence of str or ConceptVocabulary
        A concept list, or the file that holds one.
    out : str or Path
        The run folder. A run that was interrupted goes on; one with other inputs is refused.
    options : AuditOptions, optional
        Everything else.
    resume : bool, default False
        Redo in `out` only what other inputs or settings change.
    overwrite : bool, default False
        Remove the run that `out` holds.
    progress : Progress, optional
        Told of every finished shard.

    Returns
    -------
    AuditRun

    Raises
    ------
    ConfigError, DataError, MissingDependencyError
        The options or files cannot be used; the message says what to do.
    ArtifactMismatchError
        `out` holds something else.
    """
    options = options or AuditOptions()
    progress = progress or SilentProgress()
    opened = open_source(dataset, options)
    vocabulary, notes = read_vocabulary(concepts)
    plan = plan_audit(opened, vocabulary, options)
    shards = opened.shards()
    identity = digest_of(
        {
            "sides": plan.settings,
            "reading": opened.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
            "level": options.level,
            "near_duplicates": options.near_duplicates,
            "index": index_settings(options, opened),
        }
    )
    folder = Path(out)
    with exclusive(folder):
        if claim(folder, identity, resume=resume, overwrite=overwrite) == "overwrite":
            clear(folder)
        write_json(folder / STARTED, {"digest": identity, "kind": "audit", "dataset": str(dataset)})
        run = RunningAudit(
            folder=folder,
            dataset=opened,
            shards=shards,
            vocabulary=vocabulary,
            plan=plan,
            options=options,
            notes=(*opened.notes, *notes, *plan.notes),
            progress=progress,
        )
        return run.execute(identity)
