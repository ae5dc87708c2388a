"""The audit: a dataset and a concept list to frequencies, alignment and tags in a run folder."""

from collections.abc import Sequence
from pathlib import Path

from conceptaudit.auditing.array_jobs import audit_part, merge_audit, merge_partial
from conceptaudit.auditing.calibration_run import calibrate, calibrate_part
from conceptaudit.auditing.judged_run import correct
from conceptaudit.auditing.judging import draw_sample
from conceptaudit.auditing.plan import plan_audit
from conceptaudit.auditing.results import AuditRun
from conceptaudit.auditing.run import run_audit
from conceptaudit.auditing.sources import Source
from conceptaudit.auditing.taggers import Tagger
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary

__all__ = [
    "AuditOptions",
    "AuditRun",
    "Tagger",
    "audit",
    "audit_part",
    "calibrate",
    "calibrate_part",
    "correct",
    "draw_sample",
    "merge_audit",
    "merge_partial",
]


def audit(
    dataset: Source,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    out: str | Path,
    *,
    options: AuditOptions | None = None,
    taggers: Sequence[str | Tagger] = (),
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AuditRun:
    """Count how often each concept occurs in a dataset's captions, images, and both.

    Parameters
    ----------
    dataset : str, Path, Dataset, DataFrame or iterable of str
        A file, folder, glob or fsspec URL in any layout of docs/formats.md; what `open_dataset`
        returns; a table with a column of captions; or the captions themselves.
    concepts : str, Path, sequence of str or ConceptVocabulary
        A concept list, or the file that holds one.
    out : str or Path
        The run folder. A run that was interrupted goes on; one with other inputs is refused.
    options : AuditOptions, optional
        Everything else.
    taggers : sequence of str or Tagger, optional
        What tags captions or images in place of our own: names of installed taggers (beside
        those of the options), or objects with the members of `Tagger`.
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
    plan = plan_audit(dataset, concepts, options or AuditOptions(), progress, taggers=taggers)
    folder = plan.folder(out)
    with folder.hold(resume=resume, overwrite=overwrite):
        return run_audit(plan, folder, progress or SilentProgress())
