"""The files of a finished audit; the manifest, which names them all, comes last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from conceptaudit.artifacts import (
    RUN_PACKAGES,
    Json,
    package_versions,
    write_csv,
    write_json,
    write_npy,
    write_parquet,
)
from conceptaudit.auditing.drawn import sampled_of
from conceptaudit.auditing.finishing import AuditRun
from conceptaudit.datasets.base import Shard
from conceptaudit.records import ConceptVocabulary
from conceptaudit.text.pipeline import pipeline_facts

if TYPE_CHECKING:
    from conceptaudit.auditing.run import RunningAudit

CONCEPTS = "concepts.json"


def write_audit(run: RunningAudit, made: AuditRun, shards: Sequence[Shard]) -> None:
    """Write what an audit found.

    Parameters
    ----------
    run : RunningAudit
        The audit, whose shards' results are in its folder already.
    made : AuditRun
        What it found.
    shards : sequence of Shard
        The shards that were counted.

    Raises
    ------
    DataError
        The folder cannot be written to.
    """
    folder, plan, options = run.folder, run.plan, run.options
    write_parquet(folder / "frequencies.parquet", made.table)
    write_csv(folder / "frequencies.csv", made.table)
    alignment = made.alignment.as_json(options.level)
    if made.misalignment is not None:
        alignment["corrected"] = made.misalignment
    write_json(folder / "alignment.json", alignment)
    write_json(folder / CONCEPTS, listed_concepts(run.vocabulary))
    if plan.image is not None:
        vectors = plan.image.concepts if plan.vectors is None else plan.vectors
        write_npy(folder / "concept_vectors.npy", vectors)
    run.run.finish(
        {
            "dataset": run.dataset.location,
            "reading": run.dataset.settings,
            "settings": plan.settings,
            "level": options.level,
            "clip": options.clip,
            "threshold": options.threshold,
            "calibration": options.calibration,
            "templates": list(options.templates),
            "pipeline": None if plan.text is None else pipeline_facts(plan.text.pipeline),
            "configuration": plan.encoder and dict(plan.encoder.clip.configuration),
            "account": made.account,
            "sampled": sampled_of(run.dataset, options, made.alignment.n_samples),
            "notes": list(made.notes),
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
