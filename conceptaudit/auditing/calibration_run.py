"""Calibrate image tags on a dataset, without auditing it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from conceptaudit.artifacts import RunFolder, digest_of
from conceptaudit.auditing.calibrating import AUTO
from conceptaudit.auditing.calibration_data import index_images
from conceptaudit.auditing.plan import AuditPlan, mention_stage, plan_audit
from conceptaudit.auditing.stages import AuditStages
from conceptaudit.display import quantity
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.errors import ConfigError
from conceptaudit.image.calibration import (
    Calibration,
    check_labelled,
    is_calibration,
    learn,
    read_labels,
)
from conceptaudit.image.calibration.labels import labelled_folder
from conceptaudit.image.clip import find_clip
from conceptaudit.options.audit import AuditOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.outputs import OutputFile
from conceptaudit.store.partials import ScratchFolder
from conceptaudit.store.places import check_apart, output_path
from conceptaudit.text.paper import PaperIndex
from conceptaudit.text.tagger import TextTagger


def calibrate(
    dataset: str | Path,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    out: str | Path,
    *,
    options: AuditOptions | None = None,
    labels: str | Path | None = None,
    image_folder: str | Path | None = None,
    scores_only: bool = False,
    rule: str = "count",
    work: str | Path | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Learn at which score an image shows a concept, concept by concept, and write it down.

    Parameters
    ----------
    dataset : str or Path
        Images or embeddings, with captions unless labels are given; any layout of
        docs/formats.md.
    concepts : str, Path, sequence of str or ConceptVocabulary
        A concept list, or the file that holds one.
    out : str or Path
        The file to write, ``.json``.
    options : AuditOptions, optional
        Model, prompts and reading, as for an audit.
    labels : str or Path, optional
        Table of labelled images of `dataset`, see
        `conceptaudit.image.calibration.labels.read_labels`.
    image_folder : str or Path, optional
        A folder of images per concept, such as an evaluation set; each image is taken to show
        the concept of its folder and none of the other folders'.
    scores_only : bool, default False
        Use neither captions nor labels.
    rule : {"count", "f1"}, default "count"
        Thresholds at which as many images are tagged as show the concept (precision equals
        recall), or with the best F1.
    work : str or Path, optional
        Folder for embeddings and text tags, which a second call takes up again; a temporary one
        by default.
    progress : Progress, optional
        Told of every finished shard.

    Returns
    -------
    Calibration

    Raises
    ------
    ConfigError, DataError
        There is nothing to learn from, or options and data do not fit; the message says what.
    """
    if sum([labels is not None, image_folder is not None, scores_only]) > 1:
        raise ConfigError(
            "Labels, an image folder and scores alone exclude each other: name one of them."
        )
    options = replace(options or AuditOptions(), calibration=AUTO, threshold=None)
    if work is None and options.engine_choice.joins_a_cluster:
        raise ConfigError(
            "The machines of a Ray cluster need one folder that all see: name it with the 'work' "
            "parameter (--work)."
        )
    target = OutputFile(path=output_path(out), kind="calibration", is_ours=is_calibration)
    target.check()
    inputs = (dataset, concepts, labels, image_folder, *options.inputs())
    check_apart([target.path, work], [one for one in inputs if isinstance(one, str | Path)])
    plan = _planned(dataset, concepts, options)
    vocabulary = plan.vocabulary
    labelled = labels is not None or image_folder is not None
    known = None if labels is None else read_labels(labels, vocabulary)
    with ExitStack() as stack:
        run = _work(plan, output_path(work or stack.enter_context(ScratchFolder()) / "work"))
        # a second call, with other concepts, takes up what still holds
        stack.enter_context(run.hold(resume=True))
        progress = progress or SilentProgress()
        stages = AuditStages.of(plan, run.path, progress)
        data = stages.calibration_data(stages.run(plan.text, plan.mentions, plan.encoder))
        index = index_images(data.source, data.shards, data.n_samples)
        scores = data.scores(known, index, progress)
        by_label = scores.by_label
        notes: tuple[str, ...] = ()
        if image_folder is not None:
            if options.clip is None:
                raise ConfigError("Images of an image folder are seen by a model: name --clip.")
            clip = find_clip(options.clip, device=options.device)
            by_label, unreadable = labelled_folder(
                Path(image_folder), vocabulary, clip, scores.scale, data.tagging
            )
            notes = tuple(
                f"{quantity(n, 'image')} of {image_folder} left out: {reason}."
                for reason, n in sorted(unreadable.items())
            )
        elif known is not None:
            check_labelled(by_label, known.n_keys, plan.dataset.location)
        found = learn(
            "scores" if scores_only else "captions" if not labelled else "labels",
            scores.by_caption,
            scores.scale,
            vocabulary=vocabulary,
            vectors=data.vectors,
            background=data.background,
            reference=scores.reference,
            repeats=scores.repeats,
            labelled=by_label if labelled else None,
            rule=rule,
        )
        found = replace(found, notes=(*found.notes, *notes))
        found.save(target.path)
    return found


def _work(plan: AuditPlan, folder: Path) -> RunFolder:
    """Name the folder of a calibration's embeddings and text tags."""
    opened, shards = plan.dataset, plan.shards
    return RunFolder.at(
        folder,
        kind="calibration",
        digest=digest_of([opened.settings, [[one.name, one.fingerprint] for one in shards]]),
        inputs=(opened.location,),
        shards=[shard.name for shard in shards],
        about={"dataset": opened.location},
        options=(),
    )


def calibrate_part(
    dataset: str | Path,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    work: str | Path,
    part: Part,
    *,
    options: AuditOptions | None = None,
    progress: Progress | None = None,
) -> PartRun:
    """Tag the captions and embed the images of one part's share of a dataset.

    Parts may run side by side, be killed and run again. When all are finished, `calibrate` with
    the same folder for its work does the rest.
    """
    options = replace(options or AuditOptions(), calibration=AUTO, threshold=None)
    plan = _planned(dataset, concepts, options)
    run, n_all = _work(plan, output_path(work)), len(plan.shards)
    folder = run.path
    with run.hold_part(str(part), resume=True):
        stages = AuditStages.of(plan, folder, progress or SilentProgress(), part)
        reports = stages.run(plan.text, plan.mentions, plan.encoder)
        mark_finished(folder, part, n_all)
    return PartRun.of(folder, part, n_all, reports)


def _planned(
    dataset: str | Path,
    concepts: str | Path | Sequence[str] | ConceptVocabulary,
    options: AuditOptions,
) -> AuditPlan:
    plan = plan_audit(dataset, concepts, options)
    opened = plan.dataset
    if isinstance(plan.text, TextTagger):
        mentions = mention_stage(plan.text, plan.vocabulary, plan.background)
        plan = replace(plan, mentions=mentions)
    if plan.image is None:
        raise ConfigError(
            f"Calibration needs images: {opened.location} ({opened.layout}) holds "
            f"{' and '.join(sorted(opened.provides))}. Where these are images or embeddings, "
            "name the model with --clip, or the vectors with --concept-vectors; else name a "
            "dataset that has them."
        )
    if isinstance(plan.text, PaperIndex):
        raise ConfigError("Calibration reads captions exactly: leave the text mode 'paper' out.")
    return plan
