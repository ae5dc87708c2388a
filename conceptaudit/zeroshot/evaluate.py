"""Zero-shot evaluation of one or several models on an evaluation set, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from conceptaudit.engine import EngineChoice
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.engine.runner import StageRunner
from conceptaudit.image.clip import ClipModel
from conceptaudit.options.zeroshot import EvaluationOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.store.locks import sharing
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.model_run import model_labels, run_part
from conceptaudit.zeroshot.results import Evaluation, ModelResult, write_results
from conceptaudit.zeroshot.sources import PreparedEvaluation, write_dropped


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
    prepared.save_vectors(workers=workers, progress=told)
    sources = prepared.sources()
    run = prepared.run(sources)
    runner = StageRunner(folder=folder, workers=workers, progress=told)
    notes = list(evaluation_set.notes)
    results: list[ModelResult] = []
    listed: list[Path] = []
    with run.hold(resume=resume, overwrite=overwrite):
        for source in sources:
            guesses = source.collect(source.report(runner))
            listed += write_dropped(folder, source.stage.name, guesses)
            labels = model_labels(source.stage.clip, options.pretraining)
            results.append(ModelResult.of(guesses, evaluation_set, labels, options.level))
            notes += [*source.stage.clip.notes, *guesses.notes]
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
    if options.save_embeddings is None:
        sources = prepared.sources()
        return run_part(
            prepared.run(sources), sources, part, workers=workers, resume=resume, progress=progress
        )
    with sharing(prepared.folder, str(part)):
        told = progress or SilentProgress()
        made = prepared.save_vectors(workers=workers, progress=told, part=part)
        n_all = len(evaluation_set.dataset.shards())
        mark_finished(prepared.folder, part, n_all)
    return PartRun(
        folder=prepared.folder,
        part=part,
        n_shards=len(part.share(range(n_all))),
        n_all=n_all,
        redone={name: {"kept": m.kept, "redone": dict(m.redone)} for name, m in made.items()},
        failed={},
    )
