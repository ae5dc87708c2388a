"""Zero-shot evaluation of one or several models on an evaluation set, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.engine import EngineChoice
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.engine.runner import StageRunner
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.locks import sharing
from conceptaudit.zeroshot.evaluation_run import model_labels
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.measures import Tally, confusions, overall, tally
from conceptaudit.zeroshot.prepared import PreparedEvaluation
from conceptaudit.zeroshot.results import Evaluation, ModelResult, write_results
from conceptaudit.zeroshot.vector_sources import Predictions


def evaluate(
    evaluation_set: EvaluationSet,
    models: Sequence[str | ClipModel],
    out: str | Path,
    *,
    options: EvaluationOptions | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify the images of an evaluation set, and count class by class what is right.

    An image that cannot be decoded, or whose label names no class, is listed and in no number.
    With embeddings no image is opened; they meet the labels by key.

    Parameters
    ----------
    evaluation_set : EvaluationSet
        See `open_evaluation_set`.
    models : sequence of str or ClipModel
        As `find_clip` takes them.
    out : str or Path
        Run folder; an interrupted evaluation goes on there.
    options : EvaluationOptions, optional
        Everything else.
    workers : int or EngineChoice, optional
        Worker processes on a CPU; a GPU is used by one.
    resume, overwrite : bool
        As in `audit`.
    progress : Progress, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError, DataError
        A model, the set or the embeddings cannot be used.
    ArtifactMismatchError
        `out` holds something else, or another model made the embeddings.
    """
    options = options or EvaluationOptions()
    prepared = PreparedEvaluation.of(evaluation_set, models, out, options)
    folder, told = prepared.folder, progress or SilentProgress()
    prepared.check_apart()
    prepared.save_vectors(workers=workers, progress=told)
    sources = prepared.sources()
    run = prepared.run(sources)
    runner = StageRunner(folder=folder, workers=workers, progress=told)
    notes = list(evaluation_set.notes)
    with run.hold(resume=resume, overwrite=overwrite):
        results: list[ModelResult] = []
        listed: list[Path] = []
        for source in sources:
            source.begin(folder)
            report = runner.run(source.stage, source.dataset, source.shards, on_gpu=source.on_gpu)
            guesses = source.collect(report, folder)
            labels = model_labels(source.stage.clip, options.pretraining)
            results.append(_result(guesses, evaluation_set, labels, options.level))
            notes += [*source.stage.clip.notes, *guesses.notes]
            listed += guesses.listed
        found = Evaluation(
            folder=folder,
            evaluation_set=evaluation_set,
            results=tuple(results),
            notes=tuple(dict.fromkeys(notes)),
        )
        write_results(found, run, options.level, listed)
    return found


def evaluate_part(
    evaluation_set: EvaluationSet,
    models: Sequence[str | ClipModel],
    out: str | Path,
    part: Part,
    *,
    options: EvaluationOptions | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> PartRun:
    """Classify one part's share of the images, or embed it where embeddings are to be saved.

    Parts may run side by side, be killed and run again. When all are finished, `evaluate` with the
    same arguments does the rest.
    """
    options = options or EvaluationOptions()
    prepared = PreparedEvaluation.of(evaluation_set, models, out, options)
    folder, told = prepared.folder, progress or SilentProgress()
    prepared.check_apart()
    if options.save_embeddings is not None:
        with sharing(folder, str(part)):
            made = prepared.save_vectors(workers=workers, progress=told, part=part)
            n_all = len(evaluation_set.dataset.shards())
            mark_finished(folder, part, n_all)
        return PartRun(
            folder=folder,
            part=part,
            n_shards=len(part.share(range(n_all))),
            n_all=n_all,
            redone={name: {"kept": m.kept, "redone": dict(m.redone)} for name, m in made.items()},
            failed={},
        )
    sources = prepared.sources()
    runner = StageRunner(folder=folder, workers=workers, progress=told, part=part)
    n_all = max(len(source.shards) for source in sources)
    with prepared.run(sources).hold_part(str(part), resume=resume):
        reports = {}
        for one in sources:
            one.begin(folder)
            reports[one.stage.name] = runner.run(
                one.stage, one.dataset, runner.share(one.shards), on_gpu=one.on_gpu
            )
        mark_finished(folder, part, n_all)
    return PartRun.of(folder, part, n_all, reports)


def _result(
    guesses: Predictions, evaluation_set: EvaluationSet, labels: tuple[str, str], level: float
) -> ModelResult:
    if guesses.table.empty:
        dropped = guesses.account["dropped"]
        reasons = ", ".join(f"{n:,} {why}" for why, n in dropped.items()) or "no images"
        raise DataError(f"No image of {evaluation_set.location} could be evaluated: {reasons}.")
    names = evaluation_set.concepts.names
    counts = tally(guesses.table, len(names))
    wrong = confusions(guesses.table, names)
    wrong.insert(0, "model", labels[0])
    wrong.insert(1, "pretraining", labels[1])
    return ModelResult(
        model=labels[0],
        pretraining=labels[1],
        per_class=_per_class(counts, names, (*labels, evaluation_set.name)),
        scores=overall(counts, level=level),
        confusions=wrong,
        account=guesses.account,
    )


def _per_class(counts: Tally, names: Sequence[str], labels: tuple[str, str, str]) -> pd.DataFrame:
    present = np.flatnonzero(counts.n_images)
    n = counts.n_images[present]
    # With fewer than six classes the first five guesses hold every class: no measure of anything.
    told = np.nan if len(names) < 6 else 1.0
    model, pretraining, dataset = labels
    return pd.DataFrame(
        {
            "model": model,
            "pretraining": pretraining,
            "dataset": dataset,
            "concept": [names[i] for i in present.tolist()],
            "class_index": present,
            "n_correct": pd.array(counts.n_correct[present], dtype="Int64"),
            "n_images": pd.array(n, dtype="Int64"),
            "acc1": counts.n_correct[present] / n,
            "n_correct5": pd.array(counts.n_correct5[present], dtype="Int64"),
            "acc5": told * counts.n_correct5[present] / n,
        }
    )
