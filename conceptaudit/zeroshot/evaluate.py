"""Zero-shot evaluation of one or several models on an evaluation set, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, digest_of, write_csv, write_json, write_parquet
from conceptaudit.engine import StageReport, open_engine, run_stage
from conceptaudit.errors import DataError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.prompts import encode_concepts
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptAccuracies
from conceptaudit.zeroshot.classify import ZeroShotClassifier
from conceptaudit.zeroshot.measures import Score, Tally, confusions, overall, tally
from conceptaudit.zeroshot.running import (
    added_accounts,
    load_models,
    model_labels,
    model_slugs,
    run_folder,
    slug,
    write_run_manifest,
)
from conceptaudit.zeroshot.sets import EvaluationSet

METRIC = "acc1"
TASK = "zeroshot_classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """What one model makes of an evaluation set.

    Parameters
    ----------
    model, pretraining : str
        What open_clip calls the architecture and the weights.
    per_class : pandas.DataFrame
        ``model, pretraining, dataset, concept, class_index, n_correct, n_images, acc1,
        n_correct5, acc5``; a row per class that has images.
    scores : dict of str to Score
        ``acc1``, ``acc5``, ``mean_per_class_recall``.
    confusions : pandas.DataFrame
        ``model, pretraining, concept, predicted, n, share``.
    account : dict
        Images read, used, and dropped by reason.
    """

    model: str
    pretraining: str
    per_class: pd.DataFrame
    scores: dict[str, Score]
    confusions: pd.DataFrame
    account: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation.

    Parameters
    ----------
    folder : Path
    evaluation_set : EvaluationSet
    results : tuple of ModelResult
        One per model, in the order asked for.
    notes : tuple of str
    """

    folder: Path
    evaluation_set: EvaluationSet
    results: tuple[ModelResult, ...]
    notes: tuple[str, ...]

    @property
    def table(self) -> pd.DataFrame:
        """Per-class results of all models."""
        return pd.concat([result.per_class for result in self.results], ignore_index=True)

    @property
    def accuracies(self) -> ConceptAccuracies:
        """The per-class results as `fit_curve` takes them."""
        table = self.table.rename(columns={"acc1": "accuracy"}).assign(metric=METRIC)
        kept = ["model", "pretraining", "dataset", "concept", "n_correct", "n_images", "accuracy"]
        return ConceptAccuracies(table[[*kept, "metric"]], self.notes)


