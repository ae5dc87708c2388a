"""What an evaluation found, and the files that hold it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from conceptaudit.artifacts import Json, RunFolder, write_csv, write_parquet
from conceptaudit.errors import DataError
from conceptaudit.records import ConceptAccuracies
from conceptaudit.zeroshot.classify import Predictions
from conceptaudit.zeroshot.evaluation_set import EvaluationSet
from conceptaudit.zeroshot.measures import (
    Score,
    confusions,
    overall,
    per_class,
    tally,
    with_labels,
)
from conceptaudit.zeroshot.model_run import finish_run, write_benchmark_record

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

    @classmethod
    def of(
        cls,
        guesses: Predictions,
        evaluation_set: EvaluationSet,
        labels: tuple[str, str],
        level: float,
    ) -> ModelResult:
        """Count what of a model's guesses is right; `labels` are its architecture and weights."""
        if guesses.table.empty:
            dropped = guesses.account["dropped"]
            reasons = ", ".join(f"{n:,} {why}" for why, n in dropped.items()) or "no images"
            raise DataError(f"No image of {evaluation_set.location} could be evaluated: {reasons}.")
        names = evaluation_set.concepts.names
        counts = tally(guesses.table, len(names))
        of_model = dict(zip(("model", "pretraining"), labels, strict=True))
        of_set = {**of_model, "dataset": evaluation_set.name}
        return cls(
            **of_model,
            per_class=with_labels(of_set, per_class(counts, names)),
            scores=overall(counts, level=level),
            confusions=with_labels(of_model, confusions(guesses.table, names)),
            account=guesses.account,
        )


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
    def overall(self) -> pd.DataFrame:
        """Scores over all classes: ``model, pretraining, dataset, metric, value, low, high``."""
        rows = [
            {
                "model": result.model,
                "pretraining": result.pretraining,
                "dataset": self.evaluation_set.name,
                "metric": metric,
                "value": score.value,
                "low": score.low,
                "high": score.high,
            }
            for result in self.results
            for metric, score in result.scores.items()
        ]
        return pd.DataFrame(rows)

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
    folder, opened = found.folder, found.evaluation_set
    write_parquet(folder / "accuracies.parquet", found.table)
    write_csv(folder / "accuracies.csv", found.table)
    wrong = pd.concat([result.confusions for result in found.results], ignore_index=True)
    write_csv(folder / "confusions.csv", wrong)
    write_csv(folder / "overall.csv", found.overall)
    records = [
        write_benchmark_record(
            folder,
            model=result.model,
            pretraining=result.pretraining,
            dataset=opened.name,
            task=TASK,
            metrics={
                name: score.value
                for name, score in result.scores.items()
                if not np.isnan(score.value)
            },
        )
        for result in found.results
    ]
    finish_run(
        run,
        {
            "dataset": opened.location,
            "name": opened.name,
            "classes": list(opened.class_names),
            "templates": list(opened.templates),
            "level": level,
            "accounts": [result.account for result in found.results],
            "notes": list(found.notes),
        },
        [*listed, *records],
    )
