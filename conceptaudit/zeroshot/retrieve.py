"""Zero-shot retrieval of one or several models on image-caption pairs, written to a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from conceptaudit.artifacts import Json, digest_of, write_csv, write_json, write_parquet
from conceptaudit.datasets import CAPTION, EMBEDDING, IMAGE, Dataset
from conceptaudit.engine import EngineChoice, open_engine, run_stage
from conceptaudit.errors import ConfigError
from conceptaudit.image.clip import ClipModel
from conceptaudit.image.embed import check_embedded_with
from conceptaudit.progress import Progress, SilentProgress
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.annotator import CaptionAnnotator
from conceptaudit.text.pipeline import BUNDLED, find_pipeline, load_pipeline
from conceptaudit.zeroshot.pairs import PairEncoder, read_pairs
from conceptaudit.zeroshot.retrieval import (
    TEXT_RETRIEVAL,
    BoolArray,
    PairedVectors,
    recall_by_concept,
    retrieved,
)
from conceptaudit.zeroshot.running import (
    added_accounts,
    load_models,
    model_labels,
    model_slugs,
    run_folder,
    slug,
    write_run_manifest,
)

TASK = "zeroshot_retrieval"
RECALL_AT = (1, 5, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """Finished retrieval.

    Parameters
    ----------
    folder : Path
    overall : pandas.DataFrame
        ``model, pretraining, dataset, metric, value, n_queries``.
    per_concept : pandas.DataFrame
        ``model, pretraining, dataset, concept, n_correct, n_images, accuracy, metric``, where
        ``n_images`` counts the queries that name the concept; empty without concepts.
    account : dict
        Samples read, used, and dropped by reason.
    notes : tuple of str
    """

    folder: Path
    overall: pd.DataFrame
    per_concept: pd.DataFrame
    account: Json
    notes: tuple[str, ...]


def evaluate_retrieval(
    dataset: Dataset,
    models: Sequence[str | ClipModel],
    out: str | Path,
    *,
    name: str = "",
    concepts: ConceptVocabulary | None = None,
    spacy_model: str = BUNDLED,
    recall_at: Sequence[int] = RECALL_AT,
    device: str = "auto",
    pretraining: str | None = None,
    workers: int | EngineChoice | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Retrieval:
    """Measure recall@k from captions to images and back, over all queries and by concept.

    Parameters
    ----------
    dataset : Dataset
        Pictures, or embeddings of them, and captions; samples that share a key share the
        picture.
    models : sequence of str or ClipModel
    out : str or Path
    name : str
        Of the dataset in the results.
    concepts : ConceptVocabulary, optional
        Recall is also given for the queries that name each of these.
    spacy_model : str
        Tells which concepts a caption names.
    recall_at : sequence of int
    device, pretraining, workers, resume, overwrite, progress
        As in `evaluate`.

    Raises
    ------
    ConfigError, DataError
        The dataset has no pairs, or a model cannot be used.
    ArtifactMismatchError
        `out` holds something else, or another model made the embeddings.
    """
    embedded = EMBEDDING in dataset.provides
    if CAPTION not in dataset.provides or not (embedded or IMAGE in dataset.provides):
        raise ConfigError(
            f"Retrieval needs pictures or embeddings with captions; {dataset.location} offers "
            f"{', '.join(sorted(dataset.provides)) or 'nothing'}."
        )
    clips = load_models(models, device)
    slugs = model_slugs(clips)
    for clip in clips if embedded else ():
        check_embedded_with(dataset.location, clip)
    shards = dataset.shards()
    stages = [
        PairEncoder(
            clip=clip,
            name=f"pairs-{name}",
            caption_per_line=dataset.layout == "webdataset",
            embedded=embedded,
        )
        for clip, name in zip(clips, slugs, strict=True)
    ]
    pipeline = find_pipeline(spacy_model) if concepts is not None else None
    identity = digest_of(
        {
            "stages": [stage.settings for stage in stages],
            "names": [name, slugs, pretraining],
            "concepts": [concepts.digest, pipeline.digest] if concepts and pipeline else None,
            "recall_at": list(recall_at),
            "reading": dataset.settings,
            "shards": [[shard.name, shard.fingerprint] for shard in shards],
        }
    )
    folder = Path(out)
    told = progress or SilentProgress()
    overall: list[pd.DataFrame] = []
    by_concept: list[pd.DataFrame] = []
    account: Json = {}
    with run_folder(folder, identity, "retrieval", resume=resume, overwrite=overwrite):
        for stage in stages:
            on_gpu = stage.clip.device != "cpu"
            engine = open_engine(workers, n_items=len(shards), on_gpu=on_gpu, folder=folder)
            report = run_stage(stage, dataset, shards, folder=folder, engine=engine, progress=told)
            names = [shard.name for shard in shards]
            account = added_accounts(report.store, names)
            pairs, texts = read_pairs(report.store, names)
            found = retrieved(pairs, recall_at)
            labels = dict(
                zip(
                    ("model", "pretraining", "dataset"),
                    (*model_labels(stage.clip, pretraining), name),
                    strict=True,
                )
            )
            overall.append(_overall(found, labels))
            if concepts is not None:
                named = _concepts_of(texts["text"].tolist(), concepts, spacy_model)
                by_concept.append(_by_concept(found, pairs, named, labels))
        result = Retrieval(
            folder=folder,
            overall=pd.concat(overall, ignore_index=True),
            per_concept=pd.concat(by_concept, ignore_index=True) if by_concept else pd.DataFrame(),
            account=account,
            notes=dataset.notes,
        )
        _write(result, identity, dataset)
    return result


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


def _write(result: Retrieval, identity: str, dataset: Dataset) -> None:
    folder = result.folder
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
        write_json(folder / "clip_benchmark" / f"{slug(f'{model}_{weights}')}.json", record)
    write_run_manifest(
        folder,
        {
            "kind": "retrieval",
            "digest": identity,
            "dataset": dataset.location,
            "account": result.account,
            "notes": list(result.notes),
        },
    )