def evaluate(
    evaluation_set: EvaluationSet,
    models: Sequence[str | ClipModel],
    out: str | Path,
    *,
    device: str = "auto",
    pretraining: str | None = None,
    workers: int | None = None,
    level: float = 0.9,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Classify the images of an evaluation set, and count class by class what is right.

    An image that cannot be decoded, or whose label names no class, is listed and in no number.

    Parameters
    ----------
    evaluation_set : EvaluationSet
        See `open_evaluation_set`.
    models : sequence of str or ClipModel
        As `find_clip` takes them.
    out : str or Path
        Run folder; an interrupted evaluation goes on there.
    device : str
    pretraining : str, optional
        Name of the pretraining set in the results; the weights' name by default.
    workers : int, optional
        Worker processes on a CPU; a GPU is used by one.
    level : float
        Coverage of the intervals.
    resume, overwrite : bool
        As in `audit`.
    progress : Progress, optional

    Returns
    -------
    Evaluation

    Raises
    ------
    ConfigError, DataError
        A model or the set cannot be used.
    ArtifactMismatchError
        `out` holds something else.
    """
    clips = load_models(models, device)
    slugs = model_slugs(clips)
    shards = evaluation_set.dataset.shards()
    concepts = evaluation_set.concepts
    stages = [
        ZeroShotClassifier(
            clip=clip,
            classes=encode_concepts(concepts, clip),
            evaluation_set=evaluation_set,
            name=f"guesses-{name}",
        )
        for clip, name in zip(clips, slugs, strict=True)
    ]
    identity = digest_of(
        {
            "stages": [stage.settings for stage in stages],
            "names": slugs,
            "set": evaluation_set.name,
            "pretraining": pretraining,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
            "level": level,
        }
    )
    folder = Path(out)
    told = progress or SilentProgress()
    with run_folder(folder, identity, "evaluation", resume=resume, overwrite=overwrite):
        results = []
        for stage in stages:
            on_gpu = stage.clip.device != "cpu"
            report = run_stage(
                stage,
                evaluation_set.dataset,
                shards,
                folder=folder,
                engine=open_engine(1 if on_gpu else workers, n_items=len(shards)),
                progress=told,
            )
            names = [shard.name for shard in shards]
            results.append(_result(stage, report, names, pretraining, level))
        found = Evaluation(
            folder=folder,
            evaluation_set=evaluation_set,
            results=tuple(results),
            notes=evaluation_set.notes,
        )
        _write(found, identity, level)
    return found


def _result(
    stage: ZeroShotClassifier,
    report: StageReport,
    shards: Sequence[str],
    pretraining: str | None,
    level: float,
) -> ModelResult:
    account = added_accounts(report.store, shards)
    paths = [report.store.path(shard, ".parquet") for shard in shards]
    tables = [pd.read_parquet(path) for path in paths if path.exists()]
    if not tables:
        reasons = ", ".join(f"{n:,} {why}" for why, n in account["dropped"].items()) or "no images"
        raise DataError(
            f"No image of {stage.evaluation_set.location} could be evaluated: {reasons}."
        )
    guesses = pd.concat(tables, ignore_index=True)
    names = stage.evaluation_set.concepts.names
    counts = tally(guesses, len(names))
    labels = model_labels(stage.clip, pretraining)
    wrong = confusions(guesses, names)
    wrong.insert(0, "model", labels[0])
    wrong.insert(1, "pretraining", labels[1])
    return ModelResult(
        model=labels[0],
        pretraining=labels[1],
        per_class=_per_class(counts, names, (*labels, stage.evaluation_set.name)),
        scores=overall(counts, level=level),
        confusions=wrong,
        account=account,
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


def _write(found: Evaluation, identity: str, level: float) -> None:
    folder = found.folder
    write_parquet(folder / "accuracies.parquet", found.table)
    write_csv(folder / "accuracies.csv", found.table)
    wrong = pd.concat([result.confusions for result in found.results], ignore_index=True)
    write_csv(folder / "confusions.csv", wrong)
    write_csv(folder / "overall.csv", overall_table(found))
    for result in found.results:
        record = benchmark_record(result, found.evaluation_set.name)
        name = slug(f"{result.model}_{result.pretraining}")
        write_json(folder / "clip_benchmark" / f"{name}.json", record)
    write_run_manifest(
        folder,
        {
            "kind": "evaluation",
            "digest": identity,
            "dataset": found.evaluation_set.location,
            "name": found.evaluation_set.name,
            "classes": list(found.evaluation_set.class_names),
            "templates": list(found.evaluation_set.templates),
            "level": level,
            "accounts": [result.account for result in found.results],
            "notes": list(found.notes),
        },
    )


def overall_table(found: Evaluation) -> pd.DataFrame:
    """Lay the overall scores out: ``model, pretraining, dataset, metric, value, low, high``."""
    rows = [
        (
            result.model,
            result.pretraining,
            found.evaluation_set.name,
            metric,
            s.value,
            s.low,
            s.high,
        )
        for result in found.results
        for metric, s in result.scores.items()
    ]
    columns = ["model", "pretraining", "dataset", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def benchmark_record(result: ModelResult, dataset: str) -> Json:
    """Lay a model's overall scores out as CLIP_benchmark writes them."""
    scores = {name: s.value for name, s in result.scores.items() if not np.isnan(s.value)}
    return {
        "dataset": dataset,
        "model": result.model,
        "pretrained": result.pretraining,
        "task": TASK,
        "metrics": scores,
        "language": "en",
    }
