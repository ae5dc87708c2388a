"""The files of a finished audit; the manifest, which names them all, comes last."""

from __future__ import annotations

from collections.abc import Sequence

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    RunFolder,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.drawn import sampled_of
from conceptaudit.auditing.plan import AuditPlan
from conceptaudit.auditing.results import AuditRun
from conceptaudit.datasets.base import Shard
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.pipeline import pipeline_facts

CONCEPTS = "concepts.json"


def write_audit(plan: AuditPlan, run: RunFolder, made: AuditRun, shards: Sequence[Shard]) -> None:
    """Write an audit's results.

    Parameters
    ----------
    plan : AuditPlan
    run : RunFolder
        The folder, which holds the shards' results already.
    made : AuditRun
    shards : sequence of Shard
        The shards that were counted.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    folder, options = run.path, plan.options
    text = plan.own_text
    write_parquet(folder / "frequencies.parquet", made.table)
    write_csv(folder / "frequencies.csv", made.table)
    alignment = made.alignment.as_json(options.level)
    if made.misalignment is not None:
        alignment["corrected"] = made.misalignment
    write_json(folder / "alignment.json", alignment)
    write_json(folder / CONCEPTS, listed_concepts(plan.vocabulary))
    if plan.image is not None:
        vectors = plan.image.concepts if plan.vectors is None else plan.vectors
        write_npy(folder / "concept_vectors.npy", vectors)
    run.finish(
        {
            "dataset": plan.dataset.location,
            "reading": plan.dataset.settings,
            "settings": plan.settings,
            "level": options.level,
            "clip": options.clip,
            "threshold": options.threshold,
            "calibration": options.calibration,
            "templates": list(options.templates),
            "pipeline": text and pipeline_facts(text.pipeline),
            "configuration": plan.encoder and dict(plan.encoder.clip.configuration),
            "account": made.account,
            "sampled": sampled_of(plan.dataset, options, made.alignment.n_samples),
            "notes": list(made.notes),
            **({} if plan.partial is None else {"partial": plan.partial}),
            "shards": [shard.name for shard in shards],
            "versions": package_versions(*RUN_PACKAGES),
        }
    )


def listed_concepts(vocabulary: ConceptVocabulary) -> list[Json]:
    """Lay a vocabulary out as a concept list that can be read again."""
    return [
        {
            "concept": concept.name,
            "aliases": list(concept.aliases),
            "prompts": list(concept.prompts),
            "synset": concept.synset,
            "dataset": concept.dataset,
            "class_index": concept.class_index,
        }
        for concept in vocabulary
    ]
