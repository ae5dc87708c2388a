"""Zero-shot retrieval of one or several models on image-caption pairs, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json, RunFolder, write_csv, write_json, write_parquet
from conceptaudit.datasets import Dataset
from conceptaudit.engine import EngineChoice
from conceptaudit.engine.array_tasks import Part, PartRun, mark_finished
from conceptaudit.engine.runner import StageRunner
from conceptaudit.image.clip import ClipModel
from conceptaudit.options.zeroshot import RetrievalOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.pipeline import load_pipeline
from conceptaudit.zeroshot.evaluation_run import (
    added_accounts,
    finish_run,
    model_labels,
    slug,
)
from conceptaudit.zeroshot.pairs import read_pairs
from conceptaudit.zeroshot.prepared import PreparedRetrieval
from conceptaudit.zeroshot.retrieval import (
    TEXT_RETRIEVAL,
    BoolArray,
    PairedVectors,
    recall_by_concept,
    retrieved,
)

TASK = "zeroshot_retrieval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Finished retrieval."""

    folder: Path
    overall: pd.DataFrame  # ``model, pretraining, dataset, metric, value, n_queries``
    # ``model, pretraining, dataset, concept, n_correct, n_images, accuracy, metric``, where
    # ``n_images`` counts the queries that name the concept; empty without concepts
    per_concept: pd.DataFrame
    account: Json  # samples read, used, and dropped by reason
    notes: tuple[str, ...]


def evaluate_retrieval(
    dataset: Dataset,
    models: Sequence[str | ClipModel],
    out: str | Path,
    *,
    options: RetrievalOptions | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Retrieval:
    """Measure recall@k from captions to images and back, over all queries and by concept.

    Parameters
    ----------
    dataset : Dataset
        Images, or embeddings of them, and captions; samples that share a key share the
        image.
    models : sequence of str or ClipModel
    out : str or Path
    options : RetrievalOptions, optional
        Everything else.
    workers, resume, overwrite, progress
        As in `evaluate`.

    Raises
    ------
    ConfigError, DataError
        The dataset has no pairs, or a model cannot be used.
    ArtifactMismatchError
        `out` holds something else, or another model made the embeddings.
    """
    options = options or RetrievalOptions()
    prepared = PreparedRetrieval.of(dataset, models, options)
    run = prepared.folder(out)
    folder = run.path
    runner = StageRunner(folder=folder, workers=workers, progress=progress or SilentProgress())
    concepts = options.concepts
    overall: list[pd.DataFrame] = []
    by_concept: list[pd.DataFrame] = []
    account: Json = {}
    with run.hold(resume=resume, overwrite=overwrite):
        names = [shard.name for shard in prepared.shards]
        for stage in prepared.stages:
            report = prepared.run(runner, stage)
            account = added_accounts(report.store, names)
            pairs, texts = read_pairs(report.store, names)
            found = retrieved(pairs, options.recall_at)
            labels = dict(
                zip(
                    ("model", "pretraining", "dataset"),
                    (*model_labels(stage.clip, options.pretraining), options.name),
                    strict=True,
                )
            )
            overall.append(_overall(found, labels))
            if concepts is not None:
                named = _concepts_of(texts["text"].tolist(), concepts, options.spacy_model)
                by_concept.append(_by_concept(found, pairs, named, labels))
        result = Retrieval(
            folder=folder,
            overall=pd.concat(overall, ignore_index=True),
            per_concept=pd.concat(by_concept, ignore_index=True) if by_concept else pd.DataFrame(),
            account=account,
            notes=(*dataset.notes, *(note for s in prepared.stages for note in s.clip.notes)),
        )
        _write(result, run, dataset)
    return result


def retrieval_part(
    dataset: Dataset,
    models: Sequence[str | ClipModel],
    out: str | Path,
    part: Part,
    *,
    options: RetrievalOptions | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> PartRun:
    """Encode one part's share of the pairs; `evaluate_retrieval` with these arguments finishes."""
    prepared = PreparedRetrieval.of(dataset, models, options or RetrievalOptions())
    run = prepared.folder(out)
    folder = run.path
    runner = StageRunner(
        folder=folder, workers=workers, progress=progress or SilentProgress(), part=part
    )
    with run.hold_part(str(part), resume=resume):
        reports = {stage.name: prepared.run(runner, stage) for stage in prepared.stages}
        mark_finished(folder, part, len(prepared.shards))
    return PartRun.of(folder, part, len(prepared.shards), reports)


def _overall(found: dict[str, BoolArray], labels: dict[str, str]) -> pd.DataFrame:
    rows = [
        {**labels, "metric": metric, "value": float(hits.mean()), "n_queries": len(hits)}
        for metric, hits in found.items()
    ]
    return pd.DataFrame(rows)


def _concepts_of(
    captions: Sequence[str], vocabulary: ConceptVocabulary, spacy_model: str
) -> list[list[str]]:
    """Names of the concepts in each caption; none where the pipeline fails on it."""
    annotator = CaptionAnnotator(
        load_pipeline(spacy_model), vocabulary, any_pos=False, nested=False
    )
    return [
        [] if isinstance(one, str) else [vocabulary.names[i] for i in sorted(one.counts)]
        for one in annotator.tag(captions)
    ]


def _by_concept(
    found: dict[str, BoolArray],
    pairs: PairedVectors,
    named: Sequence[Sequence[str]],
    labels: dict[str, str],
) -> pd.DataFrame:
    of_image: list[set[str]] = [set() for _ in range(len(pairs.images))]
    for image, names in zip(pairs.image_of.tolist(), named, strict=True):
        of_image[image].update(names)
    images = [sorted(names) for names in of_image]
    tables = [
        recall_by_concept(hits, images if metric.startswith(TEXT_RETRIEVAL) else named, metric)
        for metric, hits in found.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    for position, (column, value) in enumerate(labels.items()):
        table.insert(position, column, value)
    return table


def _write(result: Retrieval, run: RunFolder, dataset: Dataset) -> None:
    folder, listed = run.path, []
    write_csv(folder / "overall.csv", result.overall)
    if len(result.per_concept):
        write_parquet(folder / "accuracies.parquet", result.per_concept)
        write_csv(folder / "accuracies.csv", result.per_concept)
    for (model, weights, name), rows in result.overall.groupby(["model", "pretraining", "dataset"]):
        record = {
            "dataset": name,
            "model": model,
            "pretrained": weights,
            "task": TASK,
            "metrics": dict(zip(rows["metric"], rows["value"].tolist(), strict=True)),
            "language": "en",
        }
        listed.append(folder / "clip_benchmark" / f"{slug(f'{model}_{weights}')}.json")
        write_json(listed[-1], record)
    finish_run(
        run,
        {
            "dataset": dataset.location,
            "account": result.account,
            "notes": list(result.notes),
        },
        listed,
    )
