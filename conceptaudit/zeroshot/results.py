"""What an evaluation found, and the files that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, RunFolder, write_csv, write_json, write_parquet
from conceptaudit.records import ConceptAccuracies
from conceptaudit.zeroshot.evaluation_run import finish_run, slug
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.measures import Score

METRIC = "acc1"
TASK = "zeroshot_classification"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """What one model makes of an evaluation set."""

    # what open_clip calls the architecture and the weights
    model: str
    pretraining: str
    # ``model, pretraining, dataset, concept, class_index, n_correct, n_images, acc1, n_correct5,
    # acc5``; a row per class that has images
    per_class: pd.DataFrame
    scores: dict[str, Score]  # ``acc1``, ``acc5``, ``mean_per_class_recall``
    confusions: pd.DataFrame  # ``model, pretraining, concept, predicted, n, share``
    account: Json  # images read, used, and dropped by reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """A finished evaluation."""

    folder: Path
    evaluation_set: EvaluationSet
    results: tuple[ModelResult, ...]  # one per model, in the order asked for
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


def write_results(
    found: Evaluation, run: RunFolder, level: float, listed: Sequence[Path] = ()
) -> None:
    """Write tables, CLIP_benchmark's record and, last, the manifest."""
    records = list(listed)
    folder = found.folder
    write_parquet(folder / "accuracies.parquet", found.table)
    write_csv(folder / "accuracies.csv", found.table)
    wrong = pd.concat([result.confusions for result in found.results], ignore_index=True)
    write_csv(folder / "confusions.csv", wrong)
    write_csv(folder / "overall.csv", overall_table(found))
    for result in found.results:
        record = benchmark_record(result, found.evaluation_set.name)
        name = slug(f"{result.model}_{result.pretraining}")
        records.append(folder / "clip_benchmark" / f"{name}.json")
        write_json(records[-1], record)
    finish_run(
        run,
        {
            "dataset": found.evaluation_set.location,
            "name": found.evaluation_set.name,
            "classes": list(found.evaluation_set.class_names),
            "templates": list(found.evaluation_set.templates),
            "level": level,
            "accounts": [result.account for result in found.results],
            "notes": list(found.notes),
        },
        records,
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
