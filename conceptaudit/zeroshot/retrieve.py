"""Zero-shot retrieval of one or several models on image-caption pairs, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json, RunFolder, digest_of, write_csv, write_parquet
from conceptaudit.datasets import CAPTION, EMBEDDING, IMAGE, Dataset
from conceptaudit.engine import EngineChoice
from conceptaudit.engine.array_tasks import Part, PartRun
from conceptaudit.engine.runner import StageRunner
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.options.zeroshot import RetrievalOptions
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.store.places import folder_of
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.pipeline import find_pipeline, load_pipeline
from conceptaudit.zeroshot.measures import (
    TEXT_RETRIEVAL,
    BoolArray,
    PairedVectors,
    recall_by_concept,
    retrieved,
    with_labels,
)
from conceptaudit.zeroshot.model_run import (
    ModelRun,
    added_accounts,
    finish_run,
    load_models,
    model_labels,
    model_slugs,
    run_part,
    write_benchmark_record,
)
from conceptaudit.zeroshot.pairs import PairEncoder, read_pairs

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
    pairs_of = _prepared(dataset, models, options)
    run = _run_folder(dataset, pairs_of, options, out)
    told = progress or SilentProgress()
    runner = StageRunner(folder=run.path, workers=workers, progress=told)
    overall: list[pd.DataFrame] = []
    by_concept: list[pd.DataFrame] = []
    account: Json = {}
    with run.hold(resume=resume, overwrite=overwrite):
        for one in pairs_of:
            store = one.report(runner).store
            names = [shard.name for shard in one.shards]
            account = added_accounts(store, names)
            pairs, texts = read_pairs(store, names)
            found = retrieved(pairs, options.recall_at)
            model, pretraining = model_labels(one.stage.clip, options.pretraining)
            labels = {"model": model, "pretraining": pretraining, "dataset": options.name}
            overall.append(with_labels(labels, overall_recall(found)))
            if options.concepts is not None:
                captions = texts["text"].tolist()
                named = _concepts_of(captions, options.concepts, options.spacy_model)
                by_concept.append(with_labels(labels, _by_concept(found, pairs, named)))
        result = Retrieval(
            folder=run.path,
            overall=pd.concat(overall, ignore_index=True),
            per_concept=pd.concat(by_concept, ignore_index=True) if by_concept else pd.DataFrame(),
            account=account,
            notes=(*dataset.notes, *(note for one in pairs_of for note in one.stage.clip.notes)),
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
    options = options or RetrievalOptions()
    pairs_of = _prepared(dataset, models, options)
    run = _run_folder(dataset, pairs_of, options, out)
    return run_part(run, pairs_of, part, workers=workers, resume=resume, progress=progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class _PairRun(ModelRun):
    """The pairs, which one model embeds."""

    stage: PairEncoder


def _prepared(
    dataset: Dataset, models: Sequence[str | ClipModel], options: RetrievalOptions
) -> list[_PairRun]:
    """Check the dataset and load the models."""
    embedded = EMBEDDING in dataset.provides
    if CAPTION not in dataset.provides or not (embedded or IMAGE in dataset.provides):
        raise ConfigError(
            f"Retrieval needs images or embeddings with captions; {dataset.location} offers "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}."
        )
    clips = load_models(models, options.device)
    slugs = model_slugs(clips)
    for clip in clips if embedded else ():
        check_embedded_with(dataset.location, clip)
    shards = dataset.shards()
    stages = [
        PairEncoder(
            clip=clip,
            name=f"pairs-{slug}",
            caption_per_line=dataset.layout == "webdataset",
            embedded=embedded,
        )
        for clip, slug in zip(clips, slugs, strict=True)
    ]
    return [_PairRun(stage=stage, dataset=dataset, shards=shards) for stage in stages]


def _run_folder(
    dataset: Dataset, pairs_of: Sequence[_PairRun], options: RetrievalOptions, out: str | Path
) -> RunFolder:
    """Name the run's folder; its digest is of everything that the results depend on."""
    clips = [one.stage.clip for one in pairs_of]
    shards = pairs_of[0].shards
    concepts = options.concepts
    pipeline = find_pipeline(options.spacy_model) if concepts is not None else None
    identity = digest_of(
        {
            "stages": [one.stage.settings for one in pairs_of],
            "names": [options.name, model_slugs(clips), options.pretraining],
            "concepts": [concepts.digest, pipeline.digest] if concepts and pipeline else None,
            "recall_at": list(options.recall_at),
            "reading": dataset.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
        }
    )
    return RunFolder.at(
        out,
        kind="retrieval",
        digest=identity,
        inputs=(dataset.location, *(folder_of(clip.name) for clip in clips)),
        shards=[shard.name for shard in shards],
        about={"dataset": dataset.location},
    )


def overall_recall(found: dict[str, BoolArray]) -> pd.DataFrame:
    """Lay recall over all queries out: ``metric, value, n_queries``."""
    rows = [
        {"metric": metric, "value": float(hits.mean()), "n_queries": len(hits)}
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
    found: dict[str, BoolArray], pairs: PairedVectors, named: Sequence[Sequence[str]]
) -> pd.DataFrame:
    """Recall by the concepts that queries name: captions, or all captions of an image."""
    of_image: list[set[str]] = [set() for _ in range(len(pairs.images))]
    for image, names in zip(pairs.image_of.tolist(), named, strict=True):
        of_image[image].update(names)
    images = [sorted(names) for names in of_image]
    tables = [
        recall_by_concept(hits, images if metric.startswith(TEXT_RETRIEVAL) else named, metric)
        for metric, hits in found.items()
    ]
    return pd.concat(tables, ignore_index=True)


def _write(result: Retrieval, run: RunFolder, dataset: Dataset) -> None:
    folder = run.path
    write_csv(folder / "overall.csv", result.overall)
    if len(result.per_concept):
        write_parquet(folder / "accuracies.parquet", result.per_concept)
        write_csv(folder / "accuracies.csv", result.per_concept)
    listed = [
        write_benchmark_record(
            folder,
            model=str(model),
            pretraining=str(pretraining),
            dataset=str(name),
            task=TASK,
            metrics=dict(zip(rows["metric"], rows["value"].tolist(), strict=True)),
        )
        for (model, pretraining, name), rows in result.overall.groupby(
            ["model", "pretraining", "dataset"]
        )
    ]
    finish_run(
        run,
        {"dataset": dataset.location, "account": result.account, "notes": list(result.notes)},
        listed,
    )
